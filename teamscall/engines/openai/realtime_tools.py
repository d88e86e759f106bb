"""The tools that one response of a realtime session uses.

Owns their running: several at once, a bounded number, each call once. Refuses to know
what is done with what comes of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from teamscall.engines.base import CallBrief
from teamscall.engines.openai.messages import Item
from teamscall.engines.tools import ToolResult, Tools

MAX_CALLS = 16  # of one response
AT_ONCE = 4  # of one call

_STOPPED = ToolResult('{"error":"stopped, because the caller interrupted"}')
_TOO_MANY = ToolResult('{"error":"too many tools at once"}')

Spawn = Callable[[Coroutine[Any, Any, None], str], asyncio.Task[None]]


class Toolbelt:
    """What the responses of one call share. ``spawn``: starts a task of the call's."""

    def __init__(self, call: CallBrief, tools: Tools, spawn: Spawn) -> None:
        self._call = call
        self._tools = tools
        self.spawn = spawn
        self._slots = asyncio.Semaphore(AT_ONCE)

    async def use(self, item: Item) -> ToolResult:
        async with self._slots:
            return await self._tools.use(self._call, item.name or "", item.arguments or "")


class Uses:
    """See the module. ``used``: told whenever something came of a tool."""

    def __init__(self, belt: Toolbelt, used: Callable[[], None]) -> None:
        self._belt = belt
        self._used = used
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._results: dict[str, ToolResult] = {}

    def __len__(self) -> int:
        return len(self._tasks)

    @property
    def finished(self) -> bool:
        return self._tasks.keys() <= self._results.keys()

    @property
    def results(self) -> dict[str, ToolResult]:
        """By the id of the call; what was cancelled, or is not over yet, is said to be
        stopped."""
        stopped = dict.fromkeys(self._tasks, _STOPPED)
        return stopped | self._results

    def begin(self, item: Item) -> bool:
        """Use the tool that this item calls; whether it is one, and not known yet."""
        call_id = item.call_id or ""
        if item.type != "function_call" or not call_id or not item.name:
            return False
        if call_id in self._tasks or call_id in self._results:
            return False
        if len(self._tasks) >= MAX_CALLS:
            self._results[call_id] = _TOO_MANY
        else:
            self._tasks[call_id] = self._belt.spawn(self._use(call_id, item), f"tool {item.name}")
        return True

    def cancel(self) -> None:
        for task in self._tasks.values():
            task.cancel()

    async def _use(self, call_id: str, item: Item) -> None:
        self._results[call_id] = await self._belt.use(item)
        self._used()
