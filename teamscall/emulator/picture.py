"""Just enough of JPEG and PNG to send one as a camera's: its type and its size.

Owns the header parsing. Refuses to decode pixels.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Literal

from teamscall.emulator.plan import Video
from teamscall.errors import InputError
from teamscall.text import printable

# StandIn sends up to about 1 MB of JPEG; its message cap is 2 MiB of JSON.
MAX_PICTURE_BYTES = 1_400_000

# Start-of-frame markers of every JPEG kind; C4, C8 and CC are other things.
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def read_video(
    path: Path, *, source: Literal["camera", "screenshare"] = "camera", interval_s: float = 2.0
) -> Video:
    """A JPEG or PNG file as a picture to send.

    Raises:
        InputError: it cannot be read, is neither, or is too large.
    """
    name = printable(str(path))
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{name} cannot be read: {error.strerror or error}.") from error
    if len(data) > MAX_PICTURE_BYTES:
        raise InputError(
            f"{name} has {len(data):,} bytes.",
            hint=f"A picture may have at most {MAX_PICTURE_BYTES:,}.",
        )
    for mime, measure in (("image/png", _png_size), ("image/jpeg", _jpeg_size)):
        size = measure(data)
        if size is not None and min(size) > 0:
            return Video(data, mime, size[0], size[1], source, interval_s)
    raise InputError(f"{name} is neither a JPEG nor a PNG picture.")


def _png_size(data: bytes) -> tuple[int, int] | None:
    if not data.startswith(b"\x89PNG\r\n\x1a\n") or len(data) < 24 or data[12:16] != b"IHDR":
        return None
    width, height = struct.unpack(">II", data[16:24])
    return width, height


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    if not data.startswith(b"\xff\xd8"):
        return None
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
            continue
        if marker in _JPEG_FRAMES:
            height, width = struct.unpack(">HH", data[at + 5 : at + 9])
            return width, height
        at += 2 + int(struct.unpack(">H", data[at + 2 : at + 4])[0])
    return None
