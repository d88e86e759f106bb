"""The dialect-neutral events: what both dialects decode to and encode from.

Past tense is what happened on the far side and reached us (``FromGateway``); the
imperative-looking rest is what the bridge says back (``ToGateway``). The emulator uses
the same structs the other way round. All are frozen; nothing here does I/O.

Audio is everywhere 16 kHz, 16-bit signed little-endian, mono PCM in ``bytes``.
"""

from __future__ import annotations

from typing import Literal

import msgspec

Dialect = Literal["standin", "csharp"]
Direction = Literal["inbound", "outbound"]
RecordingStatus = Literal["active", "inactive", "unknown"]
ProgressStatus = Literal["ringing", "answered", "failed", "busy", "no-answer"]
Outcome = Literal["answered", "no-answer", "declined", "busy", "failed"]
Emotion = Literal["neutral", "happy", "sad", "surprised", "thinking"]

SAMPLE_RATE = 16_000  # Hz, both dialects
FRAME_MS = 20
FRAME_SAMPLES = SAMPLE_RATE * FRAME_MS // 1000  # 320
FRAME_BYTES = FRAME_SAMPLES * 2  # 640


class Caller(msgspec.Struct, frozen=True):
    """Who calls, as the gateway says. Absent and blank are both ``""``."""

    user_id: str = ""  # AAD object id (C#: userId, StandIn: aadId)
    tenant_id: str = ""
    display_name: str = ""
    user_principal_name: str = ""  # C# only
    phone_number: str = ""  # C# only; not empty means a PSTN caller
    teams_call_id: str = ""  # C# only


# --- gateway -> bridge ------------------------------------------------------------


class AuthRequested(msgspec.Struct, frozen=True):
    """C#: may this call be answered? Exactly one ``AuthAnswer`` goes back."""

    call_id: str
    correlation_id: str
    caller: Caller


class CallStarted(msgspec.Struct, frozen=True):
    """The call is up (``session_start`` / ``session.start``)."""

    call_id: str
    caller: Caller
    direction: Direction = "inbound"
    thread_id: str = ""  # StandIn; empty for a one-to-one call
    recording: RecordingStatus | None = None  # None: the gateway did not say
    tenant_id: str = ""  # StandIn: of the message itself; whose it is is policy's to judge


class CallEnded(msgspec.Struct, frozen=True):
    """The far side says that the call is over."""

    call_id: str
    reason: str


class CallResumed(msgspec.Struct, frozen=True):
    """C#: a dropped call wants to go on, on this socket."""

    call_id: str
    last_received_seq: int  # of our audio_out


class AudioIn(msgspec.Struct, frozen=True):
    """Caller audio. ``pcm`` has an even number of bytes; C#: a multiple of 640."""

    call_id: str
    seq: int
    pcm: bytes
    timestamp_ms: int = 0  # StandIn only
    speaker: str = ""  # StandIn, unmixed audio only


class RecordingChanged(msgspec.Struct, frozen=True):
    """StandIn: the call's recording status. An explicit one latches."""

    call_id: str
    status: RecordingStatus


class VideoIn(msgspec.Struct, frozen=True):
    """StandIn: one encoded picture of a camera or the shared screen."""

    call_id: str
    source: Literal["camera", "screenshare"]
    timestamp_ms: int
    width: int
    height: int
    mime: str
    data: bytes
    participant_id: str = ""
    participant_name: str = ""


class ParticipantsChanged(msgspec.Struct, frozen=True):
    """StandIn: humans in the call, without the bot."""

    call_id: str
    count: int


class DigitPressed(msgspec.Struct, frozen=True):
    """StandIn: one DTMF digit, ``0``-``9``, ``*`` or ``#``."""

    call_id: str
    digit: str


class Pinged(msgspec.Struct, frozen=True):
    """Keepalive; answered with ``Pong`` of the same call and ``ts``."""

    call_id: str
    ts: int = 0


