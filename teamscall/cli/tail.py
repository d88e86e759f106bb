"""``teamscall tail``: watch calls."""

from __future__ import annotations

from typing import Annotated

import typer

from teamscall.cli.asking import (
    TIMEOUT_S,
    ConfigOption,
    Door,
    SocketOption,
    TimeoutOption,
    TokenFileOption,
    UrlOption,
    complete_call,
)
from teamscall.cli.tail_events import DEFAULT, HELP

# With --follow and nothing else, as tail(1) does it.
FOLLOW_LINES = 10

_HELP = (
    "Show what is said in calls, and what happens to them, as it goes on.\n\n"
    "Without --follow: what the bridge remembers (some thousand events), and the end. CALL is "
    "a call id or its beginning; without one, all calls.\n\n"
    "What was said and not heard, because it was interrupted, is marked as cut. On the "
    "right: how long the caller waited for the answer.\n\n"
    "On a terminal, what is being said is shown below the lines, and replaced. Live words "
    "are shown whatever the journal keeps; nothing of them is stored.\n\n"
    "Exit codes: 0 the end, 2 wrong options or no such call, 4 no bridge is running and "
    "--follow is not given, 5 refused, 6 --timeout passed, 130 Ctrl-C."
)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("tail", help=_HELP)(tail)


def _complete_events(incomplete: str) -> list[tuple[str, str]]:
    from teamscall.cli.tail_events import names

    before, comma, last = incomplete.rpartition(",")
    return [
        (f"{before}{comma}{name}", HELP.get(name, "")) for name in names() if name.startswith(last)
    ]


def tail(
    call: Annotated[
        str,
        typer.Argument(
            metavar="CALL",
            help="Id of a call, or its beginning.",
            autocompletion=complete_call,
            show_default=False,
        ),
    ] = "",
    follow: Annotated[
        bool,
        typer.Option("--follow", "-f", help="Go on; wait for a bridge that is not there."),
    ] = False,
    since: Annotated[
        str,
        typer.Option(
            metavar="10m|N|TIME",
            help="Begin so long ago (s, m, h, d), with the last N lines, or at 14:05 or "
            "2026-03-01T14:05. Default: all that the bridge remembers; with --follow and "
            f"no CALL, the last {FOLLOW_LINES} lines.",
        ),
    ] = "",
    until_end: Annotated[
        bool,
        typer.Option(
            "--until-end",
            help="Follow until CALL is over; without CALL, until no call is left, which may "
            "be at once. A bridge that restarts meanwhile is waited for.",
        ),
    ] = False,
    events: Annotated[
        str,
        typer.Option(
            metavar="NAMES",
            help="What is shown, with commas: "
            + "; ".join(f"{name} ({what})" for name, what in HELP.items())
            + f"; or the names of events. Default: {','.join(DEFAULT)}.",
            autocompletion=_complete_events,
        ),
    ] = "",
    json_lines: Annotated[
        bool, typer.Option("--json", help="The events, one JSON object per line.")
    ] = False,
    config: ConfigOption = None,
    socket: SocketOption = "",
    url: UrlOption = "",
    token_file: TokenFileOption = "",
    timeout: TimeoutOption = TIMEOUT_S,
) -> None:
    """Watch calls."""
    import asyncio
    from datetime import datetime

    from teamscall.cli.asking import where
    from teamscall.cli.tail_events import Selection, split
    from teamscall.cli.tail_run import Wanted, tail
    from teamscall.cli.tail_since import Since
    from teamscall.cli.tail_since import since as parse
    from teamscall.cli.tail_view import choose_view
    from teamscall.errors import ExitCode

    selection = Selection(split(events))
    goes_on = follow or until_end
    begin = Since()
    if since:
        begin = parse(since, datetime.now().astimezone())
    elif goes_on and not call:
        begin = Since(last=FOLLOW_LINES)
    wanted = Wanted(call=call, since=begin, follow=goes_on, until_end=until_end, patient=follow)
    door = Door(config, socket, url, token_file, timeout)
    where(door)  # what cannot be used is told before anything is waited for
    view = choose_view(selection, one_call=bool(call), goes_on=goes_on, json_lines=json_lines)
    try:
        asyncio.run(tail(wanted, view, lambda: where(door), timeout))
    except asyncio.CancelledError:
        raise typer.Exit(ExitCode.INTERRUPTED) from None
