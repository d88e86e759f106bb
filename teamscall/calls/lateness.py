"""How late frames left: a few counters of fixed size for all calls of a bridge.

Owns the buckets. Refuses to know clocks and calls: it is told how late frames were.
"""

from __future__ import annotations

import bisect

from teamscall.wire.events import FRAME_MS

# A far side holds 60 or 160 ms: beyond that a late frame is a gap that is heard.
BOUNDS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.04, 0.06, 0.1, 0.16, 0.25, 0.5, 1.0)

_FRAME_S = FRAME_MS / 1000


class Lateness:
    """Frames that waited for their deadline, by how long after it they left.

    Attributes:
        counts: frames by bucket; the last one is of those later than every bound.
        total_s: the sum of all, in seconds.
    """

    __slots__ = ("counts", "total_s")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_S) + 1)
        self.total_s = 0.0

    def note(self, late_s: float, frames: int) -> None:
        """So many frames left together, the first of them ``late_s`` after its deadline;
        the deadline of each further one is a frame's length later."""
        for _ in range(frames):
            self.counts[bisect.bisect_left(BOUNDS_S, late_s)] += 1
            self.total_s += late_s
            late_s = max(0.0, late_s - _FRAME_S)
