"""The configuration file as a JSON Schema (2020-12), for editors and for CI.

Made from the same table as the manual page. What makes sense only together (``checks``) is
beyond it: a file that fits may still have a problem.
"""

from __future__ import annotations

import functools
import itertools
import re
from typing import Any

import msgspec

from teamscall.config.entries import ENTRIES, HEADERS
from teamscall.config.options import (
    Option,
    camel_case,
    constraints,
    entry_options,
    options,
    table_doc,
    tables,
)

DIALECT = "https://json-schema.org/draft/2020-12/schema"


@functools.cache
def schema() -> dict[str, Any]:
    """The whole schema. Each key is there in both spellings; editors offer the first one."""
    root = _object({path: _value(o) for path, o in options().items() if "." not in path})
    for table in sorted(tables(), key=_place):
        inside = {
            option.path.partition(".")[2]: _value(option)
            for option in options().values()
            if option.path.startswith(f"{table}.")
        }
        _put(root, table, _object(inside) | {"description": table_doc(table)})
    for table in ENTRIES:
        known = entry_options(table)
        entry = _object({name: _value(option) for name, option in known.items()})
        required = [n for n, option in known.items() if option.default is msgspec.NODEFAULT]
        if required:
            both = [{"anyOf": _either(name)} for name in required]
            entry["allOf"] = [*entry.get("allOf", []), *both]
        if "command" in known and "url" in known:
            entry["oneOf"] = [_given("url"), _given("command")]
        about = (ENTRIES[table].__doc__ or "").strip()
        form = {"description": f"{about} Written as {HEADERS[table]}."}
        many: dict[str, Any] = {"type": "array", "items": entry}
        if table == "prices":
            many = {"type": "object", "additionalProperties": entry}
        root["properties"][table] = many | form
    return {
        "$schema": DIALECT,
        "$id": "https://teamscall.invalid/teamscall.schema.json",
        "title": "teamscall.toml",
        "description": "Configuration of teamscall.",
        **root,
    }


def _place(table: str) -> int:
    return next(n for n, path in enumerate(options()) if path.startswith(f"{table}."))


def _either(name: str) -> list[dict[str, Any]]:
    return [{"required": [spelling]} for spelling in dict.fromkeys((name, camel_case(name)))]


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {"type": "object", "additionalProperties": False, "properties": {}}
    for name, value in properties.items():
        _put(made, name, value)
    for name in properties:
        sources = [one for one in (name, f"{name}_file", f"{name}_env") if one in properties]
        for one, other in itertools.combinations(sources if len(sources) == 3 else (), 2):
            both = [{"anyOf": _spelt(one)}, {"anyOf": _spelt(other)}]
            made.setdefault("allOf", []).append({"not": {"allOf": both}})
    return made


def _spelt(name: str) -> list[dict[str, Any]]:
    return [_given(spelling) for spelling in dict.fromkeys((name, camel_case(name)))]


def _given(name: str) -> dict[str, Any]:
    """The key is there, and not empty: that reads as not given."""
    return {"required": [name], "properties": {name: {"not": {"enum": ["", []]}}}}


def _put(inside: dict[str, Any], name: str, value: dict[str, Any]) -> None:
    """A key in both spellings, of which a file has one."""
    inside["properties"][name] = value
    camel = camel_case(name)
    if camel == name:
        return
    hidden = {"x-taplo": {"hidden": True}, "doNotSuggest": True}
    about = f"Same as {name}. {value.get('description', '')}".strip()
    inside["properties"][camel] = value | hidden | {"description": about}
    inside.setdefault("allOf", []).append({"not": {"required": [name, camel]}})


def _value(option: Option) -> dict[str, Any]:
    words = [option.doc]
    if option.unit:
        words.append(f"Unit: {option.unit}.")
    if option.env:
        words.append(f"Environment: {option.env}.")
    made: dict[str, Any] = {"title": option.path, "description": " ".join(words)}
    if option.unit:
        made["x-unit"] = option.unit
    if option.secret:
        made["writeOnly"] = True
    elif option.default is not msgspec.NODEFAULT:
        default = option.default
        made["default"] = list(default) if isinstance(default, tuple) else default
    return made | _type(option)


def _type(option: Option) -> dict[str, Any]:
    strings: dict[str, Any] = {"type": "array", "items": {"type": "string"}}
    if option.kind == "schema":
        return {"type": ["object", "string"], "pattern": r"^\s*\{"} | {
            "properties": {"type": {"const": "object"}}
        }
    if option.kind == "command":
        return {"anyOf": [strings, {"type": "string"}]}
    if option.type_words == "list of strings":
        return strings | ({"items": {"enum": list(option.choices)}} if option.choices else {})
    if option.type_words == "boolean or string":
        return {"enum": [True, False, *option.choices]}
    if option.choices:
        return {"type": "string", "enum": list(option.choices)}
    made: dict[str, Any] = {"type": option.type_words}
    limits = constraints(option)
    for name, said in (("ge", "minimum"), ("le", "maximum")):
        if limits[name] is not None:
            made[said] = limits[name]
    if isinstance(limits["pattern"], str):
        # Python's end of a text is ECMA's end of the whole of it.
        made["pattern"] = re.sub(r"\\Z", "$", limits["pattern"])
    return made
