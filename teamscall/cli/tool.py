"""``teamscall tool``: the agents' tool, its definition and one run of it."""

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

# A call that is placed waits for its far side, which has its own 10 s.
TIMEOUT_S = 30.0

_MAX_STDIN_BYTES = 1_048_576


class FormatName(enum.StrEnum):
    """Whose API takes the definition."""

    OPENAI = "openai"
    OPENAI_RESPONSES = "openai-responses"
    ANTHROPIC = "anthropic"
    JSON_SCHEMA = "json-schema"


_RUN_HELP = (
    "Do one action of the tool through the running bridge; print one JSON object.\n\n"
    """ARGUMENTS is what the model gave, such as '{"action": "get_status"}'; - reads it from """
    'stdin. Success is {"ok": true, …}, all else {"ok": false, "error": {"name", "message", '
    '"hint"}}.\n\n'
    "Exit codes: 0 done, 1 failed, 2 wrong arguments or no such call, 4 no bridge is running "
    "or no gateway came, 5 refused, 6 no answer in time."
)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(
        help="Give agents the calls: the teams_voice_call tool.", no_args_is_help=True
    )
    group.command("schema")(schema)
    group.command("run", help=_RUN_HELP)(run)
    app.add_typer(group, name="tool")


def schema(
    format_: Annotated[
        FormatName,
        typer.Option(
            "--format",
            help="openai: Chat Completions; openai-responses: Responses and Realtime; "
            "json-schema: the actions told apart.",
        ),
    ] = FormatName.OPENAI,
) -> None:
    """Print the tool's definition, as an API takes it."""
    import json

    from teamscall.control.tool import schema as definition

    typer.echo(json.dumps(definition(format_.value), indent=2, ensure_ascii=False))


def run(
    arguments: Annotated[
        str, typer.Argument(metavar="ARGUMENTS", help="JSON, or - for stdin.", show_default=False)
    ],
    config: ConfigOption = None,
    socket: SocketOption = "",
    url: UrlOption = "",
    token_file: TokenFileOption = "",
    timeout: Annotated[
        float,
        typer.Option(
            "--timeout", metavar="SECONDS", min=0.1, max=3600, help="What an answer may take."
        ),
    ] = TIMEOUT_S,
) -> None:
    """Do one action."""
    from teamscall.cli.asking import ask
    from teamscall.control import tool
    from teamscall.errors import TeamscallError

    door = Door(config, socket, url, token_file, timeout)
    try:
        given = tool.parsed(_stdin() if arguments == "-" else arguments)
        tool.checked(given)  # before anybody is asked
        answer = ask(door, lambda client: tool.run(client, given), name="tool")
    except TeamscallError as error:
        typer.echo(tool.line(tool.failure(error)))
        raise typer.Exit(error.exit_code) from None
    typer.echo(tool.line(answer))


def _stdin() -> bytes:
    import sys

    from teamscall.control.tool import ArgumentsError

    read = sys.stdin.buffer.read(_MAX_STDIN_BYTES + 1)
    if len(read) > _MAX_STDIN_BYTES:
        raise ArgumentsError(f"stdin has more than {_MAX_STDIN_BYTES} bytes.")
    return read
