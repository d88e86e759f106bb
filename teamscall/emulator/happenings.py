"""What an emulated call tells those who watch it live.

Owns the event structs only. They are JSON-able, versioned by :data:`VERSION`, and carry no
secret; peer text in them has gone through ``text.printable``.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from teamscall.text import kebab
from teamscall.wire.events import Dialect, RecordingStatus

VERSION = 1


class _Event(msgspec.Struct, frozen=True, tag_field="event", tag=kebab):
    at_ms: int  # since the dial began


class Connected(_Event, frozen=True):
    """The upgrade was accepted."""

    url: str
    call_id: str
    dialect: Dialect
    handshake_ms: float


class Authorized(_Event, frozen=True):
    """C#: the bridge's answer to ``auth_request``."""

    authorized: bool
    strategy: str
    reason: str
    latency_ms: float
    skew_ms: int  # the bridge's clock minus ours


class Waiting(_Event, frozen=True):
    """Somebody can be rung now: where the bridge may ask, and on which socket of ours."""

    dialect: Dialect
    listening: str  # base URL of the control endpoint, or ""
    socket: str  # where a gateway socket is held open, or ""


class Ringing(_Event, frozen=True):
    """The bridge asked for a call; it rings (or is about to be turned away)."""

    call_id: str
    target_type: str
    target: str
    tenant_id: str
    message: str


class RingStopped(_Event, frozen=True):
    """Nobody picked up: who stopped the ringing, and why."""

    by: str
    reason: str
    rang_ms: int


class PickedUp(_Event, frozen=True):
    """The call was answered."""

    rang_ms: int
    late: bool  # after the bridge had stopped it, on purpose


class OutcomeTold(_Event, frozen=True):
    """StandIn: the outcome was posted to the bridge; status 0: nothing answered."""

    outcome: str
    status: int


class Started(_Event, frozen=True):
    """The session start was sent; audio flows."""


class Levels(_Event, frozen=True):
    """Ten times a second, for meters."""

    caller_dbfs: float
    bot_dbfs: float
    muted: bool
    sent_frames: int
    received_frames: int
    buffered_ms: int  # bot audio received and not yet played
    late_max_ms: float
    gaps: int
    recording: RecordingStatus | None
    participants: int | None


class CallerSpoke(_Event, frozen=True):
    """The caller became audible or silent."""

    speaking: bool


class BotSpoke(_Event, frozen=True):
    """The bot became audible or silent, as a human on the far side hears it."""

    speaking: bool
    latency_ms: float | None = None  # from the caller's last voiced frame, when it starts


class Flushed(_Event, frozen=True):
    """The bot said: drop what is queued."""

    dropped_ms: int


class Pressed(_Event, frozen=True):
    """A digit was sent."""

    digit: str


class Switched(_Event, frozen=True):
    """Mute, recording status or participants changed on our side."""

    muted: bool
    recording: RecordingStatus | None
    participants: int | None


class Expressed(_Event, frozen=True):
    """StandIn: the avatar's face."""

    emotion: str


class Shown(_Event, frozen=True):
    """StandIn: a picture for the bot's tile."""

    mime: str
    bytes: int
    caption: str


class Marked(_Event, frozen=True):
    """StandIn: lip-sync marks for one utterance."""

    marks: int


class Answered(_Event, frozen=True):
    """A ping was answered."""

    rtt_ms: float


class InputEnded(_Event, frozen=True):
    """The source has nothing more; silence is sent from here on."""


class LinkLost(_Event, frozen=True):
    """The socket was dropped on purpose (a resume follows)."""


class LinkResumed(_Event, frozen=True):
    """C#: a new socket took the call over."""

    last_received_seq: int


class Warned(_Event, frozen=True):
    """Something that an operator should look at."""

    text: str


class Ended(_Event, frozen=True):
    """The call is over."""

    outcome: str
    reason: str


EmulatorEvent = (
    Connected
    | Authorized
    | Waiting
    | Ringing
    | RingStopped
    | PickedUp
    | OutcomeTold
    | Started
    | Levels
    | CallerSpoke
    | BotSpoke
    | Flushed
    | Pressed
    | Switched
    | Expressed
    | Shown
    | Marked
    | Answered
    | InputEnded
    | LinkLost
    | LinkResumed
    | Warned
    | Ended
)

OnEvent = Callable[[EmulatorEvent], None]
