"""What is known of a call as a whole, in words. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from teamscall.capture.reader import Capture
from teamscall.capture.records import Did, Header
from teamscall.capture.report.parts import Fact
from teamscall.capture.sound import Tracks
from teamscall.text import printable
from teamscall.wire.events import Caller

DIALECTS = {"csharp": "the C# gateway", "standin": "StandIn"}


class Counts(msgspec.Struct, frozen=True):
    """What only a pass over all records knows. ``reason``: why the call ended; None: the
    capture ends before."""

    frames_in: int
    frames_out: int
    dropped: int
    reason: str | None


def title(header: Header, caller: Caller) -> str:
    """Whose call it is, in a few words."""
    who = caller.display_name or caller.user_principal_name or caller.phone_number
    way = "to" if header.direction == "outbound" else "from"
    return f"Call {way} {printable(who, 80) or 'an unnamed caller'}"


def notes(capture: Capture, counts: Counts, sound: Tracks | None) -> tuple[str, ...]:
    """What whoever looks must know: damage, and what is not in the capture."""
    out = []
    if capture.damage is not None:
        out.append(f"The capture is damaged; it was read as far as it is whole: {capture.damage}.")
    if counts.dropped:
        out.append(f"{counts.dropped} records are missing from it.")
    if capture.header.side == "emulator":
        out.append("Made by an emulator: the bridge's words, turns and decisions are not in it.")
    if sound is None:
        out.append("There is no sound in it: bars stand for when the bot was heard.")
    elif sound.left_out:
        out.append(
            f"{sound.left_out} frames were captured without their audio; they are drawn as silence."
        )
    return tuple(out)


def facts(capture: Capture, counts: Counts, caller: Caller) -> tuple[Fact, ...]:
    """Label and value, in the order they are shown."""
    return tuple(
        Fact(label, printable(value, 300)) for label, value in _facts(capture, counts, caller)
    )


def _facts(capture: Capture, counts: Counts, caller: Caller) -> Iterator[tuple[str, str]]:
    header = capture.header
    opened = _last(capture, "CallOpened")
    closed = _last(capture, "CallClosed")
    names = (caller.display_name, caller.user_principal_name, caller.phone_number)
    yield "who", ", ".join(name for name in names if name) or "unnamed"
    ids = [f"user {caller.user_id}"] if caller.user_id else []
    ids += [f"tenant {caller.tenant_id}"] if caller.tenant_id else []
    if ids:
        yield "identity", ", ".join(ids)
    yield "call id", header.call_id
    yield "call", f"{header.direction}, {DIALECTS.get(header.dialect, header.dialect)}"
    if address := opened.get("address"):
        yield "from", str(address)
    reason = counts.reason or "unknown: the capture ends before"
    by = f", by the {closed['ended_by']}" if closed.get("ended_by") else ""
    detail = f" ({closed['detail']})" if closed.get("detail") else ""
    yield "ended", f"{reason}{by}{detail}"
    if engine := (header.engine or opened.get("engine")):
        yield "engine", str(engine)
    counters = closed.get("counters")
    if isinstance(counters, dict):
        got = {name: counters.get(name, 0) for name in _COUNTERS}
        yield "frames", ", ".join(f"{got[name]} {label}" for name, label in _COUNTERS.items())
    else:
        yield "messages", f"{counts.frames_in} in, {counts.frames_out} out"
    holds = "audio and words" if header.content == "full" else "structure and timing only"
    yield "capture", f"{holds}, by the {header.side} of teamscall {header.teamscall}"
    if header.why:
        yield "kept because", header.why
    if header.config_digest:
        yield "configuration", header.config_digest[:16]


_COUNTERS = {
    "frames_in": "in",
    "frames_out": "out",
    "dropped_in": "dropped in",
    "dropped_out": "dropped out",
    "gated_in": "gated",
    "silence_in": "filled with silence",
    "underruns": "underruns",
}


def _last(capture: Capture, name: str) -> dict[str, Any]:
    for record in reversed(capture.records):
        if isinstance(record, Did) and record.name == name:
            return dict(record.fields)
    return {}
