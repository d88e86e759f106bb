"""Reads a capture, as far as it is whole.

Owns where and why the reading stopped. Refuses to repair.
"""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import msgspec

from teamscall.capture.blocks import HEAD_BYTES, MAGIC, PREAMBLE, Torn, head, unpack
from teamscall.capture.records import FORMAT_VERSION, Closed, Dropped, Frame, Header, Record
from teamscall.errors import CaptureError
from teamscall.text import printable

# More is no capture of one call: capture.max_mb is at most a tenth of it.
MAX_FILE_BYTES = 20_000_000_000
# What a file may take in memory: calls take up to 45 times their bytes (timing alone, or
# silence), a bomb a thousand times.
ROOM_BYTES = 256 * 1024 * 1024
ROOM_PER_BYTE = 100


class Capture(msgspec.Struct, frozen=True):
    """A capture as it was read.

    ``records`` are those after the header. ``damage``: why and where the reading stopped,
    one sentence; None for a whole file, which ends in ``Closed``. ``good_bytes`` of
    ``file_bytes`` were read.
    """

    path: Path
    header: Header
    records: tuple[Record, ...]
    damage: str | None
    good_bytes: int
    file_bytes: int

    @property
    def frames(self) -> tuple[Frame, ...]:
        return tuple(record for record in self.records if isinstance(record, Frame))

    @property
    def dropped(self) -> int:
        """Records that are missing because the disk was too slow, or a limit was reached."""
        return sum(record.count for record in self.records if isinstance(record, Dropped))

    @property
    def elided(self) -> int:
        """Frames of which something was left out."""
        return sum(1 for record in self.records if isinstance(record, Frame) and record.elided)


def read(path: Path) -> Capture:
    """The capture in a file, whole or as far as it goes.

    Raises:
        CaptureError: it cannot be read, is no capture, is of another format version, or is
            damaged before its header is over.
    """
    name = printable(str(path))
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(0)
            return _read(file, size, path, name)
    except OSError as error:
        raise CaptureError(f"{name} cannot be read: {error.strerror or error}.") from error


def _read(file: BinaryIO, size: int, path: Path, name: str) -> Capture:
    if size > MAX_FILE_BYTES:
        raise CaptureError(f"{name} is too large for a capture.")
    _check_preamble(file.read(len(PREAMBLE)), name)
    records: list[Record] = []
    good = len(PREAMBLE)
    damage: str | None = None
    room = ROOM_BYTES + ROOM_PER_BYTE * size
    while good < size:
        try:
            length, crc = head(file.read(HEAD_BYTES))
            found, taken = unpack(length, crc, file.read(length), room)
            _check_order(records, found)
        except Torn as torn:
            damage = f"{torn}, at byte {good} of {size}"
            break
        records += found
        room -= taken
        good += HEAD_BYTES + length
    if not records:
        raise CaptureError(f"{name} is damaged before its first record: {damage or 'it is empty'}.")
    first, *rest = records
    assert isinstance(first, Header)  # _check_order
    if damage is None and not (rest and isinstance(rest[-1], Closed)):
        damage = f"it has no end: cut short, or still being written, at byte {good} of {size}"
    return Capture(path, first, tuple(rest), damage, good, size)


def _check_preamble(data: bytes, name: str) -> None:
    if not data.startswith(MAGIC):
        raise CaptureError(f"{name} is no capture.", hint="A capture begins with TCAP.")
    if len(data) < len(PREAMBLE):
        raise CaptureError(f"{name} is damaged before its first record: it is cut short.")
    version = data[len(MAGIC)]
    if version > FORMAT_VERSION and data.endswith(b"\n"):
        raise CaptureError(
            f"{name} has format version {version}; this teamscall reads up to {FORMAT_VERSION}.",
            hint="Upgrade teamscall.",
        )
    if data != PREAMBLE:
        raise CaptureError(f"{name} is damaged in its first bytes.")


def _check_order(before: list[Record], found: list[Record]) -> None:
    """Exactly one header, first; nothing after the end."""
    if not found:
        raise Torn("a block is empty")
    if before and isinstance(before[-1], Closed):
        raise Torn("there is more after the end")
    for index, record in enumerate(found):
        first = not before and index == 0
        if isinstance(record, Header) != first:
            raise Torn("a header is missing" if first else "there is a second header")
        if isinstance(record, Closed) and index != len(found) - 1:
            raise Torn("there is more after the end")
