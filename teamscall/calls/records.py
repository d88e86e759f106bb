"""What a call tells those who watch it: log, journal, live views.

Every record names its call. Records that quote what was said (``Heard``, ``Said``,
``TurnEnded``) are shown live and never written to a log; the journal keeps them only
where the operator and the call's recording status allow it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import msgspec

from teamscall.wire.events import Caller, Dialect, Direction, RecordingStatus

EndedBy = Literal["caller", "bot", "bridge", "gateway", "engine", "operator"]
TurnKind = Literal["greeting", "answer", "say", "digit", "reprompt", "filler", "goodbye"]
TurnStatus = Literal["completed", "interrupted", "cancelled", "failed"]
InterruptedBy = Literal["caller", "say", "operator", "gate"]
InterruptedWhy = Literal["speech", "words", "key", "vendor", "order"]
CarriedOnWhy = Literal["noise", "backchannel"]
CallMode = Literal["notify", "conversation"]
OutboundState = Literal[
    "requested",  # every gate let it pass
    "waiting",  # for a gateway's socket
    "ringing",  # the far side was asked
    "answered",
    "ended",
]
OutboundOutcome = Literal[
    "answered",  # and the call is over; its own record says how
    "no-answer",
    "busy",
    "declined",
    "refused",  # by a gate of ours, or by the far side
    "failed",
    "cancelled",  # by the operator, while it rang
]


class Decided(msgspec.Struct, frozen=True, tag=True):
    """An authorization decision, granted or denied."""

    call_id: str
    wall_ms: int
    dialect: Dialect
    authorized: bool
    strategy: str
    reason: str
    caller: Caller
    on: Literal["auth_request", "session_start"]
    address: str = ""


class CallOpened(msgspec.Struct, frozen=True, tag=True):
    """The session is up."""

    call_id: str
    wall_ms: int
    dialect: Dialect
    direction: Direction
    caller: Caller
    address: str = ""
    engine: str = ""


class GateChanged(msgspec.Struct, frozen=True, tag=True):
    """The recording gate. Closed: nothing of the caller's media is processed."""

    call_id: str
    wall_ms: int
    open: bool
    status: RecordingStatus | None


class RecordingSeen(msgspec.Struct, frozen=True, tag=True):
    """The call's recording status, whether it gates anything or not; StandIn alone tells it.

    ``utterance``: the latest that may have begun by then, so that what was said before a
    change is known from what was said after it.
    """

    call_id: str
    wall_ms: int
    status: RecordingStatus
    utterance: int


class Heard(msgspec.Struct, frozen=True, tag=True):
    """What the caller said: partial, then final."""

    call_id: str
    wall_ms: int
    utterance: int
    text: str
    final: bool


class TurnBegan(msgspec.Struct, frozen=True, tag=True):
    """The bot is about to answer."""

    call_id: str
    wall_ms: int
    turn: int
    kind: TurnKind


class Said(msgspec.Struct, frozen=True, tag=True):
    """More of what the bot says, as it is thought."""

    call_id: str
    wall_ms: int
    turn: int
    delta: str


class TurnLatency(msgspec.Struct, frozen=True):
    """Milliseconds from the caller's last voiced frame; None: that stage did not occur."""

    endpoint_ms: float | None = None  # the pause was long enough
    transcript_ms: float | None = None  # the final transcript came
    first_text_ms: float | None = None  # the first word of the answer
    first_audio_ms: float | None = None  # the first sound of the answer
    first_frame_ms: float | None = None  # the first frame was given to the socket


class Usage(msgspec.Struct, frozen=True):
    """What one stage used of a model, as its vendor counts it; audio in seconds.

    ``input_tokens`` includes ``cached_tokens``; tokens of audio are counted again in their
    own fields. ``cost`` is None without a price for the model, in ``currency`` otherwise.
    """

    stage: str
    model: str
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    audio_input_tokens: int = 0
    audio_output_tokens: int = 0
    audio_in_s: float = 0.0
    audio_out_s: float = 0.0
    characters: int = 0
    cost: float | None = None
    currency: str = ""


class TurnEnded(msgspec.Struct, frozen=True, tag=True):
    """A turn is over: what was said of it, and what of that was heard.

    ``usage``: what was known to be used for it by then.
    """

    call_id: str
    wall_ms: int
    turn: int
    kind: TurnKind
    status: TurnStatus
    said_text: str
    heard_text: str  # what the playout ledger says the caller heard
    said_ms: int
    heard_ms: int
    latency: TurnLatency
    usage: tuple[Usage, ...] = ()


