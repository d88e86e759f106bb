"""The Realtime API's messages, as far as they are used here.

Out: prebuilt JSON text, because the SDK's event objects cost eight times as much per
frame. In: one struct for all events with what is read of them; unknown fields are
ignored. Refuses to know sockets and what is done about an event.
"""

from __future__ import annotations

import base64
import re

import msgspec

RATE = 24_000  # the only PCM rate the service takes or gives
BYTES_PER_S = RATE * 2

CLEAR = '{"type":"input_audio_buffer.clear"}'

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
    """A response's head."""

    id: str = ""
    status: str | None = None
    status_details: StatusDetails | None = None
    metadata: dict[str, str] | None = None


class ServerEvent(msgspec.Struct, frozen=True):
    """Any event of the service."""

    type: str
    item_id: str | None = None
    response_id: str | None = None
    delta: str | None = None
    transcript: str | None = None
    error: Trouble | None = None
    response: Response | None = None


_decode = msgspec.json.Decoder(ServerEvent).decode


def read(message: str | bytes) -> ServerEvent | None:
    """Decode one message; None if it is not an event."""
    try:
        return _decode(message)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


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


def transcription_session(model: str, *, language: str, language_list: bool) -> object:
    """A session that transcribes what is committed to it, without voice activity
    detection of its own. ``language``: ISO 639-1, or "" for any."""
    transcription: dict[str, object] = {"model": model}
    if language:
        code = language.partition("-")[0].lower()
        transcription |= {"languages": [code]} if language_list else {"language": code}
    sound = {
        "format": {"type": "audio/pcm", "rate": RATE},
        "transcription": transcription,
        "turn_detection": None,
    }
    return {"type": "transcription", "audio": {"input": sound}}


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


def cancel(response_id: str) -> str:
    """``response.cancel``; an error when it is over already is harmless."""
    return _json({"type": "response.cancel", "response_id": response_id})


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
