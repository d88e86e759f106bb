"""Tells when the event loop was blocked, for how long, and where.

Owns one daemon thread that looks at a heartbeat the loop gives. Refuses to know what
the loop runs. It uses the real monotonic clock: it measures this process, not a call.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
import traceback

THRESHOLD_S = 0.2  # the largest lead a gateway accepts is 160 ms: beyond it is audible
LOOK_S = 0.05  # how often the thread looks
QUIET_S = 10.0  # between two reported stalls; those in between are counted
STACK_FRAMES = 12  # innermost frames of the stack: where it hangs, not how it got there


class Watchdog:
    """Watch the thread that called :meth:`start`; it must call :meth:`beat` regularly.

    ``beat_s`` is the heartbeat's period in seconds.
    """

    def __init__(
        self, log: logging.Logger, *, beat_s: float, threshold_s: float = THRESHOLD_S
    ) -> None:
        self.stalls = 0
        self.longest_s = 0.0
        self._log = log
        self._allowed = beat_s + threshold_s
        self._beat_s = beat_s
        self._beat_at = 0.0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._watched = 0
        self._quiet_until = 0.0
        self._unreported = 0

    def start(self) -> None:
        """Begin to watch the calling thread."""
        self._watched = threading.get_ident()
        self._beat_at = time.monotonic()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        self._thread.start()

    def beat(self) -> None:
        """The loop is alive. Reports a stall that has just ended."""
        now = time.monotonic()
        late = now - self._beat_at - self._beat_s
        self._beat_at = now
        if late <= self._allowed - self._beat_s:
            return
        self.stalls += 1
        self.longest_s = max(self.longest_s, late)
        if now < self._quiet_until:
            self._unreported += 1
            return
        self._quiet_until = now + QUIET_S
        self._log.warning(
            "The event loop was blocked",
            extra={"late_ms": round(late * 1000), "unreported": self._unreported},
        )
        self._unreported = 0

    def stop(self) -> None:
        """End the thread; returns when it has ended."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _watch(self) -> None:
        reported = 0.0  # the heartbeat after which this stall began
        looked = time.monotonic()
        while not self._stop.wait(LOOK_S):
            now, before, beat_at = time.monotonic(), looked, self._beat_at
            looked = now
            if now - before > LOOK_S + self._allowed:
                continue  # this thread was late as well: the machine slept, nobody hangs
            if now - beat_at <= self._allowed or beat_at == reported:
                continue
            reported = beat_at
            if now < self._quiet_until:
                continue
            frame = sys._current_frames().get(self._watched)
            stack = traceback.format_stack(frame)[-STACK_FRAMES:] if frame else []
            self._log.warning(
                "The event loop is blocked here",
                extra={
                    "late_ms": round((now - beat_at - self._beat_s) * 1000),
                    "stack": "".join(stack),
                },
            )
