"""``teamscall replay``: captures as tests."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from teamscall.cli.dialling import (
    CaOption,
    GenerationOption,
    InsecureOption,
    SecretFileOption,
    SecretOption,
)
from teamscall.cli.emulate_names import GenerationName
from teamscall.cli.serve import EngineName, SetOption

_LIVE = "Live"
_HELP = (
    "Replay recorded calls and compare all that the bridge says and decides, byte for byte.\n\n"
    "The gateway's messages and the engine's answers come from the capture, at their recorded "
    "times, and are given to the conversation of this version; no clock, network or engine is "
    "used. What is compared: the decisions on who may call, the messages to the gateway, the "
    "commands to the engine, the records of the call; and whether it looks at its deadlines "
    "when it did. The first difference is shown as a diff. A directory is a suite of all "
    "captures in it.\n\n"
    "With --expect, what a TOML file asks for is checked instead of the bytes. With --config, "
    "the call is replayed with today's settings instead of the recorded ones: its difference "
    "is what they change.\n\n"
    "With --engine or --against, the recorded caller calls a live bridge instead, in real time: "
    "one of its own on this machine, with --config and --set, or any running one. Each message "
    "goes out at its recorded moment as it was, signed anew, with a new call id; a socket that "
    "broke breaks again. Compared is what matters: whether the bot spoke where it spoke then "
    "(this decides, without --expect), and, shown, words, turns, latencies, flushes and the "
    "end. The caller hangs up when it did then, however late an engine is: --hold waits.\n\n"
    "Exit codes: 0 the same, or as expected; 1 not; also a capture that is damaged and could "
    "only be replayed in part; 2 wrong options, no capture, or one without the audio; with "
    "--engine or --against also 4 nothing answers, 5 refused, 130 interrupted."
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
    engine: Annotated[
        EngineName | None,
        typer.Option(
            help="Call a bridge of its own that answers with this.", rich_help_panel=_LIVE
        ),
    ] = None,
    set_: SetOption = None,
    against: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Call a running bridge: host:port, or a ws:// or wss:// URL.",
            rich_help_panel=_LIVE,
        ),
    ] = None,
    speed: Annotated[
        float,
        typer.Option(
            min=0.1,
            max=100.0,
            help="Divide the recorded moments by this. A live bridge then hears sound that comes "
            "faster (or slower) than it was spoken, and drops what is too much of it.",
            rich_help_panel=_LIVE,
        ),
    ] = 1.0,
    hold: Annotated[
        float,
        typer.Option(
            min=0.0,
            max=600.0,
            metavar="SECONDS",
            help="Keep the line with silence so much longer before the recorded hang-up.",
            rich_help_panel=_LIVE,
        ),
    ] = 0.0,
    silence: Annotated[
        bool,
        typer.Option(
            "--silence",
            help="Play a capture without its audio as silence.",
            rich_help_panel=_LIVE,
        ),
    ] = False,
    capture: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Keep the new call as a capture.", rich_help_panel=_LIVE),
    ] = None,
    same_call_id: Annotated[
        bool,
        typer.Option(
            "--same-call-id", help="Use the recorded call id again.", rich_help_panel=_LIVE
        ),
    ] = False,
    secret: SecretOption = None,
    secret_file: SecretFileOption = None,
    generation: GenerationOption = GenerationName.BOTH,
    ca: CaOption = None,
    insecure: InsecureOption = False,
) -> None:
    if update and (expect or config):
        raise typer.BadParameter("--update accepts the bytes: not with --expect or --config")
    live = engine is not None or against is not None
    if engine is not None and against is not None:
        raise typer.BadParameter("--engine and --against exclude each other")
    for option, given, wants in (
        ("--update", update and live, "without --engine and --against"),
        ("--jobs", jobs is not None and live, "without --engine and --against"),
        ("--set", set_ and engine is None, "with --engine"),
        ("--config", config and against is not None, "not with --against"),
        ("--speed", speed != 1.0 and not live, "with --engine or --against"),
        ("--hold", hold and not live, "with --engine or --against"),
        ("--silence", silence and not live, "with --engine or --against"),
        ("--capture", capture and not live, "with --engine or --against"),
        ("--same-call-id", same_call_id and not live, "with --engine or --against"),
        ("--secret", (secret or secret_file) and against is None, "with --against"),
        ("--ca", (ca or insecure) and against is None, "with --against"),
    ):
        if given:
            raise typer.BadParameter(f"{option} goes {wants}")
    if live:
        from teamscall.cli import logs, replay_live, replay_live_view, replay_run
        from teamscall.cli.outputs import check_writable

        logs.set_up("text", "error")
        check_writable({"--junit": junit, "--capture": capture})
        wanted = replay_live.Wanted(
            captures=captures,
            engine=None if engine is None else engine.value,
            against=against,
            config=config,
            pairs=tuple(set_ or ()),
            secret=secret,
            secret_file=secret_file,
            generation=generation.value,
            ca=ca,
            insecure=insecure,
            same_call_id=same_call_id,
            speed=speed,
            hold_s=hold,
            silence=silence,
            expect=expect,
            capture=capture,
            fail_fast=fail_fast,
        )
        began_ms = replay_run.wall_ms()
        played, left = replay_live.run(wanted, replay_live.to_stderr)
        if junit is not None:
            replay_run.write_cases(junit, [one.case() for one in played], began_ms)
        show = replay_live_view.print_json if json_ else replay_live_view.print_verdicts
        show(played, left=left)
        raise typer.Exit(replay_live.exit_code(played))

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
