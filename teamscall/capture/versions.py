"""Format versions: what is older becomes what is read now, one converter per version.

A converter takes the bytes of a file of its version and returns one of the next.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from teamscall.capture.blocks import MAGIC
from teamscall.capture.reader import MAX_FILE_BYTES
from teamscall.capture.records import FORMAT_VERSION
from teamscall.capture.writer import write_whole
from teamscall.errors import CaptureError
from teamscall.text import printable

OLDEST = 1
# From each version to the next; version 1 is the first and, so far, the only one.
CONVERTERS: Mapping[int, Callable[[bytes], bytes]] = {}


def version_of(path: Path) -> int:
    """The format version of a file.

    Raises:
        CaptureError: it is no capture, of a newer version, or cannot be read.
    """
    name = printable(str(path))
    try:
        with path.open("rb") as file:
            data = file.read(len(MAGIC) + 1)
    except OSError as error:
        raise CaptureError(f"{name} cannot be read: {error.strerror or error}.") from error
    if not data.startswith(MAGIC) or len(data) == len(MAGIC) or data[-1] < OLDEST:
        raise CaptureError(f"{name} is no capture.")
    if data[-1] > FORMAT_VERSION:
        raise CaptureError(
            f"{name} has format version {data[-1]}; this teamscall knows up to {FORMAT_VERSION}.",
            hint="Upgrade teamscall.",
        )
    return data[-1]


def converted(
    data: bytes,
    version: int,
    converters: Mapping[int, Callable[[bytes], bytes]] = CONVERTERS,
    *,
    newest: int = FORMAT_VERSION,
) -> bytes:
    """A file's bytes, brought to the newest version step by step.

    Raises:
        CaptureError: a step is missing.
    """
    for step in range(version, newest):
        if step not in converters:
            raise CaptureError(f"There is no way from format version {step} to {step + 1}.")
        data = converters[step](data)
    return data


def migrate(path: Path, out: Path) -> int:
    """Bring a file to the newest version; the version it had. One that has it already is
    copied as it is, or left alone where ``out`` is the file itself.

    Raises:
        CaptureError: as ``version_of``, or it cannot be written.
    """
    version = version_of(path)
    if version == FORMAT_VERSION and out == path:
        return version
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise CaptureError(f"{printable(str(path))} is too large for a capture.")
        data = path.read_bytes()
    except OSError as error:
        name = printable(str(path))
        raise CaptureError(f"{name} cannot be read: {error.strerror or error}.") from error
    write_whole(out, [converted(data, version)])
    return version
