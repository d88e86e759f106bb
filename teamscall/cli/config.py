"""``teamscall config``: is the configuration right, and where does each value come from?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from teamscall.cli import config_edit, config_tell
from teamscall.cli.config_keys import complete_table
from teamscall.cli.serve import ConfigOption, SetOption

if TYPE_CHECKING:
    from teamscall.config.load import Loaded
    from teamscall.config.report import Problem


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="Look at the configuration, and change it.", no_args_is_help=True)
    group.command("check")(check)
    group.command("show")(show)
    group.command("get")(config_tell.get)
    group.command("set")(config_edit.set_key)
    group.command("unset")(config_edit.unset_key)
    group.command("explain")(config_tell.explain)
    group.command("path")(path)
    group.command("schema")(schema)
    app.add_typer(group, name="config")


def check(
    config: ConfigOption = None,
    set_: SetOption = None,
    strict: Annotated[bool, typer.Option("--strict", help="A warning is a failure too.")] = False,
    json_: Annotated[
        bool, typer.Option("--json", help="One JSON object with every problem and its parts.")
    ] = False,
) -> None:
    """Check the configuration; every problem at once, exit code 3 if there is any."""
    import os

    import msgspec

    from teamscall.cli.settings import given
    from teamscall.config.changing import file_to_change
    from teamscall.config.report import report
    from teamscall.errors import ExitCode
    from teamscall.text import printable

    flags, names = given({}, set_)
    found = report(
        config, env=os.environ, flags=flags, flag_names=names, strict=strict,
        named=file_to_change(config, os.environ),
    )  # fmt: skip
    where = printable(found.path or "defaults and environment (no file)", 300)
    if json_:
        typer.echo(msgspec.json.format(msgspec.json.encode(found)).decode())
    elif found.ok:
        for warning in found.warnings:
            _print_problem(warning, err=True)
        typer.echo(f"ok: {where}")
    else:
        for problem in (*found.problems, *found.warnings):
            _print_problem(problem, err=False)
        counts = [_count(len(found.problems), "problem"), _count(len(found.warnings), "warning")]
        typer.echo(f"{where}: {' and '.join(filter(None, counts))}", err=True)
    if not found.ok:
        raise typer.Exit(ExitCode.CONFIG)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}" if number else ""


def _print_problem(problem: Problem, *, err: bool) -> None:
    """``file:line: error: what``, as compilers do: editors jump there. Then what to do."""
    from teamscall.text import printable

    place = f"{problem.file}:{problem.line}" if problem.line else problem.file or problem.origin
    lead = f"{printable(place, 300)}: " if place else ""
    typer.echo(f"{lead}{problem.severity}: {problem.what}", err=err)
    for line in problem.excerpt:
        typer.echo(f"    {line}", err=err)
    told = problem.allowed in problem.what or problem.allowed in ("", "a string")
    if not told and problem.severity == "error":
        typer.echo(f"    allowed: {problem.allowed}", err=err)
    if problem.suggestion and problem.suggestion not in problem.what:
        typer.echo(f"    {problem.suggestion}", err=err)


def show(
    tables: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[TABLE]…", help="Only these tables or keys.", autocompletion=complete_table
        ),
    ] = None,
    config: ConfigOption = None,
    set_: SetOption = None,
    changed: Annotated[
        bool, typer.Option("--changed", help="Only what differs from the defaults.")
    ] = False,
    json_: Annotated[
        bool, typer.Option("--json", help="One JSON object: value and origin of each key.")
    ] = False,
    toml: Annotated[
        bool,
        typer.Option("--toml", help="A TOML file with the effective values, secrets left out."),
    ] = False,
) -> None:
    """Show every key's effective value and where it came from; secrets are masked."""
    import datetime
    import json

    from teamscall.cli.settings import load
    from teamscall.config import resolved_models

    if json_ and toml:
        raise typer.BadParameter("--json and --toml exclude each other")
    loaded = load(config, {}, set_)
    values = _chosen(_values(loaded), loaded, tables or (), changed)
    origins = {path: _origin(loaded.origins, path) for path in values}
    named = resolved_models(loaded.config, datetime.date.today())
    stands_for = {path: model for path, model in named.items() if path in values}
    if json_:
        rows = {p: {"value": v, "origin": origins[p]} for p, v in values.items()}
        for path, model in stands_for.items():
            rows[path]["resolved"] = model
        # "v" is what it was called before; scripts read it.
        about = {"version": 1, "v": 1, "config": rows}
        typer.echo(json.dumps(about, indent=2, ensure_ascii=False))
    elif toml:
        typer.echo(_toml(values, loaded), nl=False)
    else:
        _print_values(values, origins, stands_for)


