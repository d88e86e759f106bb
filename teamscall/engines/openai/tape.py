"""The latest of a caller's audio, by its position, until it is transcribed.

Owns what may have to be sent again, and which of it was voice. Pure. Positions are bytes
of 24 kHz s16le mono since the call began.
"""

from __future__ import annotations

from collections import deque

from teamscall.engines.openai import messages
from teamscall.engines.voicing import FRAME_MS

BYTES_PER_MS = messages.BYTES_PER_S // 1000
FRAME_BYTES = FRAME_MS * BYTES_PER_MS
MAX_BYTES = 60 * messages.BYTES_PER_S


class Tape:
    """Bounded: what is older than ``MAX_BYTES`` is lost, and counted."""

    def __init__(self) -> None:
        self._pcm = bytearray()
        self._voice: deque[bool] = deque()  # per frame
        self._voice_from = 0  # frames that were forgotten
        self.start = 0
        self.lost_bytes = 0

    @property
    def end(self) -> int:
        return self.start + len(self._pcm)

    def push(self, pcm: bytes, voice: list[bool]) -> None:
        """``voice``: of the frames that became whole with it."""
        self._pcm += pcm
        self._voice.extend(voice)
        if (over := len(self._pcm) - MAX_BYTES) > 0:
            self.lost_bytes += over
            self.forget(self.start + over)

    def forget(self, until: int) -> None:
        """What lies before ``until`` will not be asked for again."""
        count = min(max(0, until - self.start), len(self._pcm))
        del self._pcm[:count]
        self.start += count
        while self._voice and (self._voice_from + 1) * FRAME_BYTES <= self.start:
            self._voice.popleft()
            self._voice_from += 1

    def blank(self, start: int, end: int) -> None:
        """Make silence of this: it was transcribed, and words must not come twice."""
        a = min(max(0, start - self.start), len(self._pcm))
        b = min(max(a, end - self.start), len(self._pcm))
        self._pcm[a:b] = bytes(b - a)

    def read(self) -> bytes:
        """All that is left, from ``start`` to ``end``."""
        return bytes(self._pcm)

    def voiced_ms(self, start: int, end: int) -> int:
        """How much of this was voice."""
        first = start // FRAME_BYTES - self._voice_from
        last = -(-end // FRAME_BYTES) - self._voice_from
        return FRAME_MS * sum(
            voice for index, voice in enumerate(self._voice) if first <= index < last
        )
