"""What was said in one call, and which item of the session that is up holds it.

Owns the lines, edited down to what was heard, and every message that keeps a session's
conversation the same as they are. Pure: what has to be sent is returned. Refuses to know
sockets and turns' lives. Where no session is up, what is returned goes nowhere: the next
one is told everything by :meth:`Dialogue.seed`.

Unlike :class:`teamscall.engines.memory.Memory` this holds a place for what the caller
said before its words are known: they come after the answer has begun.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from teamscall.engines.base import Line
from teamscall.engines.memory import MAX_CHARS, MAX_LINES
from teamscall.engines.openai import messages

# What a new session is told: enough to go on talking, little enough to be read at once.
SEED_LINES = 40
SEED_CHARS = 12_000
FRAME_MS = 20  # the playout is counted in frames: less than one unheard is all heard


class _Said:
    """One line. ``item``: "" where the session that is up has none of it."""

    __slots__ = ("audible", "cut", "item", "ms", "output", "role", "text", "tool", "turn", "words")

    def __init__(
        self,
        role: Literal["caller", "bot", "tool"],
        *,
        turn: int = 0,
        words: int = 0,
        text: str = "",
        item: str = "",
    ) -> None:
        self.role = role
        self.turn = turn
        self.words = words  # the caller's utterance, of one that was heard as audio
        self.text = text
        self.item = item
        self.audible = False  # the item is the service's own speech
        self.ms = 0.0  # of that speech
        self.cut = False  # the item holds less than was spoken
        self.tool: messages.Item | None = None
        self.output = ""


class Dialogue:
    """The lines of one call, oldest first. Methods return the messages to send."""

    def __init__(self, history: Iterable[Line] = ()) -> None:
        self._lines = [_Said(line.role, text=line.text) for line in history]
        self._ids = 0

    # --- the caller ------------------------------------------------------------------------

    def asked(self, turn: int, text: str) -> list[str]:
        """The caller said, or did, this in ``turn``, as text."""
        return self._tell(_Said("caller", turn=turn, text=text))

    def heard(self, utterance: int, item: str) -> None:
        """The session holds an utterance as this item; its words are not known yet."""
        line = self._of_utterance(utterance)
        if line is None:
            line = self._add(_Said("caller", words=utterance))
        line.item = item

    def transcribed(self, utterance: int, text: str) -> None:
        """These are the words of an utterance, for sessions that did not hear it."""
        if (line := self._of_utterance(utterance)) is not None:
            line.text = text

    def ignore(self, utterance: int) -> list[str]:
        """An utterance was not meant for the bot, or must be forgotten."""
        line = self._of_utterance(utterance)
        return [] if line is None else self._remove([line])

    # --- the bot ---------------------------------------------------------------------------

    def spoke(self, turn: int, item: str, *, ms: float = 0.0, text: str = "") -> None:
        """More of an answer came, as an item of the session's own."""
        line = self._of_item(item) or self._add(_Said("bot", turn=turn, item=item))
        line.audible = True
        line.ms += ms
        line.text += text

    def read(self, turn: int, text: str) -> list[str]:
        """The bot says exactly this, beside the session's conversation."""
        return self._tell(_Said("bot", turn=turn, text=text))

    def called(self, turn: int, call: messages.Item) -> None:
        """The model uses a tool."""
        self._add(_Said("tool", turn=turn, item=call.id or "")).tool = call

    def returned(self, call_id: str, output: str) -> list[str]:
        """What came of it, for the session that asked or the one after it."""
        for line in self._lines:
            if line.tool is not None and line.tool.call_id == call_id and not line.output:
                line.output = output
                return [*self._call(line), messages.returned(call_id, output)]
        return []

    def truncate(self, turn: int, heard_ms: int, heard_text: str) -> list[str]:
        """The caller heard only so much of ``turn``. May come again, with more."""
        out: list[str] = []
        lines = [line for line in self._lines if line.role == "bot" and line.turn == turn]
        rest_ms, rest = float(heard_ms), heard_text.strip()
        for line in lines:
            text = line.text.strip()
            if line.audible:
                whole = line.ms <= rest_ms + FRAME_MS and (line.ms > 0 or line.cut)
            else:
                whole = rest.startswith(text)
            if whole and line is not lines[-1]:
                rest_ms, rest = rest_ms - line.ms, rest.removeprefix(text).lstrip()
                continue
            if not line.audible:
                out += self._replace(line, rest)
            elif whole:
                out += self._resumed(line, rest)
            else:
                out += self._cut(line, max(0.0, rest_ms), rest)
            rest_ms, rest = 0.0, ""
        return out

    def forget(self, turn: int) -> list[str]:
        """A turn never was: neither its answer nor the text that it answered."""
        return self._remove([line for line in self._lines if turn and line.turn == turn])

    def _cut(self, line: _Said, ms: float, text: str) -> list[str]:
        line.cut, line.ms, line.text = True, float(int(ms)), text
        if not line.item:
            return []
        if ms >= 1:
            return [messages.truncate(line.item, int(ms))]
        item, line.item = line.item, ""
        return [messages.delete(item)]

    def _resumed(self, line: _Said, heard: str) -> list[str]:
        """All of it was heard, or more: speech that was cut can only be added to as text."""
        text = line.text.strip()
        if not line.cut:
            line.text = heard or line.text
            return []
        if not heard.startswith(text) or not (more := heard.removeprefix(text).strip()):
            return []
        added = _Said("bot", turn=line.turn, text=more)
        self._lines.insert(self._lines.index(line) + 1, added)
        return self._create(added)

    def _replace(self, line: _Said, text: str) -> list[str]:
        if line.text.strip() == text:
            return []
        out = [messages.delete(line.item)] if line.item else []
        line.item, line.text = "", text
        return out + self._create(line)

    # --- sessions --------------------------------------------------------------------------

    def seed(self) -> list[str]:
        """Tell a new session the latest lines. What has no words yet is not among them."""
        chosen: list[_Said] = []
        chars = 0
        for line in reversed(self._lines):
            line.item = ""
            # Only words can be told; from here on they are what is cut.
            line.audible = line.cut = False
            chars += len(line.text) + len(line.output)
            if len(chosen) < SEED_LINES and chars <= SEED_CHARS:
                chosen.append(line)
        out: list[str] = []
        for line in reversed(chosen):
            if line.tool is None:
                out += self._create(line)
            elif line.output:
                out += self._call(line)
                out.append(messages.returned(line.tool.call_id or "", line.output))
        return out

    def lines(self) -> tuple[Line, ...]:
        """What was said and heard, as far as its words are known."""
        return tuple(
            Line(line.role, line.text.strip())
            for line in self._lines
            if line.role != "tool" and line.text.strip()
        )

    def _call(self, line: _Said) -> list[str]:
        """The use of a tool itself, where this session does not know of it."""
        if line.item or line.tool is None:
            return []
        line.item, call = self._new_id(), line.tool
        return [
            messages.called(call.name or "", call.arguments or "", call.call_id or "", line.item)
        ]

    def _tell(self, line: _Said) -> list[str]:
        return self._create(self._add(line))

    def _create(self, line: _Said) -> list[str]:
        text = line.text.strip()
        if not text:
            return []
        place = self._lines.index(line)
        after = ""
        if any(later.item for later in self._lines[place + 1 :]):
            earlier = (known.item for known in reversed(self._lines[:place]) if known.item)
            after = next(earlier, "root")
        line.item = self._new_id()
        role: Literal["user", "assistant"] = "user" if line.role == "caller" else "assistant"
        return [messages.said(role, text, line.item, after)]

    def _new_id(self) -> str:
        self._ids += 1
        return f"told_{self._ids}"

    # --- lines -----------------------------------------------------------------------------

    def _of_utterance(self, utterance: int) -> _Said | None:
        return next((s for s in reversed(self._lines) if s.words and s.words == utterance), None)

    def _of_item(self, item: str) -> _Said | None:
        return next((s for s in reversed(self._lines) if s.item and s.item == item), None)

    def _add(self, line: _Said) -> _Said:
        self._lines.append(line)
        chars = sum(len(line.text) + len(line.output) for line in self._lines)
        while len(self._lines) > 1 and (len(self._lines) > MAX_LINES or chars > MAX_CHARS):
            oldest = self._lines.pop(0)
            chars -= len(oldest.text) + len(oldest.output)
        return line

    def _remove(self, gone: list[_Said]) -> list[str]:
        self._lines = [line for line in self._lines if line not in gone]
        return [messages.delete(line.item) for line in gone if line.item]
