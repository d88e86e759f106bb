"""Putting the configuration and its secrets on the disk, never over what is there.

Owns the names of the secret files, their mode and the order: secrets first, then the file that
names them, and nothing at all where any of it is wrong.

The secrets stand beside the configuration, each in a file of its own, so that the
configuration can be shown around.
"""

from __future__ import annotations

import base64
import contextlib
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from teamscall.config.load import examine
from teamscall.config.rewriting import write_new
from teamscall.config.told import Told
from teamscall.errors import ConfigError, InputError
from teamscall.setup.toml import commented
from teamscall.text import printable

SECRET_BYTES = 32


class Written(msgspec.Struct, frozen=True):
    """What is there now. ``secret_files``: by the key whose secret is in it."""

    path: Path
    secret_files: Mapping[str, Path]
    warnings: tuple[Told, ...]


def fresh_secret() -> str:
    """44 characters that every header, shell and dashboard takes: 256 random bits."""
    while True:
        made = base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()
        if not {"+", "/"} & set(made):  # some dashboards turn them into blanks
            return made


def write(
    path: Path,
    values: Mapping[str, object],
    given: Mapping[str, str],
    *,
    env: Mapping[str, str],
) -> Written:
    """Write the configuration ``values`` with these secrets by key, each to its own file.

    Raises:
        InputError: a file is there already, or cannot be written; nothing is left behind.
        ConfigError: it would not load, with every problem.
    """
    path = Path(path).absolute()
    files = {key: path.parent / secret_name(path, key) for key in given}
    every = dict(values) | {f"{key}_file": file.name for key, file in files.items()}
    notes = {
        f"{key}_file": f"The secret, in a file of its own beside this one: {_whose(key)}."
        for key in given
    }
    text = commented(every, notes=notes)
    for file in (path, *files.values()):
        if file.exists() or file.is_symlink():
            raise InputError(
                f"{printable(str(file), 300)} is there already, and nothing is overwritten.",
                hint="Name another file with -o, or change this one: teamscall config set",
            )
    with _all_or_nothing() as made:
        try:
            if not path.parent.exists():
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            for key, file in files.items():
                write_new(file, f"{given[key]}\n".encode())
                made.append(file)
            seen = examine(path, env=env, contents=text.encode())
            if seen.problems:
                raise ConfigError("Nothing was written.", problems=seen.problems)
            write_new(path, text.encode())
        except OSError as error:
            name = printable(str(error.filename or path), 300)
            raise InputError(
                f"{name} cannot be written: {error.strerror or error}.",
                hint="Name a file in a folder of yours with -o.",
            ) from error
    return Written(path, files, seen.warnings)


def secret_name(path: Path, key: str) -> str:
    """``bridge.secret`` beside teamscall.toml; ``other.bridge.secret`` beside other.toml."""
    return key if path.stem == "teamscall" else f"{path.stem}.{key}"


def _whose(key: str) -> str:
    return {
        "bridge.secret": "the gateway has the same",
        "standin.secret": "the same is registered for the bot in StandIn",
    }.get(key, "who may read it is on this machine alone")


@contextlib.contextmanager
def _all_or_nothing() -> Iterator[list[Path]]:
    made: list[Path] = []
    try:
        yield made
    except BaseException:
        for file in made:
            file.unlink(missing_ok=True)
        raise
