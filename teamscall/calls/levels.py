"""How loud both sides of a call are, for whoever watches a meter; measured on demand alone.

Owns the ticks and what passed since the last one. Nothing here is kept, logged or counted.
Refuses to know who watches.
"""

from __future__ import annotations

import asyncio
import collections
from collections.abc import Callable

from teamscall.audio.dbfs import SILENCE_DBFS
from teamscall.audio.level import rms_dbfs

LEVELS_PER_S = 5
# What one tick may hold of a peer that sends too fast: a second. The oldest frames go.
_MAX_FRAMES = 50


class Meter:
    """What one call said and heard since the last look. 16-bit PCM, in whatever pieces."""

    def __init__(self) -> None:
        self._caller: collections.deque[bytes] = collections.deque(maxlen=_MAX_FRAMES)
        self._bot: collections.deque[bytes] = collections.deque(maxlen=_MAX_FRAMES)

    def heard(self, pcm: bytes) -> None:
        """Of the caller; not to be called with what the recording gate keeps out."""
        self._caller.append(pcm)

    def sent(self, pcm: bytes) -> None:
        """Of the bot."""
        self._bot.append(pcm)

    def take(self, *, listens: bool) -> tuple[float | None, float]:
        """RMS in dBFS of the caller and of the bot since the last time. None for a caller
        who is not listened to: even what came before the gate closed is thrown away."""
        caller = _level(self._caller) if listens else None
        bot = _level(self._bot)
        self._caller.clear()
        self._bot.clear()
        return caller, bot


def _level(frames: collections.deque[bytes]) -> float:
    return round(rms_dbfs(b"".join(frames)), 1) if frames else SILENCE_DBFS


class Ticks:
    """Calls ``tick`` ``LEVELS_PER_S`` times a second while it is on; costs nothing while not."""

    def __init__(self, tick: Callable[[], None]) -> None:
        self._tick = tick
        self._timer: asyncio.TimerHandle | None = None
        self._next = 0.0

    @property
    def on(self) -> bool:
        return self._timer is not None

    def start(self) -> None:
        """Needs a running event loop."""
        if self._timer is None:
            self._next = asyncio.get_running_loop().time()
            self._rearm()

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _rearm(self) -> None:
        loop = asyncio.get_running_loop()
        # From an origin, so that it does not drift; a loop that was held up skips ticks.
        self._next = max(self._next + 1 / LEVELS_PER_S, loop.time())
        self._timer = loop.call_at(self._next, self._ring)

    def _ring(self) -> None:
        self._rearm()
        self._tick()
