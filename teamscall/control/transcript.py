"""What was said in a call, from the events that the bridge still remembers.

Pure: events in, lines out. Owns what of a turn counts as said, and how it is cut to size.
Refuses to know where the events come from.

Rules:

1. What the bot was cut off from saying is told apart: nobody heard it.
2. The newest lines are kept, and what was left out is said.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import msgspec

from teamscall.text import printable

EVENTS = ("heard", "turn-ended", "pressed")
MAX_LINE_CHARS = 4000
# About 10,000 tokens: an agent that wants more asks for fewer lines more often.
MAX_CHARS = 40_000


class Line(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """One utterance. ``unheard``: what the bot had begun to say when it was cut off."""

    speaker: Literal["caller", "bot"]
    text: str
    wall_ms: int
    cut: bool = False
    unheard: str = ""


class Transcript(msgspec.Struct, frozen=True):
    """The newest lines, oldest first, and whether older ones are left out."""

    lines: tuple[Line, ...]
    left_out: int


def transcript(events: Iterable[Mapping[str, Any]], last: int) -> Transcript:
    """At most ``last`` lines, and at most ``MAX_CHARS`` of text."""
    lines = [line for event in events if (line := _line(event)) is not None]
    kept: list[Line] = []
    chars = 0
    for line in reversed(lines[-last:]):
        chars += len(line.text) + len(line.unheard)
        if chars > MAX_CHARS:
            break
        kept.append(line)
    return Transcript(tuple(reversed(kept)), len(lines) - len(kept))


def _line(event: Mapping[str, Any]) -> Line | None:
    wall_ms = event.get("wallMs")
    at = wall_ms if isinstance(wall_ms, int) else 0
    match event.get("event"):
        case "heard" if event.get("final") and (text := _text(event.get("text"))):
            return Line("caller", text, at)
        case "pressed" if digit := _text(event.get("digit")):
            return Line("caller", f"[pressed {digit}]", at)
        case "turn-ended":
            heard, said = _text(event.get("heardText")), _text(event.get("saidText"))
            cut = event.get("status") != "completed"
            unheard = said.removeprefix(heard).strip() if cut else ""
            if heard or unheard:
                return Line("bot", heard, at, cut, unheard)
    return None


def _text(value: object) -> str:
    return printable(value, MAX_LINE_CHARS) if isinstance(value, str) else ""
