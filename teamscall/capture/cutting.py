"""Captures cut and put together: a part of one, two of one call. Pure.

Owns the clock that two sides of a call are brought to. What of a merged capture was the
other side's is marked by ``Frame.side``; the conversation's records are the bridge's.
"""

from __future__ import annotations

import collections
import hashlib
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from teamscall.capture.eliding import elide
from teamscall.capture.reader import Capture
from teamscall.capture.records import Closed, Did, Dropped, Frame, Header, Record, Step, moment
from teamscall.errors import CaptureError

TRIMMED: Final = "trimmed"


# --- a part ---------------------------------------------------------------------------


def trim(capture: Capture, start: float, end: float) -> tuple[Header, list[Record]]:
    """What happened between two seconds of the call; commands stay with their event.

    What was before is marked as missing: without it the rest cannot be replayed.

    Raises:
        CaptureError: nothing happened then.
    """
    began = capture.header.began
    kept: list[Record] = []
    before = after = 0
    referred = {
        record.frame
        for record in capture.records
        if isinstance(record, Step) and start <= record.now - began <= end
    }
    at = 0.0
    closed: Closed | None = None
    for record in capture.records:
        when = moment(record)
        at = at if when is None else when - began
        if isinstance(record, Closed):
            closed = record
        elif start <= at <= end or (isinstance(record, Frame) and record.index in referred):
            kept.append(record)
        elif at < start:
            before += 1
        else:
            after += 1
    if not kept:
        raise CaptureError(f"Nothing happened between {start:g} s and {end:g} s of the call.")
    if before:
        kept.insert(0, Dropped(began + max(start, 0.0), before, TRIMMED))
    if closed is not None and not after and closed.at - began <= end:
        last = closed
    else:
        last = Closed(max([began, *(m for r in kept if (m := moment(r)) is not None)]), TRIMMED)
    return capture.header, [*kept, last]


# --- two of one call ------------------------------------------------------------------


def merge(one: Capture, other: Capture) -> tuple[Header, list[Record]]:
    """Both sides of a call on the bridge's clock, or two parts of one capture.

    Raises:
        CaptureError: they are not of one call.
    """
    if one.header.call_id != other.header.call_id or one.header.dialect != other.header.dialect:
        raise CaptureError(
            "These are captures of different calls.", hint="`capture info` names the calls."
        )
    if one.header.side == other.header.side:
        return _parts(one, other)
    if one.header.side == "emulator":
        one, other = other, one
    return _sides(one, other)


def _parts(one: Capture, other: Capture) -> tuple[Header, list[Record]]:
    if one.header != other.header:
        raise CaptureError("Both were made by the same side, and not of the same recording.")
    early, late = sorted((one, other), key=lambda part: _begin(part).at)
    first, second = (_by_content(part) for part in (early, late))
    begin = _begin(late)
    alone = [group for key, group in first.items() if key not in second]
    found = sum(len(group) for group in alone if _starts(group) < begin.at)
    missing = begin.count - _begin(early).count - found
    marks: list[list[Record]] = []
    if _begin(early).count:
        marks.append([_begin(early)])
    if missing > 0:
        marks.append([Dropped(begin.at, missing, TRIMMED)])
    groups = sorted([*marks, *alone, *second.values()], key=_starts)
    records = [record for group in groups for record in group]
    ends = [part.records[-1] for part in (one, other) if part.records]
    closed = [end for end in ends if isinstance(end, Closed)]
    if closed:
        records.append(max(closed, key=lambda end: (end.reason != TRIMMED, end.at)))
    return one.header, records


def _by_content(capture: Capture) -> dict[bytes, list[Record]]:
    """What happened, without the marks of a trim and the end."""
    groups: dict[bytes, list[Record]] = {}
    for group in _groups(capture.records):
        first = group[0]
        if isinstance(first, Closed) or (isinstance(first, Dropped) and first.why == TRIMMED):
            continue
        groups.setdefault(msgspec.msgpack.encode(group), group)
    return groups


def _begin(capture: Capture) -> Dropped:
    """Where a part begins, and how much of the call is missing before it."""
    first = capture.records[0] if capture.records else None
    if isinstance(first, Dropped) and first.why == TRIMMED:
        return first
    return Dropped(capture.header.began, 0, TRIMMED)


def _sides(bridge: Capture, emulator: Capture) -> tuple[Header, list[Record]]:
    shift = clock_shift(bridge, emulator)
    index = 1 + max((frame.index for frame in bridge.frames), default=-1)
    theirs = collections.deque(
        msgspec.structs.replace(
            frame, at=frame.at + shift, index=index + number, side=emulator.header.side
        )
        for number, frame in enumerate(emulator.frames)
    )
    records: list[Record] = []
    end: Closed | None = None
    last_seen = max((frame.at for frame in theirs), default=0.0)
    # Between an event and what came of it stands nothing else.
    for group in _groups(bridge.records):
        while theirs and theirs[0].at <= _starts(group):
            records.append(theirs.popleft())
        end = next((r for r in group if isinstance(r, Closed)), None)
        records += [r for r in group if not isinstance(r, Closed)]
    records += theirs
    if end is not None:
        records.append(Closed(max(end.at, last_seen), end.reason))
    header = bridge.header
    if header.content != "full" and emulator.header.content == "full":
        header = msgspec.structs.replace(header, content="full", why=emulator.header.why)
    return header, records


def clock_shift(bridge: Capture, emulator: Capture) -> float:
    """What is to be added to the emulator's times.

    A message leaves before it arrives: each that both saw bounds the shift, from one side
    or the other. Between the bounds, the middle. Without any, what the wall clocks say.
    """
    most, least = float("inf"), -float("inf")
    ours, theirs = _sightings(bridge), _sightings(emulator)
    for key, times in theirs.items():
        if len(times) != len(ours.get(key, ())):
            continue
        for here, there in zip(ours[key], times, strict=True):
            if key[0] == "in":
                most = min(most, here - there)
            else:
                least = max(least, here - there)
    if most < float("inf") and least > -float("inf"):
        return (most + least) / 2
    if most < float("inf"):
        return most
    if least > -float("inf"):
        return least
    a, b = bridge.header, emulator.header
    return (a.began - a.wall_ms / 1000) - (b.began - b.wall_ms / 1000)


def _sightings(capture: Capture) -> dict[tuple[str, bytes], list[float]]:
    """When each message was seen; one and the same whether or not its content is there."""
    seen: dict[tuple[str, bytes], list[float]] = collections.defaultdict(list)
    for frame in capture.frames:
        digest = hashlib.sha256(elide(frame.text)[0]).digest()
        seen[frame.way, digest].append(frame.at)
    return seen


def _groups(records: Iterable[Record]) -> list[list[Record]]:
    """An event with all that came of it, or one record that is of none."""
    groups: list[list[Record]] = []
    for record in records:
        follows = isinstance(record, Did) or (isinstance(record, Frame) and record.way == "out")
        if follows and groups and isinstance(groups[-1][0], Step):
            groups[-1].append(record)
        else:
            groups.append([record])
    return groups


def _starts(group: Sequence[Record]) -> float:
    return moment(group[0]) or 0.0
