"""Makes caller audio one unbroken timeline of 20 ms frames.

A gap in ``seq`` becomes silence, so that what is said after it keeps its place in time;
what was already delivered (or replaced by silence) is dropped. Frames come over TCP, so
one that is late is a repeat, never worth waiting for: nothing is held back here. Knows
nothing of wires and clocks.
"""

from __future__ import annotations

from teamscall.audio.framing import Framer
from teamscall.wire.events import FRAME_BYTES

# 200 ms: a lost burst that a listener would still hear as a gap in the same sentence.
# More than that is a pause of the gateway's making, or a counter that jumped.
MAX_GAP_FRAMES = 10


class Reorder:
    """One call's ``seq`` discipline.

    Args:
        max_gap_frames: the longest gap that becomes silence; a longer jump resynchronises.

    Attributes:
        duplicates: messages dropped because their place in time is taken.
        silence_frames: frames of silence put into gaps.
        resyncs: jumps followed without filling.
    """

    def __init__(self, max_gap_frames: int = MAX_GAP_FRAMES) -> None:
        self._max_gap = max_gap_frames
        self._framer = Framer()
        self._expected: int | None = None
        self._restart: int | None = None  # the seq that would confirm a counter starting over
        self._silence = 0  # bytes
        self.duplicates = 0
        self.resyncs = 0

    def push(self, seq: int, pcm: bytes) -> list[bytes]:
        """Take one message; return 640-byte frames for everything up to its end.

        ``pcm`` is s16le, any number of bytes (a carry keeps frames whole). A missing
        message counts as long as the one that shows it missing, ``max_gap_frames`` in all
        at most. A ``seq`` far behind is a repeat unless the next one continues it: then
        the gateway's counter started over.
        """
        if self._expected is None:
            self._expected = seq
        gap = seq - self._expected
        if gap < 0 and not (gap < -self._max_gap and seq == self._restart):
            self._restart = seq + 1
            self.duplicates += 1
            return []
        self._expected = seq + 1
        self._restart = None
        frames: list[bytes] = []
        if 0 < gap <= self._max_gap:
            missing = min(gap * (len(pcm) or FRAME_BYTES), self._max_gap * FRAME_BYTES)
            self._silence += missing
            frames = self._framer.push(bytes(missing // 2 * 2))
        elif gap:
            self.resyncs += 1
        return frames + self._framer.push(pcm)

    @property
    def silence_frames(self) -> int:
        return self._silence // FRAME_BYTES
