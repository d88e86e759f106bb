"""Changing keys in the text of a configuration file: comments, order and blanks stay.

Owns where a new key goes and how a value is written. Pure: text in, text out. Refuses to know
files (``rewriting``) and whether the result makes sense.

Rules:

1. A key that is there, in either spelling, keeps its place and the comment on its line.
2. A new key goes to the end of its table, before the blank line and the comments that belong
   to the next one; a new table goes to the end.
3. Whatever comes out says what went in, but for the change: if not, nothing is changed.
"""

from __future__ import annotations

import copy
import math
import tomllib
from collections.abc import MutableMapping, Sequence
from pathlib import Path
from typing import Any, cast

import msgspec
import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import Array, Comment, Item, Whitespace
from tomlkit.items import Table as TomlTable

from teamscall.config.options import Option, camel_case, options, parse_text
from teamscall.errors import InputError

# A list of more items than this is written one to a line.
_ON_ONE_LINE = 3


class Change(msgspec.Struct, frozen=True):
    """One key's new value as TOML has it; ``None`` takes the key out."""

    path: str
    value: object = None


def value_from(option: Option, text: str) -> object:
    """A command line's word as the value of a key: TOML, or plain text by the key's type.

    Paths are meant from where the command is run; they are written in full.

    Raises:
        ValueError: it cannot be read as the option's type.
    """
    try:
        value: object = tomllib.loads(f"value = {text}")["value"]
    except (tomllib.TOMLDecodeError, RecursionError):
        value = None
    kinds: dict[str, tuple[type, ...]] = {
        "boolean": (bool,), "integer": (int,), "number": (float, int), "list of strings": (list,),
        "string": (str,), "boolean or string": (bool, str),
    }  # fmt: skip
    fits = isinstance(value, kinds.get(option.type_words, ()))
    if isinstance(value, bool) and "boolean" not in option.type_words:
        fits = False
    if isinstance(value, float) and not math.isfinite(value):
        fits = False
    if option.secret or not fits:
        value = text if option.secret else parse_text(option, text)
    if option.kind == "path" and isinstance(value, str) and value and not value.startswith("~"):
        return str(Path.cwd() / value)
    return value


def edited(text: str, changes: Sequence[Change]) -> str:
    """The text with these changes.

    Raises:
        InputError: the text is written in a way in which that key cannot be changed.
        tomllib.TOMLDecodeError: it is no TOML; ``parse_toml`` says so better.
    """
    bom = "\ufeff" if text.startswith("\ufeff") else ""
    body = text.removeprefix("\ufeff")
    before = tomllib.loads(body)
    wanted = copy.deepcopy(before)
    result = body
    for change in changes:
        try:
            result = _changed(result, change)
        except (TOMLKitError, RecursionError) as error:
            raise _cannot((change,)) from error
        _change_plain(wanted, change)
    if "\r\n" in body and "\n" not in body.replace("\r\n", ""):
        result = result.replace("\r\n", "\n").replace("\n", "\r\n")
    if tomllib.loads(result) != wanted:
        raise _cannot(changes)
    return bom + result


def _cannot(changes: Sequence[Change]) -> InputError:
    keys = ", ".join(change.path for change in changes)
    return InputError(
        f"{keys} cannot be changed here without changing something else.",
        hint="Change it in an editor, then run: teamscall config check",
    )


def written(text: str, path: str) -> tuple[str, ...] | None:
    """How a key is spelt in the text, as its parts; None: it is not there."""
    document = tomllib.loads(text.removeprefix("\ufeff"))
    return _spelt(document, path)


# --- the document -----------------------------------------------------------------------


def _changed(text: str, change: Change) -> str:
    document = tomlkit.parse(text)
    spelt = _spelt(document, change.path)
    name, _, leaf = change.path.rpartition(".")
    if spelt is not None:
        table = _table(document, spelt[:-1])
        if change.value is None:
            del table[spelt[-1]]
        elif isinstance(table[spelt[-1]], Array) and isinstance(change.value, list):
            _refill(table[spelt[-1]], change.value)
        else:
            table[spelt[-1]] = _item(change.value)
        return document.as_string()
    if change.value is None:
        return text
    line = f"{leaf} = {_item(change.value).as_string()}\n"
    if not name:
        return _with_line_on_top(text, line)
    for spelling in (name, camel_case(name)):
        if isinstance(document.get(spelling), MutableMapping):
            _add(document[spelling], leaf, _item(change.value))
            return document.as_string()
    above = text.rstrip() + "\n\n" if text.strip() else ""
    return f"{above}[{name}]\n{line}"


