"""Which engine new calls get, and who still talks with the one before.

Owns the count of calls by engine. Refuses to know how an engine is started and stopped.
"""

from __future__ import annotations

import asyncio

from teamscall.engines.base import Engine


class Voices:
    """One engine for new calls; calls keep the engine that they began with."""

    def __init__(self, current: Engine) -> None:
        self.current = current
        self._calls: dict[int, int] = {}  # by the engine's id: each is held by its calls
        self._unused: dict[int, asyncio.Event] = {}  # engines whose last call is waited for

    def take(self) -> Engine:
        """The engine for one more call; ``give_back`` follows once its session is closed."""
        key = id(self.current)
        self._calls[key] = self._calls.get(key, 0) + 1
        return self.current

    def give_back(self, engine: Engine) -> None:
        """A call that has taken it is over, and so is its session."""
        key = id(engine)
        self._calls[key] -= 1
        if not self._calls[key]:
            del self._calls[key]
            if (unused := self._unused.get(key)) is not None:
                unused.set()

    async def over(self, engine: Engine) -> None:
        """Wait until no call uses an engine that new calls do not get any more."""
        key = id(engine)
        if key in self._calls:
            unused = self._unused.setdefault(key, asyncio.Event())
            try:
                await unused.wait()
            finally:
                self._unused.pop(key, None)
