"""The options of ``teamscall emulate`` as its command line gives them."""

from __future__ import annotations

from typing import Any

import typer

from teamscall.cli.emulate import register
from teamscall.cli.emulate_run import Options


def emulate_options(**changes: object) -> Options:
    """What the command line gives when nothing is typed, and ``changes``."""
    app = typer.Typer()
    app.callback()(lambda: None)
    register(app)
    command = typer.main.get_command(app)
    assert isinstance(command, typer.core.TyperGroup)
    given: dict[str, Any] = {}
    for parameter in command.commands["emulate"].params:
        value = parameter.default() if callable(parameter.default) else parameter.default
        given[parameter.name or ""] = value
    fields = {name: given.get(name) for name in Options.__struct_fields__}
    return Options(**fields | changes)  # type: ignore[arg-type]
