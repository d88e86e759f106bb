"""Pictures that were shown or seen, small. What a peer sent is never passed on: a thumbnail
is drawn anew, of a picture that is no larger than any screen. Pure."""

from __future__ import annotations

import io
from typing import Literal

from teamscall.capture.report.marks import Marks
from teamscall.capture.report.parts import Image
from teamscall.text import printable
from teamscall.wire.events import ShowImage, VideoIn

EDGE = 200  # pixels
MAX_PIXELS = 40_000_000  # larger is no picture of a camera or a screen
MAX_IMAGES = 60
# Of a camera that is always on, one picture in so many seconds.
APART_S = 2.0
_QUALITY = 70


class Images:
    """Collects them, up to a bound."""

    def __init__(self) -> None:
        self._found: list[Image] = []
        self._left = 0
        self._seen: dict[str, float] = {}  # by whose they are, the latest

    def add(self, at: float, message: VideoIn | ShowImage, marks: Marks) -> None:
        """One of a message, and the mark that goes with it."""
        if isinstance(message, VideoIn):
            key = f"{message.source} {message.participant_id}"
            if key in self._seen and at - self._seen[key] < APART_S:
                self._left += 1
                return
            self._seen[key] = at
            whose = printable(message.participant_name, 60)
            title = message.source + (f" of {whose}" if whose else "")
            text = f"{message.width} × {message.height}"
            marks.add(at, "image-seen", "seen", f"{title}, {text}")
        else:
            title = printable(message.caption, 120) or "image"
            for_ = f"for {message.duration_ms / 1000:g} s" if message.duration_ms else ""
            text = " ".join(filter(None, (message.mode, for_)))
            marks.add(at, "image-shown", "shown", f"shown: {title} {text}")
        if len(self._found) >= MAX_IMAGES:
            self._left += 1
            return
        size = f"{len(message.data):,} bytes of {printable(message.mime, 40)}"
        text = ", ".join(filter(None, (text, size)))
        small = thumbnail(message.data)
        way: Literal["shown", "seen"] = "seen" if isinstance(message, VideoIn) else "shown"
        self._found.append(Image(at, way, title, text, small))

    def told(self) -> tuple[Image, ...]:
        return tuple(self._found)

    @property
    def more(self) -> str:
        return f"Left out, of pictures: {self._left}" if self._left else ""


def thumbnail(data: bytes) -> bytes:
    """A small JPEG of a JPEG or PNG; empty where it is none."""
    import PIL.Image as pillow

    if not data:
        return b""
    out = io.BytesIO()
    try:
        with pillow.open(io.BytesIO(data), formats=("JPEG", "PNG")) as image:
            if image.width * image.height > MAX_PIXELS:
                return b""
            small = image.convert("RGB")
            small.thumbnail((EDGE, EDGE))
            small.save(out, "JPEG", quality=_QUALITY)
    except (OSError, ValueError, SyntaxError, EOFError, MemoryError, OverflowError):
        return b""  # a peer's bytes may be anything
    except pillow.DecompressionBombError:
        return b""
    return out.getvalue()
