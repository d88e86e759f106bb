"""The bytes of a capture: the magic, and blocks of records.

``TCAP``, one byte version, a newline; then blocks: length (u32, little-endian), CRC-32 of
the length and the payload (u32), the payload: zlib of a msgpack array of records. A block
is written by one call, so a file that was cut short ends in at most one torn block.
Refuses to know files.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Sequence

import msgspec

from teamscall.capture.records import FORMAT_VERSION, Record, moment

MAGIC = b"TCAP"
PREAMBLE = MAGIC + bytes([FORMAT_VERSION]) + b"\n"

# A block is closed when it has so much; a record is never split.
BLOCK_BYTES = 64 * 1024
# Of one block: the largest message there is (serve.max_message_bytes) twice over. What
# claims to be larger is damage, or a bomb.
MAX_PAYLOAD = 40 * 1024 * 1024
# What a record costs in memory beside its bytes.
RECORD_BYTES = 200
LEVEL = 1  # base64 shrinks to three quarters at every level, this one costs least

_ARRAY_32 = b"\xdd"
_HEAD = struct.Struct("<II")
HEAD_BYTES = _HEAD.size

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[Record])
_UNREADABLE = (
    msgspec.MsgspecError,
    ValueError,
    TypeError,
    RecursionError,
    OverflowError,
    MemoryError,  # 40 MB of empty maps are gigabytes of them
)


class Torn(Exception):
    """The bytes from here on are no block; the message says why. Never leaves this room."""


def encode_record(record: Record) -> bytes:
    """One record as msgpack.

    Raises:
        Exception: it holds what msgpack has not (a lone surrogate, a 65-bit integer).
    """
    return _encoder.encode(record)


def pack(records: Sequence[bytes]) -> bytes:
    """A block of encoded records."""
    payload = zlib.compress(_array_head(len(records)) + b"".join(records), LEVEL)
    return _HEAD.pack(len(payload), _crc(len(payload), payload)) + payload


def head(data: bytes) -> tuple[int, int]:
    """Length and CRC of the block that begins with these bytes.

    Raises:
        Torn: it is cut short, or longer than any.
    """
    if len(data) < HEAD_BYTES:
        raise Torn("a block's head is cut short")
    length, crc = _HEAD.unpack_from(data)
    if length > MAX_PAYLOAD:
        raise Torn("a block's length is impossible")
    return length, crc


def unpack(length: int, crc: int, payload: bytes, room: int) -> tuple[list[Record], int]:
    """The records of a block, and about how many bytes of memory they take.

    Raises:
        Torn: it is cut short, was changed, or takes more than ``room``.
    """
    if len(payload) < length:
        raise Torn("a block is cut short")
    if _crc(length, payload) != crc:
        raise Torn("a block's checksum is wrong")
    inflate = zlib.decompressobj()
    try:
        raw = inflate.decompress(payload, min(MAX_PAYLOAD, max(1, room)))
    except zlib.error as error:
        raise Torn("a block cannot be unpacked") from error
    weight = len(raw) + RECORD_BYTES * _count(raw)
    if weight > room or (len(raw) >= room and not inflate.eof):
        raise Torn("it unpacks to far more than any call")
    if not inflate.eof or inflate.unused_data:
        raise Torn("a block's length is impossible")
    try:
        records = _decoder.decode(raw)
    except _UNREADABLE as error:
        raise Torn("a block holds no records") from error
    for record in records:
        at = moment(record)
        if at is not None and not math.isfinite(at):
            raise Torn("a record has an impossible time")
    return records, weight


def _crc(length: int, payload: bytes) -> int:
    return zlib.crc32(payload, zlib.crc32(length.to_bytes(4, "little")))


def _array_head(count: int) -> bytes:
    """msgpack's head of an array: of any count, as array 32."""
    return _ARRAY_32 + count.to_bytes(4, "big")


def _count(raw: bytes) -> int:
    """How many records a block says that it has; 0 where it is written another way, which
    has less than 65,536."""
    return int.from_bytes(raw[1:5], "big") if raw.startswith(_ARRAY_32) else 0
