"""A secret is a type: whatever prints, formats, logs or encodes it shows ``MASK``.

Only ``reveal`` gives the value, so a leak can be found by searching for that word.
"""

from __future__ import annotations

import hmac
from typing import NoReturn

MASK = "********"


class Secret:
    """A value that hides itself. False when empty; equality takes constant time."""

    __slots__ = ("_value",)

    def __init__(self, value: str = "") -> None:
        self._value = value

    def reveal(self) -> str:
        """The value itself. Never pass it to a log, an error message or a record."""
        return self._value

    def __bool__(self) -> bool:
        return bool(self._value)

    def __repr__(self) -> str:
        return f"Secret({MASK if self._value else ''})"

    def __str__(self) -> str:
        return MASK if self._value else ""

    def __format__(self, spec: str) -> str:
        return format(str(self), spec)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(_utf8(self._value), _utf8(other._value))

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not pickled: hand over its value on purpose, or not at all")

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: object) -> Secret:
        return self


def _utf8(value: str) -> bytes:
    # surrogateescape: environment variables may hold bytes that are not UTF-8.
    return value.encode("utf-8", "surrogateescape")


def encode_hook(value: object) -> object:
    """``enc_hook`` for msgspec: secrets become the mask; without it they do not encode at all.

    Raises:
        NotImplementedError: ``value`` is something else that msgspec cannot encode.
    """
    if isinstance(value, Secret):
        return str(value)
    raise NotImplementedError(f"cannot encode {type(value).__name__}")
