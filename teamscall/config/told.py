"""A line about a configuration that knows its parts: the key, its value, where it was written.

The line itself is the text, safe for a terminal. Owns its shape; refuses to know what is
wrong (``words``, ``checks``) and how it is shown.
"""

from __future__ import annotations

from typing import NamedTuple

from teamscall.text import printable

# A line quotes at most two paths and a value.
_MAX_LINE = 1000


class Parts(NamedTuple):
    """What a line is about; empty where it does not apply.

    ``value`` is as a person reads it, a secret masked. ``excerpt``: lines of the file with a
    caret under the place, safe to print.
    """

    key: str = ""
    value: str = ""
    origin: str = ""  # file teamscall.toml line 12
    allowed: str = ""
    suggestion: str = ""
    excerpt: tuple[str, ...] = ()


NO_PARTS = Parts()


class Told(str):
    """One safe line, and its parts."""

    parts: Parts

    def __new__(cls, text: str, parts: Parts = NO_PARTS) -> Told:
        line = super().__new__(cls, printable(text, _MAX_LINE))
        key, value, origin, allowed, suggestion = (printable(p, _MAX_LINE) for p in parts[:5])
        line.parts = Parts(key, value, origin, allowed, suggestion, parts.excerpt)
        return line

    @property
    def what(self) -> str:
        """The line without the place, which moves when lines are put in above it."""
        return self.replace(f" ({self.parts.origin})", "") if self.parts.origin else str(self)


def told(key: str, problem: str, origin: str, suggestion: str = "") -> Told:
    """``KEY: problem (origin)``."""
    return Told(f"{key}: {problem} ({origin})", Parts(key, "", origin, "", suggestion))


def lines(texts: list[str]) -> tuple[Told, ...]:
    """One safe line each: file names and values of any kind may be quoted in them."""
    return tuple(text if isinstance(text, Told) else Told(text) for text in texts)
