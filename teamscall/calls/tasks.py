"""The one place that starts a task outside a call's own group.

A task started here is kept until it ends and its exception is logged, never lost.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine

log = logging.getLogger("teamscall.calls")


class Tasks:
    """A set of running tasks with one bounded end."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._running)

    def spawn(self, work: Coroutine[None, None, None], name: str) -> asyncio.Task[None]:
        """Run ``work``; an exception is a bug, logged with its traceback."""
        task = asyncio.create_task(work, name=name)  # noqa: TID251
        self._running.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("A task failed", exc_info=error, extra={"task": task.get_name()})

    async def wait(self, deadline_s: float) -> bool:
        """Wait for every task, then cancel what is left; True if none was cancelled."""
        if not self._running:
            return True
        _, late = await asyncio.wait(tuple(self._running), timeout=deadline_s)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late, timeout=1.0)
        return not late
