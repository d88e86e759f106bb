"""``teamscall config set`` and ``unset``: change the file, and nothing else in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, cast

import typer

from teamscall.cli.config_keys import complete_key, complete_pair
from teamscall.cli.serve import ConfigOption

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from teamscall.config.changing import Changed
    from teamscall.config.editing import Change
    from teamscall.config.options import Option

# A secret is one line; whatever is longer is another file.
MAX_STDIN_BYTES = 65_536

JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object: what was changed.")]


def set_key(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="KEY VALUE [KEY VALUE]…",
            help="Keys and their values; - reads the value from stdin, as a secret must be.",
            autocompletion=complete_pair,
        ),
    ],
    config: ConfigOption = None,
    add: Annotated[
        list[str] | None, typer.Option("--add", help="Add this to the list KEY. Repeatable.")
    ] = None,
    remove: Annotated[
        list[str] | None,
        typer.Option("--remove", help="Take this out of the list KEY. Repeatable."),
    ] = None,
    json_: JsonOption = False,
) -> None:
    """Set keys in the configuration file; comments, order, owner and mode stay.

    Values are TOML or plain text. What would not load is not written: the old file stays.
    """
    import os

    from teamscall.config.changing import file_to_change
    from teamscall.config.editing import Change

    path = file_to_change(config, os.environ)
    if add or remove:
        if len(words) != 1:
            raise typer.BadParameter("--add and --remove take one KEY and no VALUE")
        option = _option(words[0])
        changes = [Change(option.path, _list(option, add or (), remove or (), path))]
    else:
        if len(words) % 2:
            raise typer.BadParameter(f"{words[-1]} has no value", param_hint="KEY VALUE")
        pairs = list(zip(words[::2], words[1::2], strict=True))
        if sum(value == "-" for _, value in pairs) > 1:
            raise typer.BadParameter("one value alone can come from stdin")
        changes = [_change(key, value) for key, value in pairs]
        if len({change.path for change in changes}) < len(changes):
            raise typer.BadParameter("a key is given twice")
    _apply(changes, path, json_)


def unset_key(
    keys: Annotated[
        list[str],
        typer.Argument(metavar="KEY…", help="Keys to take out.", autocompletion=complete_key),
    ],
    config: ConfigOption = None,
    json_: JsonOption = False,
) -> None:
    """Take keys out of the configuration file: their defaults hold again."""
    import os

    from teamscall.config.changing import file_to_change
    from teamscall.config.editing import Change

    path = file_to_change(config, os.environ)
    _apply([Change(_option(key).path) for key in keys], path, json_)


def _option(key: str) -> Option:
    """The key itself; one of many cannot be changed here."""
    from teamscall.config.entries import HEADERS
    from teamscall.config.places import place
    from teamscall.errors import InputError

    found = place(key)
    if found.kind == "entries":
        raise InputError(
            f"{found.path} may be there many times: change {HEADERS[found.path]} in an editor.",
            hint=f"`teamscall config explain {found.path}` has an example; "
            "then run: teamscall config check",
        )
    if found.option is None:
        raise InputError(
            f"{found.path} is a table; name a key in it.",
            hint=f"`teamscall config explain {found.path}` lists them.",
        )
    return found.option


def _change(key: str, word: str) -> Change:
    from teamscall.config.editing import Change, value_from
    from teamscall.config.words import wrong_value
    from teamscall.errors import ConfigError, InputError

    option = _option(key)
    if word == "-":
        word = _from_stdin(option)
    elif option.secret:
        raise InputError(
            f"{option.path} is a secret, and a command line is seen by every user and kept in "
            "the shell's history.",
            hint=f"Give it on stdin: teamscall config set {option.path} - < FILE; or name a file: "
            f"teamscall config set {option.path}_file FILE",
        )
    try:
        return Change(option.path, value_from(option, word))
    except ValueError as error:
        told = wrong_value(option, word, "given here")
        raise ConfigError("Nothing was changed.", problems=(told,)) from error


def _from_stdin(option: Option) -> str:
    """One line; asked for without an echo on a terminal."""
    import sys

    from teamscall.errors import InputError

    if sys.stdin is None or sys.stdin.closed:
        raise InputError(f"There is no stdin to read {option.path} from.")
    if sys.stdin.isatty():
        import getpass

        return getpass.getpass(f"{option.path}: ") if option.secret else input(f"{option.path}: ")
    data = sys.stdin.buffer.read(MAX_STDIN_BYTES + 1)
    if len(data) > MAX_STDIN_BYTES:
        raise InputError(f"stdin has more than {MAX_STDIN_BYTES} bytes.")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise InputError("stdin is not UTF-8 text.") from error
    text = text.removesuffix("\n").removesuffix("\r")
    if option.secret and not text:
        raise InputError(f"stdin is empty: {option.path} was not changed.")
    return text


def _list(option: Option, add: Sequence[str], remove: Sequence[str], file: Path) -> list[str]:
    """The list as it is in the file, or else holds, with these added and taken out."""
    from teamscall.config.differing import value_of
    from teamscall.config.load import examine
    from teamscall.errors import ConfigError, InputError

    if option.type_words != "list of strings" or option.kind == "command":
        raise InputError(f"{option.path} is no list to add to: it is {option.allowed}.")
    contents = None if file.exists() else b""
    seen = examine(file, env={}, contents=contents, only={option.path})
    if seen.problems:
        raise ConfigError("Nothing was changed.", problems=seen.problems)
    items = [str(one) for one in cast("tuple[str, ...]", value_of(seen.config, option.path))]
    for one in remove:
        if one not in items:
            close = ", ".join(items[:5])
            raise InputError(
                f"{option.path} has no such item.", hint=f"It has: {close}" if close else ""
            )
        items.remove(one)
    return [*items, *(one for one in dict.fromkeys(add) if one not in items)]


def _apply(changes: Sequence[Change], path: Path, json_: bool) -> None:
    import os

    from teamscall.config.changing import change_file

    done = change_file(path, changes, env=os.environ)
    if json_:
        _print_json(changes, done)
        return
    from teamscall.config.options import options
    from teamscall.config.words import shown
    from teamscall.text import printable

    file = printable(str(done.path), 300)
    for change in changes:
        option = options()[change.path]
        if change.value is not None:
            typer.echo(printable(f"{change.path} = {shown(option, change.value)}", 1000))
        elif change.path in done.missing:
            typer.echo(f"{change.path} is not in {file}", err=True)
        else:
            typer.echo(f"{change.path} taken out; now {shown(option, option.default) or 'empty'}")
    for key in done.took_out:
        typer.echo(f"{key} taken out: a secret has one source", err=True)
    if done.created:
        typer.echo(f"made {file}, readable by you alone", err=True)
    elif not done.changed:
        typer.echo(f"{file} says so already", err=True)
    for problem in done.still:
        typer.echo(f"still: {problem}", err=True)
    _say_what_wins([change.path for change in changes])
    if done.changed and not done.still:
        typer.echo("a running bridge takes it with: teamscall reload", err=True)


def _say_what_wins(keys: Sequence[str]) -> None:
    """An environment variable wins over the file: say so, or nobody understands why."""
    import os

    from teamscall.config.options import options

    for key in keys:
        if os.environ.get(options()[key].env):
            typer.echo(f"{options()[key].env} is set and wins over the file", err=True)


def _print_json(changes: Sequence[Change], done: Changed) -> None:
    import json

    from teamscall.config.options import options
    from teamscall.config.secret import MASK

    rows = {
        change.path: MASK if options()[change.path].secret and change.value else change.value
        for change in changes
    }
    about = {
        "version": 1,
        "path": str(done.path),
        "created": done.created,
        "changed": done.changed,
        "set": {key: value for key, value in rows.items() if value is not None},
        "unset": [
            *(c.path for c in changes if c.value is None and c.path not in done.missing),
            *done.took_out,
        ],
        "problems": [str(problem) for problem in done.still],
    }
    typer.echo(json.dumps(about, indent=2, ensure_ascii=False))
