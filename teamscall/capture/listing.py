"""A capture's records one after the other, for people and for jq.

Owns which leg a record is of. Pure.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import msgspec

from teamscall.capture import codec
from teamscall.capture.admitting import admissions_of, asked
from teamscall.capture.eliding import kind_of
from teamscall.capture.reader import Capture
from teamscall.capture.records import Closed, Did, Dropped, Frame, Header, Record, Step
from teamscall.text import printable

Leg = Literal[
    "gateway",  # raw messages
    "engine",  # the engine's events, and what it was told
    "call",  # what else the conversation was given and returned
]
LONGEST_VALUE = 48  # characters of one value on a line
LONGEST_LINE = 200


class Entry(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """One record; ``at`` in seconds since the conversation began.

    ``way``: ``in`` is towards the bridge or the conversation. ``message``: the wire's JSON
    as it is; ``text`` of what is no JSON. ``elided``: bytes that were left out.
    """

    at: float
    leg: Leg
    way: Literal["in", "out"]
    name: str
    bytes: int = 0
    elided: int = 0
    index: int | None = None
    side: str = ""
    message: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    text: str | None = None
    fields: Mapping[str, Any] | None = None


def entries(
    capture: Capture, *, leg: Leg | None = None, start: float = -math.inf, end: float = math.inf
) -> Iterator[Entry]:
    """The records of one leg, or all, between two seconds of the call; first the decisions
    that led to it.

    Raises:
        CaptureError: these cannot be read.
    """
    for entry in itertools.chain(_admissions(capture.header), _records(capture)):
        if start <= entry.at <= end and leg in (None, entry.leg):
            yield entry


def _admissions(header: Header) -> Iterator[Entry]:
    for admission in admissions_of(header):
        cause = asked(admission, header.began)
        decision = msgspec.to_builtins(admission.decision)
        fields = {**decision, "on": admission.on, **msgspec.json.decode(cause.body)}
        at = round(cause.at_s, 6)
        yield Entry(at=at, leg="call", way="out", name="CallerDecided", fields=fields)


def _records(capture: Capture) -> Iterator[Entry]:
    at = 0.0
    for record in capture.records:
        entry = _entry(record, capture.header.began, at)
        if entry is not None:
            at = entry.at
            yield entry


def _entry(record: Record, began: float, at: float) -> Entry | None:
    match record:
        case Frame():
            message, text = _as_json(record.text)
            return Entry(
                at=round(record.at - began, 6),
                leg="gateway",
                way=record.way,
                name=kind_of(record.text),
                bytes=len(record.text),
                elided=record.elided,
                index=record.index,
                side=record.side,
                message=message,
                text=text,
            )
        case Step(now=now, event=event):
            at = round(now - began, 6)
            if event is None:  # the frame before it says it all
                return Entry(at=at, leg="call", way="in", name="given", index=record.frame)
            leg: Leg = "engine" if record.source == "engine" else "call"
            elided = sum(event.elided.values())
            return Entry(
                at=at, leg=leg, way="in", name=event.name, elided=elided, fields=event.fields
            )
        case Did(name=name, fields=fields):
            return Entry(
                at=at,
                leg="engine" if codec.is_engine_command(name) else "call",
                way="out",
                name=name,
                elided=sum(record.elided.values()),
                fields=fields,
            )
        case Dropped():
            lost = {"count": record.count, "why": record.why}
            at = round(record.at - began, 6)
            return Entry(at=at, leg="call", way="in", name="dropped", fields=lost)
        case Closed():
            at = round(record.at - began, 6)
            reason = {"reason": record.reason}
            return Entry(at=at, leg="call", way="out", name="closed", fields=reason)
        case Header():
            return None


def _as_json(text: bytes) -> tuple[msgspec.Raw | msgspec.UnsetType, str | None]:
    """As it stands where it is one JSON value, else as text."""
    try:
        msgspec.json.decode(text)
        text.decode()
    except (msgspec.DecodeError, ValueError, RecursionError):
        return msgspec.UNSET, text.decode("utf-8", "replace")
    return msgspec.Raw(text), None


def line(entry: Entry) -> str:
    """For a terminal: one safe line, long values as their length."""
    if entry.leg == "gateway":
        arrow = "=>" if entry.way == "out" else "->"
        told = entry.text or ""
        if isinstance(entry.message, msgspec.Raw):
            told = _told(msgspec.json.decode(entry.message))
    else:
        arrow = "<-" if entry.way == "out" else "  "
        told = _told(entry.fields or {})
        if entry.index is not None:
            told = f"frame {entry.index}"
    left = f"  ({entry.elided} bytes left out)" if entry.elided else ""
    who = f" [{entry.side}]" if entry.side else ""
    body = printable(f"{entry.name}{who} {told}", LONGEST_LINE)
    return f"{entry.at:z10.3f} {entry.leg:<7} {arrow} {body}{left}"


def _told(value: object) -> str:
    if not isinstance(value, Mapping):
        return _short(value)
    return " ".join(f"{k}={_short(v)}" for k, v in value.items() if k != "type")


def _short(value: object) -> str:
    if isinstance(value, bytes):
        return f"<{len(value)} bytes>"
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text if len(text) <= LONGEST_VALUE else f"<{len(text)} characters>"
