"""What several checks look at and only one should fetch: an answer, a bridge for the test.

Owns the memory of one run. Refuses to know what is kept in it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar, cast

T = TypeVar("T")


class Shared:
    """See the module. Works inside ``open``; one per run."""

    def __init__(self) -> None:
        self._group: asyncio.TaskGroup | None = None
        self._over = asyncio.Event()
        self._deadline = 0.0
        self._found: dict[str, asyncio.Future[Any]] = {}
        self._tasks: dict[asyncio.Task[None], asyncio.Future[Any]] = {}  # that are under way

    async def once(self, key: str, make: Callable[[], Awaitable[T]]) -> T:
        """What ``make`` gives or raises; it is called for the first who asks, and goes on when
        that one gives up."""

        async def fill(future: asyncio.Future[Any]) -> None:
            future.set_result(await make())

        return cast(T, await self._get(key, fill))

    async def hold(self, key: str, make: Callable[[], AbstractAsyncContextManager[T]]) -> T:
        """What the context gives or raises; it is left when the run is over."""

        async def fill(future: asyncio.Future[Any]) -> None:
            async with make() as value:
                future.set_result(value)
                await self._over.wait()

        return cast(T, await self._get(key, fill))

    async def _get(
        self, key: str, fill: Callable[[asyncio.Future[Any]], Awaitable[None]]
    ) -> object:
        if (future := self._found.get(key)) is None:
            assert self._group is not None
            future = self._found[key] = asyncio.get_running_loop().create_future()
            task = self._group.create_task(_filled(future, fill), name=f"doctor-{key}")
            self._tasks[task] = future
            task.add_done_callback(self._tasks.pop)
        return await asyncio.shield(future)

    def open(self, group: asyncio.TaskGroup, total_s: float) -> None:
        """From here on, in tasks of ``group``."""
        self._group = group
        self._deadline = time.monotonic() + total_s

    def left_s(self) -> float:
        """Until the whole run is cut off."""
        return max(0.0, self._deadline - time.monotonic())

    async def close(self, timeout_s: float) -> None:
        """Leave every context that is held, and give up what is not there yet."""
        self._over.set()
        for task, future in list(self._tasks.items()):
            if not future.done():
                task.cancel()
        if self._tasks:
            await asyncio.wait(list(self._tasks), timeout=timeout_s)
        for task in list(self._tasks):
            task.cancel()


async def _filled(
    future: asyncio.Future[Any], fill: Callable[[asyncio.Future[Any]], Awaitable[None]]
) -> None:
    try:
        await fill(future)
    except asyncio.CancelledError:
        future.cancel()
        raise
    except Exception as error:
        if future.done():
            raise  # the end of a context failed: nobody waits for that
        future.set_exception(error)
        future.exception()  # whoever asked may have given up: it is not forgotten
