"""``teamscall call``: place a call through the running bridge."""

from __future__ import annotations

import enum
from typing import Annotated

import typer

from teamscall.cli.asking import (
    ConfigOption,
    Door,
    SocketOption,
    TokenFileOption,
    UrlOption,
)


class ModeName(enum.StrEnum):
    """What the call does once it is answered."""

    NOTIFY = "notify"
    CONVERSATION = "conversation"


class ViaName(enum.StrEnum):
    """Through what it is placed."""

    AUTO = "auto"
    CSHARP = "csharp"
    STANDIN = "standin"


class WaitName(enum.StrEnum):
    """How far the command goes along."""

    ANSWERED = "answered"
    ENDED = "ended"
    NONE = "none"


_HELP = (
    "Ring somebody through the running bridge, and tell how it goes.\n\n"
    "TO is user:OBJECT-ID, phone:+NUMBER, or an e-mail address where a resolver is "
    "configured (outbound.resolver_command, outbound.resolver_url). The bridge's rules for "
    "placed calls apply; --dry-run lists each of them.\n\n"
    "Example: teamscall call phone:+493012345 --mode notify -m 'The backup has failed.'\n\n"
    "Ctrl-C while it rings hangs up, a second one leaves at once; Ctrl-C after the answer "
    "leaves the call running.\n\n"
    "Exit codes: 0 answered (with --wait ended: and over in order, a notification heard to "
    "its end), 1 failed, cancelled or ended by an error, 2 wrong options, 4 no bridge is "
    "running, it went away, or no gateway came, 5 refused, 6 --timeout passed, 7 nobody "
    "answered, 8 busy, 9 declined, 130 interrupted."
)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("call", help=_HELP)(call)


def call(
    to: Annotated[
        str,
        typer.Argument(
            metavar="TO", help="user:OBJECT-ID, phone:+NUMBER or an address.", show_default=False
        ),
    ],
    message: Annotated[
        str,
        typer.Option("--message", "-m", metavar="TEXT", help="Said first; - reads it from stdin."),
    ] = "",
    mode: Annotated[
        ModeName | None,
        typer.Option(
            help="notify: say the message and hang up; conversation: go on talking. "
            "Default: outbound.default_mode."
        ),
    ] = None,
    tenant: Annotated[
        str, typer.Option(metavar="ID", help="Tenant of the user. Default: outbound.tenant.")
    ] = "",
    via: Annotated[ViaName, typer.Option(help="Through what it is placed.")] = ViaName.AUTO,
    wait: Annotated[
        WaitName | None,
        typer.Option(
            help="Return once it is answered, has ended, or (none) is being placed. "
            "Default: ended for notify, answered for conversation."
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Place nothing: list each rule and whether it would pass."),
    ] = False,
    timeout: Annotated[
        float | None,
        typer.Option(
            "--timeout",
            metavar="SECONDS",
            min=0.1,
            max=86_400,
            help="What this command may take, the call included; the call goes on. Default: 30 "
            "for the bridge's answer, the ring timeout for the ringing, no limit for the call "
            "itself.",
        ),
    ] = None,
    json_lines: Annotated[
        bool, typer.Option("--json", help="One JSON object per state, the outcome in the last.")
    ] = False,
    config: ConfigOption = None,
    socket: SocketOption = "",
    url: UrlOption = "",
    token_file: TokenFileOption = "",
) -> None:
    """Ring somebody."""
    from teamscall.cli.call_run import Order, place

    code = place(
        Door(config, socket, url, token_file),
        Order(
            to=to,
            message=message,
            mode=None if mode is None else mode.value,
            tenant=tenant,
            via=via.value,
            wait=None if wait is None else wait.value,
            dry_run=dry_run,
            timeout_s=timeout,
            json_lines=json_lines,
        ),
    )
    raise typer.Exit(code)
