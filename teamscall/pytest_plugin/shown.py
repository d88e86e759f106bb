"""A failure as the product shows it, not as a traceback."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from _pytest._code.code import ReprFileLocation, TerminalRepr
from _pytest._io import TerminalWriter

_COLOURS = {"-": "red", "+": "green", "@": "cyan"}


class NotAsWantedError(Exception):
    """A call was not what it should be; ``lines`` say all there is, safe to print."""

    def __init__(self, lines: Sequence[str]) -> None:
        super().__init__(lines[0] if lines else "")
        self.lines = tuple(lines)


class Shown(TerminalRepr):
    """``lines``, coloured like a diff."""

    def __init__(self, lines: Sequence[str], path: Path) -> None:
        self.lines = tuple(lines)
        # The summary and JUnit quote its message.
        first = self.lines[0] if self.lines else ""
        self.reprcrash = ReprFileLocation(str(path), 1, first)

    def toterminal(self, tw: TerminalWriter) -> None:
        for line in self.lines:
            colour = _COLOURS.get(line.lstrip()[:1], "")
            tw.line(line, **({colour: True} if colour else {}))

    def __str__(self) -> str:
        return "\n".join(self.lines)
