"""What crosses a worker's pipes: length-prefixed msgpack, one struct per frame.

Owns the structs and their framing, for both sides. Refuses to know models and processes.

A request is answered by any number of ``Spoken`` and then one ``Finished`` or ``Fault``
with its id. The first frame of a worker is ``Ready`` or ``Refused``.
"""

from __future__ import annotations

import asyncio
import struct
from typing import BinaryIO, Literal

import msgspec

MAX_FRAME_BYTES = 16 * 1024 * 1024  # 30 s of caller audio is 1 MB, a long sentence 3 MB
_LENGTH = struct.Struct("<I")


class Transcribe(msgspec.Struct, frozen=True, tag="transcribe"):
    """16 kHz s16le mono, at most 30 s."""

    id: int
    pcm: bytes


class Synthesise(msgspec.Struct, frozen=True, tag="synthesise"):
    id: int
    text: str


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """The model is loaded and warm."""

    about: str
    load_ms: int


class Refused(msgspec.Struct, frozen=True, tag="refused"):
    """The worker cannot work, and trying again will not help."""

    kind: Literal["missing-package", "weights"]
    message: str
    hint: str = ""


class Spoken(msgspec.Struct, frozen=True, tag="spoken"):
    """Part of a synthesis: s16le mono."""

    id: int
    pcm: bytes
    rate: int


class Finished(msgspec.Struct, frozen=True, tag="finished"):
    """``text``: of a ``Transcribe``; ``ms`` of work."""

    id: int
    text: str = ""
    ms: int = 0


class Fault(msgspec.Struct, frozen=True, tag="fault"):
    """This request failed, the worker goes on. ``message`` is safe to log."""

    id: int
    message: str


Request = Transcribe | Synthesise
Reply = Ready | Refused | Spoken | Finished | Fault

_requests: msgspec.msgpack.Decoder[Request] = msgspec.msgpack.Decoder(Request)
_replies: msgspec.msgpack.Decoder[Reply] = msgspec.msgpack.Decoder(Reply)
_encoder = msgspec.msgpack.Encoder()


def encode(message: Request | Reply) -> bytes:
    """One frame."""
    body = _encoder.encode(message)
    return _LENGTH.pack(len(body)) + body


def read_request(stream: BinaryIO) -> Request | None:
    """The worker's side, blocking; None when the parent is gone."""
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    (size,) = _LENGTH.unpack(head)
    body = stream.read(min(size, MAX_FRAME_BYTES))
    return _requests.decode(body) if len(body) == size else None


async def read_reply(stream: asyncio.StreamReader) -> Reply:
    """The parent's side.

    Raises:
        EOFError: the worker closed its end, also in the middle of a frame.
        ValueError: what came is no frame of ours.
    """
    try:
        (size,) = _LENGTH.unpack(await stream.readexactly(_LENGTH.size))
        if size > MAX_FRAME_BYTES:
            raise ValueError("a frame beyond the cap")
        return _replies.decode(await stream.readexactly(size))
    except asyncio.IncompleteReadError:
        raise EOFError from None
    except msgspec.DecodeError as error:
        raise ValueError(str(error)) from error
