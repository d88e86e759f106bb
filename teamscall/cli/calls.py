"""``teamscall calls``: the history, one call, sums, and forgetting."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated, Any

import typer

from teamscall.cli.serve import ConfigOption


class Direction(enum.StrEnum):
    """Who called whom."""

    INBOUND = "inbound"
    OUTBOUND = "outbound"


class OutcomeName(enum.StrEnum):
    """How a call went."""

    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    REFUSED = "refused"
    RINGING = "ringing"
    NO_ANSWER = "no-answer"
    BUSY = "busy"
    DECLINED = "declined"
    CANCELLED = "cancelled"


JournalOption = Annotated[
    Path | None,
    typer.Option("--journal", metavar="FILE", help="The journal. Default: journal.path."),
]
SinceOption = Annotated[
    str | None,
    typer.Option(
        "--since", metavar="WHEN", help="10m, 2h or 3d ago, 14:05, 2026-11-20, or an ISO time."
    ),
]


def _complete(context: typer.Context, incomplete: str) -> list[str]:
    """Ids that begin so. A shell that completes is no place for complaints."""
    import contextlib
    import re

    from teamscall.errors import TeamscallError
    from teamscall.journal.whole import ids_beginning

    found: list[str] = []
    with contextlib.suppress(TeamscallError, OSError, ValueError):
        given = context.params
        path = _path_of(context, given.get("journal"), given.get("config"))
        found = ids_beginning(path, incomplete)
    # What a shell would take apart or obey is not offered.
    return [name for name in found if re.fullmatch(r"[\w.:@=+/-]+", name, re.ASCII)]


CallArgument = Annotated[
    str,
    typer.Argument(
        metavar="CALL",
        help="A call's id, or at least the first four characters of it.",
        autocompletion=_complete,
        show_default=False,
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(
        help="""List the history of calls, or show, sum up and forget calls.

        Newest first: who, how it went, how long, how fast the answers were. Refused callers
        and calls that nobody answered are in the list too. It reads the journal itself, so it
        works with and without a running bridge.""",
        invoke_without_command=True,
        callback=calls,
    )
    group.command("show")(show)
    group.command("stats")(stats)
    group.command("forget")(forget)
    app.add_typer(group, name="calls")


def calls(
    context: typer.Context,
    since: SinceOption = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="At most so many.")] = 50,
    direction: Annotated[Direction | None, typer.Option(help="Who called whom.")] = None,
    outcome: Annotated[OutcomeName | None, typer.Option(help="How it went.")] = None,
    refused: Annotated[
        bool, typer.Option("--refused", help="Only who was refused: --outcome refused.")
    ] = False,
    json_: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
    csv: Annotated[bool, typer.Option("--csv", help="Comma-separated, with a header row.")] = False,
    journal: JournalOption = None,
    config: ConfigOption = None,
) -> None:
    """List calls."""
    if context.invoked_subcommand is not None:
        return
    if json_ and csv:
        raise typer.BadParameter("--json and --csv exclude each other")
    if refused and outcome not in (None, OutcomeName.REFUSED):
        raise typer.BadParameter("--refused and --outcome exclude each other")

    from teamscall.cli import calls_view
    from teamscall.journal.history import Wanted, lines

    now_ms = _now_ms()
    wanted = Wanted(
        since_ms=_since(since, now_ms),
        limit=limit,
        direction=direction.value if direction else "",
        outcome="refused" if refused else outcome.value if outcome else "",
    )
    found = lines(_path(journal, config), wanted)
    if json_:
        calls_view.print_json({"calls": found})
    elif csv:
        calls_view.print_csv(found)
    else:
        calls_view.print_list(found, now_ms)


def show(
    context: typer.Context,
    call: CallArgument,
    json_: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
    capture: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="The call's capture, to measure it. Default: from capture.dir."
        ),
    ] = None,
    journal: JournalOption = None,
    config: ConfigOption = None,
) -> None:
    """Show all about one call, with a timeline and, where it was kept, the transcript.

    Where the call was captured with its audio, what the sound says stands beside what the
    bridge believed of its own latency.
    """
    from teamscall.cli import calls_show, calls_sound, calls_view
    from teamscall.journal.whole import whole

    found = whole(_path_of(context, journal, config), call)
    spoken = found.call.call_id != "" and found.call.outcome != "refused"
    heard = None
    if spoken or capture is not None:
        heard = calls_sound.listen(found, capture, config or _of_group(context, "config"))
    if json_ or _of_group(context, "json_"):
        calls_view.print_json(found, calls_sound.sound_json(heard) if heard else {"sound": None})
        return
    calls_show.print_call(found, _now_ms())
    if heard is not None:
        calls_sound.print_sound(heard)


def stats(
    context: typer.Context,
    since: SinceOption = None,
    json_: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
    journal: JournalOption = None,
    config: ConfigOption = None,
) -> None:
    """Sum up a period: outcomes, times, latencies, errors, cost. Default: everything."""
    from teamscall.cli import calls_stats, calls_view
    from teamscall.journal.stats import stats as summed

    now_ms = _now_ms()
    since_ms = _since(since or _of_group(context, "since"), now_ms)
    found = summed(_path_of(context, journal, config), since_ms, now_ms)
    if json_ or _of_group(context, "json_"):
        calls_view.print_json({"stats": found})
    else:
        calls_stats.print_stats(found)


def forget(
    context: typer.Context,
    call: Annotated[
        str | None,
        typer.Argument(
            metavar="CALL",
            help="A call's id, or at least the first four characters of it.",
            autocompletion=_complete,
            show_default=False,
        ),
    ] = None,
    before: Annotated[
        str | None,
        typer.Option(
            metavar="WHEN", help="All that ended and began before: 2026-11-20, 30d ago, ISO time."
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    json_: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
    journal: JournalOption = None,
    config: ConfigOption = None,
) -> None:
    """Delete a call, or all before a day, from the journal for good.

    Everything known of it goes: the record, the decision, turns, events, usage, audit,
    transcript. The file is written anew, so that no copy is left in it. A running bridge
    waits for that and loses nothing.

    Exit codes: 0 forgotten, 1 not confirmed, or a copy may be left, 2 wrong options, no such
    call, or it is running.
    """
    import sys

    from teamscall.cli import calls_view
    from teamscall.errors import ExitCode, InputError
    from teamscall.journal import forget as forgetting

    if (call is None) == (before is None):
        raise typer.BadParameter("Name a call, or a day with --before.")
    path = _path_of(context, journal, config)
    if call is not None:
        doomed = forgetting.doomed_call(path, call)
    else:
        moment = _since(before, _now_ms(), "--before")
        doomed = forgetting.doomed_before(path, moment)
    what = calls_view.in_words(doomed)
    if not yes:
        if not sys.stdin.isatty():
            raise InputError(
                f"{what[0].upper()}{what[1:]} would be forgotten.",
                hint="Without a terminal, add --yes.",
            )
        # Not typer.confirm: it writes a blank to stdout, whatever it is told.
        typer.echo(f"Forget {what} for good? [y/N] ", nl=False, err=True)
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            raise typer.Exit(ExitCode.FAILED)
    gone = forgetting.forget(path, doomed)
    if json_ or _of_group(context, "json_"):
        calls_view.print_json(
            {"callId": doomed.call_id, "attempt": doomed.attempt, "forgotten": gone}
        )
    else:
        typer.echo(f"Forgotten: {what} ({gone.rows} rows).")
    if gone.traces:
        typer.echo(
            f"teamscall: Copies may be left in unused parts of the file: {gone.traces}.\n"
            "  Run it again; nothing else has to be forgotten for that.",
            err=True,
        )
        raise typer.Exit(ExitCode.FAILED)


def _now_ms() -> int:
    import time

    return time.time_ns() // 1_000_000


def _since(text: str | None, now_ms: int, option: str = "--since") -> int:
    from teamscall.cli.moments import moment_ms

    return moment_ms(text, now_ms, option) if text else 0


def _path_of(context: typer.Context, journal: Path | None, config: Path | None) -> Path:
    journal = journal or _of_group(context, "journal")
    return _path(journal, config or _of_group(context, "config"))


def _of_group(context: typer.Context, option: str) -> Any:
    """What was given before the subcommand, as in ``calls --json show CALL``."""
    return context.parent.params.get(option) if context.parent else None


def _path(journal: Path | None, config: Path | None) -> Path:
    if journal is not None:
        return journal

    import os

    from teamscall.config import load_config
    from teamscall.journal.store import default_path

    # What else is wrong with it does not matter here.
    named = load_config(config, env=os.environ, only={"journal.path"}).config.journal.path
    return Path(named) if named else default_path()
