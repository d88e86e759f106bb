"""Follows the bridge's events: asks for them, reconnects, and knows when it is over.

Owns the cursor, the waits between two attempts, and which end is the end. Refuses to know
how an event looks.

Rules:

1. While a bridge lives, no event is shown twice and none is left out in silence: it is asked
   for from the cursor of the last one shown. What is missing is a ``gap`` event, in its place.
2. A call that was found once is followed by its full id: a bridge that was restarted does not
   know it any more.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import os
import stat
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from typing import Any

import msgspec

from teamscall.cli.stopping import stop_on_signals
from teamscall.cli.tail_since import MAX_LINES, Since
from teamscall.cli.tail_view import View
from teamscall.control.client import Client, EventStream, connect
from teamscall.control.protocol import ErrorCode, Event, Subscribe
from teamscall.control.told import GAP
from teamscall.control.where import Where
from teamscall.errors import ControlError, DeadlinePassed, DialError, OutputLost

RETRY_S = 0.2  # after the first failure; doubled with each
RETRY_MAX_S = 2.0
LINGER_S = 0.3  # for what is still on its way when the end is known
_ENDINGS = ("call-closed", "outbound-progress")  # what may be the last of a call


class Wanted(msgspec.Struct, frozen=True):
    """What is to be followed. ``call`` may be abbreviated, blank for all. ``patient``: wait
    also for a bridge that was never there; one that was is waited for by all who follow."""

    call: str = ""
    since: Since = Since()
    follow: bool = False
    until_end: bool = False
    patient: bool = False


async def tail(wanted: Wanted, view: View, find: Callable[[], Where], timeout_s: float) -> None:
    """Show events until the end that was asked for.

    Args:
        find: where the bridge is, asked before each attempt: it may come up elsewhere.

    Raises:
        DialError, DeadlinePassed: no bridge, where it is not waited for.
        ControlError: the bridge refuses, or knows no such call.
        OutputLost: nobody reads any more.
        asyncio.CancelledError: it was stopped.
    """
    task = asyncio.current_task()
    assert task is not None

    def stop() -> None:
        task.cancel()

    view.on_lost = stop
    # A screen has to be restored; a pipe's signals do what they always do.
    signals = stop_on_signals(lambda: None, lambda: False) if view.screen else nullcontext()
    try:
        with signals, view, _while_read(view):
            await _Tail(wanted, view, find, timeout_s).run()
    except asyncio.CancelledError:
        if view.lost is not None:
            raise view.lost from None
        raise


class _Tail:
    """See ``tail``."""

    def __init__(
        self, wanted: Wanted, view: View, find: Callable[[], Where], timeout_s: float
    ) -> None:
        self._wanted = wanted
        self._view = view
        self._find = find
        self._timeout_s = timeout_s
        self._cursor = ""  # of the last event that was shown
        self._ids: set[str] = set()  # of the call that is followed, and of its attempt
        self._alone = False  # it was said that there is no bridge
        self._retry_s = RETRY_S
        self._waits = wanted.patient

    async def run(self) -> None:
        while True:
            try:
                await self._follow()
            except (DialError, DeadlinePassed) as error:
                if not self._waits:
                    raise
                self._view.cut_off()
                if not self._alone:
                    self._view.note(f"{error.message} Waiting for it.")
                    self._alone = True
            else:
                return
            await asyncio.sleep(self._retry_s)
            self._retry_s = min(self._retry_s * 2, RETRY_MAX_S)

    async def _follow(self) -> None:
        """As far as one connection goes: to the end, or DialError."""
        wanted = self._wanted
        async with connect(self._find(), timeout_s=self._timeout_s, name="tail") as client:
            if wanted.call and not self._ids:
                status = await client.call_status(wanted.call)
                self._ids = {status.call_id, status.attempt} - {""}
            async with client.subscribed(self._subscription()) as stream:
                if self._alone:
                    self._view.note("The bridge is there.")
                self._alone, self._retry_s, self._waits = False, RETRY_S, wanted.follow
                await self._replay(stream)
                if not wanted.follow:
                    return
                over = wanted.until_end and await self._nothing_runs(client)
                while not over:
                    event = await anext(stream)
                    self._show(event)
                    over = wanted.until_end and await self._ends(client, event.event)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LINGER_S):
                        while True:
                            self._show(await anext(stream))

    def _subscription(self) -> Subscribe:
        names = set(self._view.hears.subscription)
        if self._wanted.until_end:
            names.update(_ENDINGS)
        since = self._wanted.since
        return Subscribe(
            events=tuple(sorted(names)),
            call_ids=tuple(sorted(self._ids)),
            cursor=self._cursor,
            replay_ms=since.ms or 0,
            # All of it: the bridge would count events, and lines are meant.
            replay=0 if since.ms or since.last == 0 else MAX_LINES,
        )

    async def _replay(self, stream: EventStream) -> None:
        """Show what the bridge remembers, at most the last lines that were asked for."""
        last = None if self._cursor else self._wanted.since.last
        held: collections.deque[Event] = collections.deque(maxlen=last)
        left = stream.subscribed.replayed
        while left > 0:
            event = await anext(stream)
            if event.event.get("event") == GAP:
                left -= int(event.event.get("missed") or 0)  # we were too slow ourselves
            else:
                left -= 1
            if last is None:
                self._show(event)
            elif self._view.counts(event.event):
                held.append(event)
        for event in held:
            self._show(event)
        self._cursor = stream.subscribed.cursor

    def _show(self, event: Event) -> None:
        told = event.event
        if told.get("attempt") in self._ids and told.get("callId"):
            self._ids.add(str(told["callId"]))
        self._view.event(told)
        self._cursor = event.cursor or self._cursor

    async def _ends(self, client: Client, told: Mapping[str, Any]) -> bool:
        """Whether this event is the end that is waited for."""
        match told.get("event"):
            case "call-closed":
                return bool(self._ids) or await self._nothing_runs(client)
            case "outbound-progress":
                if told.get("state") != "ended":
                    return False
                unanswered = told.get("outcome") != "answered"
                return (unanswered and bool(self._ids)) or await self._nothing_runs(client)
            case "gap":
                return await self._nothing_runs(client)
        return False

    async def _nothing_runs(self, client: Client) -> bool:
        """Whether the call, or every call, is over."""
        if not self._ids:
            return all(call.state == "ended" for call in (await client.status()).calls)
        for name in self._ids:
            try:
                if (await client.call_status(name)).state != "ended":
                    return False
            except ControlError as error:
                if error.code != ErrorCode.CALL_NOT_FOUND:
                    raise
        return True


@contextlib.contextmanager
def _while_read(view: View) -> Iterator[None]:
    """Notice that nobody reads our pipe any more also when there is nothing to write."""

    def gone() -> None:
        view.lost = OutputLost("Nobody reads stdout any more.", silent=True)
        view.on_lost()

    number = _pipe()
    if number is None:
        yield
        return
    loop = asyncio.get_running_loop()
    loop.add_reader(number, gone)  # a pipe's writing end is only ever ready by its end
    try:
        yield
    finally:
        loop.remove_reader(number)


def _pipe() -> int | None:
    """The descriptor of stdout where that is a pipe."""
    try:
        number = sys.stdout.fileno()
        is_pipe = stat.S_ISFIFO(os.fstat(number).st_mode)
    except (OSError, ValueError):  # no descriptor
        return None
    return number if is_pipe and sys.platform != "win32" else None
