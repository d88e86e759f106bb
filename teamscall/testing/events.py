"""What a client says on a socket, read: JSON with a type, and the audio in it. Pure."""

from __future__ import annotations

import base64
import binascii
import json

from teamscall.testing.shapes import MAX_APPEND_BYTES
from teamscall.testing.strict import Wrong
from teamscall.testing.visits import Event, Json

_APPENDS = ("input_audio_buffer.append", "session.input_audio.append")


def read_event(message: str | bytes) -> Json:
    """One event, with a ``type`` that is a string.

    Raises:
        Wrong: it is none.
    """
    try:
        event = json.loads(message)
    except (ValueError, RecursionError):
        raise Wrong("We could not parse the JSON of this event.", code="invalid_json") from None
    if not isinstance(event, dict) or not isinstance(event.get("type"), str):
        raise Wrong(
            "Missing required parameter: 'type'.", code="missing_required_parameter", param="type"
        )
    return event


def shown(event: Json, at: float) -> Event:
    """What is kept of it: all but its audio."""
    audio = event.get("audio")
    if event["type"] not in _APPENDS or not isinstance(audio, str):
        return Event(at, event["type"], event)
    body = {name: value for name, value in event.items() if name != "audio"}
    return Event(at, event["type"], body, len(audio) * 3 // 4)


def audio_of(event: Json) -> bytes:
    """The audio of an append.

    Raises:
        Wrong: it is not base64, or too much.
    """
    try:
        audio = base64.b64decode(event["audio"], validate=True)
    except binascii.Error:
        raise Wrong(
            "Invalid 'audio'. Expected base64-encoded audio bytes but got an invalid value.",
            code="invalid_value",
            param="audio",
        ) from None
    if len(audio) > MAX_APPEND_BYTES:
        raise Wrong("The audio is larger than 15 MiB.", code="invalid_value", param="audio")
    return audio


def event_id_of(message: str | bytes) -> str | None:
    """The client's own id of a refused event, when it can be read."""
    try:
        event = json.loads(message)
    except (ValueError, RecursionError):
        return None
    found = event.get("event_id") if isinstance(event, dict) else None
    return found if isinstance(found, str) else None
