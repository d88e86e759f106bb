"""What is said of a configuration that is wrong: every problem in one safe line.

Owns the wording, and the guesses at what was meant.
"""

from __future__ import annotations

import difflib

from teamscall.config.entries import ENTRIES
from teamscall.config.options import Option, camel_case, options, tables
from teamscall.config.secret import MASK
from teamscall.text import printable

# A finding quotes at most two paths and a value.
_MAX_LINE = 1000


def lines(texts: list[str]) -> tuple[str, ...]:
    """One safe line each: file names and values of any kind may be quoted in them."""
    return tuple(printable(text, _MAX_LINE) for text in texts)


def either(words: list[str]) -> str:
    return " or ".join(words)


def unknown_key(path: str, is_table: bool, origin: str) -> str:
    what = "table" if is_table else "key"
    close = _similar(path, is_table)
    meant = f"; did you mean {either(close)}?" if close else ""
    return f"unknown {what} {printable(path, 80)} ({origin}){meant}"


def _similar(path: str, is_table: bool) -> list[str]:
    """What a wrong key may have been meant to be: by its leaf elsewhere, then by its path."""
    if entry := difflib.get_close_matches(path.lower(), ENTRIES, n=1, cutoff=0.8):
        return entry
    if is_table:
        return difflib.get_close_matches(path.lower(), sorted(tables()), n=1, cutoff=0.6)
    leaf = path.rpartition(".")[2]
    wanted = path.lower()
    same_leaf = [
        name
        for name in options()
        if leaf in (name.rpartition(".")[2], camel_case(name.rpartition(".")[2]))
    ]
    if same_leaf:
        return sorted(
            same_leaf, key=lambda name: -difflib.SequenceMatcher(None, wanted, name).ratio()
        )[:2]
    candidates = {option.path: option.path for option in options().values()}
    candidates |= {option.camel.lower(): option.path for option in options().values()}
    close = difflib.get_close_matches(wanted, candidates, n=1, cutoff=0.7)
    if close or "." in path:
        return [candidates[word] for word in close]
    leaves = {name.rpartition(".")[2] for name in options()}
    found = difflib.get_close_matches(wanted, sorted(leaves), n=1, cutoff=0.7)
    return [name for name in options() if name.rpartition(".")[2] in found][:2]


def wrong_value(option: Option, value: object, origin: str) -> str:
    if option.secret:
        shown = MASK
    elif option.kind == "url":
        shown = _without_credentials(str(value))
    else:
        shown = _shown(value)
    unit = f" {option.unit}" if option.unit else ""
    text = f"{option.path}: {printable(shown, 80)} is not {option.allowed}{unit} ({origin})"
    if option.choices and isinstance(value, str):
        close = difflib.get_close_matches(value.lower(), option.choices, n=1)
        if close:
            text += f"; did you mean {close[0]}?"
    return text


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)


def _without_credentials(url: str) -> str:
    head, at, tail = url.rpartition("@")
    return f'"{head.partition("//")[0]}//{MASK}@{tail}"' if at else f'"{url}"'
