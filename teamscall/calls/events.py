"""What the shell tells a conversation, and what a conversation asks of its shell.

The wire's and the engine's own events go in as they are; these are the rest. Structs
only.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from teamscall.calls.records import CallRecord, EndedBy
from teamscall.engines import base as engine
from teamscall.wire import events as wire

Phase = Literal["ringing", "live", "goodbye", "over"]


class Setup(msgspec.Struct, frozen=True):
    """What is known when a call starts."""

    call_id: str
    dialect: wire.Dialect
    direction: wire.Direction
    caller: wire.Caller
    address: str
    lead_ms: int
    engine_name: str
    turn_taking: engine.TurnTaking
    wall_ms: int  # epoch milliseconds at the start
    recording: wire.RecordingStatus | None = None
    opening: str = ""  # outbound: what to say once it is answered
    notify: bool = False  # outbound: hang up once the opening has been heard
    attempt: str = ""  # outbound: who asked for it


# --- in -------------------------------------------------------------------------------


class TimePassed(msgspec.Struct, frozen=True):
    """The instant of ``next_deadline`` has come."""


class LinkLost(msgspec.Struct, frozen=True):
    """The socket is gone; the call may be resumed (C# only)."""


class LinkResumed(msgspec.Struct, frozen=True):
    """The call goes on, on another socket. The gateway has our frames up to this one."""

    last_received_seq: int


class EndRequested(msgspec.Struct, frozen=True):
    """Somebody wants the call to end; ``goodbye`` is spoken first when not empty.

    ``after_speech``: not before what the bot says now has been heard.
    """

    reason: str
    by: EndedBy
    goodbye: str = ""
    detail: str = ""
    tell: bool = True  # whether the far side has to be told
    after_speech: bool = False


class SpeakRequested(msgspec.Struct, frozen=True):
    """The operator wants this said: after what the operator asked for before, instead of
    whatever else the bot is saying."""

    text: str


class MessageSeen(msgspec.Struct, frozen=True):
    """A message of this call that needs nothing but keeps it from being idle."""


# --- out ------------------------------------------------------------------------------


class Fill(msgspec.Struct, frozen=True):
    """Play the cached synthesis of ``text`` as ``turn``, or nothing when there is none. The
    engine is not told: it is thinking."""

    turn: int
    text: str


class Finish(msgspec.Struct, frozen=True):
    """The call is over: let go of everything. The last command there is."""

    reason: str
    by: EndedBy


Command = wire.ToGateway | engine.EngineCommand | CallRecord | Fill | Finish
