"""The configuration tree as a flat list of options, and one value's way into it.

Reads the annotations of ``tree``; refuses to know where a value came from.
"""

from __future__ import annotations

import functools
import json
import math
import os
import re
import shlex
import tomllib
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

from teamscall.config.entries import ENTRIES, parameters_schema
from teamscall.config.secret import Secret
from teamscall.config.tree import Config

ENV_PREFIX = "TEAMSCALL_"

_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}

# response_model (the plugin's) and response.model (ours) would share a variable: ours
# writes its dot as two underscores.
_ENV_NAMES = {"response.model": "TEAMSCALL_RESPONSE__MODEL"}


class Option(msgspec.Struct, frozen=True):
    """One key, in the words of a manual."""

    path: str  # serve.port
    type_words: str  # integer
    default: object  # what the tree says; secrets are empty
    doc: str  # one line
    allowed: str  # an integer from 0 to 65535
    camel: str  # the same path in camelCase: outbound.ringTimeoutMs
    env: str  # TEAMSCALL_SERVE_PORT
    secret: bool = False
    unit: str = ""  # ms, s, bytes, days
    choices: tuple[str, ...] = ()
    kind: str = ""  # path, command, url or schema: how its text is read
    annotation: object = None  # for the loader: what msgspec converts to


def camel_case(name: str) -> str:
    """``ring_timeout_ms`` -> ``ringTimeoutMs``: the plugin's spelling of a key."""
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def iter_options() -> Iterator[Option]:
    """Every key of the configuration, in the order of the tree."""
    yield from options().values()


@functools.cache
def options() -> dict[str, Option]:
    """Options by path."""
    return {option.path: option for option in _walk(Config, "")}


@functools.cache
def tables() -> frozenset[str]:
    """The names of the tables: ``serve``, ``bridge``, ..."""
    return frozenset(path.partition(".")[0] for path in options() if "." in path)


def table_doc(name: str) -> str:
    """What a table is about, in one line."""
    hint = get_type_hints(Config)[name]
    return (hint.__doc__ or "").strip().splitlines()[0]


def constraints(option: Option) -> dict[str, object]:
    """``ge``, ``le`` and ``pattern`` of a key; None where it has none."""
    _, meta = get_args(option.annotation)
    return {"ge": meta.ge, "le": meta.le, "pattern": meta.pattern}


@functools.cache
def entry_options(table: str) -> dict[str, Option]:
    """The keys of one entry of ``[[tools]]`` or ``[prices."model"]``, by name. Their
    ``path`` is that name alone; they have no environment variable."""
    struct = ENTRIES[table]
    hints = get_type_hints(struct, include_extras=True)
    found = {}
    for one in msgspec.structs.fields(struct):
        default = one.default_factory() if callable(one.default_factory) else one.default
        known = msgspec.structs.replace(_option(one.name, hints[one.name], default), env="")
        found[one.name] = known
    return found


def _walk(struct: type[msgspec.Struct], prefix: str) -> Iterator[Option]:
    hints = get_type_hints(struct, include_extras=True)
    defaults = struct()
    for name in struct.__struct_fields__:
        hint = hints[name]
        if prefix + name in ENTRIES:
            continue
        if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
            yield from _walk(hint, f"{prefix}{name}.")
            continue
        yield _option(prefix + name, hint, getattr(defaults, name))


def _option(path: str, hint: Any, default: object) -> Option:
    base, meta = get_args(hint)
    extra = meta.extra
    words, allowed, choices = _in_words(base, meta)
    return Option(
        path=path,
        type_words=words,
        default=default,
        doc=meta.description,
        allowed=extra["allowed"] or allowed,
        camel=".".join(camel_case(part) for part in path.split(".")),
        env=_ENV_NAMES.get(path) or ENV_PREFIX + path.replace(".", "_").upper(),
        secret=base is Secret,
        unit=extra["unit"],
        choices=choices,
        kind=extra["kind"],
        annotation=hint,
    )


def _in_words(base: Any, meta: msgspec.Meta) -> tuple[str, str, tuple[str, ...]]:
    """(type, allowed values, choices) of an annotation."""
    if base is Secret:
        return "string", "a string", ()
    if base is bool:
        return "boolean", "true or false", ()
    if base is int:
        return "integer", f"an integer from {meta.ge} to {meta.le}", ()
    if base is float:
        return "number", f"a number from {meta.ge} to {meta.le}", ()
    if get_origin(base) is Literal:
        return "string", "one of " + ", ".join(get_args(base)), get_args(base)
    if get_origin(base) in (Union, types.UnionType):
        named = tuple(c for arm in get_args(base) if arm is not bool for c in get_args(arm))
        return "boolean or string", "true, false or " + ", ".join(named), named
    if get_origin(base) is dict:
        return "table", "a JSON Schema of an object, as a table or as JSON text", ()
    if get_origin(base) is tuple:
        if meta.extra is not None and meta.extra["kind"] == "command":
            return "list of strings", "a list of strings, or one command line", ()
        if named := get_args(get_args(base)[0]):
            return "list of strings", "a list of " + ", ".join(named), named
        return "list of strings", "a list of strings", ()
    return "string", "a string", ()


def convert(option: Option, value: object, *, base: Path) -> object:
    """``value`` as the tree holds it.

    Args:
        value: what TOML or a flag gave; read text with ``parse_text`` first.
        base: relative paths are relative to this directory.

    Raises:
        ValueError: it is not what ``option.allowed`` says.
    """
    if option.secret:
        if not isinstance(value, str):
            raise ValueError("not a string")
        return Secret(value)
    if option.kind == "command" and isinstance(value, str):
        value = shlex.split(value)
    if option.kind == "schema":
        return parameters_schema(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("not a finite number")
    converted: object = msgspec.convert(value, option.annotation)
    if option.kind == "path" and isinstance(converted, str) and converted:
        return str(base / os.path.expanduser(converted))
    return converted


def _json_array(text: str) -> object:
    """JSON's texts are TOML's but for a few characters, as a pair of surrogates."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError("not an array") from error


def parse_text(option: Option, text: str) -> object:
    """Text of an environment variable (or a flag that takes any key) as a TOML value.

    Booleans are true, false, 1 or 0; a list is separated by commas, or a TOML or JSON
    array; a command is a command line or such an array.

    Raises:
        ValueError: it cannot be read as the option's type.
    """
    if "boolean" in option.type_words:
        word = text.strip().lower()
        if word in option.choices:
            return word
        if word not in _BOOLEANS:
            raise ValueError("not a boolean")
        return _BOOLEANS[word]
    if option.type_words == "integer":
        if not re.fullmatch(r"[+-]?[0-9]{1,18}", text.strip()):
            raise ValueError("not an integer")
        return int(text)
    if option.type_words == "number":
        if not re.fullmatch(r"[+-]?[0-9]{1,18}(\.[0-9]{1,18})?", text.strip()):
            raise ValueError("not a number")
        return float(text)
    if option.type_words == "list of strings":
        if text.lstrip().startswith("["):
            try:
                return tomllib.loads("value = " + text)["value"]
            except tomllib.TOMLDecodeError:
                return _json_array(text)
        if option.kind == "command":
            return text
        return [item.strip() for item in text.split(",") if item.strip()]
    return text
