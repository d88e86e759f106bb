"""What becomes of each key of another program's settings.

Owns the verdicts: taken, renamed, not needed and why, wrong and why. Refuses to know files.
What would not load is not taken, and says so. No secret is ever in a verdict.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from teamscall.config.findings import is_loopback, split_url
from teamscall.config.load import examine
from teamscall.config.options import Option, convert, options
from teamscall.config.renamed import MOVED, STANDIN, Moved, brought, not_needed, snake_path
from teamscall.config.words import unknown_key
from teamscall.setup.foreign import Block, variable_of
from teamscall.text import printable

_AROUND = "it is for the program that the plugin ran in"

Verdict = Literal["taken", "renamed", "not-needed", "wrong"]


class Row(msgspec.Struct, frozen=True):
    """One key. ``to``: its name here; ``why``: a reason, or what else was done."""

    key: str
    verdict: Verdict
    to: str = ""
    why: str = ""


class Taken(msgspec.Struct, frozen=True):
    """All of it: a row per key, the values to write and the secrets, which are apart."""

    rows: tuple[Row, ...]
    values: Mapping[str, object]
    secrets: Mapping[str, str]
    standin: bool
    csharp: bool


def take(blocks: Sequence[Block], env: Mapping[str, str]) -> Taken:
    """Go through the blocks; of two that say different things the first one is heard."""
    rows: dict[str, Row] = {}
    values: dict[str, object] = {}
    by: dict[str, str] = {}
    for block in blocks:
        around = block.where.rpartition(".")[0]
        for key in block.beside:
            shown = printable(f"{around}.{key}", 120)
            why = "the bridge runs when it is started" if key == "enabled" else _AROUND
            rows[shown] = Row(shown, "not-needed", "", why)
        for key, value in block.values.items():
            shown = printable(f"{block.where}.{key}" if len(blocks) > 1 else key, 120)
            row = _row(shown, key, value, block, values)
            rows[shown] = row
            if row.to:
                by.setdefault(row.to, shown)
    _complete(values, rows)
    kinds = {block.kind for block in blocks}
    standin = "standin" in kinds or values.get("standin.enabled") is True
    _drop_what_would_not_load(values, by, rows, "csharp" in kinds, standin, env)
    secrets = {key: str(values.pop(key)) for key in list(values) if options()[key].secret}
    return Taken(tuple(rows.values()), values, secrets, standin, "csharp" in kinds)


def _row(shown: str, key: str, value: object, block: Block, values: dict[str, object]) -> Row:
    path = snake_path(key)
    moved = (STANDIN.get(path) if block.kind == "standin" else None) or MOVED.get(path)
    option = options().get(moved.to if moved else path)
    if path == "enabled" and block.kind == "csharp":
        return Row(shown, "not-needed", "", "the bridge runs when it is started")
    if path == "allow_all":
        if value is True:
            values["authorization.mode"] = "open"
        return Row(shown, "renamed", "authorization.mode", "open" if value is True else "")
    if value is None:
        return Row(shown, "not-needed", "", "it has no value")
    if moved is None and option is None:
        if reason := not_needed(path):
            return Row(shown, "not-needed", "", reason)
        meant = unknown_key(path, None, "").parts.suggestion
        return Row(shown, "wrong", "", f"there is no such key{f'; {meant}' if meant else ''}")
    assert option is not None
    return _taken(shown, moved, option, value, values)


def _taken(
    shown: str, moved: Moved | None, option: Option, value: object, values: dict[str, object]
) -> Row:
    verdict: Verdict = "renamed" if moved else "taken"
    if option.secret and (variable := variable_of(value)):
        values.setdefault(f"{option.path}_env", variable)
        return Row(shown, "renamed", f"{option.path}_env", f"it is read from {variable}")
    if option.secret and value == "":
        return Row(shown, "not-needed", "", "it is empty")
    value = brought(moved, value) if moved else value
    if option.path == "standin.paths" and isinstance(value, str):
        value = [value.removesuffix("/{callId}").rstrip("/") or "/"]
    if option.path in values and values[option.path] != value:
        return Row(shown, "wrong", "", f"{option.path} has another value already")
    try:
        convert(option, value, base=Path("/"))
        # Half of a character, as a lone surrogate is, goes into no file.
        str(value).encode()
    except (ValueError, OverflowError, msgspec.ValidationError):
        return Row(shown, "wrong", "", f"{option.path} is {option.allowed}")
    values[option.path] = value
    why = "its value goes to a file of its own" if option.secret else ""
    return Row(shown, verdict, option.path, why)


def _complete(values: dict[str, object], rows: dict[str, Row]) -> None:
    """What the other program did by itself."""
    if values.get("authorization.allow_from") and "authorization.mode" not in values:
        values["authorization.mode"] = "allowlist"
        rows["(none)"] = Row(
            "(none)", "taken", "authorization.mode", "allowlist, for there is a list"
        )
    url = values.get("standin.worker_base_url")
    parts = split_url(url) if isinstance(url, str) else None
    if parts is not None and not is_loopback(parts.hostname or ""):
        values["standin.allow_remote_worker"] = True
    values.pop("standin.enabled", None)


def _drop_what_would_not_load(
    values: dict[str, object],
    by: Mapping[str, str],
    rows: dict[str, Row],
    csharp: bool,
    standin: bool,
    env: Mapping[str, str],
) -> None:
    """Leave out a key that a check refuses; the reason takes the place of its verdict."""
    stand_in_secret = "k9Wq2Zr7Xv4Lm8Tn3Pb6Yd1Hf5Gs0Jc2"  # what will be made is not made yet
    for _ in range(len(values)):
        flags = dict(values)
        for key, wanted in (("bridge.secret", csharp), ("standin.secret", standin)):
            if wanted and key not in flags and f"{key}_env" not in flags:
                flags[key] = stand_in_secret
        flags |= {"standin.enabled": standin, "serve.enabled": csharp}
        seen = examine(Path("/nowhere"), env=env, flags=flags, contents=b"")
        wrong = next(
            ((key, one) for one in seen.problems for key in _keys(one.parts.key) if key in values),
            None,
        )
        if wrong is None:
            return
        key, problem = wrong
        del values[key]
        shown = by.get(key, key)
        what = problem.what.replace(f"{key}: ", "", 1)
        rows[shown] = Row(shown, "wrong", "", what)


def _keys(key: str) -> tuple[str, ...]:
    return (key, f"{key}_file", f"{key}_env")
