"""Checks JSON against a shape, and refuses with the service's own words and codes.

A shape is a function that raises :class:`Wrong`. Knows no particular shape
(:mod:`teamscall.testing.shapes`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from teamscall.text import printable

Check = Callable[[object, str], None]


class Wrong(Exception):
    """The request is refused.

    Attributes:
        code: the service's error code.
        param: the path of the offending value, such as ``session.audio.input.format``.
        status: over HTTP.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        status: int = 400,
        type_: str = "invalid_request_error",
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.param = param
        self.status = status
        self.type = type_

    def body(self) -> dict[str, object]:
        """The ``error`` object of a response or of an ``error`` event."""
        return {
            "type": self.type,
            "code": self.code,
            "message": self.message,
            "param": self.param,
        }


def _named(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int():
            return "an integer"
        case float():
            return "a decimal"
        case str():
            return "a string"
        case list():
            return "an array"
        case _:
            return "an object"


def _type(path: str, expected: str, value: object) -> Wrong:
    return Wrong(
        f"Invalid type for '{path}': expected {expected}, but got {_named(value)} instead.",
        code="invalid_type",
        param=path,
    )


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def anything(value: object, path: str) -> None:
    """Any JSON."""


def free(value: object, path: str) -> None:
    """Any JSON object."""
    if not isinstance(value, dict):
        raise _type(path, "an object", value)


def boolean(value: object, path: str) -> None:
    if not isinstance(value, bool):
        raise _type(path, "a boolean", value)


def string(limit: int = 10_000_000) -> Check:
    """A string of at most ``limit`` characters."""

    def check(value: object, path: str) -> None:
        if not isinstance(value, str):
            raise _type(path, "a string", value)
        if len(value) > limit:
            raise Wrong(
                f"Invalid '{path}': string too long. Expected a string with maximum length "
                f"{limit}, but got a string with length {len(value)} instead.",
                code="string_above_max_length",
                param=path,
            )

    return check


def _bounded(value: float, path: str, low: float, high: float, kind: str) -> None:
    for wrong, side, sign, bound in (
        (value < low, "below minimum", ">=", low),
        (value > high, "above maximum", "<=", high),
    ):
        if wrong:
            code = f"{kind}_{'below_min' if sign == '>=' else 'above_max'}_value"
            raise Wrong(
                f"Invalid '{path}': {kind} {side} value. Expected a value {sign} {bound:g}, "
                f"but got {value:g} instead.",
                code=code,
                param=path,
            )


def integer(low: int = -(2**53), high: int = 2**53) -> Check:
    """A whole number in these bounds."""

    def check(value: object, path: str) -> None:
        if isinstance(value, bool) or not isinstance(value, int):
            raise _type(path, "an integer", value)
        _bounded(value, path, low, high, "integer")

    return check


def number(low: float = -1e308, high: float = 1e308) -> Check:
    """A number in these bounds."""

    def check(value: object, path: str) -> None:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise _type(path, "a decimal", value)
        _bounded(value, path, low, high, "decimal")

    return check


def one_of(*allowed: object) -> Check:
    """One of these values."""

    def check(value: object, path: str) -> None:
        # 1 == True and 1 == 1.0 in Python, not in JSON
        if not any(type(value) is type(a) and value == a for a in allowed):
            names = ", ".join(repr(a) for a in allowed)
            shown = printable(value, 60) if isinstance(value, str) else value
            if not isinstance(value, type(allowed[0])):
                raise _type(path, f"one of {names}", value)
            raise Wrong(
                f"Invalid value: {shown!r}. Supported values are: {names}.",
                code="invalid_value",
                param=path,
            )

    return check


def nullable(inner: Check) -> Check:
    """``inner``, or null."""

    def check(value: object, path: str) -> None:
        if value is not None:
            inner(value, path)

    return check


def any_of(*inner: Check) -> Check:
    """Any of these; the last one's complaint is told."""

    def check(value: object, path: str) -> None:
        for each in inner[:-1]:
            try:
                each(value, path)
            except Wrong:
                continue
            return
        inner[-1](value, path)

    return check


def array(inner: Check, *, least: int = 0, most: int = 10_000) -> Check:
    """A list of ``inner``."""

    def check(value: object, path: str) -> None:
        if not isinstance(value, list):
            raise _type(path, "an array", value)
        if len(value) < least:
            raise Wrong(
                f"Invalid '{path}': empty array. Expected an array with minimum length {least}, "
                f"but got an empty array instead.",
                code="empty_array",
                param=path,
            )
        if len(value) > most:
            raise Wrong(
                f"Invalid '{path}': array too long. Expected an array with maximum length "
                f"{most}, but got an array with length {len(value)} instead.",
                code="array_above_max_length",
                param=path,
            )
        for index, item in enumerate(value):
            inner(item, f"{path}[{index}]")

    return check


def record(fields: Mapping[str, Check], *required: str) -> Check:
    """An object with these fields and no other."""

    def check(value: object, path: str) -> None:
        if not isinstance(value, dict):
            raise _type(path, "an object", value)
        for name in value:
            if name not in fields:
                where = _join(path, printable(name, 100))
                raise Wrong(f"Unknown parameter: '{where}'.", code="unknown_parameter", param=where)
        for name in required:
            if name not in value:
                where = _join(path, name)
                raise Wrong(
                    f"Missing required parameter: '{where}'.",
                    code="missing_required_parameter",
                    param=where,
                )
        for name, item in value.items():
            fields[name](item, _join(path, name))

    return check


def tagged(kinds: Mapping[str, Check], tag: str = "type") -> Check:
    """An object whose ``tag`` says which of these shapes it has."""

    def check(value: object, path: str) -> None:
        if not isinstance(value, dict):
            raise _type(path, "an object", value)
        where = _join(path, tag)
        if tag not in value:
            raise Wrong(
                f"Missing required parameter: '{where}'.",
                code="missing_required_parameter",
                param=where,
            )
        one_of(*kinds)(value[tag], where)
        kinds[value[tag]](value, path)

    return check
