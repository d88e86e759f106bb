"""What is told of calls: the messages, as a receiver reads them.

Structs only; field names are camelCase in JSON. ``encode`` is the whole of the format.
"""

from __future__ import annotations

import datetime
import secrets

import msgspec

from teamscall.calls.records import (
    CallMode,
    EndedBy,
    OutboundOutcome,
    TurnKind,
    TurnStatus,
)
from teamscall.config.entries import EventName
from teamscall.wire.events import Dialect, Direction

Fields = dict[str, str | int | float | None]
"""A record's own fields, in camelCase."""


class Caller(msgspec.Struct, frozen=True, rename="camel"):
    """Who calls, or is called; blank where it is not known."""

    user_id: str
    tenant_id: str
    display_name: str
    phone_number: str


class Started(msgspec.Struct, frozen=True, rename="camel"):
    """``call.started``: the session is up; a call that we placed may still ring."""

    call_id: str
    dialect: Dialect
    direction: Direction
    caller: Caller
    engine: str


class Answered(msgspec.Struct, frozen=True, rename="camel"):
    """``call.answered``: somebody listens to a call that we placed."""

    call_id: str


class Turn(msgspec.Struct, frozen=True, rename="camel"):
    """``call.turn``: a turn of the bot's is over.

    ``latency`` has the milliseconds from the caller's last voiced frame to each stage, null
    where one did not occur. The texts are absent unless the webhook asks for them and they
    may be kept.
    ``caller_text``: what the caller said before it, since the last turn that was told.
    """

    call_id: str
    turn: int
    kind: TurnKind
    status: TurnStatus
    said_ms: int
    heard_ms: int
    latency: Fields
    caller_text: str | msgspec.UnsetType = msgspec.UNSET
    said_text: str | msgspec.UnsetType = msgspec.UNSET
    heard_text: str | msgspec.UnsetType = msgspec.UNSET


class Spread(msgspec.Struct, frozen=True, rename="camel"):
    """A stage's milliseconds over the turns of a call in which it occurred."""

    p50_ms: float
    p95_ms: float
    turns: int


class Stages(msgspec.Struct, frozen=True, rename="camel"):
    """The spread of each stage; null: it never occurred."""

    endpoint: Spread | None = None
    transcript: Spread | None = None
    first_text: Spread | None = None
    first_audio: Spread | None = None
    first_frame: Spread | None = None


class Ended(msgspec.Struct, frozen=True, rename="camel"):
    """``call.ended``: the summary of a call. ``usage``: of each model, by stage."""

    call_id: str
    dialect: Dialect | None
    direction: Direction | None
    caller: Caller | None
    reason: str
    ended_by: EndedBy
    detail: str
    duration_ms: int
    answered: bool
    turns: int
    interruptions: int
    engine_errors: int
    latency: Stages
    counters: Fields
    usage: tuple[Fields, ...]


class OutboundEnded(msgspec.Struct, frozen=True, rename="camel"):
    """``outbound.ended``: what became of placing a call."""

    attempt: str
    call_id: str
    to: str
    mode: CallMode
    dialect: Dialect | None
    outcome: OutboundOutcome | None
    detail: str


class UndeliveredMessage(msgspec.Struct, frozen=True, rename="camel"):
    """``outbound.undelivered``: a message that nobody heard. Times are ISO 8601."""

    attempt: str
    call_id: str
    to: str
    message: str
    outcome: str
    detail: str
    asked_at: str
    ended_at: str


Data = Started | Answered | Turn | Ended | OutboundEnded


class Event(msgspec.Struct, frozen=True):
    """One thing that happened, and when. ``quiet`` is the same without what was said."""

    event_id: str
    type: EventName
    wall_ms: int
    data: Data

    @property
    def quiet(self) -> Event:
        if not isinstance(self.data, Turn):
            return self
        unset = msgspec.UNSET
        data = msgspec.structs.replace(
            self.data, caller_text=unset, said_text=unset, heard_text=unset
        )
        return msgspec.structs.replace(self, data=data)


class _Envelope(msgspec.Struct, frozen=True):
    id: str
    type: str
    timestamp: str
    data: Data | UndeliveredMessage


def fields(record: msgspec.Struct) -> Fields:
    """Every field of a flat record, whichever it has."""
    return {_camel(name): value for name, value in msgspec.structs.asdict(record).items()}


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def new_id() -> str:
    """An id that no other event has; all deliveries of one event carry the same."""
    return "evt_" + secrets.token_hex(12)


def iso(wall_ms: int) -> str:
    """Epoch milliseconds as ``2026-11-21T10:54:07.123Z``."""
    moment = datetime.datetime.fromtimestamp(wall_ms / 1000, datetime.UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def encode(event_id: str, type_: str, wall_ms: int, data: Data | UndeliveredMessage) -> bytes:
    """One JSON object, on one line."""
    return msgspec.json.encode(_Envelope(event_id, type_, iso(wall_ms), data))
