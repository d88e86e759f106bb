"""``teamscall status``: the running bridge and its calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from teamscall.cli.asking import (
    TIMEOUT_S,
    ConfigOption,
    Door,
    JsonOption,
    SocketOption,
    TimeoutOption,
    TokenFileOption,
    UrlOption,
    ask,
    complete_call,
)

if TYPE_CHECKING:
    from teamscall.control.client import Client
    from teamscall.control.protocol import CallStatus, Status


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("status")(status)


def status(
    call: Annotated[
        str,
        typer.Argument(
            metavar="[CALL]",
            help="A call's id, or at least the first four characters of it; it may be over.",
            autocompletion=complete_call,
            show_default=False,
        ),
    ] = "",
    config: ConfigOption = None,
    socket: SocketOption = "",
    url: UrlOption = "",
    token_file: TokenFileOption = "",
    timeout: TimeoutOption = TIMEOUT_S,
    json_: JsonOption = False,
) -> None:
    """Show the running bridge and its calls, or one call.

    Exit codes: 0 shown, 2 wrong options or no such call, 4 no bridge is running, 5 refused,
    6 --timeout passed.
    """

    async def asked(client: Client) -> Status | CallStatus:
        return await client.call_status(call) if call else await client.status()

    found = ask(Door(config, socket, url, token_file, timeout), asked)
    from teamscall.cli import status_view  # tables: not where there is nothing to show

    (status_view.print_json if json_ else status_view.print_status)(found)
