"""``teamscall replay``: captures as tests."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

_HELP = (
    "Replay recorded calls and compare all that the bridge says and decides, byte for byte.\n\n"
    "The gateway's messages and the engine's answers come from the capture, at their recorded "
    "times, and are given to the conversation of this version; no clock, network or engine is "
    "used. What is compared: the messages to the gateway, the commands to the engine, the "
    "records of the call. The first difference is shown as a diff. A directory is a suite of "
    "all captures in it.\n\n"
    "With --expect, what a TOML file asks for is checked instead of the bytes. With --config, "
    "the call is replayed with today's settings instead of the recorded ones: its difference "
    "is what they change.\n\n"
    "Exit codes: 0 the same, or as expected; 1 not; also a capture that is damaged and could "
    "only be replayed in part; 2 wrong options, no capture, or one without the audio."
)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("replay", help=_HELP)(replay)


def replay(
    captures: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE|DIR...",
            help="Captures, or directories with captures.",
            show_default=False,
        ),
    ],
    expect: Annotated[
        Path | None,
        typer.Option(
            "--expect", metavar="FILE.toml", help="Check what this file asks for, not the bytes."
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config", "-c", metavar="FILE", help="Use these settings, not the recorded ones."
        ),
    ] = None,
    update: Annotated[
        bool,
        typer.Option("--update", help="Accept: what came is expected from now on."),
    ] = False,
    fail_fast: Annotated[
        bool, typer.Option("--fail-fast", help="Stop at the first that is not the same.")
    ] = False,
    jobs: Annotated[
        int | None,
        typer.Option(
            min=1, max=256, help="So many processes at once. Default: as many as are worth it."
        ),
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
    junit: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write a JUnit XML file.")
    ] = None,
) -> None:
    if update and (expect or config):
        raise typer.BadParameter("--update accepts the bytes: not with --expect or --config")

    from teamscall.cli import replay_run, replay_view
    from teamscall.cli.outputs import check_writable

    check_writable({"--junit": junit})
    tasks = replay_run.tasks(captures, expect, config, update=update)
    began_ms = replay_run.wall_ms()
    verdicts = replay_run.run(tasks, jobs=jobs, fail_fast=fail_fast)
    if junit is not None:
        replay_run.write_junit(junit, verdicts, began_ms)
    if json_:
        replay_view.print_json(verdicts, left=len(tasks) - len(verdicts))
    else:
        replay_view.print_verdicts(verdicts, left=len(tasks) - len(verdicts))
    raise typer.Exit(replay_run.exit_code(verdicts))
