"""``calls show``: what the sound of a captured call says, beside what the bridge believed.

Owns where the capture is looked for, and the words. Refuses to know how sound is measured.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec
from rich.text import Text

from teamscall.audio.measures import Measures
from teamscall.capture.believed import DISAGREE_MS, Believed, Compared, compared, file_of
from teamscall.capture.measured import measured
from teamscall.capture.reader import read
from teamscall.cli.calls_view import console
from teamscall.cli.measures_view import as_json, brief
from teamscall.cli.timeline import heard_between
from teamscall.errors import CaptureError, InputError, TeamscallError
from teamscall.journal.whole import Whole
from teamscall.text import printable

_HOW = "`teamscall serve --capture DIR` with capture.content = full keeps it"


class Heard(msgspec.Struct, frozen=True):
    """``why``: there is no sound of this call, and how to get one."""

    path: Path | None = None
    measures: Measures | None = None
    answers: tuple[Compared, ...] = ()
    why: str = ""


def listen(call: Whole, capture: Path | None, config: Path | None) -> Heard:
    """Measure a call.

    ``capture``: its file; None looks into the configured folder.

    Raises:
        CaptureError: ``capture`` cannot be read.
        InputError: it is of another call.
    """
    line = call.call
    path = capture
    if path is None:
        folder, why = _folder(config)
        if folder is None:
            return Heard(why=why)
        try:
            path = file_of(folder, line.call_id, line.started_ms)
            if path is None and line.answered_ms is not None:
                path = file_of(folder, line.call_id, line.answered_ms)
        except OSError as error:
            return Heard(why=f"{printable(str(folder))} cannot be read: {error.strerror or error}")
        if path is None:
            return Heard(why=f"no capture in {printable(str(folder))}; {_HOW}")
    try:
        found = read(path)
        if found.header.call_id != line.call_id:
            raise InputError(f"{printable(str(path))} is of another call.")
        measures = measured(found)
    except CaptureError as error:
        if capture is not None:
            raise
        return Heard(path, why=error.message)
    if measures is None:
        return Heard(path, why=f"{printable(path.name)} holds no audio; {_HOW}")
    believed = [
        Believed(turn.turn, heard_between(turn, call.events)[0], turn.first_frame_ms)
        for turn in call.turns
        if turn.kind == "answer" and turn.first_frame_ms is not None
    ]
    return Heard(path, measures, compared(believed, measures, found.header.wall_ms))


def _folder(config: Path | None) -> tuple[Path | None, str]:
    from teamscall.config import load_config

    try:
        loaded = load_config(config, env=os.environ, only={"capture.dir"})
    except TeamscallError as error:  # the call is shown all the same
        return None, error.message
    named = loaded.config.capture.dir
    return (Path(named), "") if named else (None, f"not captured; {_HOW}")


def sound_json(heard: Heard) -> dict[str, Any]:
    """``sound`` of the call's object."""
    if heard.measures is None:
        return {"sound": None, "soundMissing": heard.why}
    answers = [
        {**msgspec.to_builtins(one), "differs": one.differs}  # camelCase
        for one in heard.answers
    ]
    return {"sound": {"capture": str(heard.path), "answers": answers, **as_json(heard.measures)}}


def print_sound(heard: Heard) -> None:
    """Below the call."""
    out = console()
    out.print()
    if heard.measures is None:
        words = printable(heard.why, 300)
        out.print(Text.assemble((f"{'sound':<10}", "dim"), words))
        return
    head = f"MEASURED FROM {printable(str(heard.path), 200)}"
    out.print(Text(head, style="dim"), soft_wrap=True)
    for label, words in brief(heard.measures):
        out.print(Text.assemble((f"{label:<10}", "dim"), words))
    if heard.answers:
        out.print(Text("    AT  TURN  BELIEVED  MEASURED", style="dim"))
    for one in heard.answers:
        turn = "-" if one.turn is None else str(one.turn)
        row = f"{one.at_ms / 1000:5.1f}s {turn:>5}  {_ms(one.believed_ms)}  {_ms(one.measured_ms)}"
        note = f"  differ by more than {DISAGREE_MS:.0f} ms" if one.differs else ""
        out.print(Text.assemble(row, (note, "yellow")))


def _ms(value: float | None) -> str:
    return f"{'-' if value is None else f'{value:.0f} ms':>8}"
