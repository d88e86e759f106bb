"""Flags to configuration, the same way for every verb."""

from __future__ import annotations

import enum
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import typer

from teamscall.config import Loaded, load_config


def load(
    path: Path | None,
    flags: Mapping[str, object],
    pairs: Sequence[str] | None = None,
    *,
    names: Mapping[str, str] | None = None,
) -> Loaded:
    """Load the configuration with those flags that were given, and ``--set`` pairs.

    ``names``: what a key's flag is called where that is not ``--`` and the key's last part.

    Raises:
        ConfigError: with every problem found.
        typer.BadParameter: a ``--set`` that is not KEY=VALUE.
    """
    values, called = given(flags, pairs, names=names)
    return load_config(path, env=os.environ, flags=values, flag_names=called)


def given(
    flags: Mapping[str, object],
    pairs: Sequence[str] | None = None,
    *,
    names: Mapping[str, str] | None = None,
) -> tuple[dict[str, object], dict[str, str]]:
    """(values by key, what their flags are called) of the flags and pairs that were given.

    Raises:
        typer.BadParameter: a ``--set`` that is not KEY=VALUE.
    """
    values: dict[str, object] = {
        name: value.value if isinstance(value, enum.Enum) else value
        for name, value in flags.items()
        if value is not None
    }
    called = dict(names or {})
    for pair in pairs or ():
        key, equals, value = pair.partition("=")
        if not equals or not key.strip():
            raise typer.BadParameter(f"{pair!r} is not KEY=VALUE", param_hint="--set")
        values[key.strip()] = value
        called[key.strip()] = f"--set {key.strip()}"
    return values, called
