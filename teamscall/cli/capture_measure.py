"""``capture measure``: what the sound of a captured call says."""

from __future__ import annotations

import json
from pathlib import Path

import typer

from teamscall.capture.measured import measured, side_measured
from teamscall.capture.reader import read
from teamscall.cli.capture_view import warn_of_damage
from teamscall.cli.measures_view import as_json, table
from teamscall.errors import CaptureError, ExitCode
from teamscall.text import printable

VERSION = 1  # of the JSON


def show_measures(path: Path, *, json_lines: bool) -> ExitCode:
    """Print the figures; FAILED when the file is not whole.

    Raises:
        CaptureError: it cannot be read, or there is no sound in it.
    """
    capture = read(path)
    found = measured(capture)
    if found is None:
        raise CaptureError(
            f"{printable(str(path))} has no audio in it: nothing can be measured.",
            hint="Captures hold audio with capture.content = full; emulate's and demo's do.",
        )
    side = side_measured(capture)
    if json_lines:
        head = {"version": VERSION, "callId": capture.header.call_id, "heardBy": side}
        typer.echo(json.dumps({**head, **as_json(found)}))  # ASCII
    else:
        typer.echo(f"{'heard by':<14} the {side}")
        for line in table(found):
            typer.echo(line)
    return warn_of_damage(capture)
