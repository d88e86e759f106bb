"""``teamscall config``: is the configuration right, and where does each value come from?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import typer

from teamscall.cli.serve import ConfigOption, SetOption


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="Look at the configuration.", no_args_is_help=True)
    group.command("check")(check)
    group.command("show")(show)
    app.add_typer(group, name="config")


def check(config: ConfigOption = None, set_: SetOption = None) -> None:
    """Check the configuration; every problem at once, exit code 3 if there is any."""
    from teamscall.cli.settings import load

    loaded = load(config, {}, set_)
    for warning in loaded.warnings:
        typer.echo(f"warning: {warning}", err=True)
    where = loaded.path or "defaults and environment (no file)"
    typer.echo(f"ok: {where}")


def show(
    config: ConfigOption = None,
    set_: SetOption = None,
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
    from teamscall.config import Secret, iter_options, listed, resolved_models

    if json_ and toml:
        raise typer.BadParameter("--json and --toml exclude each other")
    loaded = load(config, {}, set_)
    values: dict[str, object] = {}
    for option in iter_options():
        value: object = loaded.config
        for part in option.path.split("."):
            value = getattr(value, part)
        values[option.path] = _plain(value)
    for path, value in listed(loaded.config.tools, loaded.config.prices, loaded.config.webhooks):
        values[path] = _plain(value)
    origins = {path: _origin(loaded.origins, path) for path in values}
    stands_for = resolved_models(loaded.config, datetime.date.today())
    if json_:
        rows = {p: {"value": v, "origin": origins[p]} for p, v in values.items()}
        for path, model in stands_for.items():
            rows[path]["resolved"] = model
        typer.echo(json.dumps({"v": 1, "config": rows}, indent=2, ensure_ascii=False))
    elif toml:
        import msgspec
        import tomli_w

        tree = _tree({option.path: values[option.path] for option in iter_options()})
        tables = {"tools": loaded.config.tools, "prices": loaded.config.prices}
        tree |= {name: msgspec.to_builtins(table) for name, table in tables.items() if table}
        if hooks := [msgspec.structs.asdict(hook) for hook in loaded.config.webhooks]:
            tree["webhooks"] = [
                {key: value for key, value in hook.items() if not isinstance(value, Secret)}
                for hook in hooks
            ]
        typer.echo(tomli_w.dumps(tree), nl=False)
    else:
        width = max(map(len, values))
        for path, value in values.items():
            shown = json.dumps(value, ensure_ascii=False)
            today = f", today {stands_for[path]}" if path in stands_for else ""
            typer.echo(f"{path:<{width}}  {shown}  ({origins[path]}{today})")


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
