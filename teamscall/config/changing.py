"""Changing a configuration file: what would not load is not written.

Owns the judgement: a change may not bring a problem that was not there before. Refuses to know
TOML's text (``editing``) and the disk (``rewriting``).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from teamscall.config.editing import Change, edited, sources_in, written
from teamscall.config.load import CONFIG_VARIABLE, default_paths, examine
from teamscall.config.rewriting import rewrite
from teamscall.config.source import parse_toml
from teamscall.config.told import Told
from teamscall.errors import ConfigError


class Changed(msgspec.Struct, frozen=True):
    """What came of it."""

    path: Path
    created: bool
    changed: bool  # False: it said so already
    took_out: tuple[str, ...]  # other sources of a secret that got a new one
    missing: tuple[str, ...]  # keys to take out that were not there
    still: tuple[Told, ...]  # problems that were there before, and are


def file_to_change(path: Path | None, env: Mapping[str, str]) -> Path:
    """The file that ``load_config`` would read; where there is none, the user's own."""
    if path is not None:
        return path
    if named := env.get(CONFIG_VARIABLE):
        return Path(os.path.expanduser(named))
    candidates = default_paths()
    return next((one for one in candidates if os.path.lexists(one)), candidates[0])


def change_file(path: Path, changes: Sequence[Change], *, env: Mapping[str, str]) -> Changed:
    """Make the changes, all or none; a file that is not there begins empty.

    Raises:
        ConfigError: with the problems that the changes would bring; or the file is no TOML.
        InputError: it cannot be read or written.
        DeadlinePassed: somebody else is editing it.
    """
    took_out: list[str] = []
    missing: list[str] = []
    still: tuple[Told, ...] = ()
    created = changed = False

    def edit(old: bytes | None) -> bytes:
        nonlocal still, created, changed
        data = old or b""
        created = old is None
        parse_toml(path, data)  # says what is wrong, and where
        text = data.decode("utf-8")
        steps = list(changes)
        for change in changes:
            if change.value is None:
                missing.extend([change.path] if written(text, change.path) is None else [])
            else:
                took_out.extend(sources_in(text, change.path))
        steps += [Change(key) for key in took_out]
        new = edited(text, steps).encode("utf-8")
        before = examine(path, env=env, contents=data).problems
        after = examine(path, env=env, contents=new).problems
        known = {problem.what for problem in before}
        brought = tuple(problem for problem in after if problem.what not in known)
        if brought:
            raise ConfigError("Nothing was changed: the result would not load.", problems=brought)
        still, changed = after, new != data
        return new

    real = rewrite(path, edit)
    return Changed(real, created, changed, tuple(took_out), tuple(missing), still)
