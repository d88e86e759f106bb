"""What is said of a configuration that is wrong: every problem in one safe line.

Owns the wording, and the guesses at what was meant.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from teamscall.config.differing import value_of
from teamscall.config.entries import ENTRIES
from teamscall.config.findings import Finding
from teamscall.config.options import Option, camel_case, options, tables
from teamscall.config.renamed import renamed
from teamscall.config.secret import MASK
from teamscall.config.told import Parts, Told
from teamscall.config.tree import Config
from teamscall.text import printable


def either(words: list[str]) -> str:
    return " or ".join(words)


def unknown_key(path: str, value: object, origin: str) -> Told:
    is_table = isinstance(value, dict)
    what = "table" if is_table else "key"
    moved = renamed(path, value)
    close = [] if moved else _similar(path, is_table)
    meant = moved or (f"did you mean {either(close)}?" if close else "")
    tail = f"; {meant}" if meant else ""
    return Told(
        f"unknown {what} {printable(path, 80)} ({origin}){tail}",
        Parts(printable(path, 80), "", origin, "", meant),
    )


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


def wrong_value(option: Option, value: object, origin: str) -> Told:
    text_of = printable(shown(option, value), 80)
    unit = f" {option.unit}" if option.unit else ""
    text = f"{option.path}: {text_of} is not {option.allowed}{unit} ({origin})"
    meant = ""
    if option.choices and isinstance(value, str | list | tuple):
        said, cutoff = (value, 0.6) if isinstance(value, str) else (_stranger(option, value), 0.8)
        close = difflib.get_close_matches(said.lower(), option.choices, n=1, cutoff=cutoff)
        meant = f"did you mean {close[0]}?" if close else ""
    tail = f"; {meant}" if meant else ""
    return Told(text + tail, Parts(option.path, text_of, origin, option.allowed + unit, meant))


def _stranger(option: Option, items: Sequence[object]) -> str:
    return next((str(one) for one in items if one not in option.choices), "")


def about(finding: Finding, config: Config) -> Told:
    """What a check found, with the value of the first key that it rests on."""
    _, _, remedy = finding.text.partition("; ")
    path = finding.keys[0] if finding.keys else ""
    option = options().get(path)
    if option is None:
        return Told(finding.line, Parts(path, "", finding.origin, "", remedy))
    value = shown(option, value_of(config, path))
    allowed = option.allowed + (f" {option.unit}" if option.unit else "")
    return Told(finding.line, Parts(path, value, finding.origin, allowed, remedy))


def shown(option: Option, value: object) -> str:
    """A value as a person reads it: a secret masked, a URL without its password."""
    if option.secret:
        return MASK if value else ""
    if isinstance(value, tuple | list):
        return "[" + ", ".join(_shown(one) for one in value) + "]"
    return _without_credentials(str(value)) if option.kind == "url" else _shown(value)


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)


def _without_credentials(url: str) -> str:
    head, at, tail = url.rpartition("@")
    return f'"{head.partition("//")[0]}//{MASK}@{tail}"' if at else f'"{url}"'
