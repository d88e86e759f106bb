"""What the commands that ask a running bridge share: their options, and the asking itself.

Owns the event loop of a one-shot command. The client opens no port and starts no bridge;
every wait of it has ``--timeout``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple, TypeVar

import typer

if TYPE_CHECKING:
    from teamscall.control.client import Client
    from teamscall.control.where import Where

T = TypeVar("T")

TIMEOUT_S = 10.0
# Completion is typed in the middle of a line: nobody waits longer for it.
COMPLETION_S = 0.3

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config", "-c", help="TOML file. Default: teamscall.toml in the configuration directory."
    ),
]
SocketOption = Annotated[
    str, typer.Option("--socket", metavar="PATH", help="The bridge's control socket.")
]
UrlOption = Annotated[
    str,
    typer.Option(
        "--url",
        metavar="URL",
        help="The bridge's control port, as in ws://127.0.0.1:7443. [env: TEAMSCALL_CONTROL_URL]",
    ),
]
TokenFileOption = Annotated[
    str,
    typer.Option(
        "--token-file",
        metavar="FILE",
        help="File with the port's token. [env: TEAMSCALL_CONTROL_TOKEN for the token itself]",
    ),
]
TimeoutOption = Annotated[
    float,
    typer.Option(
        "--timeout", metavar="SECONDS", min=0.1, max=3600, help="What an answer may take."
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]


class Door(NamedTuple):
    """Which bridge is asked, as the options say it, and how long it may take."""

    config: Path | None = None
    socket: str = ""
    url: str = ""
    token_file: str = ""
    timeout_s: float = TIMEOUT_S


def where(door: Door) -> Where:
    """The bridge that is meant.

    Raises:
        ConfigError, InputError: what names it cannot be used.
    """
    import os

    from teamscall.config import Config, load_config
    from teamscall.control.where import URL_VARIABLE, find, keys
    from teamscall.errors import ConfigError

    if door.socket and not door.url:
        config = Config()  # it is named: no file has a say, and a broken one does not matter
    else:
        by_url = bool(door.url or os.environ.get(URL_VARIABLE))
        try:
            config = load_config(
                door.config, env=os.environ, only=keys(by_url and not door.token_file)
            ).config
        except ConfigError as error:
            raise ConfigError(
                error.message,
                problems=error.problems,
                hint="--socket PATH asks a bridge without its configuration.",
            ) from error
    return find(config, os.environ, socket=door.socket, url=door.url, token_file=door.token_file)


def ask(
    door: Door,
    work: Callable[[Client], Awaitable[T]],
    *,
    name: str = "",
    whole_s: float | None = None,
    silent: bool = False,
) -> T:
    """Run ``work`` with a client of the bridge; each of its questions has the door's timeout.

    Args:
        name: what the audit calls the one who asks.
        whole_s: what all of it may take; TimeoutError after that. None: no such limit.
        silent: say nothing of a bridge that was not named and is the only one.

    Raises:
        DialError: no bridge is running. ControlError, DeadlinePassed: see the client.
    """
    import asyncio
    import sys

    from teamscall.control.client import connect

    there = where(door)
    if there.guessed and not silent:  # it may be another one than the one that was meant
        print(f"Asking the only bridge that runs here, {there.name}", file=sys.stderr)

    async def run() -> T:
        async with (
            asyncio.timeout(whole_s),
            connect(there, timeout_s=door.timeout_s, name=name) as client,
        ):
            return await work(client)

    return asyncio.run(run())


def complete_call(incomplete: str) -> list[tuple[str, str]]:
    """Ids of calls that begin so, for the shell's completion.

    Silent whatever goes wrong: what is printed here lands in the middle of the line that
    somebody types. Options on that line are not looked at, the environment is.
    """
    import logging

    from teamscall.text import printable

    async def running(client: Client) -> list[tuple[str, str]]:
        status = await client.status()
        found: list[tuple[str, str]] = []
        for call in status.calls:
            name = call.call_id or call.attempt
            # What a shell would take apart or obey is not offered.
            if name.startswith(incomplete) and name == printable(name) and " " not in name:
                found.append((name, f"{call.state} {printable(call.who.display_name, 40)}".strip()))
        return found

    logging.disable(logging.CRITICAL)
    try:
        return ask(Door(timeout_s=COMPLETION_S), running, whole_s=COMPLETION_S, silent=True)
    except Exception:  # noqa: BLE001 - see above
        return []
    finally:
        logging.disable(logging.NOTSET)
