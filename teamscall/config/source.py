"""A TOML file with the line that each key stands on.

tomllib gives values without positions, so a light scan of the same text finds them. It
is only ever used to say where a value came from: a line that it does not find costs
the line number, never the value.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import msgspec

from teamscall.config.syntax import syntax_error
from teamscall.config.told import Parts, Told
from teamscall.errors import ConfigError

# A configuration is a few kilobytes; whatever is larger is another file.
MAX_FILE_BYTES = 1_048_576

_BARE = r"(?:[A-Za-z0-9_-]+|\"[^\"]*\"|'[^']*')"
_DOTTED = rf"{_BARE}(?:\s*\.\s*{_BARE})*"
_HEADER = re.compile(rf"^\s*\[\[?\s*({_DOTTED})\s*\]")
_ASSIGNED = re.compile(rf"^\s*({_DOTTED})\s*=")
_PART = re.compile(_BARE)


class TomlFile(msgspec.Struct, frozen=True):
    """A parsed file. ``lines`` maps key paths as they are spelt to line numbers from 1; the
    tables of an array are numbered from 0: ``("tools", "0", "name")``."""

    path: Path
    document: dict[str, Any]
    lines: dict[tuple[str, ...], int]

    def where(self, *parts: str) -> str:
        """``file teamscall.toml line 12``, of the key, of the first one inside it, or of the
        nearest one around it."""
        for length in range(len(parts), 0, -1):
            inside = (line for path, line in self.lines.items() if path[:length] == parts[:length])
            line = self.lines.get(parts[:length]) or next(inside, None)
            if line is not None:
                return f"file {self.path.name} line {line}"
        return f"file {self.path.name}"


def read_toml(path: Path) -> TomlFile:
    """Read and parse a configuration file. A leading BOM (Windows editors) is ignored.

    Raises:
        ConfigError: it cannot be read, is not UTF-8, or is not TOML; with file, line and
            column where there are any.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or "no such path"
        raise _unusable(f"{path}: cannot be read: {reason}", Parts(origin=str(path))) from error
    return parse_toml(path, data)


def parse_toml(path: Path, data: bytes) -> TomlFile:
    """``data`` as the contents of ``path``, which is not looked at.

    Raises:
        ConfigError: as ``read_toml``.
    """
    if len(data) > MAX_FILE_BYTES:
        raise _unusable(f"{path}: longer than {MAX_FILE_BYTES} bytes", Parts(origin=str(path)))
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        parts = Parts(origin=f"file {path.name} line {line}", suggestion="save it as UTF-8")
        raise _unusable(f"{path} line {line}: not UTF-8", parts) from error
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        found = syntax_error(str(error), text)
        where = f" line {found.line} column {found.column}" if found.line else ""
        origin = f"file {path.name}" + (f" line {found.line}" if found.line else "")
        parts = Parts("", "", origin, "", found.suggestion, found.excerpt)
        raise _unusable(f"{path}{where}: {found.what}", parts) from error
    return TomlFile(path=path, document=document, lines=key_lines(text))


def _unusable(problem: str, parts: Parts) -> ConfigError:
    return ConfigError("The configuration file cannot be used.", problems=(Told(problem, parts),))


def key_lines(text: str) -> dict[tuple[str, ...], int]:
    """Line numbers, from 1, of the tables and keys of a TOML text."""
    found: dict[tuple[str, ...], int] = {}
    table: tuple[str, ...] = ()
    arrays: dict[tuple[str, ...], int] = {}
    closing = ""  # inside a multi-line string: what ends it
    for number, line in enumerate(text.split("\n"), start=1):
        if closing:
            if line.count(closing) % 2:
                closing = ""
            continue
        if header := _HEADER.match(line):
            table = _table(_parts(header[1]), arrays, line.lstrip().startswith("[["))
            found.setdefault(table, number)
        elif assigned := _ASSIGNED.match(line):
            found.setdefault(table + _parts(assigned[1]), number)
        for quotes in ('"""', "'''"):
            if line.count(quotes) % 2:
                closing = quotes
                break
    return found


def _table(
    parts: tuple[str, ...], arrays: dict[tuple[str, ...], int], is_array: bool
) -> tuple[str, ...]:
    """The table of a header, with the number of each array's table that is on its way."""
    table: tuple[str, ...] = ()
    for place, part in enumerate(parts, start=1):
        table += (part,)
        if is_array and place == len(parts):
            arrays[table] = arrays.get(table, -1) + 1
        if table in arrays:
            table += (str(arrays[table]),)
    return table


def _parts(dotted: str) -> tuple[str, ...]:
    return tuple(part.strip("\"'") for part in _PART.findall(dotted))
