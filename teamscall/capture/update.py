"""Accepts what came: the expected side of a capture is rewritten, its inputs are kept.

Owns what of a file is input. Refuses to know files.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from teamscall import __version__
from teamscall.calls.events import Command, Finish, LinkLost, LinkResumed
from teamscall.capture import codec
from teamscall.capture.admitting import packed
from teamscall.capture.reader import Capture
from teamscall.capture.recording import Recording, encode
from teamscall.capture.records import NO_FRAME, Closed, Did, Frame, Header, Record, Step
from teamscall.capture.replay import Replayed, first_mismatch


def updated(capture: Capture, recording: Recording, came: Replayed) -> tuple[Header, list[Record]]:
    """The header and the records of the new file. Where nothing differed they are the old
    ones, but for the numbers of frames."""
    reason: str | None = None
    records: list[Record] = []
    at = 0
    connected = True
    by_step = _by_step(recording, came)
    for step, given in enumerate(recording.given):
        records += capture.records[at : given.records.start]
        if isinstance(given.event, LinkLost | LinkResumed):
            connected = isinstance(given.event, LinkResumed)
        same = first_mismatch(given.expected, came.came[step]) is None
        records += (
            [capture.records[index] for index in given.records]
            if same and given.misread is None
            else _anew(capture, given.at, given.records, by_step[step], recording, connected)
        )
        at = given.records.stop
    records += capture.records[at:]
    for act in came.acts:
        if isinstance(act.command, Finish):
            reason = act.command.reason
    if reason is not None and isinstance(records[-1], Closed):
        records[-1] = msgspec.structs.replace(records[-1], reason=reason)
    header = msgspec.structs.replace(capture.header, teamscall=__version__)
    if came.admitted.differing:
        decisions = packed(came.admitted.admissions)
        header = msgspec.structs.replace(header, admissions=decisions)
    return header, list(_numbered(records))


def _by_step(recording: Recording, came: Replayed) -> list[list[Command]]:
    commands = iter(came.acts)
    return [[next(commands).command for _ in moments] for moments in came.came]


def _anew(
    capture: Capture,
    at: float,
    where: range,
    commands: Sequence[Command],
    recording: Recording,
    connected: bool,
) -> Iterator[Record]:
    yield capture.records[where.start]
    step = capture.records[where.start]
    old = [capture.records[index] for index in where[1:]]
    elide = any(isinstance(record, Did) and record.elided for record in old)
    elide = elide or (isinstance(step, Step) and step.event is not None and bool(step.event.elided))
    for command in commands:
        did = codec.did(command, elide=elide)
        yield did
        if codec.is_wire_message(did.name) and connected:
            text = encode(command, recording.setup.dialect)  # type: ignore[arg-type]
            if text is not None:
                yield Frame(at, "out", b"" if elide else text, len(text) if elide else 0, 0)


def _numbered(records: Sequence[Record]) -> Iterator[Record]:
    """Frames counted anew, and the steps that refer to them."""
    numbers: dict[int, int] = {}
    count = 0
    for record in records:
        if isinstance(record, Frame):
            if record.way == "in":
                numbers[record.index] = count
            yield msgspec.structs.replace(record, index=count)
            count += 1
        elif isinstance(record, Step) and record.frame != NO_FRAME:
            yield msgspec.structs.replace(record, frame=numbers[record.frame])
        else:
            yield record
