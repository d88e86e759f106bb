"""The command tree."""

from __future__ import annotations

import inspect
from typing import Annotated

import typer

from teamscall import __version__
from teamscall.cli import (
    call,
    calls,
    capture,
    config,
    control,
    demo,
    doctor,
    emulate,
    fake_openai,
    init,
    mcp,
    metrics,
    replay,
    report,
    serve,
    status,
    tail,
    tool,
    verbs,
)

app = typer.Typer(
    name="teamscall",
    help="Put an AI voice agent on Microsoft Teams calls.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"teamscall {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Put an AI voice agent on Microsoft Teams calls.

    Start with `teamscall demo`: it needs no key, no Teams tenant and no sound card.
    """


demo.register(app)
init.register(app)
serve.register(app)
emulate.register(app)
verbs.register(app)
status.register(app)
config.register(app)
doctor.register(app)
fake_openai.register(app)
control.register(app)
tail.register(app)
calls.register(app)
call.register(app)
tool.register(app)
mcp.register(app)
metrics.register(app)
capture.register(app)
replay.register(app)
report.register(app)

groups = [group.typer_instance for group in app.registered_groups]
for command in [one for each in (app, *groups) if each for one in each.registered_commands]:
    # Typer keeps a docstring's line breaks; a terminal has its own width.
    text = inspect.cleandoc(command.help or inspect.getdoc(command.callback) or "")
    command.help = "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))
