"""``teamscall metrics``: what goes with the bridge's ``/metrics``."""

from __future__ import annotations

import typer


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="Watch a bridge with Prometheus.", no_args_is_help=True)
    group.command("dashboard")(dashboard)
    app.add_typer(group, name="metrics")


def dashboard() -> None:
    """Print a Grafana dashboard for the bridge's metrics, to be imported as it is."""
    import importlib.resources

    asset = importlib.resources.files("teamscall") / "assets" / "grafana.json"
    typer.echo(asset.read_text("utf-8"), nl=False)
