"""What a capture holds: the records of format version 1.

A record is written as an array with its tag first. Fields may be added at the end with a
default; anything else is another format version. Structs only.

``way`` is always the bridge's: ``in`` is what the gateway said, ``out`` what the bridge
said, whichever side made the capture. Times are monotonic seconds of the header's side,
exact float64, so that a replay gives the same floats.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from teamscall.wire.events import Dialect, Direction

FORMAT_VERSION = 1

Way = Literal["in", "out"]
Source = Literal["gateway", "engine", "shell"]
Side = Literal["bridge", "emulator"]
Content = Literal[
    "full",  # media and words, but for records with ``elided``
    "timing",  # their lengths only
]
DropWhy = Literal[
    "queue",  # the disk is too slow
    "rate",  # more per second than any call has
    "size",  # the file has reached its limit
    "unwritable",  # it has a value that the format has not
    "trimmed",  # somebody cut the capture here
]

# The name of the first step's event: ``Conversation.open``.
OPEN = "Open"
# ``Step.frame`` of an event that came from no frame.
NO_FRAME = -1


# Records are trees without cycles: untracked by the garbage collector, which would go through
# the million of an hour's call again and again.
class _Record(msgspec.Struct, frozen=True, array_like=True, gc=False):
    pass


class Header(_Record, frozen=True, tag="header"):
    """What was captured. The first record of every file.

    ``wall_ms`` is the epoch time of ``began``, when the conversation began. ``setup`` and
    ``settings`` are msgpack of the conversation's own, empty where there was none (the
    emulator's side); see ``codec``. ``config_digest``: SHA-256 of the settings that shape
    the conversation, as hex. ``why``: why media are in it; empty for ``timing``.
    ``admissions``: msgpack of the decisions on this call before it began; see ``admitting``.
    """

    format: int
    teamscall: str
    dialect: Dialect
    call_id: str
    direction: Direction
    side: Side
    content: Content
    why: str
    wall_ms: int
    began: float
    config_digest: str = ""
    engine: str = ""
    setup: bytes = b""
    settings: bytes = b""
    admissions: bytes = b""


class Frame(_Record, frozen=True, tag="frame"):
    """One WebSocket text message, as on the wire.

    ``index`` counts the frames of a call from 0, dropped ones too. ``elided``: so many
    bytes of ``text`` were replaced by nothing. ``side``: who saw it, where that is not the
    header's (a merged capture).
    """

    at: float
    way: Way
    text: bytes
    elided: int
    index: int
    side: Literal["", "bridge", "emulator"] = ""


class Event(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A struct by its class's name and its fields; ``elided``: the lengths in bytes of the
    fields that were replaced by nothing."""

    name: str
    fields: Mapping[str, Any]
    elided: Mapping[str, int] = {}


class Step(_Record, frozen=True, tag="step"):
    """One event that the conversation was given at ``now``.

    A gateway's has the ``frame`` it was decoded from (one message is one event) and no
    ``event``; all others, and a gateway's that is not known any more, are in ``event``.
    """

    now: float
    source: Source
    frame: int
    event: Event | None


class Did(_Record, frozen=True, tag="did"):
    """One thing that the conversation returned for the step before it, in order.

    Of messages to the gateway there is the name alone: the ``out`` frame right after it is
    theirs, if there was a socket and the dialect has such a message. Of ``Hear`` there are
    ``length`` and ``crc32`` of its PCM.
    """

    name: str
    fields: Mapping[str, Any]
    elided: Mapping[str, int] = {}


class Dropped(_Record, frozen=True, tag="dropped"):
    """So many records are missing here."""

    at: float
    count: int
    why: DropWhy


class Closed(_Record, frozen=True, tag="closed"):
    """The end. Always the last record of a whole file; ``reason`` is the call's."""

    at: float
    reason: str


Record = Header | Frame | Step | Did | Dropped | Closed


def moment(record: Record) -> float | None:
    """When it happened; None for what has no time of its own."""
    match record:
        case Frame(at=at) | Dropped(at=at) | Closed(at=at) | Step(now=at) | Header(began=at):
            return at
        case _:
            return None
