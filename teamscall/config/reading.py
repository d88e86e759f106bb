"""From a file's ``[[tools]]`` and ``[prices."model"]`` to their structs."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from teamscall.config.entries import ENTRIES, HEADERS, Price, Tool, told_together
from teamscall.config.options import Option, convert, entry_options
from teamscall.config.source import TomlFile
from teamscall.config.words import wrong_value
from teamscall.text import printable


class Entries(msgspec.Struct, frozen=True):
    """All entries of one table, as the tree holds them. ``origins``: by place."""

    name: str
    value: object
    origins: Mapping[str, str]


def read_entries(file: TomlFile, problems: list[str]) -> Iterator[Entries]:
    """What the file gives; whatever is wrong with it is added to ``problems``."""
    for name in ENTRIES:
        if name in file.document:
            read = _tools if name == "tools" else _prices
            yield read(file, file.document[name], problems)


def _tools(file: TomlFile, given: object, problems: list[str]) -> Entries:
    if not isinstance(given, list) or not all(isinstance(one, dict) for one in given):
        problems.append(f"tools: write each tool as {HEADERS['tools']} ({file.where('tools')})")
        given = []
    found: dict[str, dict[str, object]] = {}
    origins: dict[str, str] = {}
    whole: list[Tool] = []
    for number, table in enumerate(given):
        place, spelt = f"tools[{number}]", ("tools", str(number))
        before = len(problems)
        values = _entry(file, "tools", place, spelt, table, problems)
        origins[place] = file.where(*spelt)
        if len(problems) == before:
            found[place] = values
            whole.append(Tool(**values))  # type: ignore[arg-type]
    for place, problem in told_together(found):
        where = origins[place.removesuffix(".name")]
        problems.append(f"{place}: {problem} ({where})")
    return Entries("tools", tuple(whole), origins)


def _prices(file: TomlFile, given: object, problems: list[str]) -> Entries:
    if not isinstance(given, dict):
        given = {"": given}
    origins: dict[str, str] = {}
    whole: dict[str, Price] = {}
    for model, table in given.items():
        place, spelt = f'prices."{model}"', ("prices", model)
        if not isinstance(table, dict):
            # Also a model whose name has a dot and was not quoted ends here.
            problems.append(
                f"prices: write each price as {HEADERS['prices']} ({file.where(*spelt)})"
            )
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
            meant = f"; did you mean {close[0]}?" if close else ""
            problems.append(f"unknown key {place}.{printable(key, 80)} ({where}){meant}")
            continue
        if name in tried:
            problems.append(f"{place}.{name}: given twice ({where})")
            continue
        tried.add(name)
        option = msgspec.structs.replace(known[name], path=f"{place}.{name}")
        try:
            values[name] = convert(option, value, base=Path())
        except (ValueError, msgspec.ValidationError):
            problems.append(wrong_value(option, value, where))
    problems += [
        f"{place}.{name}: missing ({file.where(*spelt)})"
        for name, option in known.items()
        if _is_required(option) and name not in tried
    ]
    return values


def _is_required(option: Option) -> bool:
    return option.default is msgspec.NODEFAULT
