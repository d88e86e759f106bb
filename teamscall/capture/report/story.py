"""A call told from its beginning to its end: what both sides said, and what happened. Pure."""

from __future__ import annotations

from typing import Literal

import msgspec

from teamscall.capture.report.parts import Partial, Picture

# Events that everybody who reads a conversation must know of.
_TOLD = frozenset({"barge-in", "carried-on", "digit", "image-shown", "image-seen", "link"})
_TOLD |= {"trouble", "missing", "end"}


class Told(msgspec.Struct, frozen=True):
    """One line. ``text`` was heard, ``cut`` was said and heard by nobody."""

    at: float
    end: float
    who: Literal["caller", "bot", "event"]
    text: str
    cut: str = ""
    note: str = ""
    kind: str = ""
    partials: tuple[Partial, ...] = ()


def story(picture: Picture) -> tuple[Told, ...]:
    """In the order of time."""
    lines: list[Told] = []
    for one in picture.utterances:
        notes = "" if one.final and one.text else "no words in the capture"
        if one.text and not one.final:
            notes = "never final"
        earlier = tuple(p for p in one.partials if p.text and p.text != one.text)
        lines.append(Told(one.start, one.end, "caller", one.text, note=notes, partials=earlier))
    for turn in picture.turns:
        start = turn.audible[0].start if turn.audible else turn.began
        end = turn.audible[-1].end if turn.audible else start
        note = turn.kind if turn.status == "completed" else f"{turn.kind}, {turn.status}"
        if not turn.said and not turn.audible:
            note += ", silent"
        lines.append(Told(start, end, "bot", turn.heard, cut=turn.cut, note=note))
    for mark in picture.marks:
        if mark.kind in _TOLD:
            lines.append(Told(mark.at, mark.at, "event", mark.text, kind=mark.kind))
    return tuple(sorted(lines, key=lambda line: line.at))
