"""The command tree, or the one branch of it that was asked for.

Building every command is a quarter of a short command's work, and scripts run many of them.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Sequence
from typing import Annotated

import typer

from teamscall import __version__

# Which module adds which commands, in the order of the help.
MODULES = {
    "demo": ("demo",),
    "init": ("init",),
    "serve": ("serve",),
    "emulate": ("emulate",),
    "verbs": ("speak", "end", "reload", "drain", "outbound"),
    "status": ("status",),
    "config": ("config",),
    "doctor": ("doctor",),
    "fake_openai": ("fake-openai",),
    "control": ("control",),
    "tail": ("tail",),
    "calls": ("calls",),
    "call": ("call",),
    "tool": ("tool",),
    "mcp": ("mcp",),
    "metrics": ("metrics",),
    "capture": ("capture",),
    "replay": ("replay",),
    "report": ("report",),
}


def tree(words: Sequence[str] = ()) -> typer.Typer:
    """What these arguments need: the branch that the first one names, else everything."""
    branch = [name for name, verbs in MODULES.items() if words and words[0] in verbs]
    app = typer.Typer(
        name="teamscall",
        help="Put an AI voice agent on Microsoft Teams calls.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_root)
    for name in branch or MODULES:
        importlib.import_module(f"teamscall.cli.{name}").register(app)
    groups = [group.typer_instance for group in app.registered_groups]
    for command in [one for each in (app, *groups) if each for one in each.registered_commands]:
        # Typer keeps a docstring's line breaks; a terminal has its own width.
        text = inspect.cleandoc(command.help or inspect.getdoc(command.callback) or "")
        command.help = "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))
    return app


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"teamscall {__version__}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Put an AI voice agent on Microsoft Teams calls.

    Start with `teamscall demo`: it needs no key, no Teams tenant and no sound card.
    """
