"""What one call's conversation remembers.

Owns the lines that were said, edited down to what was heard. Refuses to know what they
mean, and is bounded: the oldest lines are forgotten first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from teamscall.engines.parts import Line

BEFORE = -1  # the turn of what was said before this session: no turn of its own
MAX_LINES = 200  # about 100 exchanges
MAX_CHARS = 24_000  # about 6,000 tokens: fits the small models people run locally


class _Remembered:
    __slots__ = ("role", "sealed", "text", "turn")

    def __init__(self, role: Literal["caller", "bot"], turn: int, text: str) -> None:
        self.role = role
        self.turn = turn
        self.text = text
        self.sealed = False  # truncated: what is spoken later was not heard


class Memory:
    """The lines of one conversation, oldest first. ``before``: what was said already."""

    def __init__(self, before: Sequence[Line] = ()) -> None:
        self._lines = [_Remembered(line.role, BEFORE, line.text) for line in before]
        self._taken_back: set[int] = set()  # turns that never were
        self.forgotten = 0  # lines dropped because the memory was full
        self._bound()

    def heard(self, turn: int, text: str) -> None:
        """The caller said ``text``."""
        self._taken_back.discard(turn)
        if text.strip():
            self._add(_Remembered("caller", turn, text))

    def said(self, turn: int, text: str) -> None:
        """The bot speaks ``text`` as (more of) ``turn``."""
        line = self._bot_line(turn)
        if line is None:
            self._add(_Remembered("bot", turn, text))
        elif not line.sealed:
            line.text += text
            self._bound()

    def truncate(self, turn: int, heard_text: str) -> None:
        """The caller heard only ``heard_text`` of ``turn``; whatever is said of it later
        is not remembered. May come again, with more."""
        if turn in self._taken_back:
            return
        line = self._bot_line(turn)
        if line is None:
            line = _Remembered("bot", turn, "")
            self._add(line)
        line.text = heard_text
        line.sealed = True

    def forget(self, turn: int) -> None:
        """Nothing of ``turn`` was ever said, on either side."""
        self._lines = [line for line in self._lines if line.turn != turn]
        self._taken_back.add(turn)

    def lines(self) -> tuple[Line, ...]:
        """What was said and heard; lines of which nothing was heard are left out."""
        return tuple(Line(line.role, line.text.strip()) for line in self._audible())

    def turns(self) -> tuple[int, ...]:
        """The turn of each of ``lines()``."""
        return tuple(line.turn for line in self._audible())

    def _audible(self) -> list[_Remembered]:
        return [line for line in self._lines if line.text.strip()]

    def _bot_line(self, turn: int) -> _Remembered | None:
        for line in reversed(self._lines):
            if line.turn == turn and line.role == "bot":
                return line
        return None

    def _add(self, line: _Remembered) -> None:
        self._lines.append(line)
        self._bound()

    def _bound(self) -> None:
        chars = sum(len(line.text) for line in self._lines)
        while len(self._lines) > 1 and (len(self._lines) > MAX_LINES or chars > MAX_CHARS):
            chars -= len(self._lines.pop(0).text)
            self.forgotten += 1
