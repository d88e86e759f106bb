"""Strict reading of JSON messages and base64, the same for both dialects, and the caps.

Owns what a well-formed message is before anybody asks what it means. Every reader
returns a :class:`Dropped` for what it refuses and never raises, whatever the bytes are.
Refuses to know any message type of either dialect.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Generic, TypeVar, get_args

import msgspec

from teamscall.text import printable
from teamscall.wire.events import SAMPLE_RATE, Dropped

# A message of either direction. The largest legal ones are pictures: 1,400,000 raw
# bytes are 1,866,668 characters of base64 plus their envelope.
MAX_MESSAGE_BYTES = 2 * 1024 * 1024

# Audio of one message: 30 s, twice the default resume grace. A gateway that batches what
# it collected while the link was away stays under it; nothing that is real time comes near.
MAX_AUDIO_BYTES = 30 * SAMPLE_RATE * 2

# A picture, either way: standin.md's bound for display.image. Camera pictures are "up to
# about 1 MB", so the same bound leaves them room.
MAX_PICTURE_BYTES = 1_400_000

# Integers of the wire fit a signed 64-bit field; beyond that nothing the field runs agrees.
MAX_INTEGER = 2**63 - 1

# Integers that survive a trip through an IEEE double, as JavaScript's isSafeInteger.
MAX_SAFE_INTEGER = 2**53 - 1

# What we show of a peer's own type name.
_MAX_SHOWN_TYPE = 64

# Mending costs up to 0.3 us per escape: only what a human typed or was named is worth it,
# and no such message is near this long.
_MAX_MENDED_BYTES = 64 * 1024

_BAD_JSON = Dropped("not-json", "malformed JSON")
_BAD_TEXT = Dropped("not-json", "not UTF-8")
_TOO_DEEP = Dropped("not-json", "nested too deep")
_NO_OBJECT = Dropped("not-json", "not an object")
_NO_TYPE = Dropped("no-type")
_TOO_LARGE = Dropped("too-large", "message over the cap")

# A number that counts: "integers >= 0" for the decoder, which takes no float and no boolean.
Count = Annotated[int, msgspec.Meta(ge=0, le=MAX_INTEGER)]
Positive = Annotated[int, msgspec.Meta(gt=0, le=MAX_INTEGER)]

_NULL = msgspec.Raw(b"null")

T = TypeVar("T")


class _Head(msgspec.Struct, rename="camel"):
    """Enough of any message to say why it was refused."""

    type: msgspec.Raw = _NULL
    call_id: msgspec.Raw = _NULL


_HEAD = msgspec.json.Decoder(_Head)
_STRING = msgspec.json.Decoder(str)


class Reader(Generic[T]):
    """Reads one direction of one dialect: a union of tagged structs, told apart by ``type``.

    ``call_id_pattern`` is given by the dialect whose every message carries a ``callId``;
    its structs hold the same pattern, here it only names the cause of a refusal.
    """

    def __init__(self, decoder: msgspec.json.Decoder[Any], call_id_pattern: str = "") -> None:
        self._decoder = decoder
        self._types = frozenset(s.__struct_config__.tag for s in get_args(decoder.type))
        self._call_id = re.compile(call_id_pattern) if call_id_pattern else None

    def read(self, data: str | bytes) -> T | Dropped:
        """Decode one message into one of the union's structs. Never raises.

        Refused, beyond what JSON itself refuses (NaN, Infinity, BOM, UTF-16): invalid
        UTF-8 anywhere, lone surrogates in a ``str``, nesting beyond the interpreter's
        limit, more than ``MAX_MESSAGE_BYTES``. Of a key given twice, one wins.
        """
        if len(data) > MAX_MESSAGE_BYTES:
            return _TOO_LARGE
        try:
            raw = data.encode() if isinstance(data, str) else data
            if not raw.isascii():
                raw.decode()  # msgspec does not look inside the strings it skips
            return self._decode(raw)
        except UnicodeError:
            return _BAD_TEXT
        except RecursionError:
            return _TOO_DEEP
        except msgspec.DecodeError:
            return _BAD_JSON

    def _decode(self, raw: bytes) -> T | Dropped:
        message: T
        try:
            message = self._decoder.decode(raw)
        except msgspec.ValidationError as error:
            return self._why(raw, error)
        except msgspec.DecodeError:
            mended = mend_surrogates(raw)
            if mended == raw:
                raise
            return self._decode(mended)  # at most once: mending leaves nothing to mend
        return message

    def _why(self, raw: bytes, error: msgspec.ValidationError) -> Dropped:
        """Name the cause of a refusal. The whole message is parsed again: the decoder
        stops at the first wrong value, so what follows may not even be JSON."""
        try:
            head = _HEAD.decode(raw)
        except msgspec.ValidationError:
            return _NO_OBJECT
        kind = _string(head.type)
        if kind is None:
            return _NO_TYPE
        if kind not in self._types:
            return Dropped("unknown-type", printable(kind, _MAX_SHOWN_TYPE))
        if self._call_id is not None:
            call_id = _string(head.call_id)
            if call_id is None or not self._call_id.search(call_id):
                return Dropped("bad-call-id", kind)
        return Dropped("bad-field", f"{kind} {_blamed(error)}".rstrip())


def read_body(decoder: msgspec.json.Decoder[T], body: bytes, max_bytes: int) -> T | Dropped:
    """Decode an HTTP body of at most ``max_bytes`` into one struct. Never raises."""
    if len(body) > max_bytes:
        return Dropped("too-large", "body over the cap")
    try:
        body.decode()
        return decoder.decode(body)
    except UnicodeError:
        return _BAD_TEXT
    except RecursionError:
        return _TOO_DEEP
    except msgspec.ValidationError as error:
        return Dropped("bad-field", _blamed(error))
    except msgspec.DecodeError:
        return _BAD_JSON


# --- base64 -----------------------------------------------------------------------------

# The last symbol before the padding may carry only bits of the last byte.
_PADDED_1 = frozenset(f"{symbol}=" for symbol in "AEIMQUYcgkosw048")  # two spare bits
_PADDED_2 = frozenset(f"{symbol}==" for symbol in "AQgw")  # four spare bits


def read_base64(text: str, max_bytes: int) -> bytes | None:
    """Decode base64 as :rfc:`4648` section 3.5 wants it, or None.

    The standard alphabet, complete padding, no blanks, spare bits zero: there is exactly
    one text for each value. The length is checked before anything is decoded.
    """
    if len(text) > (max_bytes + 2) // 3 * 4:
        return None
    try:
        value = msgspec.convert(text, bytes)
    except (msgspec.ValidationError, UnicodeError):
        return None
    if len(value) > max_bytes:  # by the one or two bytes that padding hid above
        return None
    if text[-1:] == "=" and text[-3:] not in _PADDED_2 and text[-2:] not in _PADDED_1:
        return None
    return value


# --- odd values -------------------------------------------------------------------------


def text_or_blank(value: object) -> str:
    """A trimmed string, or ``""`` for anything that is not a string."""
    return value.strip() if isinstance(value, str) else ""


def safe_integer(raw: msgspec.Raw) -> int:
    """The integer that a JSON value stands for, or 0 if it is not a *safe* one.

    ``12345.0`` is 12345; strings, null, booleans, fractions and what lies beyond
    2^53-1 are 0 (standin.md, ``ping``).
    """
    try:
        value = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return 0
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0
    if abs(value) > MAX_SAFE_INTEGER or value != int(value):
        return 0
    return int(value)


def checked_count(value: int) -> int:
    """``value`` if a :data:`Count` can hold it, for encoders.

    Raises:
        ValueError: it is negative or over 2^63-1.
    """
    if not 0 <= value <= MAX_INTEGER:
        raise ValueError(f"0 to 2^63-1, not {value}")
    return value


def raw_integer(value: int) -> msgspec.Raw:
    """The JSON of an integer that :func:`safe_integer` reads back.

    Raises:
        ValueError: it is beyond 2^53-1 either way.
    """
    if abs(value) > MAX_SAFE_INTEGER:
        raise ValueError(f"a safe integer, not {value}")
    return msgspec.Raw(b"%d" % value)


_ESCAPES = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"  # a pair: kept
    rb"|(u[dD][89a-fA-F][0-9a-fA-F]{2})"  # half of one: replaced
    rb"|.)",  # every other escape, so that \\ud800 is not mistaken for one
    re.DOTALL,
)


def mend_surrogates(raw: bytes) -> bytes:
    """Replace every escaped lone surrogate by U+FFFD.

    It is valid JSON that no UTF-8 text can hold, and the field sends it: a display name
    that was cut in the middle of an emoji. One must not cost the message it stands in.
    """
    if len(raw) > _MAX_MENDED_BYTES:
        return raw
    return _ESCAPES.sub(lambda m: m[0] if m[1] is None else rb"\ufffd", raw)


def _string(raw: msgspec.Raw) -> str | None:
    try:
        return _STRING.decode(raw)
    except (msgspec.DecodeError, UnicodeError):
        return None


# Only the part of msgspec's words that names our own fields: the rest may quote the peer.
_AT = re.compile(r" - at `\$\.?([\w.\[\]]*)`$", re.ASCII)
_ABSENT = re.compile(r"^Object missing required field `(\w+)`", re.ASCII)


def _blamed(error: msgspec.ValidationError) -> str:
    """Which field was wrong, as a dotted path of names that are ours, may be empty."""
    words = str(error)
    parts = [m[1] for m in (_AT.search(words), _ABSENT.search(words)) if m and m[1]]
    return ".".join(parts)
