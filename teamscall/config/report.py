"""Everything that is wrong with a configuration, as data: what ``config check --json`` prints.

Owns the shape. Refuses to know the rules (``load``, ``checks``) and how it is printed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import msgspec

from teamscall.config.load import Examined, examine
from teamscall.config.options import options
from teamscall.config.told import Told
from teamscall.errors import ConfigError

_FILE = re.compile(r"^file (?P<name>.+?)(?: line (?P<line>\d+))?(?:,|$)")


class Problem(msgspec.Struct, frozen=True, rename="camel"):
    """One thing that is wrong. ``file`` and ``line`` where the file says it, else empty and 0."""

    severity: Literal["error", "warning"]
    key: str
    what: str
    value: str
    origin: str
    file: str
    line: int
    allowed: str
    suggestion: str
    excerpt: tuple[str, ...] = ()


class Report(msgspec.Struct, frozen=True, rename="camel"):
    """All of them. ``ok``: nothing is in serve's way."""

    version: int
    ok: bool
    path: str | None
    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...]


def report(
    path: Path | None,
    *,
    env: Mapping[str, str],
    flags: Mapping[str, object] | None = None,
    flag_names: Mapping[str, str] | None = None,
    strict: bool = False,
    named: Path | None = None,
) -> Report:
    """Look at the configuration as serve would. ``named``: the file that would be read, for
    one that cannot be. ``strict``: a warning is in the way too. Raises nothing of its own."""
    try:
        seen = examine(path, env=env, flags=flags, flag_names=flag_names)
    except ConfigError as error:
        where = path or named
        told = tuple(p if isinstance(p, Told) else Told(p) for p in error.problems)
        problems = _problems("error", told, where)
        return Report(1, False, None if where is None else str(where), problems, ())
    return of_examined(seen, strict=strict)


def of_examined(seen: Examined, *, strict: bool = False) -> Report:
    problems = _problems("error", seen.problems, seen.path)
    warnings = _problems("warning", seen.warnings, seen.path)
    ok = not problems and not (strict and warnings)
    return Report(1, ok, None if seen.path is None else str(seen.path), problems, warnings)


def _problems(
    severity: Literal["error", "warning"], told: tuple[Told, ...], path: Path | None
) -> tuple[Problem, ...]:
    found = [_problem(severity, one, path) for one in told]
    return tuple(sorted(found, key=lambda one: (not one.file, one.line)))


def _problem(severity: Literal["error", "warning"], one: Told, path: Path | None) -> Problem:
    parts = one.parts
    file, line = "", 0
    match = _FILE.match(parts.origin)
    if match is not None and path is not None and match["name"] == path.name:
        file, line = str(path), int(match["line"] or 0)
    option = options().get(parts.key)
    allowed = parts.allowed
    if option is not None and not allowed:
        allowed = option.allowed + (f" {option.unit}" if option.unit else "")
    suggestion = parts.suggestion
    if not suggestion and option is not None:
        suggestion = f"see: teamscall config explain {parts.key}"
    what = one.what.removesuffix(f"; {suggestion}")
    if parts.excerpt:  # the place is there by itself
        what = re.sub(r"^.*? line \d+ (column \d+: )", r"\1", what)
    elif line and not parts.key:
        what = re.sub(rf"^.*? line {line}: ", "", what)
    return Problem(
        severity, parts.key, what, parts.value, parts.origin, file, line, allowed, suggestion,
        parts.excerpt,
    )  # fmt: skip
