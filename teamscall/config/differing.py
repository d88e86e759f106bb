"""Two configurations side by side: which keys differ, and one with keys of the other.

A table of which there are many (``tools``, ``prices``, ``webhooks``) is one key here. Refuses
to know what a difference means.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from teamscall.config.entries import ENTRIES
from teamscall.config.options import options
from teamscall.config.tree import Config


def value_of(config: Config, path: str) -> object:
    """The value of one key: ``serve.port``, ``tools``."""
    value: object = config
    for name in path.split("."):
        value = getattr(value, name)
    return value


def differing(one: Config, other: Config) -> tuple[str, ...]:
    """The keys whose values differ, in the order of the tree; secrets are compared too."""
    return tuple(
        path for path in (*options(), *ENTRIES) if value_of(one, path) != value_of(other, path)
    )


def with_values_of(config: Config, other: Config, paths: Iterable[str]) -> Config:
    """``config`` with these keys as they are in ``other``."""
    for path in paths:
        table, _, leaf = path.rpartition(".")
        changed: dict[str, object] = {leaf: value_of(other, path)}
        if table:
            changed = {table: msgspec.structs.replace(getattr(config, table), **changed)}
        config = msgspec.structs.replace(config, **changed)
    return config


def stamps(config: Config, paths: Iterable[str]) -> dict[str, tuple[int, int, int] | None]:
    """By key, the state of the files that these keys name: another one for other contents.
    None: it is not there."""
    named = {path: str(value_of(config, path)) for path in paths}
    return {path: _stamp(file) for path, file in named.items() if file}


def _stamp(file: str) -> tuple[int, int, int] | None:
    try:
        about = Path(file).stat()
    except OSError:
        return None
    return about.st_mtime_ns, about.st_size, about.st_ino
