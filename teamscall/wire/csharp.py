"""The C# media gateway's dialect: its messages, both directions, both sides.

Owns the field names, types and sizes of protocol/csharp-gateway.md. The server reads
with :func:`decode_from_gateway` and writes with :func:`encode_to_gateway`; the emulator
does the opposite two. What one side encodes the other decodes.
Refuses to know sockets, who is authorized, and what a call does with an event.

Decoders never raise; what they refuse is a ``Dropped``. Encoders return None for an event
that this dialect cannot say, and raise ``ValueError`` for one that it must not say.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, assert_never

import msgspec

from teamscall.text import printable
from teamscall.wire.events import (
    FRAME_BYTES,
    AudioIn,
    AudioOut,
    AuthAnswer,
    AuthRequested,
    CallEnded,
    Caller,
    CallProgressed,
    CallResumed,
    CallStarted,
    DigitPressed,
    Dropped,
    Express,
    Flush,
    FromGateway,
    HangUp,
    ParticipantsChanged,
    Pinged,
    PlaceCall,
    Pong,
    ProgressStatus,
    RecordingChanged,
    SayRequested,
    ShowImage,
    SpeechMarks,
    ToGateway,
    VideoIn,
)
from teamscall.wire.strict import (
    MAX_AUDIO_BYTES,
    MAX_INTEGER,
    Count,
    Reader,
    checked_count,
    read_base64,
)

# How far ahead of the far side's playout frames may leave: its reorder buffer is 60 ms,
# and an older gateway ignores audio_flush, so what is in flight must be small.
LEAD_MS = 60

# The gateway echoes it for nobody but itself; GUIDs are 36. Bounds what we send back.
MAX_CORRELATION_ID = 1024

# A reason is for a log line and a record.
MAX_REASON = 200

# \A..\Z and not ^..$, which lets a trailing newline in.
_CALL_ID = r"\A[A-Za-z0-9_-]{1,128}\Z"
_matches_call_id = re.compile(_CALL_ID).search

_CallId = Annotated[str, msgspec.Meta(pattern=_CALL_ID)]
_Integer = Annotated[int, msgspec.Meta(ge=-MAX_INTEGER - 1, le=MAX_INTEGER)]
_CorrelationId = Annotated[str, msgspec.Meta(max_length=MAX_CORRELATION_ID)]


# --- gateway -> bridge, as it stands on the wire ------------------------------------------


class _Metadata(msgspec.Struct, rename="camel", omit_defaults=True):
    # Absent identities are answered ("Invalid metadata"), so they must decode. A wrong type
    # drops the message, optional or not: a phoneNumber that read as absent would be let in.
    tenant_id: str | None = None
    user_id: str | None = None
    teams_call_id: str | None = None
    display_name: str | None = None
    user_principal_name: str | None = None
    phone_number: str | None = None


class _Message(msgspec.Struct, tag_field="type", rename="camel", omit_defaults=True):
    call_id: _CallId


class _AuthRequest(_Message, tag="auth_request"):
    correlation_id: _CorrelationId
    metadata: _Metadata | None = None


class _SessionStart(_Message, tag="session_start"):
    direction: str | None = None
    metadata: _Metadata | None = None


class _AudioIn(_Message, tag="audio_in"):
    seq: Count
    data: str


class _CallStatus(_Message, tag="call_status"):
    status: ProgressStatus
    error: Any = None  # decorates; must not cost a "failed"


class _SessionEnd(_Message, tag="session_end"):
    reason: str


class _SessionResume(_Message, tag="session_resume"):
    last_received_seq: _Integer  # -1 from a gateway that has heard nothing yet


class _Ping(_Message, tag="ping"):
    pass


_From = _AudioIn | _AuthRequest | _SessionStart | _CallStatus | _SessionEnd | _SessionResume | _Ping
_from_gateway: Reader[_From] = Reader(msgspec.json.Decoder(_From), _CALL_ID)


# --- bridge -> gateway, as it stands on the wire ------------------------------------------


class _AuthResponse(_Message, tag="auth_response"):
    correlation_id: str
    authorized: bool
    strategy: str
    timestamp: Count
    reason: str | None = None


class _AudioOut(_Message, tag="audio_out"):
    seq: Count
    data: str


class _AudioFlush(_Message, tag="audio_flush"):
    timestamp: Count


class _Hangup(_Message, tag="hangup"):
    pass


class _UserTarget(msgspec.Struct, tag_field="type", tag="user", rename="camel"):
    user_id: Annotated[str, msgspec.Meta(min_length=1)]


class _PhoneTarget(msgspec.Struct, tag_field="type", tag="phone"):
    number: Annotated[str, msgspec.Meta(min_length=1)]


class _InitiateCall(_Message, tag="initiate_call"):
    target: _UserTarget | _PhoneTarget
    message: str | None = None


class _Pong(_Message, tag="pong"):
    pass


_To = _AudioOut | _AuthResponse | _AudioFlush | _Hangup | _InitiateCall | _Pong
_to_gateway: Reader[_To] = Reader(msgspec.json.Decoder(_To), _CALL_ID)


# Audio leaves as bytes and msgspec writes the base64 itself (half the time of doing it
# first); it is read as str so that its length and spare bits can be checked.
class _AudioInBytes(_Message, tag="audio_in"):
    seq: int
    data: bytes


class _AudioOutBytes(_Message, tag="audio_out"):
    seq: int
    data: bytes


_json = msgspec.json.Encoder()


# --- the server's two -------------------------------------------------------------------


def decode_from_gateway(data: str | bytes, *, call_id: str = "") -> FromGateway | Dropped:
    """Decode one text frame of the gateway. Never raises.

    ``call_id`` is ignored: every message carries its own. ``AudioIn.pcm`` is a multiple of
    640 bytes, at least one frame and at most ``MAX_AUDIO_BYTES``.
    """
    message = _from_gateway.read(data)
    match message:
        case _AudioIn():  # first: 50 times a second
            pcm = read_base64(message.data, MAX_AUDIO_BYTES)
            if not pcm or len(pcm) % FRAME_BYTES:
                return _bad_audio("audio_in", pcm)
            return AudioIn(message.call_id, message.seq, pcm)
        case Dropped():
            return message
        case _Ping():
            return Pinged(message.call_id)
        case _AuthRequest():
            return AuthRequested(message.call_id, message.correlation_id, _caller(message.metadata))
        case _SessionStart():
            # Inbound is what the policy decides on, so it is the safe reading of an odd word.
            direction: Literal["inbound", "outbound"]
            direction = "outbound" if message.direction == "outbound" else "inbound"
            return CallStarted(message.call_id, _caller(message.metadata), direction)
        case _SessionEnd():
            return CallEnded(message.call_id, printable(message.reason, MAX_REASON))
        case _SessionResume():
            return CallResumed(message.call_id, message.last_received_seq)
        case _CallStatus():
            error = message.error if isinstance(message.error, str) else ""
            return CallProgressed(message.call_id, message.status, printable(error, MAX_REASON))
        case _:
            assert_never(message)


def encode_to_gateway(message: ToGateway) -> bytes | None:
    """Encode what the bridge says. None: this dialect has no such message.

    Raises:
        ValueError: a call id outside ``^[A-Za-z0-9_-]{1,128}$``, audio that is not exactly
            640 bytes, a negative sequence number, an empty target, or text that is not
            encodable.
    """
    wire: _To | _AudioOutBytes
    match message:
        case AudioOut():
            if len(message.pcm) != FRAME_BYTES:
                raise ValueError(
                    f"audio_out carries exactly {FRAME_BYTES} bytes, not {len(message.pcm)}"
                )
            wire = _AudioOutBytes(message.call_id, checked_count(message.seq), message.pcm)
        case Flush():
            wire = _AudioFlush(message.call_id, checked_count(message.timestamp_ms))
        case Pong():
            wire = _Pong(message.call_id)
        case AuthAnswer():
            wire = _AuthResponse(
                message.call_id,
                message.correlation_id,
                message.authorized,
                message.strategy,
                checked_count(message.timestamp_ms),
                message.reason or None,
            )
        case HangUp():
            wire = _Hangup(message.call_id)
        case PlaceCall():
            wire = _InitiateCall(message.call_id, _target(message), message.message or None)
        case Express() | SpeechMarks() | ShowImage():
            return None
        case _:
            assert_never(message)
    return _encode(wire)


# --- the emulator's two -------------------------------------------------------------------


def encode_from_gateway(event: FromGateway) -> bytes | None:
    """Encode what a gateway says. None: this dialect has no such message.

    Raises:
        ValueError: a bad call id, audio that is no multiple of 640 bytes or longer than
            ``MAX_AUDIO_BYTES``, a negative sequence number, or text that is not encodable.
    """
    wire: _From | _AudioInBytes
    match event:
        case AudioIn(seq=seq, pcm=pcm):
            if not pcm or len(pcm) % FRAME_BYTES or len(pcm) > MAX_AUDIO_BYTES:
                raise ValueError(
                    f"audio_in carries 1 to {MAX_AUDIO_BYTES // FRAME_BYTES} frames "
                    f"of {FRAME_BYTES} bytes, not {len(pcm)} bytes"
                )
            wire = _AudioInBytes(event.call_id, checked_count(seq), pcm)
        case Pinged():
            wire = _Ping(event.call_id)
        case AuthRequested():
            wire = _AuthRequest(event.call_id, event.correlation_id, _metadata(event.caller))
        case CallStarted():
            wire = _SessionStart(event.call_id, event.direction, _metadata(event.caller))
        case CallEnded():
            wire = _SessionEnd(event.call_id, event.reason)
        case CallResumed():
            wire = _SessionResume(event.call_id, event.last_received_seq)
        case CallProgressed():
            wire = _CallStatus(event.call_id, event.status, event.error or None)
        case (
            RecordingChanged() | VideoIn() | ParticipantsChanged() | DigitPressed() | SayRequested()
        ):
            return None
        case _:
            assert_never(event)
    return _encode(wire)


def decode_to_gateway(data: str | bytes, *, call_id: str = "") -> ToGateway | Dropped:
    """Decode one text frame of a bridge, as a gateway would. Never raises.

    ``call_id`` is ignored: every message carries its own. ``AudioOut.pcm`` is exactly
    640 bytes. The wire carries no turn and no reason: ``Flush.turn_id`` is 0 and
    ``HangUp.reason`` is empty.
    """
    message = _to_gateway.read(data)
    match message:
        case _AudioOut():
            pcm = read_base64(message.data, FRAME_BYTES)
            if pcm is None or len(pcm) != FRAME_BYTES:
                return _bad_audio("audio_out", pcm)
            return AudioOut(message.call_id, message.seq, pcm)
        case Dropped():
            return message
        case _AudioFlush():
            return Flush(message.call_id, 0, message.timestamp)
        case _Pong():
            return Pong(message.call_id)
        case _AuthResponse():
            return AuthAnswer(
                message.call_id,
                message.correlation_id,
                message.authorized,
                message.strategy,
                message.timestamp,
                message.reason or "",
            )
        case _Hangup():
            return HangUp(message.call_id, "")
        case _InitiateCall(target=_UserTarget(user_id=user)):
            return PlaceCall(message.call_id, "user", user, message.message or "")
        case _InitiateCall(target=_PhoneTarget(number=number)):
            return PlaceCall(message.call_id, "phone", number, message.message or "")
        case _:
            raise AssertionError("the union is covered")


def is_call_id(call_id: str) -> bool:
    """May this dialect name a call so? ``^[A-Za-z0-9_-]{1,128}$``."""
    return _matches_call_id(call_id) is not None


# --- pieces -----------------------------------------------------------------------------


def _encode(wire: _From | _To | _AudioInBytes | _AudioOutBytes) -> bytes:
    if not is_call_id(wire.call_id):
        raise ValueError("a call id is 1 to 128 letters, digits, underscores and hyphens")
    return _json.encode(wire)


def _target(message: PlaceCall) -> _UserTarget | _PhoneTarget:
    if not message.target:
        raise ValueError("an empty target cannot be called")
    if message.target_type == "user":
        return _UserTarget(message.target)
    return _PhoneTarget(message.target)


def _bad_audio(kind: str, pcm: bytes | None) -> Dropped:
    if pcm is None:
        return Dropped("bad-audio", f"{kind} is not strict base64 or over its cap")
    return Dropped("bad-audio", f"{kind} of {len(pcm)} bytes")


def _caller(metadata: _Metadata | None) -> Caller:
    if metadata is None:
        return Caller()
    return Caller(
        user_id=(metadata.user_id or "").strip(),
        tenant_id=(metadata.tenant_id or "").strip(),
        display_name=(metadata.display_name or "").strip(),
        user_principal_name=(metadata.user_principal_name or "").strip(),
        phone_number=(metadata.phone_number or "").strip(),
        teams_call_id=(metadata.teams_call_id or "").strip(),
    )


def _metadata(caller: Caller) -> _Metadata:
    return _Metadata(
        tenant_id=caller.tenant_id,
        user_id=caller.user_id,
        teams_call_id=caller.teams_call_id or None,
        display_name=caller.display_name or None,
        user_principal_name=caller.user_principal_name or None,
        phone_number=caller.phone_number or None,
    )