def _table(document: Any, names: tuple[str, ...]) -> Any:
    for name in names:
        document = document[name]
    return document


def _spelt(document: Any, path: str) -> tuple[str, ...] | None:
    """How the key is written: each part in snake_case or camelCase."""
    parts: list[str] = []
    for part in path.split("."):
        found = next((p for p in (part, camel_case(part)) if p in document), None)
        if found is None or not isinstance(document, MutableMapping):
            return None
        parts.append(found)
        document = document[found]
        if not isinstance(document, MutableMapping) and len(parts) < path.count(".") + 1:
            return None
    return tuple(parts)


def _add(table: Any, leaf: str, item: Item) -> None:
    """At the end of the table, before what belongs to the next one."""
    if not isinstance(table, TomlTable):
        table[leaf] = item
        return
    body = table.value.body
    last = max((n for n, (key, _) in enumerate(body) if key is not None), default=-1)
    blank = next((n for n in range(last + 1, len(body)) if _is_blank(body[n][1])), len(body))
    rest = [one for _, one in body[blank:]]
    del body[blank:]
    table.add(leaf, item)
    for one in rest:
        table.add(cast(Comment, one))


def _is_blank(item: Item) -> bool:
    return isinstance(item, Whitespace) and "\n" in item.as_string()


def _with_line_on_top(text: str, line: str) -> str:
    """A key of no table: after those that are there, else over the first table's comments."""
    document = tomlkit.parse(text)
    leaf = line.partition(" ")[0]
    if any(key and not isinstance(item, MutableMapping | list) for key, item in document.body):
        document.add(leaf, tomlkit.parse(line)[leaf])
        return document.as_string()
    rows = text.splitlines(keepends=True)
    header = next((n for n, row in enumerate(rows) if row.lstrip().startswith("[")), len(rows))
    at = header
    while at and rows[at - 1].lstrip().startswith("#") and not rows[at - 1].startswith("#:"):
        at -= 1
    if header == len(rows):  # comments and nothing else
        at = header
    if at == len(rows) and rows and not rows[-1].endswith("\n"):
        rows[-1] += "\n"
    gap = "\n" if at < len(rows) and rows[at].strip() else ""
    return "".join(rows[:at]) + line + gap + "".join(rows[at:])


def _item(value: object) -> Item:
    item = cast(Item, tomlkit.item(cast(Any, value)))
    if isinstance(item, Array) and len(item) > _ON_ONE_LINE:
        item.multiline(True)
    return item


def _refill(array: Array, wanted: list[object]) -> None:
    """Take out and add single items: the comments of the others stay."""
    for number in range(len(array) - 1, -1, -1):
        if array[number] not in wanted:
            del array[number]
    kept = list(array)
    if kept == wanted[: len(kept)]:
        for one in wanted[len(kept) :]:
            array.append(one)
        return
    array.clear()
    for one in wanted:
        array.append(one)


def _change_plain(document: dict[str, Any], change: Change) -> None:
    """The same change, without a thought of comments: what the result is held against."""
    spelt = _spelt(document, change.path)
    if change.value is None:
        if spelt is not None:
            del _table(document, spelt[:-1])[spelt[-1]]
        return
    if spelt is None:
        name, _, leaf = change.path.rpartition(".")
        names = [s for s in (name, camel_case(name)) if isinstance(document.get(s), dict)]
        inside = (names or [name])[0]
        if name:
            document.setdefault(inside, {})
        spelt = (inside, leaf) if name else (leaf,)
    _table(document, spelt[:-1])[spelt[-1]] = change.value


def sources_in(text: str, path: str) -> tuple[str, ...]:
    """The other keys that give the same secret and are in the text."""
    for option in options().values():
        keys = (option.path, f"{option.path}_file", f"{option.path}_env")
        if option.secret and path in keys:
            return tuple(key for key in keys if key != path and written(text, key))
    return ()
