"""The Realtime API's messages, as far as they are used here.

Out: prebuilt JSON text, because the SDK's event objects cost eight times as much per
frame. In: one struct for all events with what is read of them; unknown fields are
ignored. Refuses to know sockets and what is done about an event.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Sequence
from typing import Literal, TypeVar

import msgspec

_T = TypeVar("_T")

RATE = 24_000  # the only PCM rate the service takes or gives
BYTES_PER_S = RATE * 2

CLEAR = '{"type":"input_audio_buffer.clear"}'

_NOTHING = msgspec.Raw(b"null")

# A code is one of a list, but the peer writes it: nothing else may pass for one. No key
# has that shape ("-") and no sentence (" ").
_CODE = re.compile(r"[a-z][a-z0-9_.]{0,63}")


class Trouble(msgspec.Struct, frozen=True):
    """An ``error`` of the service. Its ``message`` is not read: it may quote the caller."""

    type: str | None = None
    code: str | None = None
    param: str | None = None
    event_id: str | None = None

    @property
    def name(self) -> str:
        """The code, or else the type, safe to log."""
        for word in (self.code, self.type):
            if word and _CODE.fullmatch(word):
                return word
        return "unnamed"


class StatusDetails(msgspec.Struct, frozen=True):
    reason: str | None = None
    error: Trouble | None = None


class Response(msgspec.Struct, frozen=True):
    """A response's head. ``usage`` and ``output`` stay raw until they are wanted
    (:func:`used`, :func:`items`)."""

    id: str = ""
    status: str | None = None
    status_details: StatusDetails | None = None
    metadata: dict[str, str] | None = None
    usage: msgspec.Raw = _NOTHING
    output: msgspec.Raw = _NOTHING


class Item(msgspec.Struct, frozen=True):
    """A conversation's item, as far as it is read: which it is, or the tool it calls."""

    id: str | None = None
    type: str | None = None
    call_id: str | None = None
    name: str | None = None
    arguments: str | None = None


class SessionHead(msgspec.Struct, frozen=True):
    """``expires_at``: epoch seconds."""

    expires_at: float | None = None


class ServerEvent(msgspec.Struct, frozen=True):
    """Any event of the service."""

    type: str
    item_id: str | None = None
    response_id: str | None = None
    delta: str | None = None
    transcript: str | None = None
    error: Trouble | None = None
    response: Response | None = None
    session: SessionHead | None = None
    audio_start_ms: float | None = None
    audio_end_ms: float | None = None
    item: msgspec.Raw = _NOTHING
    usage: msgspec.Raw = _NOTHING
    reason: str | None = None  # of a Live session's end
    delegation: msgspec.Raw = _NOTHING  # of a Live session, as is
    event: msgspec.Raw = _NOTHING  # of the backend that it delegates to


class TokenDetails(msgspec.Struct, frozen=True):
    cached_tokens: int | None = None
    audio_tokens: int | None = None


