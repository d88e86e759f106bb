"""Where the caller's sound comes from: sources of 20 ms frames, pulled one per tick.

Owns the order and the framing of sounds. Refuses to know sockets and time: whoever pulls
decides how fast. A source that has ended says so with None, and silence is sent then.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from teamscall.wire.events import FRAME_BYTES, FRAME_MS

SILENCE = bytes(FRAME_BYTES)

# A caller does not speak into the very first frame of a call.
LEAD_IN_MS = 500


class Source(Protocol):
    """Something that has a caller's next 20 ms."""

    def next_frame(self) -> bytes | None:
        """The next 640 bytes (16 kHz s16le mono), or None for ever when it has ended."""
        ...

    def close(self) -> None:
        """Let go of a device. Idempotent; nothing to do for most sources."""
        ...


class Silence:
    """``ms`` milliseconds of silence, or for ever."""

    def __init__(self, ms: int | None = None) -> None:
        self._left = None if ms is None else -(-ms // FRAME_MS)

    def next_frame(self) -> bytes | None:
        if self._left is None:
            return SILENCE
        if self._left <= 0:
            return None
        self._left -= 1
        return SILENCE

    def close(self) -> None:
        pass


class Pcm:
    """Sound that is there as a whole: 16 kHz s16le mono. The last frame is padded."""

    def __init__(self, pcm: bytes) -> None:
        self._pcm = pcm
        self._at = 0

    def next_frame(self) -> bytes | None:
        frame = self._pcm[self._at : self._at + FRAME_BYTES]
        if not frame:
            return None
        self._at += FRAME_BYTES
        return frame.ljust(FRAME_BYTES, b"\0")

    def close(self) -> None:
        pass


class Sequence:
    """One source after the other; more can be appended while it plays."""

    def __init__(self, sources: Iterable[Source]) -> None:
        self._sources = deque(sources)

    def append(self, source: Source) -> None:
        self._sources.append(source)

    def next_frame(self) -> bytes | None:
        while self._sources:
            frame = self._sources[0].next_frame()
            if frame is not None:
                return frame
            self._sources.popleft().close()
        return None

    def close(self) -> None:
        while self._sources:
            self._sources.popleft().close()


def wav(path: Path) -> Pcm:
    """A WAV file of any rate, width and number of channels.

    Raises:
        InputError: it is not there, not a WAV, or of a kind that cannot be read.
    """
    from teamscall.audio.wav import read_wav

    return Pcm(read_wav(path))


def after_lead_in(*sources: Source, lead_in_ms: int = LEAD_IN_MS) -> Sequence:
    """``sources`` in order, behind a little silence."""
    return Sequence([Silence(lead_in_ms), *sources])
