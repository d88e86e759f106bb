"""``teamscall config get`` and ``explain``: one key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from teamscall.cli.config_keys import KeyArgument
from teamscall.cli.serve import ConfigOption, SetOption

if TYPE_CHECKING:
    from collections.abc import Mapping

    from teamscall.config.explaining import Explained
    from teamscall.config.load import Examined
    from teamscall.config.places import Place


def get(
    key: KeyArgument,
    config: ConfigOption = None,
    set_: SetOption = None,
    json_: Annotated[
        bool, typer.Option("--json", help="One JSON object: value and origin.")
    ] = False,
) -> None:
    """Print the effective value of a key, or of every key of a table.

    A list is printed one item to a line. A secret is never printed: where it comes from is
    said on stderr, and the exit code is 1.
    """
    import json

    from teamscall.config.places import place

    where = place(key)
    seen = _examined(where, config, set_)
    if where.kind == "key" and where.option is not None:
        path = where.path
        value, origin = _plain(_value(seen, path)), seen.origins.get(path, "default")
        if json_:
            row: dict[str, object] = {"version": 1, "key": path, "value": value, "origin": origin}
            if where.option.secret:
                row |= {"value": None, "secret": True, "set": bool(value)}
            typer.echo(json.dumps(row, ensure_ascii=False))
        elif where.option.secret:
            _refuse_secret(path, bool(value), origin)
        else:
            _print_value(value)
        return
    rows = _rows(where, seen)
    if json_:
        typer.echo(json.dumps({"version": 1, "key": key, "values": rows}, ensure_ascii=False))
    elif where.kind == "entries" and where.leaf and len(rows) == 1 and where.entry:
        path, value = next(iter(rows.items()))
        if where.option is not None and where.option.secret:
            _refuse_secret(path, bool(value), seen.origins.get(path, "default"))
        _print_value(value)
    else:
        for path, value in rows.items():
            typer.echo(f"{path} = {json.dumps(value, ensure_ascii=False)}")


def explain(
    key: KeyArgument,
    config: ConfigOption = None,
    set_: SetOption = None,
    json_: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Say what a key does, what it may be, what it is now and why; or what keys a table has."""
    from teamscall.config.explaining import explain as explained
    from teamscall.config.places import place

    where = place(key)
    seen = _examined(where, config, set_)
    about = explained(where, seen.config, seen.origins)
    if json_:
        import msgspec

        typer.echo(msgspec.json.format(msgspec.json.encode(about)).decode())
    else:
        _print_explained(about)


def _examined(where: Place, config: object, pairs: list[str] | None) -> Examined:
    """The configuration as far as it matters here: a mistake elsewhere is in nobody's way."""
    import os
    from pathlib import Path

    from teamscall.cli.settings import given
    from teamscall.config.load import examine
    from teamscall.config.options import options
    from teamscall.errors import ConfigError

    flags, names = given({}, pairs)
    only = None
    if where.kind == "key":
        only = {where.path, f"{where.path}_file", f"{where.path}_env"}
    elif where.kind == "table":
        only = {path for path in options() if path.startswith(f"{where.path}.")}
    seen = examine(
        None if config is None else Path(str(config)),
        env=os.environ, flags=flags, flag_names=names, cross_checks=False, only=only,
    )  # fmt: skip
    mine = [p for p in seen.problems if only is not None or where.path in p.parts.key]
    if mine:
        raise ConfigError("Its value is wrong.", problems=tuple(mine))
    return seen


def _rows(where: Place, seen: Examined) -> dict[str, object]:
    from teamscall.config.entries import listed
    from teamscall.config.options import options

    if where.kind == "table":
        inside = [path for path in options() if path.startswith(f"{where.path}.")]
        return {path: _plain(_value(seen, path)) for path in inside}
    config = seen.config
    rows = dict(listed(config.tools, config.prices, config.webhooks))
    found: dict[str, object] = {}
    for path, value in rows.items():
        place, _, leaf = path.rpartition(".")
        entry = place.removeprefix(where.path)
        if not entry.startswith(("[", ".")) or not place.startswith(where.path):
            continue
        if where.entry and entry not in (f"[{where.entry}]", f'."{where.entry}"'):
            continue
        if not where.leaf or leaf == where.leaf:
            found[path] = _plain(value)
    if not found and where.entry:
        from teamscall.errors import InputError
        from teamscall.text import printable

        raise InputError(f"There is no {where.path} {printable(where.entry, 80)}.")
    return found


def _value(seen: Examined, path: str) -> object:
    from teamscall.config.differing import value_of

    return value_of(seen.config, path)


def _plain(value: object) -> object:
    from teamscall.config.secret import MASK, Secret

    if isinstance(value, Secret):
        return MASK if value else ""
    return list(value) if isinstance(value, tuple) else value


def _refuse_secret(path: str, is_set: bool, origin: str) -> None:
    from teamscall.text import printable

    if is_set:
        typer.echo(f"{path} is a secret and not shown; it comes from {printable(origin)}", err=True)
    else:
        typer.echo(f"{path} is not set", err=True)
    raise typer.Exit(1)


def _print_value(value: object) -> None:
    import json

    if isinstance(value, bool):
        typer.echo(str(value).lower())
    elif isinstance(value, list):
        for one in value:
            typer.echo(str(one))
    elif isinstance(value, dict):
        typer.echo(json.dumps(value, ensure_ascii=False))
    else:
        typer.echo(str(value))


def _print_explained(about: Explained) -> None:
    import shutil
    import textwrap

    width = min(shutil.get_terminal_size().columns, 100)
    typer.echo(typer.style(about.key, bold=True) if _colour() else about.key)
    for line in textwrap.wrap(about.about, width - 2):
        typer.echo(f"  {line}")
    if about.keys:
        _print_keys(about, width)
    facts: Mapping[str, str] = {
        "type": about.type,
        "allowed": about.allowed if about.allowed != f"a {about.type}" else "",
        "unit": about.unit,
        "default": about.default or ("" if about.keys or about.secret else "empty"),
        "now": f"{about.value or 'not set'}  ({about.origin})" if about.origin else "",
        "environment": about.env,
        "also written": about.camel,
        "related": ", ".join(about.related),
    }
    for name, words in facts.items():
        if words:
            lead = f"  {name:<13} "
            rows = textwrap.wrap(words, max(20, width - len(lead)), break_long_words=False)
            typer.echo(lead + f"\n{' ' * len(lead)}".join(rows))
    if about.secret:
        typer.echo("  secret        never printed; also given as a file (_file) or by the name")
        typer.echo("                of an environment variable (_env)")
    if about.example:
        typer.echo("\n  " + about.example.replace("\n", "\n  "))


def _print_keys(about: Explained, width: int) -> None:
    column = max(len(line.key) for line in about.keys)
    typer.echo("")
    for line in about.keys:
        room = max(20, width - column - 4)
        about_it = line.about if len(line.about) <= room else line.about[: room - 1].rstrip() + "…"
        typer.echo(f"  {line.key:<{column}}  {about_it}")


def _colour() -> bool:
    import os
    import sys

    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")
