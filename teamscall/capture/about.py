"""What a capture holds, in numbers. Pure."""

from __future__ import annotations

from collections import Counter

import msgspec

from teamscall.capture.admitting import admissions_of
from teamscall.capture.eliding import kind_of
from teamscall.capture.reader import Capture
from teamscall.capture.records import (
    Closed,
    Content,
    Did,
    Dropped,
    Frame,
    Side,
    Step,
    moment,
)
from teamscall.wire.events import Dialect, Direction


class About(msgspec.Struct, frozen=True, rename="camel"):
    """One capture. ``duration_s``: from the conversation's start to the last record.

    ``messages``: by way and type, as in ``in audio.frame``. ``reason``: why the call ended;
    None where the file ends before it. ``admissions``: decisions before the call, ``refused``
    of them.
    """

    path: str
    format: int
    teamscall: str
    dialect: Dialect
    call_id: str
    direction: Direction
    side: Side
    content: Content
    why: str
    engine: str
    wall_ms: int
    duration_s: float
    reason: str | None
    config_digest: str
    admissions: int
    refused: int
    bytes: int
    good_bytes: int
    damage: str | None
    frames_in: int
    frames_out: int
    steps: int
    commands: int
    elided: int
    dropped: int
    messages: dict[str, int]


def about(capture: Capture) -> About:
    """Count it.

    Raises:
        CaptureError: the decisions before the call cannot be read.
    """
    header = capture.header
    admissions = admissions_of(header)
    messages: Counter[str] = Counter()
    ways: Counter[str] = Counter()
    steps = commands = 0
    dropped = elided = 0
    last, reason = header.began, None
    for record in capture.records:
        last = max(last, moment(record) or header.began)
        match record:
            case Frame(way=way, text=text):
                ways[way] += 1
                messages[f"{way} {kind_of(text)}"] += 1
                elided += record.elided > 0
            case Step(event=event):
                steps += 1
                elided += event is not None and bool(event.elided)
            case Did():
                commands += 1
                elided += bool(record.elided)
            case Dropped(count=count):
                dropped += count
            case Closed():
                reason = record.reason
            case _:
                pass
    return About(
        path=str(capture.path),
        format=header.format,
        teamscall=header.teamscall,
        dialect=header.dialect,
        call_id=header.call_id,
        direction=header.direction,
        side=header.side,
        content=header.content,
        why=header.why,
        engine=header.engine,
        wall_ms=header.wall_ms,
        duration_s=round(last - header.began, 3),
        reason=reason,
        config_digest=header.config_digest,
        admissions=len(admissions),
        refused=sum(not one.decision.authorized for one in admissions),
        bytes=capture.file_bytes,
        good_bytes=capture.good_bytes,
        damage=capture.damage,
        frames_in=ways["in"],
        frames_out=ways["out"],
        steps=steps,
        commands=commands,
        elided=elided,
        dropped=dropped,
        messages=dict(messages.most_common()),
    )
