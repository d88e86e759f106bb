"""The few questions of ``teamscall init``, on stderr: stdout is the result's."""

from __future__ import annotations

from collections.abc import Sequence

import typer

from teamscall.text import printable

_GATEWAYS = {"1": "standin", "2": "csharp", "3": "both"}


def ask(
    gateway: str | None, public_url: str | None, allow: Sequence[str] | None, engine: str | None
) -> tuple[str, str, list[str], str]:
    """(gateway, public address, who may call, engine): what was not given is asked for."""
    if gateway is None:
        typer.echo("Who dials the bridge?", err=True)
        typer.echo("  1  StandIn, the hosted media bridge", err=True)
        typer.echo("  2  a C# media gateway of your own", err=True)
        typer.echo("  3  both", err=True)
        gateway = _choice("1, 2 or 3", _GATEWAYS, "1")
    if public_url is None:
        _say("At which address does the other side reach this machine (a proxy's or tunnel's)?")
        typer.echo("  for example wss://bridge.example.org; empty: not known yet", err=True)
        public_url = _address(gateway)
    if allow is None:
        _say(
            "Who may call? Object ids, addresses, tenant:ID, or * for everybody, with commas "
            "between them."
        )
        typer.echo("  empty: nobody, for now", err=True)
        allow = _callers()
    if engine is None:
        _say("What hears, thinks and speaks? auto, openai, offline or echo")
        typer.echo("  auto: OpenAI when OPENAI_API_KEY is set, else this machine", err=True)
        engine = _choice("engine", {w: w for w in ("auto", "openai", "offline", "echo")}, "auto")
    typer.echo("", err=True)
    return gateway, public_url, list(allow), engine


def _say(text: str) -> None:
    from teamscall.cli.init_view import wrapped

    typer.echo(f"\n{wrapped(text)}", err=True)


def answer(prompt: str, default: str | None = None) -> str:
    """What was typed; empty where that is the default.

    Raises:
        typer.Exit: Ctrl-C, or the end of stdin; with its own code, and before anything is written.
    """
    from teamscall.errors import ExitCode

    try:
        shown = bool(default)
        return str(typer.prompt(prompt, default=default, show_default=shown, err=True))
    except typer.Abort as abort:
        typer.echo("\nnothing was written", err=True)
        stopped = isinstance(abort.__context__, KeyboardInterrupt)
        raise typer.Exit(ExitCode.INTERRUPTED if stopped else ExitCode.USAGE) from None


def _choice(prompt: str, words: dict[str, str], default: str) -> str:
    while True:
        said = answer(prompt, default).strip().lower()
        if said in words:
            return words[said]
        if said in words.values():
            return said
        typer.echo(f"{printable(said, 40)} is none of {', '.join(words)}", err=True)


def _address(gateway: str) -> str:
    from teamscall.errors import InputError
    from teamscall.setup.plan import public_address

    while True:
        said = answer("address", "").strip()
        try:
            if said:
                public_address(said, "/")
        except InputError as error:
            _say(str(error))
            continue
        return said


def _callers() -> list[str]:
    from teamscall.errors import InputError
    from teamscall.setup.plan import callers

    while True:
        said = answer("callers", "")
        named = [one.strip() for one in said.split(",") if one.strip()]
        try:
            callers(tuple(named))
        except InputError as error:
            _say(str(error))
            continue
        return named
