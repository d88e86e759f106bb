"""``teamscall demo``: hear the agent answer, with nothing but this package."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated

import typer

from teamscall.cli.serve import EngineName, SetOption


class DialectName(enum.StrEnum):
    """Which gateway the emulator plays."""

    STANDIN = "standin"
    CSHARP = "csharp"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("demo")(demo)


def demo(
    say: Annotated[str | None, typer.Option(help="Ask this instead of the recorded question.")] = (
        None
    ),
    wav: Annotated[Path | None, typer.Option(help="Play this WAV file into the call.")] = None,
    mic: Annotated[
        bool, typer.Option("--mic", help="Speak yourself, and hear the answer; Ctrl-C hangs up.")
    ] = False,
    device: Annotated[
        str | None, typer.Option(help="Microphone, by number or part of its name.")
    ] = None,
    dialect: Annotated[DialectName, typer.Option(help="Which gateway to play.")] = (
        DialectName.STANDIN
    ),
    engine: Annotated[
        EngineName | None, typer.Option(help="What hears, thinks and speaks.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Where the reply is written.")] = Path(
        "teamscall-reply.wav"
    ),
    stereo: Annotated[
        Path | None, typer.Option(help="Also write the call: caller left, bot right.")
    ] = None,
    capture: Annotated[
        Path | None, typer.Option(help="Also write the call's capture, for replay and report.")
    ] = None,
    patience: Annotated[
        float, typer.Option(min=0, help="Seconds to wait for a first answer.")
    ] = 30.0,
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", help="TOML file. Default: none, whatever lies around."),
    ] = None,
    set_: SetOption = None,
    json_: Annotated[
        bool, typer.Option("--json", help="JSON lines on stdout; the last one is the summary.")
    ] = False,
) -> None:
    """Have an emulated caller ask the agent a question, over the real wire.

    Starts a bridge on a free loopback port, dials it with a real signature, speaks a
    question, and shows what was heard, answered and how long each stage took. Needs no
    key, no Teams tenant, no sound card and no network. Exit code 0 only if speech was
    heard, understood and answered with speech.
    """
    import asyncio

    from teamscall.cli.demo_view import play_demo, print_failure
    from teamscall.errors import ExitCode, OutputLost, TeamscallError

    given = [name for name, value in (("--say", say), ("--wav", wav), ("--mic", mic)) if value]
    if len(given) > 1:
        raise typer.BadParameter(f"{' and '.join(given)} exclude each other")
    if device is not None and not mic:
        raise typer.BadParameter("--device goes with --mic")
    try:
        code = asyncio.run(
            play_demo(
                say=say,
                wav=wav,
                mic=mic,
                device=device,
                dialect=dialect.value,
                engine=engine.value if engine else None,
                out=out,
                stereo=stereo,
                capture=capture,
                patience=patience,
                config=config,
                pairs=set_ or [],
                json_lines=json_,
            )
        )
    except OutputLost:
        raise
    except TeamscallError as error:
        if json_:
            print_failure(error)
        raise
    except (KeyboardInterrupt, asyncio.CancelledError):
        if json_:
            print_failure(None)
        code = ExitCode.INTERRUPTED
    raise typer.Exit(code)
