"""From a file's ``[[tools]]``, ``[[webhooks]]`` and ``[prices."model"]`` to their structs."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from teamscall.config.entries import (
    ENTRIES,
    HEADERS,
    Price,
    Tool,
    Webhook,
    told_of_webhooks,
    told_together,
)
from teamscall.config.options import Option, convert, entry_options
from teamscall.config.source import TomlFile
from teamscall.config.told import Parts, Told, told
from teamscall.config.words import wrong_value
from teamscall.text import printable


class Entries(msgspec.Struct, frozen=True):
    """All entries of one table, as the tree holds them. ``origins``: by place; ``places``: of
    those that are right, where their secrets are still to be read."""

    name: str
    value: object
    origins: Mapping[str, str]
    places: tuple[str, ...] = ()


def read_entries(file: TomlFile, problems: list[str]) -> Iterator[Entries]:
    """What the file gives; whatever is wrong with it is added to ``problems``."""
    readers = {"tools": _tools, "webhooks": _webhooks, "prices": _prices}
    for name in ENTRIES:
        if name in file.document:
            yield readers[name](file, file.document[name], problems)


def _tools(file: TomlFile, given: object, problems: list[str]) -> Entries:
    found, origins = _array(file, "tools", "tool", given, problems)
    for place, problem in told_together(found):
        where = origins[place.removesuffix(".name")]
        problems.append(told(place, problem, where))
    whole = tuple(Tool(**values) for values in found.values())  # type: ignore[arg-type]
    return Entries("tools", whole, origins)


def _webhooks(file: TomlFile, given: object, problems: list[str]) -> Entries:
    """Their secrets are as they were written: a file or variable is still to be read."""
    found, origins = _array(file, "webhooks", "webhook", given, problems)
    for place, problem in told_of_webhooks(found):
        problems.append(told(place, problem, origins[place]))
    whole = tuple(Webhook(**values) for values in found.values())  # type: ignore[arg-type]
    return Entries("webhooks", whole, origins, tuple(found))


def _array(
    file: TomlFile, table: str, one: str, given: object, problems: list[str]
) -> tuple[dict[str, dict[str, object]], dict[str, str]]:
    """What is right of an array's tables, by place; and where each place is."""
    if not isinstance(given, list) or not all(isinstance(each, dict) for each in given):
        form = f"write each {one} as {HEADERS[table]}"
        problems.append(told(table, form, file.where(table), form))
        given = []
    found: dict[str, dict[str, object]] = {}
    origins: dict[str, str] = {}
    for number, each in enumerate(given):
        place, spelt = f"{table}[{number}]", (table, str(number))
        before = len(problems)
        values = _entry(file, table, place, spelt, each, problems)
        origins[place] = file.where(*spelt)
        if len(problems) == before:
            found[place] = values
    return found, origins


def _prices(file: TomlFile, given: object, problems: list[str]) -> Entries:
    if not isinstance(given, dict):
        given = {"": given}
    origins: dict[str, str] = {}
    whole: dict[str, Price] = {}
    for model, table in given.items():
        place, spelt = f'prices."{model}"', ("prices", model)
        if not isinstance(table, dict):
            # Also a model whose name has a dot and was not quoted ends here.
            form = f"write each price as {HEADERS['prices']}"
            problems.append(told("prices", form, file.where(*spelt), form))
            continue
        before = len(problems)
        values = _entry(file, "prices", place, spelt, table, problems)
        origins[place] = file.where(*spelt)
        if len(problems) == before:
            whole[model] = Price(**values)  # type: ignore[arg-type]
    return Entries("prices", whole, origins)


def _entry(
    file: TomlFile,
    table: str,
    place: str,
    spelt: tuple[str, ...],
    given: Mapping[str, Any],
    problems: list[str],
) -> dict[str, object]:
    """The values of the keys that are right; the others become problems."""
    known = entry_options(table)
    by_spelling = {name: name for name in known}
    by_spelling |= {option.camel: name for name, option in known.items()}
    values: dict[str, object] = {}
    tried: set[str] = set()
    for key, value in given.items():
        where = file.where(*spelt, key)
        name = by_spelling.get(key)
        if name is None:
            close = difflib.get_close_matches(key.lower(), known, n=1, cutoff=0.6)
            meant = f"did you mean {close[0]}?" if close else ""
            path = f"{place}.{printable(key, 80)}"
            text = f"unknown key {path} ({where})" + (f"; {meant}" if meant else "")
            problems.append(Told(text, Parts(path, "", where, "", meant)))
            continue
        if name in tried:
            problems.append(told(f"{place}.{name}", "given twice", where))
            continue
        tried.add(name)
        option = msgspec.structs.replace(known[name], path=f"{place}.{name}")
        try:
            values[name] = convert(option, value, base=file.path.absolute().parent)
        except (ValueError, msgspec.ValidationError):
            problems.append(wrong_value(option, value, where))
    problems += [
        told(f"{place}.{name}", "missing", file.where(*spelt))
        for name, option in known.items()
        if _is_required(option) and name not in tried
    ]
    return values


def _is_required(option: Option) -> bool:
    return option.default is msgspec.NODEFAULT
