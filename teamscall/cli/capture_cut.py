"""``capture wav | scrub | trim | merge | migrate``: from a capture to another file."""

from __future__ import annotations

from pathlib import Path

import typer

from teamscall.capture.cutting import merge as merged
from teamscall.capture.cutting import trim as trimmed
from teamscall.capture.reader import Capture, read
from teamscall.capture.records import Closed, Header, Record
from teamscall.capture.scrubbing import scrub as scrubbed
from teamscall.capture.versions import migrate
from teamscall.capture.writer import write
from teamscall.cli.capture_view import between, warn_of_damage
from teamscall.cli.outputs import check_writable
from teamscall.errors import ExitCode
from teamscall.text import printable


def write_sound(path: Path, out: Path) -> ExitCode:
    """Both sides as a WAV.

    Raises:
        CaptureError, InputError: there is no sound, or a file cannot be used.
    """
    from teamscall.audio.wav import write_stereo
    from teamscall.capture.sound import tracks

    check_writable({"--out": out}, reads=path)
    capture = read(path)
    sound = tracks(capture)
    write_stereo(out, sound.caller, sound.bot)
    seconds = max(len(sound.caller), len(sound.bot)) / 32_000
    _say(f"{printable(str(out))}: {seconds:.1f} s, caller left, bot right")
    if sound.left_out:
        _say(f"{sound.left_out} frames were captured without their audio: they are silence")
    return warn_of_damage(capture)


def write_scrubbed(path: Path, out: Path) -> ExitCode:
    """Without identities and content.

    Raises:
        CaptureError, InputError: a file cannot be used.
    """
    check_writable({"--out": out}, reads=path)
    capture = read(path)
    return _written(out, scrubbed(capture), capture)


def write_part(path: Path, out: Path, *, start: float | None, end: float | None) -> ExitCode:
    """What happened between two seconds.

    Raises:
        CaptureError, InputError: nothing did, or a file cannot be used.
    """
    low, high = between(start, end)
    check_writable({"--out": out}, reads=path)
    capture = read(path)
    return _written(out, trimmed(capture, low, high), capture)


def write_merged(one: Path, other: Path, out: Path) -> ExitCode:
    """Two captures of one call.

    Raises:
        CaptureError, InputError: they are of two, or a file cannot be used.
    """
    check_writable({"--out": out}, reads=one)
    check_writable({"--out": out}, reads=other)
    captures = read(one), read(other)
    return _written(out, merged(*captures), *captures)


def write_migrated(path: Path, out: Path) -> ExitCode:
    """In the newest format; FAILED when it is not whole.

    Raises:
        CaptureError, InputError: it cannot be, or a file cannot be used.
    """
    from teamscall.capture.records import FORMAT_VERSION

    if out != path:
        check_writable({"--out": out}, reads=path)
    version = migrate(path, out)
    capture = read(out)
    name = printable(str(path))
    if version != FORMAT_VERSION:
        _say(f"{name}: from format version {version} to {FORMAT_VERSION}")
    elif out == path:
        _say(f"{name} has format version {version}, the newest: nothing to do")
    else:
        _say(f"{name} has format version {version}, the newest: copied to {printable(str(out))}")
    return warn_of_damage(capture)


def _written(out: Path, result: tuple[Header, list[Record]], *of: Capture) -> ExitCode:
    header, records = result
    write(out, header, records)
    whole = bool(records) and isinstance(records[-1], Closed)
    end = "" if whole else ", without its end"
    _say(f"{printable(str(out))}: {len(records)} records{end}")
    return max(warn_of_damage(capture) for capture in of)


def _say(text: str) -> None:
    typer.echo(text, err=True)