def _values(loaded: Loaded) -> dict[str, object]:
    from teamscall.config import iter_options, listed
    from teamscall.config.differing import value_of

    config = loaded.config
    values = {o.path: _plain(value_of(config, o.path)) for o in iter_options()}
    for path, value in listed(config.tools, config.prices, config.webhooks):
        values[path] = _plain(value)
    return values


def _chosen(
    values: dict[str, object], loaded: Loaded, tables: Sequence[str], changed: bool
) -> dict[str, object]:
    """Those of the tables that were named, and that are not as they would be by themselves."""
    from teamscall.config.differing import value_of
    from teamscall.config.options import options
    from teamscall.config.places import place
    from teamscall.config.tree import Config

    wanted = tuple(place(name).path for name in tables)
    if wanted:
        values = {
            path: value
            for path, value in values.items()
            if any(path == name or path.startswith((f"{name}.", f"{name}[")) for name in wanted)
        }
    if changed:
        plain = Config()
        values = {
            path: value
            for path, value in values.items()
            if path not in options() or value_of(loaded.config, path) != value_of(plain, path)
        }
    return values


def _print_values(
    values: Mapping[str, object], origins: Mapping[str, str], stands_for: Mapping[str, str]
) -> None:
    import json
    import os
    import sys

    width = max(map(len, values), default=0)
    faint = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    group = None
    for path, value in values.items():
        here = path.rpartition(".")[0]
        if group is not None and here != group:
            typer.echo("")
        group = here
        shown = json.dumps(value, ensure_ascii=False)
        today = f", today {stands_for[path]}" if path in stands_for else ""
        line = f"{path:<{width}}  {shown}  ({origins[path]}{today})"
        typer.echo(typer.style(line, dim=True) if faint and origins[path] == "default" else line)


def _toml(values: Mapping[str, object], loaded: Loaded) -> str:
    import msgspec
    import tomli_w

    from teamscall.config import Secret, iter_options

    tree = _tree({o.path: values[o.path] for o in iter_options() if o.path in values})
    tables = {"tools": loaded.config.tools, "prices": loaded.config.prices}
    named = {path.partition("[")[0].partition(".")[0] for path in values}
    tree |= {n: msgspec.to_builtins(table) for n, table in tables.items() if table and n in named}
    if hooks := [msgspec.structs.asdict(h) for h in loaded.config.webhooks if "webhooks" in named]:
        tree["webhooks"] = [
            {key: value for key, value in hook.items() if not isinstance(value, Secret)}
            for hook in hooks
        ]
    return tomli_w.dumps(tree)


def path(
    config: ConfigOption = None,
    json_: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Show which files are looked at, in order, and which one is used."""
    import json
    import os

    from teamscall.config.looking import looked_at
    from teamscall.text import printable

    found = looked_at(config, os.environ)
    if json_:
        rows = [
            {"path": str(f.path), "by": f.by, "exists": f.exists, "readable": f.readable,
             "used": f.used}
            for f in found
        ]  # fmt: skip
        used = next((str(f.path) for f in found if f.used), None)
        typer.echo(json.dumps({"version": 1, "used": used, "files": rows}, indent=2))
        return
    for file in found:
        state = "used" if file.used else "there, not used" if file.exists else "not there"
        if file.exists and not file.readable:
            state += ", not readable by this user"
        typer.echo(f"{printable(str(file.path), 300)}  ({file.by}; {state})")
    if not any(file.used for file in found):
        typer.echo("no file is used: defaults and the environment hold", err=True)


def schema() -> None:
    """Print a JSON Schema (2020-12) of the file, for editors and CI.

    An editor with taplo (Even Better TOML) checks and completes by it when the file begins
    with `#:schema ./teamscall.schema.json`.
    """
    import json

    from teamscall.config.schema import schema as made

    typer.echo(json.dumps(made(), indent=2, ensure_ascii=False))


def _plain(value: object) -> object:
    """A key's value as JSON has it; a secret is masked."""
    from teamscall.config import Secret

    if isinstance(value, Secret):
        return "********" if value else ""
    return list(value) if isinstance(value, tuple) else value


def _origin(origins: Mapping[str, str], path: str) -> str:
    """Of a key; those of a tool or a price come from where that begins."""
    return origins.get(path) or origins.get(path.rpartition(".")[0]) or "default"


def _tree(values: dict[str, object]) -> dict[str, object]:
    tree: dict[str, object] = {}
    for path, value in values.items():
        if value == "********":
            continue
        *tables, leaf = path.split(".")
        table = tree
        for name in tables:
            table = table.setdefault(name, {})  # type: ignore[assignment]
        table[leaf] = value
    return tree
