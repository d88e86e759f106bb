"""Audio that waits because the peer reads too slowly.

Owns the encoded frames of one socket between ``send`` and the transport, per call,
bounded, oldest dropped first. Refuses to know sockets and what is inside a frame.
Control messages never wait here.
"""

from __future__ import annotations

from collections import deque

# Real-time audio older than a second is noise to the listener; the far side's own
# buffer holds 60 to 160 ms.
FRAMES_PER_CALL = 50
# A shared socket of the C# gateway carries several calls. More than this many at once
# with a backlog each is not a slow reader but a dead one.
CALLS = 64


class Outbox:
    """Per-call queues of encoded audio frames; calls take turns when it drains."""

    __slots__ = ("_calls", "dropped")

    def __init__(self) -> None:
        self._calls: dict[str, deque[bytes]] = {}
        self.dropped = 0  # frames that were pushed out or flushed at the close

    def __bool__(self) -> bool:
        return bool(self._calls)

    def __len__(self) -> int:
        return sum(map(len, self._calls.values()))

    def push(self, call_id: str, frame: bytes) -> None:
        """Queue one frame; the call's oldest goes when it has too many."""
        queue = self._calls.get(call_id)
        if queue is None:
            if len(self._calls) >= CALLS:
                self.dropped += 1
                return
            queue = self._calls[call_id] = deque()
        if len(queue) >= FRAMES_PER_CALL:
            queue.popleft()
            self.dropped += 1
        queue.append(frame)

    def pop(self) -> bytes:
        """The next frame to write; ask only while something waits.

        The call it belongs to goes to the back of the line.
        """
        call_id = next(iter(self._calls))
        queue = self._calls.pop(call_id)
        frame = queue.popleft()
        if queue:
            self._calls[call_id] = queue
        return frame

    def flush(self, call_id: str) -> int:
        """Barge-in: forget this call's frames. They are not counted as dropped."""
        return len(self._calls.pop(call_id, ()))

    def clear(self) -> None:
        """The socket closes: what still waits will never be heard."""
        self.dropped += len(self)
        self._calls.clear()
