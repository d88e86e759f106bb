"""A script: a TOML file that an operator writes, as a struct, or one clear error."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import msgspec

from teamscall.errors import ConfigError, InputError
from teamscall.text import printable

MAX_SCRIPT_BYTES = 1_000_000

T = TypeVar("T", bound=msgspec.Struct)


def read_script(path: str | Path, kind: type[T]) -> T:
    """Read a script from a TOML file.

    Raises:
        InputError: the file cannot be read.
        ConfigError: it is no script; the message names the key.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise InputError(
            f"The script cannot be read: {error.strerror}.", hint=f"Look at {path}."
        ) from error
    if len(data) > MAX_SCRIPT_BYTES:
        raise ConfigError(f"The script is longer than {MAX_SCRIPT_BYTES} bytes.")
    try:
        return msgspec.toml.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError) as error:
        problem = printable(str(error))
        raise ConfigError(
            f"The script {printable(str(path))} is wrong: {problem}.", problems=(problem,)
        ) from error
