"""A request head as it came, and what it says by itself.

Owns reading headers without preferring one of several. Refuses to know who may come in.
"""

from __future__ import annotations

import msgspec

from teamscall.wire.events import Dialect
from teamscall.wire.signature import BRIDGE_SECRET_HEADER, GENERATIONS


class Head(msgspec.Struct, frozen=True):
    """A request line and its headers; names are lower case, values the bytes as sent."""

    method: str
    target: str
    headers: tuple[tuple[bytes, bytes], ...]

    @property
    def path(self) -> str:
        """The target without its query, still percent-encoded."""
        return self.target.partition("?")[0]

    def raw(self, name: str) -> bytes | None:
        """A header's value; several of the same name are joined, so that none is preferred."""
        values = [value for key, value in self.headers if key == name.lower().encode()]
        return b", ".join(values) if values else None

    def header(self, name: str) -> str | None:
        """The same as text: latin-1, which takes any byte."""
        value = self.raw(name)
        return None if value is None else value.decode("latin-1")

    def texts(self) -> dict[str, str]:
        """Every header as text, by its lower-case name."""
        names = {key.decode("latin-1") for key, _ in self.headers}
        return {name: self.header(name) or "" for name in names}

    @property
    def upgrades(self) -> bool:
        """Whether this asks for a WebSocket."""
        return _has_token(self.header("upgrade"), "websocket") and _has_token(
            self.header("connection"), "upgrade"
        )


def other_dialect(head: Head, dialect: Dialect) -> str:
    """A hint for a log where credentials of the other dialect came; blank where none did."""
    signed = any(head.raw(names.signature_header) is not None for names in GENERATIONS)
    if dialect == "csharp" and signed and head.raw(BRIDGE_SECRET_HEADER) is None:
        return "; StandIn's headers came: register a path of standin.paths there"
    if dialect == "standin" and not signed and head.raw(BRIDGE_SECRET_HEADER) is not None:
        return "; a C# gateway's secret came: it belongs to serve.path"
    return ""


def _has_token(value: str | None, token: str) -> bool:
    return value is not None and token in (part.strip().lower() for part in value.split(","))
