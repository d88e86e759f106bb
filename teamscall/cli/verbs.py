"""The one-shot verbs that change something in a running bridge: speak, end, reload, drain and
outbound."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any

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
    import msgspec

    from teamscall.control.protocol import OutboundStatus

CallArgument = Annotated[
    str,
    typer.Argument(
        metavar="CALL",
        help="A call's id, or at least the first four characters of it.",
        autocompletion=complete_call,
        show_default=False,
    ),
]
_EXIT_CODES = (
    "Exit codes: 0 done, 1 not done, 2 wrong options or no such call, 4 no bridge is running, "
    "5 refused, 6 --timeout passed."
)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("speak", help=_help(speak))(speak)
    app.command("end", help=_help(end))(end)
    app.command("reload", help=_help(reload))(reload)
    app.command("drain", help=_help(drain))(drain)
    group = typer.Typer(help="Allow or stop placing calls.", no_args_is_help=True)
    group.command("on")(outbound_on)
    group.command("off")(outbound_off)
    group.command("status")(outbound_status)
    app.add_typer(group, name="outbound")


def _help(command: Callable[..., None]) -> str:
    return f"{inspect.getdoc(command)}\n\n{_EXIT_CODES}"


def speak(
    call: CallArgument,
    text: Annotated[
        str,
        typer.Argument(
            metavar="[TEXT]", help="What to say; without it, or with -, stdin.", show_default=False
        ),
    ] = "-",
    config: ConfigOption = None,
    socket: SocketOption = "",
    url: UrlOption = "",
    token_file: TokenFileOption = "",
    timeout: TimeoutOption = TIMEOUT_S,
    json_: JsonOption = False,
) -> None:
    """Say exactly this in a running call, instead of what the bot is saying; several wait for
    each other."""
    said = _stdin(timeout) if text == "-" else text
    door = Door(config, socket, url, token_file, timeout)
    done = ask(door, lambda client: client.speak(call, said))
    _print(json_, done, f"{done.call_id}: will be said")


def end(
    call: CallArgument,
    after_speech: Annotated[
        bool,
        typer.Option("--after-speech", help="Not before what the bot says now has been heard."),
    ] = False,
    config: ConfigOption = None,
    socket: SocketOption = "",
    url: UrlOption = "",
    token_file: TokenFileOption = "",
    timeout: TimeoutOption = TIMEOUT_S,
    json_: JsonOption = False,
) -> None:
    """End a call, or stop one that rings."""
    door = Door(config, socket, url, token_file, timeout)
    done = ask(door, lambda client: client.end(call, after_speech=after_speech))
    _print(json_, done, f"{done.call_id}: {'ends when it was heard' if after_speech else 'ended'}")


def reload(
    config: ConfigOption = None,
    socket: SocketOption = "",
    url: UrlOption = "",
    token_file: TokenFileOption = "",
    timeout: TimeoutOption = 60.0,
    json_: JsonOption = False,
) -> None:
    """Have the bridge read its configuration again, without dropping a call.

    A configuration with a problem changes nothing; the problems are listed, exit code 3.
    """
    from teamscall.errors import ControlError
    from teamscall.text import printable

    door = Door(config, socket, url, token_file, timeout)
    try:
        done = ask(door, lambda client: client.reload())
    except ControlError as error:
        problems = error.data.get("problems")
        for problem in problems if isinstance(problems, list) else ():
            typer.echo(f"  - {printable(str(problem), 500)}", err=True)
        raise
    for warning in done.warnings:
        typer.echo(f"warning: {printable(warning, 500)}", err=True)
    lines = [f"changed: {', '.join(done.changed) or 'nothing'}"]
    if done.needs_restart:
        lines.append(f"needs a restart: {', '.join(done.needs_restart)}")
    _print(json_, done, "\n".join(lines))


def drain(
    seconds: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=3600,
            help="Wait so long for the running calls. Default: the bridge's "
            "shutdown.drain_seconds.",
        ),
    ] = None,
    config: ConfigOption = None,
    socket: SocketOption = "",
    url: UrlOption = "",
    token_file: TokenFileOption = "",
    timeout: TimeoutOption = TIMEOUT_S,
    json_: JsonOption = False,
) -> None:
    """Have the bridge take no more calls, and wait until those that run are over.

    The process stays up, calls that are left go on, and only a restart lets new ones in
    again. Exit code 6 if calls are left after the wait.
    """
    from teamscall.errors import ExitCode

    door = Door(config, socket, url, token_file, timeout)
    left = ask(door, lambda client: client.drain(seconds)).calls
    calls = "no call is" if not left else "1 call is" if left == 1 else f"{left} calls are"
    _print(json_, {"calls": left}, f"No new calls; {calls} left.")
    if left:
        raise typer.Exit(ExitCode.TIMEOUT)


def outbound_on(
    config: ConfigOption = None,
    socket: SocketOption = "",
    url: UrlOption = "",
    token_file: TokenFileOption = "",
    timeout: TimeoutOption = TIMEOUT_S,
    json_: JsonOption = False,
) -> None:
    """Allow placing calls again."""
    door = Door(config, socket, url, token_file, timeout)
    _print_outbound(json_, ask(door, lambda client: client.outbound(True)))


def outbound_off(
    hang_up: Annotated[
        bool, typer.Option("--hang-up", help="Also end the placed calls that were answered.")
    ] = False,
    config: ConfigOption = None,
    socket: SocketOption = "",
    url: UrlOption = "",
    token_file: TokenFileOption = "",
    timeout: TimeoutOption = TIMEOUT_S,
    json_: JsonOption = False,
) -> None:
    """Stop placing calls now; what rings is hung up. It outlives a restart."""
    door = Door(config, socket, url, token_file, timeout)
    status = ask(door, lambda client: client.outbound(False, hang_up=hang_up))
    _print_outbound(json_, status)


def outbound_status(
    config: ConfigOption = None,
    socket: SocketOption = "",
    url: UrlOption = "",
    token_file: TokenFileOption = "",
    timeout: TimeoutOption = TIMEOUT_S,
    json_: JsonOption = False,
) -> None:
    """Show whether calls are placed, and how many were."""
    door = Door(config, socket, url, token_file, timeout)
    _print_outbound(json_, ask(door, lambda client: client.outbound()))


# --- in and out -----------------------------------------------------------------------


def _print_outbound(json_: bool, status: OutboundStatus) -> None:
    on = "on" if status.switched_on else "off"
    if not status.enabled:
        on = f"{on}, but outbound.enabled is false: none are placed"
    _print(
        json_,
        status,
        f"Placing calls is {on}; {status.ringing} ringing, {status.last_hour} of "
        f"{status.max_per_hour} in the last hour.",
    )
    if status.kept is False:
        print(
            "teamscall: The bridge could not write this down: it does not outlive a restart.",
            file=sys.stderr,
        )


def _print(json_: bool, result: msgspec.Struct | Mapping[str, Any], words: str) -> None:
    if json_:
        from teamscall.cli.calls_view import print_json

        print_json(result)
    else:
        from teamscall.text import harmless

        typer.echo("\n".join(harmless(line, 10_000) for line in words.split("\n")))


def _stdin(timeout_s: float) -> str:
    """What is piped in, whole.

    Raises:
        InputError: nothing is, or it cannot be said.
        DeadlinePassed: it has no end.
    """

    from teamscall.errors import InputError

    if sys.stdin.isatty():
        raise InputError(
            "There is nothing to say: stdin is a terminal.",
            hint='Give the text, as in `teamscall speak CALL "Hello"`, or pipe it in.',
        )
    data = _read_all(sys.stdin.fileno(), timeout_s)
    try:
        text = data.decode().strip()
    except UnicodeDecodeError as error:
        raise InputError("What is on stdin is not UTF-8 text.") from error
    if not text:
        raise InputError("There is nothing to say: stdin is empty.")
    return " ".join(text.split())


def _read_all(number: int, timeout_s: float) -> bytes:
    """Until its end; a pipe that nobody closes must not hold a command for good."""
    import os
    import select
    import time

    from teamscall.control.protocol import MAX_REQUEST_BYTES
    from teamscall.errors import DeadlinePassed, InputError

    read = bytearray()
    deadline = time.monotonic() + timeout_s
    while True:
        if os.name == "posix":  # Windows waits for sockets alone
            left = max(0.0, deadline - time.monotonic())
            if not select.select([number], [], [], left)[0]:
                raise DeadlinePassed(
                    "--timeout", f"stdin did not end within {timeout_s:g} s; nothing was said."
                )
        piece = os.read(number, 65_536)
        if not piece:
            return bytes(read)
        read += piece
        if len(read) > MAX_REQUEST_BYTES:
            raise InputError("There is too much on stdin to be said in one go.")
