"""Leaves the media and words out of a raw message.

Owns what of a message is structure, by name: everything else is left out, so that a field
nobody thought of cannot leak. Refuses to know when.
"""

from __future__ import annotations

from typing import Any

import msgspec

# Of both dialects, both ways (standin.md, csharp.md). Identities are structure here:
# ``scrub`` removes them.
STRUCTURE = frozenset(
    {
        "type",
        "callId",
        "seq",
        "timestampMs",
        "timestamp",
        "ts",
        "direction",
        "status",
        "recordingStatus",
        "correlationId",
        "authorized",
        "strategy",
        "reason",
        "error",
        "lastReceivedSeq",
        "threadId",
        "tenantId",
        "speakerName",
        "participantId",
        "participantName",
        "source",
        "width",
        "height",
        "mime",
        "count",
        "turnId",
        "emotion",
        "durationMs",
        "mode",
    }
)
# Objects that have only structure inside.
_OBJECTS: dict[str, frozenset[str]] = {
    "metadata": frozenset(
        {"tenantId", "userId", "teamsCallId", "displayName", "userPrincipalName", "phoneNumber"}
    ),
    "caller": frozenset({"aadId", "displayName", "tenantId"}),
    "target": frozenset({"type", "userId", "number"}),
}
# A payload's key is structure, its value is not.
_PAYLOADS = frozenset(
    {"data", "payloadBase64", "dataBase64", "text", "message", "caption", "digit", "marks"}
)
# What a reason is cut to by the codecs; more of a text is no structure.
MAX_TEXT = 1024


def elide(text: bytes) -> tuple[bytes, int]:
    """The message without its content, and how many bytes that was; ``b""`` of one that is
    no JSON object: nobody knows what it holds."""
    try:
        whole = msgspec.json.decode(text)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return b"", len(text)
    if not isinstance(whole, dict):
        return b"", len(text)
    elided = 0
    out: dict[str, Any] = {}
    for key, value in whole.items():
        if key in _PAYLOADS:
            size = _size(value)
            elided += size
            out[key] = _emptied(value)
        elif key in _OBJECTS and isinstance(value, dict):
            known = {k: v for k, v in value.items() if k in _OBJECTS[key] and _is_plain(v)}
            elided += sum(_size(v) + len(k) for k, v in value.items() if k not in known)
            out[key] = known
        elif key in STRUCTURE and _is_plain(value):
            out[key] = value
        else:
            elided += len(key.encode("utf-8", "surrogatepass")) + _size(value)
    return msgspec.json.encode(out), elided


def _is_plain(value: object) -> bool:
    if isinstance(value, str):
        return len(value) <= MAX_TEXT
    return value is None or isinstance(value, bool | int | float)


def _emptied(value: object) -> object:
    """Of the same type, so that the message still reads as its kind."""
    if isinstance(value, str):
        return ""
    return [] if isinstance(value, list) else None


def _size(value: object) -> int:
    if isinstance(value, str):
        return len(value.encode("utf-8", "surrogatepass"))
    return len(msgspec.json.encode(value))


def kind_of(text: bytes) -> str:
    """The message's type; ``?`` of what has none."""
    try:
        kind = _kind.decode(text).type
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return "?"
    return kind or "?"


class _Kind(msgspec.Struct):
    type: str = ""


_kind = msgspec.json.Decoder(_Kind)
