"""What a human behind the gateway hears: the far side's playout, one frame per 20 ms.

Owns the queue between the socket and the ear: order by ``seq``, the 60 ms that a gateway
buffers before it starts, flush. Refuses to know clocks (the caller takes one slot per
20 ms), dialects and devices.

Rule 1: audio is heard once and in ``seq`` order; what comes after its turn is dropped.
Rule 2: after silence, playing starts when 60 ms are buffered or 60 ms after the first byte.
Rule 3: a flush empties the queue; whatever comes later plays.
"""

from __future__ import annotations

from collections import deque

from teamscall.wire.events import FRAME_BYTES, FRAME_MS

# The C# gateway's reorder buffer: 3 frames. StandIn publishes none; the same is assumed.
PREBUFFER_FRAMES = 3

# A bridge that does not pace sends an answer at model speed. Beyond this the newest is
# refused, so that a runaway bridge cannot eat the emulator's memory (3.8 MB).
MAX_QUEUED_BYTES = 120 * 1000 // FRAME_MS * FRAME_BYTES

# A ``seq`` this far behind is not reordering but a bridge that restarted its counter.
RESTART_DISTANCE = 50

# The queue ran dry and audio comes again within this: a hole in an utterance. Later than
# this, it is the next utterance.
GAP_SLOTS = 300 // FRAME_MS


class Playout:
    """One call's playout. ``push`` what arrives, take one ``slot`` per 20 ms."""

    def __init__(self) -> None:
        self._queue: deque[tuple[int, bytes]] = deque()
        self._bytes = 0
        self._rest = b""  # of the chunk being played
        self._last_played = -1
        self._playing = False
        self._waited = 0  # slots since audio came to an idle playout
        self._dry = GAP_SLOTS + 1  # slots since the queue ran dry
        self.late = 0  # chunks that came after their turn, or twice
        self.restarts = 0  # ``seq`` went far back
        self.overflow = 0  # chunks refused because the queue is full
        self.gaps = 0  # holes heard inside an utterance
        self.gap_frames = 0  # and how many 20 ms slots of silence they had

    @property
    def buffered_ms(self) -> int:
        """Received and not yet played, in milliseconds."""
        return (self._bytes + len(self._rest)) * FRAME_MS // FRAME_BYTES

    def push(self, seq: int, pcm: bytes) -> bool:
        """Take a chunk of any even size; False when it will not be heard."""
        if not pcm:
            return True
        if self._bytes + len(pcm) > MAX_QUEUED_BYTES:
            self.overflow += 1
            return False
        newest = self._queue[-1][0] if self._queue else self._last_played
        if seq > newest:
            self._queue.append((seq, pcm))
        elif newest - seq >= RESTART_DISTANCE or (seq == 0 and newest > PREBUFFER_FRAMES):
            self.restarts += 1
            self._queue.append((seq, pcm))
        elif not self._insert(seq, pcm):
            self.late += 1
            return False
        self._bytes += len(pcm)
        return True

    def flush(self) -> int:
        """Drop everything that is queued; return how many milliseconds that was."""
        dropped = self.buffered_ms
        if self._queue:
            self._last_played = self._queue[-1][0]
        self._queue.clear()
        self._bytes = 0
        self._rest = b""
        self._playing = False
        self._waited = 0
        self._dry = GAP_SLOTS + 1  # silence after a flush is meant
        return dropped

    def slot(self) -> bytes | None:
        """The next 20 ms: 640 bytes, or None where the human hears nothing."""
        if not self._playing:
            self._dry += 1
            if not self._bytes and not self._rest:
                return None
            self._waited += 1
            ready = self._bytes >= PREBUFFER_FRAMES * FRAME_BYTES
            if not ready and self._waited <= PREBUFFER_FRAMES:
                return None
            self._playing = True
            if self._dry <= GAP_SLOTS:
                self.gaps += 1
                self.gap_frames += self._dry - 1
        frame = self._take()
        if not self._bytes and not self._rest:
            self._playing = False
            self._waited = 0
            self._dry = 0
        return frame

    def _take(self) -> bytes:
        parts = [self._rest]
        have = len(self._rest)
        while have < FRAME_BYTES and self._queue:
            self._last_played, pcm = self._queue.popleft()
            self._bytes -= len(pcm)
            parts.append(pcm)
            have += len(pcm)
        pcm = b"".join(parts)
        self._rest = pcm[FRAME_BYTES:]
        return pcm[:FRAME_BYTES].ljust(FRAME_BYTES, b"\0")

    def _insert(self, seq: int, pcm: bytes) -> bool:
        """Put a chunk that came out of order in its place, if that has not been played."""
        if seq <= self._last_played:
            return False
        at = len(self._queue)
        while at and self._queue[at - 1][0] > seq:
            at -= 1
        if at and self._queue[at - 1][0] == seq:
            return False
        self._queue.insert(at, (seq, pcm))
        return True
