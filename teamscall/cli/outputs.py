"""The files that a call's sound goes to: what cannot be written is refused before the call."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from teamscall.errors import InputError
from teamscall.text import printable


def check_writable(files: Mapping[str, Path | None], *, reads: Path | None = None) -> None:
    """Refuse what could not be written after the call. Changes no file that is there.

    Args:
        files: by the option that names them.
        reads: the sound file that the call plays.

    Raises:
        InputError: a file cannot be written, is the input, or is named twice.
    """
    seen = {} if reads is None else {_identity(reads): "the file that is played"}
    for option, path in files.items():
        if path is None:
            continue
        name = printable(str(path))
        try:
            _try(path)
        except OSError as error:
            raise InputError(
                f"{name} cannot be written: {error.strerror or error}.",
                hint=f"Name a file in a folder of yours with {option}.",
            ) from error
        if path.exists() and not path.is_file():
            continue  # a device or a pipe may be named as often as one likes
        if other := seen.get(_identity(path)):
            raise InputError(f"{option} is {name}, and so is {other}.", hint="Name another file.")
        seen[_identity(path)] = option


def _try(path: Path) -> None:
    """Open it as the writer will, and leave no trace. Opening a pipe would wait."""
    if path.exists() and not path.is_file() and not path.is_dir():
        if not os.access(path, os.W_OK):
            raise PermissionError(None, "Permission denied")
        return
    new = not path.exists()
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o666))
    if new:
        path.unlink()


def _identity(path: Path) -> str:
    return os.path.realpath(path)