class SayRequested(msgspec.Struct, frozen=True):
    """StandIn: speak exactly this, now, after flushing what plays."""

    call_id: str
    text: str


class CallProgressed(msgspec.Struct, frozen=True):
    """C#: progress of a call that we placed."""

    call_id: str
    status: ProgressStatus
    error: str = ""


FromGateway = (
    AuthRequested
    | CallStarted
    | CallEnded
    | CallResumed
    | AudioIn
    | RecordingChanged
    | VideoIn
    | ParticipantsChanged
    | DigitPressed
    | Pinged
    | SayRequested
    | CallProgressed
)


# --- bridge -> gateway ------------------------------------------------------------


class AuthAnswer(msgspec.Struct, frozen=True):
    """C#: the decision on an ``AuthRequested``."""

    call_id: str
    correlation_id: str
    authorized: bool
    strategy: str
    timestamp_ms: int
    reason: str = ""  # empty: not sent


class AudioOut(msgspec.Struct, frozen=True):
    """One frame of bot speech: exactly 640 bytes."""

    call_id: str
    seq: int
    pcm: bytes
    timestamp_ms: int = 0  # on our audio timeline; StandIn only


class Flush(msgspec.Struct, frozen=True):
    """Barge-in: drop everything that was sent before this.

    C#: ``audio_flush`` with ``timestamp_ms``. StandIn: ``assistant.cancel`` with ``turn_id``.
    """

    call_id: str
    turn_id: int
    timestamp_ms: int


class HangUp(msgspec.Struct, frozen=True):
    """The bot ends the call. C#: ``hangup``. StandIn: ``session.end`` with ``reason``."""

    call_id: str
    reason: str


class Pong(msgspec.Struct, frozen=True):
    """Answer to ``Pinged``."""

    call_id: str
    ts: int = 0


class PlaceCall(msgspec.Struct, frozen=True):
    """C#: ``initiate_call`` to a user (object id) or a phone number."""

    call_id: str
    target_type: Literal["user", "phone"]
    target: str
    message: str = ""


class Express(msgspec.Struct, frozen=True):
    """StandIn: the avatar's face. C#: nothing is sent."""

    call_id: str
    emotion: Emotion


class SpeechMark(msgspec.Struct, frozen=True):
    """One viseme: ``t_ms`` from the utterance's start, id 0-21 in Azure's numbering."""

    t_ms: int
    viseme_id: int


class SpeechMarks(msgspec.Struct, frozen=True):
    """StandIn: lip-sync of one utterance; leaves with or before its audio."""

    call_id: str
    marks: tuple[SpeechMark, ...]


class ShowImage(msgspec.Struct, frozen=True):
    """StandIn: a picture on the bot's tile, at most 1,400,000 raw bytes."""

    call_id: str
    data: bytes
    mime: Literal["image/jpeg", "image/png"]
    duration_ms: int = 0  # 0: not sent
    mode: Literal["fullscreen", "overlay", ""] = ""
    caption: str = ""


ToGateway = (
    AuthAnswer | AudioOut | Flush | HangUp | Pong | PlaceCall | Express | SpeechMarks | ShowImage
)


# --- what could not be decoded ------------------------------------------------------


DropCause = Literal[
    "not-json",  # not JSON, NaN or Infinity, BOM, UTF-16, nested too deep, not an object
    "no-type",  # no string ``type``
    "unknown-type",
    "bad-call-id",
    "bad-field",  # a required field is absent or of the wrong type
    "bad-audio",  # base64, size or parity
    "binary",  # a binary frame where text is spoken
    "too-large",
    "flood",  # more messages other than audio than any gateway says (server)
]


class Dropped(msgspec.Struct, frozen=True):
    """A message that is dropped and counted; the call goes on.

    ``detail`` is static text plus at most a printable message type: safe to log.
    """

    cause: DropCause
    detail: str = ""
