"""``capture info`` and ``capture frames``: a capture on stdout."""

from __future__ import annotations

import datetime
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import msgspec
import typer

from teamscall.capture.about import About, about
from teamscall.capture.listing import Entry, Leg, entries, line
from teamscall.capture.reader import Capture, read
from teamscall.errors import CaptureError, ExitCode, InputError
from teamscall.text import printable

VERSION = 1  # of the JSON
_TYPES_SHOWN = 6


def warn_of_damage(capture: Capture) -> ExitCode:
    """Say where the reading stopped; the exit code that goes with it."""
    if capture.damage is None:
        return ExitCode.OK
    typer.echo(f"warning: {printable(str(capture.path))}: {capture.damage}", err=True)
    return ExitCode.FAILED


def show_info(files: Sequence[Path], *, json_lines: bool) -> ExitCode:
    """Print each; FAILED when one is not whole."""
    code = ExitCode.OK
    for number, path in enumerate(files):
        try:
            found = about(read(path))
        except CaptureError as error:
            code = ExitCode.FAILED
            if json_lines:
                _object({"version": VERSION, "path": str(path), "error": error.message})
            typer.echo(f"error: {error}", err=True)
            continue
        if found.damage is not None:
            code = ExitCode.FAILED
        if json_lines:
            _object({"version": VERSION, **msgspec.to_builtins(found)})
        else:
            if number:
                typer.echo("")
            for text in _lines(found):
                typer.echo(text)
    return code


def show_frames(
    path: Path, *, json_lines: bool, leg: str | None, start: float | None, end: float | None
) -> ExitCode:
    """Print each record; FAILED when the file is not whole.

    Raises:
        CaptureError: it cannot be read.
        InputError: the end is before the start.
    """
    low, high = between(start, end)
    capture = read(path)
    for entry in entries(capture, leg=cast(Leg | None, leg), start=low, end=high):
        if json_lines:
            _write(_safe_json(entry))
        else:
            typer.echo(line(entry))
    return warn_of_damage(capture)


def between(start: float | None, end: float | None) -> tuple[float, float]:
    """Two seconds of the call.

    Raises:
        InputError: the end is before the start.
    """
    low = -math.inf if start is None else start
    high = math.inf if end is None else end
    if not low <= high:
        raise InputError("--to is before --from.")
    return low, high


def _safe_json(entry: Entry) -> bytes:
    """ASCII alone: whatever a peer sent, a terminal obeys nothing of it."""
    text = msgspec.json.encode(entry).decode("utf-8", "surrogatepass")
    if text.isascii() and text.isprintable():
        return text.encode()
    return "".join(_escaped(c) for c in text).encode()


def _escaped(character: str) -> str:
    if " " <= character <= "~":
        return character
    if character in "\t\r\n":  # between the tokens of a raw message
        return " "
    code = ord(character)
    if code < 0x10000:
        return f"\\u{code:04x}"
    code -= 0x10000
    return f"\\u{0xD800 + (code >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}"


def _write(data: bytes) -> None:
    sys.stdout.write(data.decode() + "\n")


def _object(value: Mapping[str, Any]) -> None:
    import json

    typer.echo(json.dumps(value))  # ASCII


def _lines(found: About) -> list[str]:
    began = datetime.datetime.fromtimestamp(found.wall_ms / 1000, datetime.UTC)
    holds = "audio and words" if found.content == "full" else "structure and timing only"
    if found.why:
        holds += f" ({printable(found.why)})"
    types = [f"{count} {kind}" for kind, count in found.messages.items()]
    more = f", {len(types) - _TYPES_SHOWN} other kinds" if len(types) > _TYPES_SHOWN else ""
    rows = [
        ("call", f"{printable(found.call_id, 80)}, {found.direction}, {found.dialect}"),
        ("made by", f"{found.side} of teamscall {printable(found.teamscall, 40)}"),
        ("began", f"{began:%Y-%m-%d %H:%M:%S} UTC, took {found.duration_s:.3f} s"),
        ("holds", holds),
        ("messages", f"{found.frames_in} in, {found.frames_out} out"),
        ("", printable(", ".join(types[:_TYPES_SHOWN]) + more)),
    ]
    if found.admissions:
        word = "decision" if found.admissions == 1 else "decisions"
        rows.append(("admitted", f"by {found.admissions} {word}, {found.refused} refused"))
    if found.steps:
        engine = f", engine {printable(found.engine, 40)}" if found.engine else ""
        rows.append(("decided", f"{found.steps} events, {found.commands} commands{engine}"))
    if found.elided:
        rows.append(("left out", f"the content of {found.elided} records"))
    if found.dropped:
        rows.append(("missing", f"{found.dropped} records"))
    rows.append(("ended", printable(found.reason or "?", 80)))
    rows.append(("size", f"{found.bytes:,} bytes, format {found.format}"))
    if found.damage is not None:
        rows.append(("DAMAGED", found.damage))
    return [printable(found.path), *(f"  {name:<9} {text}" for name, text in rows if text)]
