"""The StandIn dialect's call messages, both directions, both sides.

Owns the field names, types and sizes of protocol/standin.md's two message tables. The
server reads with :func:`decode_from_gateway` and writes with :func:`encode_to_gateway`;
the emulator does the opposite two. What one side encodes the other decodes. Names of
upgrades are in ``signature``, paths and HTTP bodies in ``control``.
Refuses to know sockets, which call a socket is for, and what a call does with an event.

Decoders never raise; what they refuse is a ``Dropped``. Encoders return None for an event
that this dialect cannot say, and raise ``ValueError`` for one that it must not say.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Any, Literal, assert_never, get_args

import msgspec

from teamscall.text import printable
from teamscall.wire.events import (
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
    Emotion,
    Express,
    Flush,
    FromGateway,
    HangUp,
    ParticipantsChanged,
    Pinged,
    PlaceCall,
    Pong,
    RecordingChanged,
    RecordingStatus,
    SayRequested,
    ShowImage,
    SpeechMark,
    SpeechMarks,
    ToGateway,
    VideoIn,
)
from teamscall.wire.strict import (
    MAX_AUDIO_BYTES,
    MAX_PICTURE_BYTES,
    Count,
    Positive,
    Reader,
    checked_count,
    raw_integer,
    read_base64,
    safe_integer,
    text_or_blank,
)

# How far ahead of the far side's playout frames may leave: there is a flush, and 160 ms
# rides out loop stalls of 150 ms (0.2 gaps a minute instead of 3.5).
LEAD_MS = 160

# Spoken, this is over ten minutes: no goodbye before a limit is near it.
MAX_SAY_CHARS = 10_000

# A reason is for a log line and a record.
MAX_REASON = 200

_DEFAULT_MIME = "image/jpeg"

_VisemeId = Annotated[int, msgspec.Meta(ge=0, le=21)]
_Mime = Annotated[str, msgspec.Meta(max_length=127)]  # RFC 6838's bound for one name
_Digit = Literal["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "*", "#"]
_ImageMime = Literal["image/jpeg", "image/png"]
_NULL = msgspec.Raw(b"null")
_DESCENDING = Dropped("bad-field", "speech.marks do not ascend")

# An unknown status ("failed" occurs) is explicit and opens no gate.
_RECORDING: dict[str, RecordingStatus] = {"active": "active", "inactive": "inactive"}
_EMOTIONS: dict[str, Emotion] = {word: word for word in get_args(Emotion)}


class _Message(msgspec.Struct, tag_field="type", rename="camel", omit_defaults=True):
    pass


# --- StandIn -> worker, as it stands on the wire ------------------------------------------


class _AudioFrame(_Message, tag="audio.frame"):  # both directions
    seq: Count
    payload_base64: str
    timestamp_ms: Count | None = None
    speaker_name: str | None = None


class _SessionStart(_Message, tag="session.start"):
    # Only the call id can cost a start, which costs the call. Everything else that is odd
    # reads as absent, and absent is what the policy refuses.
    call_id: str
    thread_id: Any = None
    caller: Any = None
    recording_status: Any = None
    direction: Any = None
    tenant_id: Any = None


class _SessionEnd(_Message, tag="session.end"):  # both directions
    reason: Any = None  # opaque; must not keep a call from ending


class _RecordingStatus(_Message, tag="recording.status"):
    status: str


class _VideoFrame(_Message, tag="video.frame"):
    source: Literal["camera", "screenshare"]
    ts: Count
    width: Positive
    height: Positive
    data_base64: str
    mime: _Mime | None = None
    participant_id: str | None = None
    participant_name: str | None = None


class _Participants(_Message, tag="participants"):
    count: Count


class _Dtmf(_Message, tag="dtmf"):
    digit: _Digit


class _Ping(_Message, tag="ping"):
    ts: msgspec.Raw = _NULL


class _AssistantSay(_Message, tag="assistant.say"):
    text: Annotated[str, msgspec.Meta(max_length=MAX_SAY_CHARS)]


_From = (
    _AudioFrame
    | _SessionStart
    | _SessionEnd
    | _RecordingStatus
    | _VideoFrame
    | _Participants
    | _Dtmf
    | _Ping
    | _AssistantSay
)
_from_gateway: Reader[_From] = Reader(msgspec.json.Decoder(_From))


# --- worker -> StandIn, as it stands on the wire ------------------------------------------


class _AssistantCancel(_Message, tag="assistant.cancel"):
    turn_id: Any = None  # the worker's own; must not keep a flush from happening


class _Expression(_Message, tag="expression"):
    emotion: str


class _Mark(msgspec.Struct, rename="camel"):
    t_ms: Count
    viseme_id: _VisemeId


class _SpeechMarks(_Message, tag="speech.marks"):
    marks: list[_Mark]
    ts: Any = None


class _DisplayImage(_Message, tag="display.image"):
    data_base64: str
    mime: _ImageMime
    duration_ms: Positive | None = None
    mode: Literal["fullscreen", "overlay"] | None = None
    caption: str | None = None


class _Pong(_Message, tag="pong"):
    ts: msgspec.Raw = _NULL


_To = (
    _AudioFrame
    | _AssistantCancel
    | _Expression
    | _SpeechMarks
    | _DisplayImage
    | _Pong
    | _SessionEnd
)
_to_gateway: Reader[_To] = Reader(msgspec.json.Decoder(_To))


# What carries base64 leaves as bytes and msgspec writes the base64 itself (half the time of
# doing it first); it is read as str so that its length and spare bits can be checked.
class _AudioFrameBytes(_Message, tag="audio.frame"):
    seq: int
    timestamp_ms: int
    payload_base64: bytes
    speaker_name: str | None = None


class _VideoFrameBytes(_Message, tag="video.frame"):
    source: str
    ts: int
    width: int
    height: int
    mime: str
    data_base64: bytes
    participant_id: str | None = None
    participant_name: str | None = None


class _DisplayImageBytes(_Message, tag="display.image"):
    data_base64: bytes
    mime: str
    duration_ms: int | None = None
    mode: str | None = None
    caption: str | None = None


_json = msgspec.json.Encoder()


# --- the server's two -------------------------------------------------------------------


def decode_from_gateway(data: str | bytes, *, call_id: str = "") -> FromGateway | Dropped:
    """Decode one text frame of StandIn. Never raises.

    ``call_id`` is the path's; every event carries it except ``CallStarted``, which carries
    the message's own, trimmed: the caller compares the two. ``AudioIn.pcm`` is an even
    number of bytes, at least 2 and at most ``MAX_AUDIO_BYTES``.
    """
    message = _from_gateway.read(data)
    match message:
        case _AudioFrame():  # first: 50 times a second
            pcm = read_base64(message.payload_base64, MAX_AUDIO_BYTES)
            if not pcm or len(pcm) % 2:
                return _bad_audio(pcm)
            speaker = (message.speaker_name or "").strip()
            return AudioIn(call_id, message.seq, pcm, message.timestamp_ms or 0, speaker)
        case Dropped():
            return message
        case _Ping():
            return Pinged(call_id, safe_integer(message.ts))
        case _SessionStart():
            return _started(message)
        case _SessionEnd():
            return CallEnded(call_id, printable(text_or_blank(message.reason), MAX_REASON))
        case _RecordingStatus():
            return RecordingChanged(call_id, _RECORDING.get(message.status, "unknown"))
        case _VideoFrame():
            return _seen(message, call_id)
        case _Participants():
            return ParticipantsChanged(call_id, message.count)
        case _Dtmf():
            return DigitPressed(call_id, message.digit)
        case _AssistantSay():
            text = message.text.strip()
            return SayRequested(call_id, text) if text else Dropped("bad-field", "blank text")
        case _:
            assert_never(message)


def encode_to_gateway(message: ToGateway) -> bytes | None:
    """Encode what the worker says. None: this dialect has no such message.

    Raises:
        ValueError: an odd number of audio bytes, none, or more than ``MAX_AUDIO_BYTES``; a
            picture of none or more than ``MAX_PICTURE_BYTES``; marks that do not ascend or
            name no viseme; a number outside its range; text that is not encodable.
    """
    match message:
        case AudioOut():
            return _json.encode(_audio_frame(message.seq, message.timestamp_ms, message.pcm))
        case Flush():
            return _json.encode(_AssistantCancel(checked_count(message.turn_id)))
        case Pong():
            return _json.encode(_Pong(raw_integer(message.ts)))
        case Express():
            return _json.encode(_Expression(message.emotion))
        case SpeechMarks():
            return _json.encode(_SpeechMarks(_marks(message.marks), ts=0))
        case ShowImage():
            return _json.encode(_display_image(message))
        case HangUp():
            return _json.encode(_SessionEnd(message.reason))
        case AuthAnswer() | PlaceCall():
            return None
        case _:
            assert_never(message)


# --- the emulator's two -------------------------------------------------------------------


def encode_from_gateway(event: FromGateway) -> bytes | None:
    """Encode what StandIn says. None: this dialect has no such message.

    Raises:
        ValueError: the same audio and picture sizes and ranges as in
            :func:`encode_to_gateway`; a blank call id or text; no DTMF digit.
    """
    match event:
        case AudioIn():
            return _json.encode(
                _audio_frame(event.seq, event.timestamp_ms, event.pcm, event.speaker)
            )
        case Pinged():
            return _json.encode(_Ping(raw_integer(event.ts)))
        case CallStarted():
            return _json.encode(_session_start(event))
        case CallEnded():
            return _json.encode(_SessionEnd(event.reason))
        case RecordingChanged():
            return _json.encode(_RecordingStatus(event.status))
        case VideoIn():
            return _json.encode(_video_frame(event))
        case ParticipantsChanged():
            return _json.encode(_Participants(checked_count(event.count)))
        case DigitPressed():
            return _json.encode(_Dtmf(msgspec.convert(event.digit, _Digit)))
        case SayRequested():
            if not event.text.strip() or len(event.text) > MAX_SAY_CHARS:
                raise ValueError(f"text to say has 1 to {MAX_SAY_CHARS} characters")
            return _json.encode(_AssistantSay(event.text))
        case AuthRequested() | CallResumed() | CallProgressed():
            return None
        case _:
            assert_never(event)


def decode_to_gateway(data: str | bytes, *, call_id: str = "") -> ToGateway | Dropped:
    """Decode one text frame of a worker, as StandIn would. Never raises.

    ``call_id`` is put into every event, since no message carries it. Workers frame as they
    like: ``AudioOut.pcm`` is any even number of bytes up to ``MAX_AUDIO_BYTES``.
    ``Flush.turn_id`` is 0 for a turn id that is not an integer, ``Flush.timestamp_ms`` is 0.
    """
    message = _to_gateway.read(data)
    match message:
        case _AudioFrame():
            pcm = read_base64(message.payload_base64, MAX_AUDIO_BYTES)
            if not pcm or len(pcm) % 2:
                return _bad_audio(pcm)
            return AudioOut(call_id, message.seq, pcm, message.timestamp_ms or 0)
        case Dropped():
            return message
        case _AssistantCancel():
            turn = message.turn_id
            return Flush(call_id, turn if type(turn) is int else 0, 0)
        case _Pong():
            return Pong(call_id, safe_integer(message.ts))
        case _Expression():
            return Express(call_id, _EMOTIONS.get(message.emotion, "neutral"))
        case _SpeechMarks():
            marks = tuple(SpeechMark(m.t_ms, m.viseme_id) for m in message.marks)
            return SpeechMarks(call_id, marks) if _ascend(marks) else _DESCENDING
        case _DisplayImage():
            return _shown(message, call_id)
        case _SessionEnd():
            return HangUp(call_id, printable(text_or_blank(message.reason), MAX_REASON))
        case _:
            assert_never(message)


# --- pieces of both directions ------------------------------------------------------------


def _started(message: _SessionStart) -> CallStarted | Dropped:
    own = message.call_id.strip()
    if not own:
        return Dropped("bad-field", "session.start callId is blank")
    caller = message.caller if isinstance(message.caller, dict) else {}
    status = message.recording_status
    return CallStarted(
        own,
        Caller(
            user_id=text_or_blank(caller.get("aadId")),
            tenant_id=text_or_blank(caller.get("tenantId")),
            display_name=text_or_blank(caller.get("displayName")),
        ),
        "outbound" if message.direction == "outbound" else "inbound",
        text_or_blank(message.thread_id),
        _RECORDING.get(status, "unknown") if isinstance(status, str) else None,
        text_or_blank(message.tenant_id),
    )


def _session_start(event: CallStarted) -> _SessionStart:
    if not event.call_id.strip():
        raise ValueError("a blank call id starts no call")
    who = event.caller
    caller = {"aadId": who.user_id, "displayName": who.display_name, "tenantId": who.tenant_id}
    return _SessionStart(
        event.call_id,
        event.thread_id,
        {name: value for name, value in caller.items() if value},
        event.recording,
        event.direction,
        event.tenant_id or None,
    )


def _video_frame(event: VideoIn) -> _VideoFrameBytes:
    if event.width < 1 or event.height < 1:
        raise ValueError("a picture has a width and a height")
    return _VideoFrameBytes(
        event.source,
        checked_count(event.timestamp_ms),
        checked_count(event.width),
        checked_count(event.height),
        event.mime or _DEFAULT_MIME,
        _picture(event.data),
        event.participant_id or None,
        event.participant_name or None,
    )


def _seen(message: _VideoFrame, call_id: str) -> VideoIn | Dropped:
    data = _read_picture(message.data_base64, "video.frame")
    if isinstance(data, Dropped):
        return data
    return VideoIn(
        call_id,
        message.source,
        message.ts,
        message.width,
        message.height,
        text_or_blank(message.mime) or _DEFAULT_MIME,
        data,
        text_or_blank(message.participant_id),
        text_or_blank(message.participant_name),
    )


def _shown(message: _DisplayImage, call_id: str) -> ShowImage | Dropped:
    data = _read_picture(message.data_base64, "display.image")
    if isinstance(data, Dropped):
        return data
    duration_ms, mode, caption = message.duration_ms or 0, message.mode or "", message.caption or ""
    return ShowImage(call_id, data, message.mime, duration_ms, mode, caption)


def _display_image(message: ShowImage) -> _DisplayImageBytes:
    return _DisplayImageBytes(
        _picture(message.data),
        message.mime,
        checked_count(message.duration_ms) or None,
        message.mode or None,
        message.caption or None,
    )


def _read_picture(text: str, kind: str) -> bytes | Dropped:
    if len(text) > (MAX_PICTURE_BYTES + 2) // 3 * 4:
        return Dropped("too-large", kind)
    return read_base64(text, MAX_PICTURE_BYTES) or Dropped("bad-field", f"{kind} dataBase64")


def _bad_audio(pcm: bytes | None) -> Dropped:
    size = "of bad base64 or over its cap" if pcm is None else f"of {len(pcm)} bytes"
    return Dropped("bad-audio", f"audio.frame {size}")


def _audio_frame(seq: int, timestamp_ms: int, pcm: bytes, speaker: str = "") -> _AudioFrameBytes:
    if not pcm or len(pcm) % 2 or len(pcm) > MAX_AUDIO_BYTES:
        raise ValueError(f"an even number of bytes up to {MAX_AUDIO_BYTES}, not {len(pcm)}")
    return _AudioFrameBytes(checked_count(seq), checked_count(timestamp_ms), pcm, speaker or None)


def _picture(data: bytes) -> bytes:
    if not data or len(data) > MAX_PICTURE_BYTES:
        raise ValueError(f"a picture of 1 to {MAX_PICTURE_BYTES} bytes, not {len(data)}")
    return data


def _marks(marks: tuple[SpeechMark, ...]) -> list[_Mark]:
    if not _ascend(marks) or any(m.t_ms < 0 or not 0 <= m.viseme_id <= 21 for m in marks):
        raise ValueError("marks ascend in time from 0 and name visemes 0 to 21")
    return [_Mark(mark.t_ms, mark.viseme_id) for mark in marks]


def _ascend(marks: tuple[SpeechMark, ...]) -> bool:
    return all(a.t_ms <= b.t_ms for a, b in pairwise(marks))