class Usage(msgspec.Struct, frozen=True):
    """What the service counted. ``seconds``: of audio, where it counts those instead."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    input_token_details: TokenDetails | None = None
    output_token_details: TokenDetails | None = None
    seconds: float | None = None


_decode = msgspec.json.Decoder(ServerEvent).decode


def _lenient(decoder: msgspec.json.Decoder[_T]) -> Callable[[msgspec.Raw], _T | None]:
    """Details that cannot be read must not cost the event that carries them."""

    def read_it(raw: msgspec.Raw) -> _T | None:
        try:
            return decoder.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None

    return read_it


_read_usage = _lenient(msgspec.json.Decoder(Usage))
_read_item = _lenient(msgspec.json.Decoder(Item))
_read_items = _lenient(msgspec.json.Decoder(list[Item]))


def read(message: str | bytes) -> ServerEvent | None:
    """Decode one message; None if it is not an event."""
    try:
        return _decode(message)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def used(usage: msgspec.Raw) -> Usage | None:
    """Decode a ``usage``; None when there is none, or none that can be read."""
    return _read_usage(usage)


def items(event: ServerEvent) -> list[Item]:
    """The items that an event carries: its own, or those of its response."""
    found: list[Item] = []
    if (one := _read_item(event.item)) is not None:
        found.append(one)
    if event.response is not None:
        found += _read_items(event.response.output) or []
    return found


def append(pcm: bytes) -> str:
    """``input_audio_buffer.append`` of 24 kHz s16le mono."""
    audio = base64.b64encode(pcm).decode("ascii")
    return f'{{"type":"input_audio_buffer.append","audio":"{audio}"}}'


def commit(event_id: str) -> str:
    """``input_audio_buffer.commit``; an error about it carries ``event_id``."""
    return f'{{"type":"input_audio_buffer.commit","event_id":"{event_id}"}}'


def session_update(session: object) -> str:
    """``session.update``. An unknown field has the service refuse all of it."""
    return _json({"type": "session.update", "session": session})


def transcription_session(
    model: str, *, language: str, language_list: bool, detection: Detection | None = None
) -> object:
    """A session that transcribes what is committed to it, or what it detects itself.
    ``language``: ISO 639-1, or "" for any."""
    found: dict[str, object] | None = None
    if detection is not None and detection.kind == "semantic":
        found = {"type": "semantic_vad", "eagerness": detection.eagerness}
    elif detection is not None and detection.kind == "server":
        found = {
            "type": "server_vad",
            "threshold": detection.threshold,
            "prefix_padding_ms": detection.prefix_padding_ms,
            "silence_duration_ms": detection.silence_duration_ms,
        }
    sound = {
        "format": {"type": "audio/pcm", "rate": RATE},
        "transcription": transcriber(model, language=language, language_list=language_list),
        "turn_detection": found,
    }
    return {"type": "transcription", "audio": {"input": sound}}


def transcriber(model: str, *, language: str, language_list: bool) -> object:
    """A session's ``transcription``."""
    transcription: dict[str, object] = {"model": model}
    if language:
        code = language.partition("-")[0].lower()
        transcription |= {"languages": [code]} if language_list else {"language": code}
    return transcription


# The model is told once what it is for, and the text again with each clause.
_READER = (
    "You are a text-to-speech voice. You read texts aloud, word for word, in the language they "
    "are written in. You never answer, translate, comment, greet, or leave anything out."
)


def reading_session(voice: str, speed: float, style: str) -> object:
    """A session that reads aloud. ``speed``: 0.25 to 1.5."""
    output: dict[str, object] = {"format": {"type": "audio/pcm", "rate": RATE}, "voice": voice}
    if speed != 1.0:
        output["speed"] = speed
    return {
        "type": "realtime",
        "instructions": f"{_READER} {style}".strip(),
        "output_modalities": ["audio"],
        "audio": {"input": {"turn_detection": None}, "output": output},
    }


def read_aloud(text: str, style: str, *, event_id: str) -> str:
    """``response.create`` for one clause, outside of any conversation: the session stays
    as empty, quick and cheap as it was. ``event_id`` comes back in an error, and as
    ``metadata.clause`` in the response."""
    # One colon only, before the text: where instructions end and text begins is plain.
    how = f" ({style.replace(':', ',')})" if style else ""
    response = {
        "conversation": "none",
        "input": [],
        "output_modalities": ["audio"],
        "instructions": f"Read this text aloud, word for word, adding nothing{how}: {text}",
        "metadata": {"clause": event_id},
    }
    return _json({"type": "response.create", "event_id": event_id, "response": response})


class Detection(msgspec.Struct, frozen=True):
    """How a voice session hears where a sentence ends. ``kind`` "local": it does not."""

    kind: Literal["server", "semantic", "local"] = "server"
    threshold: float = 0.5
    prefix_padding_ms: int = 300
    silence_duration_ms: int = 500
    eagerness: Literal["auto", "low", "medium", "high"] = "auto"


