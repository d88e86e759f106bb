"""``teamscall capture``: look at the files that calls leave, and cut them."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated

import typer

_FileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="A capture (.tcap).")]
_OutOption = Annotated[Path, typer.Option("--out", "-o", help="Where the result is written.")]


class LegName(enum.StrEnum):
    """Which part of a capture."""

    GATEWAY = "gateway"
    ENGINE = "engine"
    CALL = "call"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(
        help="Look at captures: files of calls that serve, demo and emulate write.",
        no_args_is_help=True,
    )
    for command in (info, frames, wav, measure, scrub, trim, merge, migrate):
        group.command(command.__name__)(command)
    app.add_typer(group, name="capture")


def info(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Captures (.tcap).")],
    json_: Annotated[bool, typer.Option("--json", help="One JSON object per file.")] = False,
) -> None:
    """Say what captures hold: whose call, how long, what is in them, whether they are whole.

    Exit code 1 when one is damaged or cannot be read.
    """
    from teamscall.cli.capture_view import show_info

    raise typer.Exit(show_info(files, json_lines=json_))


def frames(
    file: _FileArgument,
    json_: Annotated[
        bool, typer.Option("--json", help="One JSON object per line, for jq; with content.")
    ] = False,
    leg: Annotated[
        LegName | None,
        typer.Option(help="Raw messages, the engine's events, or the call's. Default: all."),
    ] = None,
    from_: Annotated[
        float | None, typer.Option("--from", metavar="S", help="From this second of the call.")
    ] = None,
    to: Annotated[
        float | None, typer.Option("--to", metavar="S", help="Up to this second of the call.")
    ] = None,
) -> None:
    """List what happened in a call, one record per line.

    Seconds count from the conversation's start; what came before is negative. Exit code 1
    when the file is damaged: what is whole is listed.
    """
    from teamscall.cli.capture_view import show_frames

    code = show_frames(
        file, json_lines=json_, leg=None if leg is None else leg.value, start=from_, end=to
    )
    raise typer.Exit(code)


def wav(file: _FileArgument, out: _OutOption) -> None:
    """Write both sides as one WAV: caller left, bot right, on one clock.

    Only of captures that hold audio. What was not captured is silence.
    """
    from teamscall.cli.capture_cut import write_sound

    raise typer.Exit(write_sound(file, out))


def measure(
    file: _FileArgument,
    json_: Annotated[bool, typer.Option("--json", help="One JSON object; times in ms.")] = False,
) -> None:
    """Measure a call from its sound: answers, barge-ins, holes, dead air, levels.

    An answer's latency is from the caller's last sound to the bot's first. Nothing is measured
    where frames were lost or left out. The emulator's side is heard, where the file has it.
    Exit code 1 when the file is damaged or holds no audio.
    """
    from teamscall.cli.capture_measure import show_measures

    raise typer.Exit(show_measures(file, json_lines=json_))


def scrub(file: _FileArgument, out: _OutOption) -> None:
    """Remove identities, words and audio; timing and lengths stay.

    The result can be shown to others. It cannot be replayed.
    """
    from teamscall.cli.capture_cut import write_scrubbed

    raise typer.Exit(write_scrubbed(file, out))


def trim(
    file: _FileArgument,
    out: _OutOption,
    from_: Annotated[
        float | None, typer.Option("--from", metavar="S", help="From this second of the call.")
    ] = None,
    to: Annotated[
        float | None, typer.Option("--to", metavar="S", help="Up to this second of the call.")
    ] = None,
) -> None:
    """Keep a part of a call. From its beginning on, it can still be replayed."""
    from teamscall.cli.capture_cut import write_part

    raise typer.Exit(write_part(file, out, start=from_, end=to))


def merge(
    one: Annotated[Path, typer.Argument(metavar="A", help="A capture (.tcap).")],
    other: Annotated[Path, typer.Argument(metavar="B", help="Another one of the same call.")],
    out: _OutOption,
) -> None:
    """Put two captures of one call together: the bridge's and the emulator's, or two parts.

    The emulator's times are brought to the bridge's clock by the messages that both saw.
    """
    from teamscall.cli.capture_cut import write_merged

    raise typer.Exit(write_merged(one, other, out))


def migrate(
    file: _FileArgument,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Default: the file itself.")
    ] = None,
) -> None:
    """Bring a capture of an older format version to the newest."""
    from teamscall.cli.capture_cut import write_migrated

    raise typer.Exit(write_migrated(file, out or file))
