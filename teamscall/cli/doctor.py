"""``teamscall doctor``: what is wrong with the set-up, before the first call finds it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from teamscall.cli.serve import ConfigOption, SetOption


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("doctor")(doctor)


def doctor(
    config: ConfigOption = None,
    set_: SetOption = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            "--only",
            metavar="ID|GROUP",
            help="Only this check (TC-...) or group: here, line, engines, other-side, call. "
            "Repeatable.",
        ),
    ] = None,
    skip: Annotated[
        list[str] | None,
        typer.Option("--skip", metavar="ID|GROUP", help="Not this check or group. Repeatable."),
    ] = None,
    public_url: Annotated[
        str,
        typer.Option(
            "--public-url",
            metavar="URL",
            help="The address registered with the other side. Default: serve.public_url and "
            "standin.public_url, else the bridge's own address.",
        ),
    ] = "",
    ca: Annotated[
        Path | None,
        typer.Option(
            "--ca",
            metavar="FILE",
            help="Trust this authority (PEM) for the registered address, in place of the system's.",
        ),
    ] = None,
    ntp: Annotated[
        list[str] | None,
        typer.Option(
            "--ntp",
            metavar="HOST",
            help="A time server to compare the clock with, in place of well-known ones. "
            "Repeatable.",
        ),
    ] = None,
    thorough: Annotated[
        bool,
        typer.Option(
            "--thorough", help="Also what takes minutes: 60 s of silence on the line, devices."
        ),
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="A warning counts as a failure.")
    ] = False,
    timeout: Annotated[
        float | None,
        typer.Option(
            "--timeout",
            metavar="SECONDS",
            min=1,
            max=3600,
            help="What all checks together may take. Default: 15, with --thorough 180.",
            show_default=False,
        ),
    ] = None,
    call: Annotated[
        str,
        typer.Option(
            "--call",
            metavar="TARGET",
            help="Also call user:OBJECT-ID or phone:+NUMBER through the running bridge. Without "
            "--yes it only says what it would do.",
        ),
    ] = "",
    yes: Annotated[bool, typer.Option("--yes", help="Really place the call of --call.")] = False,
    json_: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
    list_: Annotated[bool, typer.Option("--list", help="List the checks and run none.")] = False,
    explain: Annotated[
        str,
        typer.Option(
            "--explain", metavar="TC-ID", help="Say what a check looks at and what to do."
        ),
    ] = "",
    last_failures: Annotated[
        bool,
        typer.Option(
            "--last-failures", help="Show whom the running bridge turned away last, and why."
        ),
    ] = False,
) -> None:
    """Check the set-up: this machine, the line from the registered address to the bridge, the
    engines and the other side. A bridge that runs is asked and not disturbed; where none runs,
    one is started for the test.

    Exit codes: 0 nothing failed, 1 a check failed (with --strict also: warned), 2 wrong
    options, 3 the configuration cannot be loaded.
    """
    from teamscall.cli import doctor_run

    options = doctor_run.Options(
        config=config,
        pairs=tuple(set_ or ()),
        only=tuple(only or ()),
        skip=tuple(skip or ()),
        public_url=public_url,
        ca="" if ca is None else str(ca),
        time_servers=tuple(ntp or ()),
        thorough=thorough,
        strict=strict,
        timeout_s=timeout,
        call=call,
        yes=yes,
        json=json_,
    )
    if list_:
        doctor_run.list_checks(options)
    elif explain:
        doctor_run.explain(explain, json_=json_)
    elif last_failures:
        doctor_run.last_failures(options)
    else:
        raise typer.Exit(doctor_run.run(options))
