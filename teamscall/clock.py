"""Time as an argument: the clock protocol and its manual twin.

Rooms that decide never read a clock; they are given ``now``. The shell owns one
``Clock`` and reads it once per event. ``now`` is monotonic seconds (pacing,
deadlines); ``wall_ms`` is epoch milliseconds (signatures, timestamps on the wire).
They are separate because the wall clock may step in the middle of a call.
"""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """What the shell reads time from."""

    def now(self) -> float:
        """Monotonic seconds from an arbitrary origin."""
        ...

    def wall_ms(self) -> int:
        """Epoch milliseconds, as the operating system believes them."""
        ...


class SystemClock:
    """The real one."""

    def now(self) -> float:
        return time.monotonic()

    def wall_ms(self) -> int:
        return time.time_ns() // 1_000_000


class ManualClock:
    """A clock that moves only when told to, for tests and replay."""

    def __init__(self, now: float = 0.0, wall_ms: int = 1_700_000_000_000) -> None:
        self._now = now
        self._wall_ms = float(wall_ms)

    def now(self) -> float:
        return self._now

    def wall_ms(self) -> int:
        return int(self._wall_ms)

    def advance(self, seconds: float) -> float:
        """Move both clocks forward by ``seconds``; return the new monotonic time.

        Raises:
            ValueError: ``seconds`` is negative (a monotonic clock never goes back).
        """
        if seconds < 0:
            raise ValueError("a monotonic clock never goes back; use step_wall for the wall clock")
        self._now += seconds
        self._wall_ms += seconds * 1000.0
        return self._now

    def step_wall(self, milliseconds: int) -> None:
        """Step the wall clock alone, as NTP or an administrator would."""
        self._wall_ms += milliseconds
