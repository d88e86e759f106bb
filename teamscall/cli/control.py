"""``teamscall control``: for whoever writes a client of their own."""

from __future__ import annotations

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    group = typer.Typer(help="Describe the control plane to programs.", no_args_is_help=True)
    group.callback()(_group)
    group.command("schema")(schema)
    app.add_typer(group, name="control")


def _group() -> None:
    """Describe the control plane to programs."""


def schema() -> None:
    """Print the methods, events and errors as one OpenRPC document; needs no bridge."""
    import json

    from teamscall.control.document import document

    typer.echo(json.dumps(document(), indent=2, ensure_ascii=False))
