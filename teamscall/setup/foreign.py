"""Another program's settings file: found, read and brought to dotted keys.

Owns the limits and the places where the block may stand: the msteams-call plugin's, the StandIn
plugin's of OpenClaw or of Hermes, alone or inside the program's whole file. Refuses to know
what becomes of a key (``taking``).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, cast

import msgspec

from teamscall.config.renamed import snake_case
from teamscall.errors import InputError
from teamscall.text import printable

Kind = Literal["csharp", "standin"]

MAX_JSON_BYTES = 4_194_304
# JSON5 is read by a slow parser: 50 KB took it two seconds.
MAX_JSON5_BYTES = 98_304
MAX_DEPTH = 48
MAX_KEYS = 500

# The plugins' names, by which their blocks are found; "-" and "_" are one.
_NAMES: Mapping[str, Kind] = {
    "msteams_call": "csharp",
    "msteams_voice": "standin",
    "msteams_bridge": "standin",
    "teams_voice": "standin",
    "teams_call": "standin",
    "standin": "standin",
}
_OF_CSHARP = frozenset(
    {"bridge", "serve", "authorization", "inbound", "call_auth_mode", "allowed_users"}
)
_OF_STANDIN = frozenset(
    {"shared_secret", "calling_port", "inbound_policy", "allowlist", "managed_bot", "secret"}
)


class Block(msgspec.Struct, frozen=True):
    """One program's settings: dotted keys as they are spelt, and their values."""

    kind: Kind
    where: str  # plugins.entries.msteams-call.config; empty: the whole file
    values: Mapping[str, object]
    beside: tuple[str, ...] = ()  # keys around it, which are the other program's own


def read_blocks(path: Path) -> list[Block]:
    """The blocks of a file.

    Raises:
        InputError: it cannot be read, is neither JSON nor JSON5, or has no such block in it.
    """
    document = _read(path)
    name = printable(str(path), 300)
    if not isinstance(document, dict):
        raise InputError(f"{name} holds no settings: it is not an object.")
    found = list(_blocks(document, "", 0))
    if not found and (kind := _kind(document)):
        found = [_block(kind, "", document)]
    if not found:
        raise InputError(
            f"{name} has no settings of a Teams calling plugin in it.",
            hint="Looked for: plugins.entries.msteams-call, .msteams-bridge, .msteams-voice and "
            "their like, and for their keys at the top.",
        )
    return found


def _read(path: Path) -> object:
    name = printable(str(path), 300)
    try:
        with path.open("rb") as file:
            data = file.read(MAX_JSON_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "no such path"
        raise InputError(f"{name} cannot be read: {reason}.") from error
    if len(data) > MAX_JSON_BYTES:
        raise InputError(f"{name} is longer than {MAX_JSON_BYTES} bytes.")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{name} is not UTF-8 text.") from error
    if _depth(text) > MAX_DEPTH:
        raise InputError(f"{name} is nested more than {MAX_DEPTH} deep.")
    try:
        return cast(object, json.loads(text))
    except (ValueError, RecursionError) as error:
        plain = error
    if len(data) > MAX_JSON5_BYTES:
        raise InputError(
            f"{name} is no plain JSON ({printable(str(plain), 100)}), and too long to be read "
            f"as JSON5 (more than {MAX_JSON5_BYTES} bytes).",
            hint="Put the plugin's block into a file of its own.",
        ) from plain
    import json5

    try:
        return cast(object, json5.loads(text))
    except (ValueError, RecursionError) as error:
        hint = ""
        if path.suffix.lower() in (".yaml", ".yml"):
            hint = "It is YAML: turn it into JSON first, as in: yq -o json . FILE > FILE.json"
        raise InputError(
            f"{name} is neither JSON nor JSON5: {printable(_first(error), 120)}", hint=hint
        ) from error


def _first(error: Exception) -> str:
    """A parser may quote the whole file; its place is enough."""
    return str(error).splitlines()[0].partition(" Context")[0] if str(error) else "too deep"


def _depth(text: str) -> int:
    """How deep brackets go, strings and comments counted too: no more than an estimate from
    above, which a settings file is far below."""
    depth = deepest = 0
    for char in text:
        if char in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif char in "]}":
            depth = max(0, depth - 1)
    return deepest


def _blocks(table: Mapping[str, Any], around: str, depth: int) -> Iterator[Block]:
    for key, value in table.items():
        if not isinstance(value, dict) or depth > 4:
            continue
        where = f"{around}.{key}" if around else str(key)
        named = _NAMES.get(snake_case(str(key)))
        if named is None:
            yield from _blocks(value, where, depth + 1)
            continue
        inside = next((k for k in ("config", "extra") if isinstance(value.get(k), dict)), "")
        block = value[inside] if inside else value  # extra: a platform of Hermes' gateway
        beside = tuple(str(key) for key in value if key != inside) if inside else ()
        yield _block(_kind(block) or named, f"{where}.{inside}".rstrip("."), block, beside)


def _kind(table: Mapping[str, Any]) -> Kind | None:
    keys = {snake_case(str(key)) for key in table}
    if keys & _OF_CSHARP:
        return "csharp"
    return "standin" if keys & _OF_STANDIN else None


def _block(kind: Kind, where: str, table: Mapping[str, Any], beside: tuple[str, ...] = ()) -> Block:
    values = dict(_flat(table, ""))
    if len(values) + len(beside) > MAX_KEYS:
        raise InputError(f"{printable(where, 100)} has more than {MAX_KEYS} keys.")
    return Block(kind, where, values, beside)


def _flat(table: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, object]]:
    for key, value in table.items():
        path = f"{prefix}{key}"
        if isinstance(value, dict) and value and not _is_reference(value):
            yield from _flat(value, f"{path}.")
        else:
            yield path, value


def _is_reference(value: Mapping[str, Any]) -> bool:
    """An object that stands for a secret: ``{"source": "env", "id": "NAME"}``."""
    return ("source" in value and "id" in value) or set(value) == {"env"}


def variable_of(value: object) -> str:
    """The environment variable that a secret is in: ``${NAME}`` or a reference; "" for none."""
    if isinstance(value, str) and value.startswith("${") and value.endswith("}"):
        return value[2:-1].partition(":")[0]
    if isinstance(value, dict):
        if value.get("source") == "env":
            return str(value.get("id", ""))
        return str(value.get("env", ""))
    return ""
