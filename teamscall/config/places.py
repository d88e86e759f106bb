"""What a key as typed names: one key, a table, or a table of which there may be many.

Owns the grammar (``serve.port``, ``serve``, ``tools``, ``tools[0].name``, ``prices."m".input``)
and the guesses at what was meant. Refuses to know values.
"""

from __future__ import annotations

import difflib
import re
from typing import Literal

import msgspec

from teamscall.config.entries import ENTRIES
from teamscall.config.options import Option, entry_options, options, tables
from teamscall.config.renamed import renamed, snake_path
from teamscall.config.words import either, unknown_key
from teamscall.errors import InputError
from teamscall.text import printable

_ENTRY = re.compile(
    r"^(?P<table>[a-z]+)(?:\[(?P<number>\d{1,6})\]|\.\"(?P<quoted>[^\"]+)\"|\.(?P<bare>[^.\"]+))?"
    r"(?:\.(?P<leaf>\w+))?$"
)


class Place(msgspec.Struct, frozen=True):
    """``kind``: a ``key``, a ``table`` of keys, or ``entries``: many of one table, of which
    ``entry`` is the number or name of one, and ``leaf`` a key of that."""

    kind: Literal["key", "table", "entries"]
    path: str
    option: Option | None = None
    entry: str = ""
    leaf: str = ""


def place(typed: str) -> Place:
    """Read a key in either spelling.

    Raises:
        InputError: there is none of that name; the hint has the nearest ones.
    """
    path = snake_path(typed.strip())
    if option := options().get(path):
        return Place("key", path, option)
    if path in tables():
        return Place("table", path)
    if found := _ENTRY.match(typed.strip()):
        table, leaf = found["table"], snake_path(found["leaf"] or "")
        entry = found["number"] or found["quoted"] or found["bare"] or ""
        if table in ENTRIES:
            if found["bare"] and not leaf and found["bare"] in entry_options(table):
                entry, leaf = "", found["bare"]  # tools.name: a key of all of them
            if not leaf:
                return Place("entries", table, None, entry)
            if option := entry_options(table).get(leaf):
                return Place("entries", table, option, entry, leaf)
            close = difflib.get_close_matches(leaf, entry_options(table), n=2, cutoff=0.6)
            hint = f"did you mean {either(close)}?" if close else f"see: config explain {table}"
            raise _none(typed, hint)
    raise _none(typed, renamed(typed) or unknown_key(path, None, "").parts.suggestion)


def _none(typed: str, hint: str) -> InputError:
    hint = hint or "`teamscall config show` lists them all."
    return InputError(f"There is no key {printable(typed, 80)}.", hint=hint[:1].upper() + hint[1:])


def known_names() -> list[tuple[str, str]]:
    """(name, meaning) of every key and table, for completion."""
    from teamscall.config.options import table_doc

    named = [(path, option.doc) for path, option in options().items()]
    named += [(table, table_doc(table)) for table in sorted(tables())]
    named += [(table, (ENTRIES[table].__doc__ or "").strip()) for table in ENTRIES]
    return named
