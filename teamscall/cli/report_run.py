"""Runs ``teamscall report``: reads, draws, writes."""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import typer

from teamscall.capture.reader import Capture, read
from teamscall.capture.report import page, png, svg
from teamscall.capture.report.parts import Picture
from teamscall.capture.report.picture import picture
from teamscall.capture.report.scene import scene
from teamscall.cli.capture_view import warn_of_damage
from teamscall.errors import ExitCode, InputError, OutputLost
from teamscall.text import printable

STDOUT = Path("-")
SEVERAL = Path("calls.html")


class Wanted(NamedTuple):
    """What is to be drawn, and where to."""

    out: Path | None
    svg: Path | None
    png: Path | None
    width: int
    audio: bool
    force: bool


def draw(paths: Sequence[Path], wanted: Wanted) -> ExitCode:
    """Draw them; FAILED when one of the captures is damaged.

    Raises:
        CaptureError: one cannot be read. Nothing is written then.
        InputError: a file cannot be written, or is there already.
        OutputLost: stdout took not all of it.
    """
    files = _files(paths, wanted)
    _check(paths, files, force=wanted.force)
    with _no_collecting():
        pictures: list[Picture] = []
        code = ExitCode.OK
        for path in paths:
            capture: Capture = read(path)
            code = max(code, warn_of_damage(capture))
            with_audio = wanted.audio and "--out" in files
            pictures.append(picture(capture, audio=with_audio))
        for option, path in files.items():
            match option:
                case "--svg":
                    data = svg.render(scene(pictures[0], wanted.width)).encode()
                case "--png":
                    data = png.render(scene(pictures[0], wanted.width))
                case _:
                    data = page.render(pictures).encode()
            _write(path, data, force=wanted.force, option=option)
            if path != STDOUT:
                _say(path, pictures, option, len(data))
    return code


@contextlib.contextmanager
def _no_collecting() -> Iterator[None]:
    """An hour's capture is a million records that all stay until the end: looking for garbage
    among them is a quarter of the time."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _files(paths: Sequence[Path], wanted: Wanted) -> Mapping[str, Path]:
    """By option, what is written."""
    named = {"--out": wanted.out, "--svg": wanted.svg, "--png": wanted.png}
    files = {option: path for option, path in named.items() if path is not None}
    alone = [option for option in ("--svg", "--png") if option in files]
    if alone and len(paths) > 1:
        raise InputError(
            f"{alone[0]} draws the timeline of one call; {len(paths)} were named.",
            hint="Name one capture, or make a page of all of them with -o.",
        )
    if not files:
        one = Path(paths[0].name).with_suffix(".html")
        files["--out"] = one if len(paths) == 1 else SEVERAL
    to_stdout = [option for option, path in files.items() if path == STDOUT]
    if len(to_stdout) > 1:
        raise InputError(f"{' and '.join(to_stdout)} cannot both be stdout.")
    if "--png" in to_stdout and sys.stdout.isatty():
        raise InputError("A PNG is nothing for a terminal.", hint="Name a file, or use a pipe.")
    return files


def _check(paths: Sequence[Path], files: Mapping[str, Path], *, force: bool) -> None:
    """Before a minute's work: whether its result can be kept."""
    reads = {os.path.realpath(path) for path in paths}
    seen: dict[str, str] = {}
    for option, path in files.items():
        if path == STDOUT:
            continue
        name, real = printable(str(path)), os.path.realpath(path)
        if real in reads:
            raise InputError(f"{option} is {name}, and so is a capture.", hint="Name another file.")
        if real in seen:
            raise InputError(f"{option} is {name}, and so is {seen[real]}.")
        seen[real] = option
        if path.is_dir():
            raise InputError(f"{name} is a folder.", hint=f"Name a file with {option}.")
        if path.is_file() and not force:
            raise _there(path, option)
        if not path.parent.is_dir():
            raise InputError(f"{name} cannot be written: there is no such folder.")


def _there(path: Path, option: str) -> InputError:
    name = printable(str(path))
    return InputError(
        f"{name} is there already.", hint=f"Replace it with --force, or name another ({option})."
    )


def _write(path: Path, data: bytes, *, force: bool, option: str) -> None:
    if path == STDOUT:
        _to_stdout(data)
        return
    try:
        if path.exists() and not path.is_file():
            path.write_bytes(data)  # a device or a pipe
        else:
            _keep(path, data, force=force)
    except FileExistsError:
        raise _there(path, option) from None
    except OSError as error:
        raise InputError(
            f"{printable(str(path))} cannot be written: {error.strerror or error}."
        ) from error


def _keep(path: Path, data: bytes, *, force: bool) -> None:
    """Whole or not at all, and for its owner alone: it holds what was said, as captures do."""
    handle, name = tempfile.mkstemp(prefix=".report-", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        if force:
            os.replace(name, path)
        else:
            _link(name, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
        raise


def _link(name: str, path: Path) -> None:
    """Give the file its name unless there is one of it by now."""
    try:
        os.link(name, path)
    except FileExistsError:
        raise
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK):
            raise
        # A file system without links: somebody who is as quick as this is not there.
        if path.exists():
            raise FileExistsError from None
        os.replace(name, path)
        return
    os.unlink(name)


def _to_stdout(data: bytes) -> None:
    try:
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except OSError as error:
        # What is still buffered must go somewhere, or the interpreter complains at its exit.
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)
        raise OutputLost(
            f"stdout cannot be written: {error.strerror or error}.",
            silent=error.errno == errno.EPIPE,
        ) from error


def _say(path: Path, pictures: Sequence[Picture], option: str, size: int) -> None:
    calls = "1 call" if len(pictures) == 1 else f"{len(pictures)} calls"
    what = f"{calls}, the timeline"
    if option == "--out":
        sound = any(track.pieces for one in pictures for track in one.tracks)
        what = f"{calls}, {'with' if sound else 'without'} sound"
    length = sum(one.length for one in pictures)
    typer.echo(
        f"{printable(str(path))}: {what}, {length:.1f} s, {_size(size)}",
        err=True,
    )


def _size(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.0f} KB"
