"""Where an engine's own tasks live: those that belong to no call.

Owns their lives, from the engine's ``start`` to its ``stop``. Refuses to know what they
do. A task here expects and handles what may go wrong; what it lets escape is a bug, which
is logged and ends them all, but no call.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine

log = logging.getLogger("teamscall.engines")


class Home:
    """Closed at first; may be opened again after ``close``."""

    def __init__(self) -> None:
        self._keeper: asyncio.Task[None] | None = None
        self._group: asyncio.TaskGroup | None = None

    async def open(self) -> None:
        """Take tasks from now on. Idempotent."""
        if self._keeper is None:
            opened = asyncio.Event()
            # Lives from open to close, which no task group spans; close awaits it.
            self._keeper = asyncio.get_running_loop().create_task(
                self._keep(opened), name="engine's home"
            )
            self._keeper.add_done_callback(_log)
            await opened.wait()

    def spawn(self, work: Coroutine[None, None, None], name: str) -> bool:
        """Run ``work``; False: closed, nothing is run. Never blocks."""
        if self._group is None:
            work.close()
            return False
        self._group.create_task(work, name=name)
        return True

    async def close(self) -> None:
        """Cancel what runs and wait for it. Idempotent."""
        keeper, self._keeper = self._keeper, None
        self._group = None
        if keeper is not None:
            keeper.cancel()
            await asyncio.wait({keeper})

    async def _keep(self, opened: asyncio.Event) -> None:
        try:
            async with asyncio.TaskGroup() as self._group:
                opened.set()
                await asyncio.Event().wait()
        finally:
            self._group = None


def _log(keeper: asyncio.Task[None]) -> None:
    if not keeper.cancelled() and (error := keeper.exception()) is not None:
        log.error("An engine's task failed", exc_info=error)
