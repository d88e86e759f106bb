"""``teamscall report``: pictures of captured calls."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

_HELP = (
    "Draw captured calls: one page that needs no network, or the timeline alone.\n\n"
    "The page has both sides' sound on one time axis, to be played, zoomed and searched; the "
    "words as they were heard, and what was cut; the wait of each turn by stage, as the bridge "
    "told it and as the sound has it; barge-ins, digits, pictures, frames that were late or "
    "lost, and the decisions. Several captures are compared in a table and shown one after the "
    "other. It holds what was said: keep it as you keep the capture.\n\n"
    "A page takes 1.3 MB for each minute in which a side is not silent, 50 to 150 MB for an "
    "hour's call; with --no-audio it takes about 6 MB for an hour.\n\n"
    "Exit codes: 0 drawn; 1 a capture is damaged (it is drawn as far as it is whole) or cannot "
    "be read; 2 wrong options, or a file that is there already."
)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("report", help=_HELP)(report)


def report(
    captures: Annotated[
        list[Path],
        typer.Argument(metavar="FILE...", help="Captures (.tcap).", show_default=False),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            help="Where the page is written; - is stdout. Default: the capture's name with "
            ".html, in this folder; calls.html for several.",
        ),
    ] = None,
    svg: Annotated[
        Path | None,
        typer.Option("--svg", metavar="FILE", help="Write the timeline alone, as SVG."),
    ] = None,
    png: Annotated[
        Path | None,
        typer.Option("--png", metavar="FILE", help="Write the timeline alone, as PNG."),
    ] = None,
    width: Annotated[
        int,
        typer.Option(min=480, max=16_000, help="How wide the timeline is drawn, in pixels."),
    ] = 1600,
    audio: Annotated[
        bool, typer.Option("--audio/--no-audio", help="Whether the page can play the sound.")
    ] = True,
    force: Annotated[
        bool, typer.Option("--force", help="Replace files that are there already.")
    ] = False,
) -> None:
    from teamscall.cli.report_run import Wanted, draw

    wanted = Wanted(out=out, svg=svg, png=png, width=width, audio=audio, force=force)
    raise typer.Exit(draw(captures, wanted))
