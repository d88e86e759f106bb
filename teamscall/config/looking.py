"""Which configuration files are looked at, in order: for ``config path``.

Owns the account. Refuses to read them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from teamscall.config.load import CONFIG_VARIABLE, default_paths


class Looked(msgspec.Struct, frozen=True):
    """One file. ``by``: what names it."""

    path: Path
    by: str
    exists: bool
    readable: bool
    used: bool


def looked_at(path: Path | None, env: Mapping[str, str]) -> tuple[Looked, ...]:
    """As ``load_config`` does: what is named is used, there or not; else the first there is."""
    named: list[tuple[Path, str]] = []
    if path is not None:
        named.append((path, "--config"))
    if env.get(CONFIG_VARIABLE):
        named.append((Path(os.path.expanduser(env[CONFIG_VARIABLE])), f"${CONFIG_VARIABLE}"))
    by = ("the user's", "the system's")
    every = named + list(zip(default_paths(), by, strict=True))
    found: list[Looked] = []
    for number, (file, why) in enumerate(every):
        exists = _exists(file)
        used = number == 0 if named else exists and not any(one.used for one in found)
        found.append(Looked(file, why, exists, os.access(file, os.R_OK), used))
    return tuple(found)


def _exists(file: Path) -> bool:
    try:
        file.stat()
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: a NUL in the path
        return False
    except OSError:
        return True  # there, and not for us to see
    return True
