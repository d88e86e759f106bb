"""``teamscall mcp``: a Model Context Protocol server in front of the running bridge."""

from __future__ import annotations

from typing import Annotated

import typer

from teamscall.cli.asking import (
    ConfigOption,
    Door,
    SocketOption,
    TokenFileOption,
    UrlOption,
)

TIMEOUT_S = 30.0

_HELP = (
    "Serve the Model Context Protocol on stdin and stdout: its clients can place and steer "
    "calls through the running bridge and read their transcripts, within the bridge's rules.\n\n"
    "Needs the extra: pip install 'teamscall[mcp]'. The bridge is asked anew for every "
    "request: it need not run yet, and may restart. Ends when stdin does."
)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("mcp", help=_HELP)(mcp)


def mcp(
    config: ConfigOption = None,
    socket: SocketOption = "",
    url: UrlOption = "",
    token_file: TokenFileOption = "",
    timeout: Annotated[
        float,
        typer.Option(
            "--timeout",
            metavar="SECONDS",
            min=0.1,
            max=3600,
            help="What an answer of the bridge may take.",
        ),
    ] = TIMEOUT_S,
) -> None:
    """Serve the Model Context Protocol on stdin and stdout."""
    import signal

    from teamscall.cli import logs
    from teamscall.cli.asking import where
    from teamscall.errors import MissingPackageError

    try:
        from teamscall.control.mcp import serve
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("mcp", "mcp_types", "pydantic"):
            raise
        raise MissingPackageError(
            "The Model Context Protocol needs a package that is not installed: mcp.",
            hint="pip install 'teamscall[mcp]'",
        ) from error
    door = Door(config, socket, url, token_file, timeout)
    where(door)  # what is wrong with the options is said now, not to the model
    logs.set_up("text", "warning")
    # A thread of the SDK waits for stdin, and no exception ends that: Ctrl-C has to end the
    # process. Nothing is lost, each request has a connection of its own.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    serve(lambda: where(door), timeout)
