"""The Live API's messages, as far as they are used here; what comes in is read as
:class:`teamscall.engines.openai.messages.ServerEvent`.

Refuses to know sockets and what is done about an event. Limits of the service that are
counted in tokens are kept in bytes: no token is shorter than one.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Sequence
from typing import Literal
from urllib.parse import urlsplit

import msgspec

from teamscall.engines.base import Line
from teamscall.engines.openai.endpoint import Endpoint
from teamscall.engines.openai.messages import Item, ServerEvent
from teamscall.engines.tools import ToolSpec

RATE = 16_000  # the call's own: nothing is resampled
BYTES_PER_MS = RATE * 2 // 1000

MAX_APPENDED_BYTES = 480  # the service: 500 tokens
MAX_HISTORY_BYTES = 8_000  # the service: 8,192 tokens
MAX_HISTORY_LINES = 128

# Changes nothing; it is answered with the session, which says when it expires.
ASK_SESSION = '{"type":"session.update","session":{}}'
CONTINUE = '{"type":"response.create"}'

Context = Literal["instructions", "thinking", "commentary"]


def live_url(endpoint: Endpoint) -> str:
    """The Live API's address. The model is not in it."""
    parts = urlsplit(endpoint.base_url)
    scheme = "wss" if parts.scheme == "https" else "ws"
    path = f"{parts.path.rstrip('/')}/live/sessions"
    return parts._replace(scheme=scheme, path=path).geturl()


class Backend(msgspec.Struct, frozen=True):
    """Whom the session delegates to, so that tools are used: a model of the Responses API,
    and what it is told."""

    model: str
    instructions: str = ""
    tools: tuple[ToolSpec, ...] = ()


def start(
    model: str,
    *,
    voice: str = "",
    instructions: str = "",
    backend: Backend | None = None,
    history: Sequence[Line] = (),
) -> str:
    """``session.start``. Only what differs from the service's defaults is in it; of a
    history that is too long, the end."""
    audio: dict[str, object] = {"format": {"type": "audio/pcm", "rate": RATE}}
    if voice:
        audio["output"] = {"voice": voice}
    session: dict[str, object] = {"model": model, "audio": audio}
    if instructions:
        session["instructions"] = instructions
    if backend is not None:
        responses: dict[str, object] = {
            "model": backend.model,
            "tools": [
                {
                    "type": "function",
                    "name": tool.name,
                    "description": tool.description,
                    "parameters": tool.parameters,
                }
                for tool in backend.tools
            ],
        }
        if backend.instructions:
            responses["instructions"] = backend.instructions
        session["delegation"] = {"type": "responses", "responses": responses}
    if lines := _last(history):
        session["input"] = [_message(line) for line in lines]
    return _json({"type": "session.start", "session": session})


def append(pcm: bytes) -> str:
    """``session.input_audio.append`` of 16 kHz s16le mono."""
    audio = base64.b64encode(pcm).decode("ascii")
    return f'{{"type":"session.input_audio.append","audio":"{audio}"}}'


def tell(kind: Context, text: str, delegation_id: str | None = None) -> str:
    """``session.KIND.append``: ``commentary`` is spoken, in the model's own words; the
    others are not. ``text``: see :func:`pieces`."""
    event = {"type": f"session.{kind}.append", "content": text, "delegation_id": delegation_id}
    return _json(event)


def sound(event: ServerEvent) -> bytes | None:
    """The audio of a ``session.output_audio.delta``; None if it cannot be read."""
    try:
        return base64.b64decode(event.delta or "", validate=True)
    except binascii.Error:
        return None


def returned(call_id: str, output: str) -> str:
    """``response.item.create`` of what came of a tool's use."""
    item = {"type": "function_call_output", "call_id": call_id, "output": output}
    return _json({"type": "response.item.create", "item": item})


def pieces(text: str, most: int = MAX_APPENDED_BYTES) -> Iterator[str]:
    """``text`` in pieces that may be appended, cut at blanks where there are any."""
    piece = ""
    for word in text.split(" "):
        joined = f"{piece} {word}" if piece else word
        if len(joined.encode()) <= most:
            piece = joined
            continue
        if piece:
            yield piece
        data = word.encode()
        while len(data) > most:
            head = data[:most].decode(errors="ignore")
            yield head
            data = data[len(head.encode()) :]
        piece = data.decode()
    if piece:
        yield piece


class _Nested(msgspec.Struct, frozen=True):
    id: str = ""
    usage: msgspec.Raw = msgspec.Raw(b"null")


class BackendEvent(msgspec.Struct, frozen=True):
    """An event of the backend, which comes inside a ``response.event``."""

    type: str = ""
    item: Item | None = None
    response: _Nested | None = None


class _Cached(msgspec.Struct, frozen=True):
    cached_tokens: int | None = None


class BackendUsage(msgspec.Struct, frozen=True):
    """What the backend's model used."""

    input_tokens: int = 0
    output_tokens: int = 0
    input_tokens_details: _Cached | None = None

    @property
    def cached_tokens(self) -> int:
        details = self.input_tokens_details
        return (details.cached_tokens or 0) if details is not None else 0


_backend_event = msgspec.json.Decoder(BackendEvent)
_backend_usage: msgspec.json.Decoder[BackendUsage | None] = msgspec.json.Decoder(
    BackendUsage | None
)


def backend_event(raw: msgspec.Raw) -> BackendEvent | None:
    """Decode one; None if it cannot be read."""
    try:
        return _backend_event.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def backend_usage(event: BackendEvent) -> BackendUsage | None:
    """What the response used; None where it is not told."""
    if event.response is None:
        return None
    try:
        return _backend_usage.decode(event.response.usage)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _last(history: Sequence[Line]) -> list[Line]:
    room, kept = MAX_HISTORY_BYTES, list[Line]()
    for line in reversed(history[-MAX_HISTORY_LINES:]):
        room -= len(line.text.encode())
        if room < 0:
            break
        kept.append(line)
    return kept[::-1]


def _message(line: Line) -> object:
    kind = "input_text" if line.role == "caller" else "output_text"
    role = "user" if line.role == "caller" else "assistant"
    return {"type": "message", "role": role, "content": [{"type": kind, "text": line.text}]}


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
