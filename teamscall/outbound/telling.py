"""Tells somebody of messages that nobody heard: each once, again where that fails.

Owns the pauses between tries and what is under way. Refuses to know how they are told.

Rule 1: one that was told is never told again: it is struck off the disk, and remembered here
for as long as that fails.
Rule 2: tries are bounded. What could not be told stays on the disk for the next start.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable

from teamscall.calls.tasks import Tasks
from teamscall.journal.kept import Kept, Undelivered

log = logging.getLogger("teamscall.outbound")

Teller = Callable[[Undelivered], Awaitable[bool]]

# Ten tries in about an hour: a service that is being restarted, a network that comes back.
PAUSES_S = (2.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 900.0, 1800.0)
# One try: a teller has deadlines of its own, this one is for one that has none.
TELL_S = 30.0
# After a long outage there may be many; the one who is told gets this many at a time.
AT_ONCE = 4


class Telling:
    """See the module.

    Attributes:
        teller: True from it means told. None: nobody is there to tell.
    """

    def __init__(self, kept: Kept, teller: Teller | None, pauses_s: tuple[float, ...]) -> None:
        self.teller = teller
        self._kept = kept
        self._pauses_s = pauses_s
        self._tasks = Tasks()
        self._seen: set[str] = set()  # under way, or told
        self._gate = asyncio.Semaphore(AT_ONCE)
        self._stopping = asyncio.Event()

    def add(self, undelivered: Undelivered) -> None:
        """Tell of this one, unless that was done or is being done."""
        if self.teller is None or undelivered.attempt in self._seen:
            return
        self._seen.add(undelivered.attempt)
        self._tasks.spawn(self._tell(undelivered), f"tell {undelivered.attempt}")

    def add_all(self, these: Iterable[Undelivered]) -> None:
        for one in these:
            self.add(one)

    async def stop(self, deadline_s: float) -> None:
        """Let tries that are under way end; begin no other. What is left stays on the disk."""
        self._stopping.set()
        await self._tasks.wait(deadline_s)

    async def _tell(self, undelivered: Undelivered) -> None:
        attempt = undelivered.attempt
        for pause_s in (*self._pauses_s, None):
            async with self._gate:
                told = await self._try(undelivered)
            if told:
                await self._kept.told(attempt)
                return
            if pause_s is None:
                log.error(
                    "Nobody could be told of an undelivered message", extra={"attempt": attempt}
                )
                return
            try:
                async with asyncio.timeout(pause_s):
                    await self._stopping.wait()
                return
            except TimeoutError:
                continue

    async def _try(self, undelivered: Undelivered) -> bool:
        if self.teller is None:
            return False
        try:
            async with asyncio.timeout(TELL_S):
                return await self.teller(undelivered)
        except TimeoutError:
            log.warning(
                "Nobody took an undelivered message in time",
                extra={"attempt": undelivered.attempt},
            )
        except Exception as error:
            log.error(
                "Telling of an undelivered message failed",
                exc_info=error,
                extra={"attempt": undelivered.attempt},
            )
        return False