class Interrupted(msgspec.Struct, frozen=True, tag=True):
    """Barge-in: who stopped a turn, why, and how long after the onset it was flushed.

    ``why``: ``speech`` by the sound alone, ``words`` once they were recognised, ``key``,
    ``vendor`` when the engine's own detection heard it first, ``order`` otherwise.
    """

    call_id: str
    wall_ms: int
    turn: int
    by: InterruptedBy
    heard_ms: int
    onset_to_flush_ms: float
    why: InterruptedWhy = "order"
    onset_to_detected_ms: float | None = None  # the playout was paused by then


class CarriedOn(msgspec.Struct, frozen=True, tag=True):
    """A turn that the caller's voice had stopped goes on where it was stopped.

    ``why``: it was a ``noise``, or a ``backchannel`` ("mhm").
    """

    call_id: str
    wall_ms: int
    turn: int
    why: CarriedOnWhy
    stopped_ms: float


class Pressed(msgspec.Struct, frozen=True, tag=True):
    """A key. The digit is shown live, never logged (it may be a PIN)."""

    call_id: str
    wall_ms: int
    digit: str


class ParticipantsSeen(msgspec.Struct, frozen=True, tag=True):
    """How many humans are in the call."""

    call_id: str
    wall_ms: int
    count: int


class EngineTrouble(msgspec.Struct, frozen=True, tag=True):
    """An engine degraded or failed; ``detail`` is safe to log."""

    call_id: str
    wall_ms: int
    stage: str
    detail: str
    fatal: bool


class CallCounters(msgspec.Struct, frozen=True):
    """What went through a call."""

    frames_in: int = 0
    frames_out: int = 0
    dropped_in: int = 0  # malformed, duplicate, early
    gated_in: int = 0  # dropped by the recording gate
    silence_in: int = 0  # frames of silence put in for a gap
    dropped_out: int = 0  # not sent: the peer was too slow
    underruns: int = 0  # the bot's speech paused because the engine was late
    turns: int = 0
    interruptions: int = 0
    carried_on: int = 0  # interruptions that were none
    speculated: int = 0  # answers begun before the caller had finished
    thrown_away: int = 0  # those of them that were thrown away unheard


class CallAnswered(msgspec.Struct, frozen=True, tag=True):
    """A call that we placed was answered: from here on somebody listens."""

    call_id: str
    wall_ms: int


class OutboundProgress(msgspec.Struct, frozen=True, tag=True):
    """How far a call is that we place. ``call_id`` is blank until the far side named it.

    ``outcome`` is there once it has ended. Says who is rung, not what is to be said.
    """

    call_id: str
    wall_ms: int
    attempt: str
    state: OutboundState
    target: str  # user:... or phone:...
    mode: CallMode
    dialect: Dialect | None = None  # None: not chosen yet
    outcome: OutboundOutcome | None = None
    detail: str = ""


class Audited(msgspec.Struct, frozen=True, tag=True):
    """Somebody used the operator's door: what they asked for and what came of it.

    ``call_id`` is blank where it was about no call. ``by``: through what, never a secret.
    """

    call_id: str
    wall_ms: int
    action: str
    by: str
    result: str  # "ok", or the error's name
    detail: str = ""


class AudioLevels(msgspec.Struct, frozen=True, tag=True):
    """How loud both sides were in the last fifth of a second; RMS in dBFS, -120 is silence.

    Told only while somebody watches a meter (``Switchboard.measure_levels``); never written
    anywhere. ``caller_dbfs`` is None while the caller is not listened to.
    """

    call_id: str
    wall_ms: int
    caller_dbfs: float | None
    bot_dbfs: float


class CallClosed(msgspec.Struct, frozen=True, tag=True):
    """The final record of a call. The first reason won."""

    call_id: str
    wall_ms: int
    reason: str
    ended_by: EndedBy
    duration_ms: int
    counters: CallCounters
    detail: str = ""
    usage: tuple[Usage, ...] = ()  # of the whole call


CallRecord = (
    Decided
    | CallOpened
    | GateChanged
    | RecordingSeen
    | Heard
    | TurnBegan
    | Said
    | TurnEnded
    | Interrupted
    | CarriedOn
    | Pressed
    | ParticipantsSeen
    | EngineTrouble
    | CallAnswered
    | OutboundProgress
    | Audited
    | AudioLevels
    | CallClosed
)

Watch = Callable[[CallRecord], None]
