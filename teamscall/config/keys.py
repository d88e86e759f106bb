"""How a configuration key is declared: its meaning, unit and limits, next to its type."""

from __future__ import annotations

from typing import Any, Literal

import msgspec


def key(
    doc: str,
    *,
    unit: str = "",
    kind: Literal["", "path", "command", "url", "schema"] = "",
    ge: float | None = None,
    le: float | None = None,
    pattern: str | None = None,
    allowed: str = "",
) -> msgspec.Meta:
    """One key. ``allowed`` puts a pattern in words; ``kind`` says how text is read."""
    limits: dict[str, Any] = {"ge": ge, "le": le, "pattern": pattern}
    return msgspec.Meta(
        description=doc,
        extra={"unit": unit, "kind": kind, "allowed": allowed},
        **{name: limit for name, limit in limits.items() if limit is not None},
    )


def url(doc: str) -> msgspec.Meta:
    return key(doc, kind="url", pattern=_URL, allowed="an http or https URL")


def address(doc: str) -> msgspec.Meta:
    """An address of the bridge as the other side writes it: both spellings are in use."""
    return key(doc, kind="url", pattern=_PUBLIC, allowed="a wss, https, ws or http URL")


# An hour: no timeout of a call is usefully longer, and a typed-in zero too many is caught.
LONGEST_MS = 3_600_000

URL_PATH = r"^/[^\s?#]*\Z"
_PUBLIC = r"^\Z|^(?:wss?|https?)://[^\s/?#]+[^\s?#]*\Z"
_URL = r"^\Z|^https?://[^\s/]+"
SET = r"\S"
