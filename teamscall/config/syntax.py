"""What is wrong with a text that is no TOML: where, in which line, and what was likely meant.

Owns the wording and the picture with a caret. What stands behind a secret's name is covered
with stars: the picture ends up in logs of CI.
"""

from __future__ import annotations

import re
import unicodedata

import msgspec

from teamscall.text import harmless, printable

_AT = re.compile(r"^(?P<what>.*?) ?\((?:at line (?P<line>\d+), column (?P<column>\d+)|.*)\)$")
_SECRET = re.compile(
    r"\b(?!\w*(?:_file|File|_env|Env)\b)\w*(?:secret|token|key|password)\w*[\"']?\s*[=:]\s*",
    re.IGNORECASE,
)
_NOT_SECRET = re.compile(r"\w*(?:_file|File|_env|Env|tls_key|tlsKey)[\"']?\s*[=:]\s*$")

# As much of a line as is shown around the place.
_BEFORE, _AFTER = 60, 30

# What tomllib says, and what it mostly means.
_MEANT = (
    ("Invalid value", 'text stands in quotes: key = "text"'),
    ("Expected '=' after a key", "write key = value, one to a line"),
    ("Expected newline or end of document", "one key to a line; text with blanks needs quotes"),
    ("Illegal character '\\n'", "a text ends on its line: close the quote"),
    ("Unescaped '\\'", "a path with \\ stands in single quotes: 'C:\\dir'"),
    ("Unterminated string", "close the quote"),
    ("Unclosed array", "close the list with ]"),
    ("Unclosed inline table", "close it with }"),
    ("Cannot overwrite a value", "the key is there twice: take one out"),
    ("Cannot declare", "the table is there twice: put its keys together"),
    ("Expected ']", "close the table's name with ]"),
)


class Misread(msgspec.Struct, frozen=True):
    """One error. ``line`` and ``column`` count from 1; 0: the place is not known."""

    what: str
    line: int
    column: int
    suggestion: str
    excerpt: tuple[str, ...]


def syntax_error(message: str, text: str) -> Misread:
    """Read what tomllib said of ``text``."""
    match = _AT.match(message)
    if match is None:
        return Misread(printable(message), 0, 0, "", ())
    rows = text.splitlines() or [""]
    if match["line"] is None:  # "(at end of document)"
        line, column = len(rows), len(rows[-1]) + 1
    else:
        line, column = int(match["line"]), int(match["column"])
    what = match["what"]
    meant = next((words for start, words in _MEANT if what.startswith(start)), "")
    row = rows[line - 1] if line <= len(rows) else ""
    return Misread(printable(what), line, column, meant, _picture(row, line, column))


def _picture(row: str, line: int, column: int) -> tuple[str, ...]:
    row = harmless(_covered(row), len(row))
    place = min(column - 1, len(row))
    start = max(0, place - _BEFORE)
    shown = row[start : place + _AFTER]
    lead = f"{line} | "
    width = sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in row[start:place])
    return (lead + shown.rstrip(), " " * (len(lead) + width) + "^")


def _covered(row: str) -> str:
    """The line with stars for everything after the first name of a secret."""
    for found in _SECRET.finditer(row):
        if not _NOT_SECRET.search(row[: found.end()]):
            return row[: found.end()] + "*" * (len(row) - found.end())
    return row