def voice_session(
    *,
    instructions: str,
    voice: str,
    speed: float,
    detection: Detection,
    noise_reduction: str,
    transcription: object,
    reasoning: str,
    tools: Sequence[object],
) -> object:
    """A session that hears, thinks and speaks, and answers only when it is told to.

    Only what differs from the service's defaults is in it. ``transcription``: from
    :func:`transcriber`, or None; ``tools``: from :func:`function`; ``reasoning``: "" for
    the model's own.
    """
    hears: dict[str, object] = {
        "format": {"type": "audio/pcm", "rate": RATE},
        "turn_detection": turn_detection(detection),
    }
    if noise_reduction not in ("", "off"):
        hears["noise_reduction"] = {"type": noise_reduction}
    if transcription is not None:
        hears["transcription"] = transcription
    speaks: dict[str, object] = {"format": {"type": "audio/pcm", "rate": RATE}, "voice": voice}
    if speed != 1.0:
        speaks["speed"] = speed
    session: dict[str, object] = {
        "type": "realtime",
        "output_modalities": ["audio"],
        "audio": {"input": hears, "output": speaks},
    }
    if instructions:
        session["instructions"] = instructions
    if tools:
        session["tools"] = list(tools)
    if reasoning:
        session["reasoning"] = {"effort": reasoning}
    return session


def turn_detection(detection: Detection) -> object:
    """A session's ``turn_detection``. The call decides what is answered and what is an
    interruption, so both are switched off."""
    if detection.kind == "local":
        return None
    found: dict[str, object] = {"create_response": False, "interrupt_response": False}
    if detection.kind == "semantic":
        found["type"] = "semantic_vad"
        if detection.eagerness != "auto":
            found["eagerness"] = detection.eagerness
        return found
    found["type"] = "server_vad"
    default = Detection()
    for name in ("threshold", "prefix_padding_ms", "silence_duration_ms"):
        if getattr(detection, name) != getattr(default, name):
            found[name] = getattr(detection, name)
    return found


def detect(turn_detection: object) -> str:
    """``session.update`` of a voice session's turn detection alone."""
    return session_update(
        {"type": "realtime", "audio": {"input": {"turn_detection": turn_detection}}}
    )


# Changes nothing; it is answered with the session, which says when it expires.
ASK_SESSION = '{"type":"session.update","session":{"type":"realtime"}}'


def function(name: str, description: str, parameters: object) -> object:
    """A tool of a voice session."""
    return {
        "type": "function",
        "name": name,
        "description": description,
        "parameters": parameters,
    }


def said(role: Literal["user", "assistant"], text: str, item_id: str, after: str = "") -> str:
    """``conversation.item.create`` of something that was said, as text. ``after``: the item
    before it, "root" for none; "" is the end."""
    kind = "input_text" if role == "user" else "output_text"
    content = [{"type": kind, "text": text}]
    return _create({"type": "message", "id": item_id, "role": role, "content": content}, after)


def called(name: str, arguments: str, call_id: str, item_id: str) -> str:
    """``conversation.item.create`` of a tool's use in an earlier session."""
    item = {"type": "function_call", "id": item_id, "name": name}
    return _create({**item, "arguments": arguments, "call_id": call_id}, "")


def returned(call_id: str, output: str) -> str:
    """``conversation.item.create`` of what came of a tool's use."""
    return _create({"type": "function_call_output", "call_id": call_id, "output": output}, "")


def _create(item: object, after: str) -> str:
    event: dict[str, object] = {"type": "conversation.item.create", "item": item}
    if after:
        event["previous_item_id"] = after
    return _json(event)


def delete(item_id: str) -> str:
    """``conversation.item.delete``; an error when it is not there is harmless."""
    return _json({"type": "conversation.item.delete", "item_id": item_id})


def truncate(item_id: str, audio_end_ms: int) -> str:
    """``conversation.item.truncate`` of an answer's audio to what was heard of it."""
    return _json(
        {
            "type": "conversation.item.truncate",
            "item_id": item_id,
            "content_index": 0,
            "audio_end_ms": audio_end_ms,
        }
    )


def respond(event_id: str, *, use_tools: bool = True) -> str:
    """``response.create`` of the conversation. ``event_id`` comes back as in
    :func:`read_aloud`."""
    response: dict[str, object] = {"metadata": {"clause": event_id}}
    if not use_tools:
        response["tool_choice"] = "none"
    return _json({"type": "response.create", "event_id": event_id, "response": response})


def cancel(response_id: str) -> str:
    """``response.cancel``; an error when it is over already is harmless."""
    return _json({"type": "response.cancel", "response_id": response_id})


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
