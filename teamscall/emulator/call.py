"""Runs one emulated call: the clock, the link and the far side's state machine.

Owns the keeping of time: reads the clock once per step, hands over what comes and what
goes, cuts and reopens the socket when told to. Refuses to know every rule; they are in
``far_side`` (and, for a call that the bridge placed, in ``leg``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec
from websockets.exceptions import ConnectionClosed

from teamscall.clock import Clock
from teamscall.emulator import dial as dialling
from teamscall.emulator.controls import Controls, DropLink
from teamscall.emulator.far_side import FarSide
from teamscall.emulator.happenings import EmulatorEvent, OnEvent
from teamscall.emulator.impaired_link import Weather
from teamscall.emulator.links import Link, SocketLink, Tap
from teamscall.emulator.plan import Plan
from teamscall.emulator.report import Report
from teamscall.emulator.sources import Source
from teamscall.emulator.tracks import Tracks
from teamscall.errors import TeamscallError
from teamscall.wire.events import Dropped, FromGateway, ToGateway

# A bridge that takes nothing for this long has stopped reading.
SEND_TIMEOUT_S = 10.0


def _as_it_is(link: Link) -> Link:
    return link


def _unwatched(_: EmulatorEvent) -> None:
    pass


async def run_call(
    plan: Plan,
    source: Source,
    *,
    clock: Clock,
    on_event: OnEvent | None = None,
    controls: Controls | None = None,
    tracks: Tracks | None = None,
    play: Callable[[bytes], None] | None = None,
    tap: Tap | None = None,
    weather: Weather | None = None,
) -> Report:
    """Play one call to its end.

    ``source`` is pulled every 20 ms and closed at the end. ``tracks`` keeps both sides'
    sound; ``play`` gets 640 bytes per 20 ms of what the caller hears (and must not block).
    ``tap`` is told the raw messages. ``weather``: a bad network between us and the bridge; its
    clock skew is the plan's.

    Raises:
        HandshakeRefused: the upgrade was answered with something other than 101.
        DialError: nothing answers there.
        InputError: the address, the call id or the secret cannot be used.
    """
    try:
        target = dialling.aim(plan.dial)
        began = clock.now()
        socket = await dialling.open_socket(plan.dial, target, clock.wall_ms())
        side = FarSide(
            plan,
            target.call_id,
            dialling.shown(target.url),
            source,
            controls or Controls(),
            began=began,
            handshake_ms=round((clock.now() - began) * 1000, 1),
            on_event=on_event or _unwatched,
            tracks=tracks,
            play=play,
        )
        wrap = _as_it_is if weather is None else weather.wrap
        link = wrap(SocketLink(socket, plan.dial.dialect, target.call_id, tap))
        shell = Shell(plan, target, side, link, clock, tap, wrap)
        try:
            await shell.run()
        finally:
            await shell.close()
        report = side.report()
        toll = None if weather is None else weather.toll()
        return msgspec.structs.replace(report, impaired=toll) if toll else report
    finally:
        source.close()


class Side(Protocol):
    """The state machine of a call."""

    drop_link: DropLink | None

    @property
    def link_up(self) -> bool: ...
    @property
    def close_code(self) -> int | None: ...
    @property
    def over(self) -> bool: ...
    def begin(self, now: float) -> list[FromGateway]: ...
    def next_tick(self, now: float) -> float: ...
    def tick(self, now: float, wall_ms: int) -> list[FromGateway]: ...
    def received(
        self, message: ToGateway | Dropped, now: float, wall_ms: int
    ) -> list[FromGateway]: ...
    def link_closed(self, code: int | None, reason: str, now: float) -> None: ...
    def broken(self, reason: str, now: float) -> None: ...
    def link_dropped(self, now: float) -> None: ...
    def resumed(self, now: float) -> list[FromGateway]: ...


class Shell:
    """The link of one call, and the loop that keeps its time."""

    def __init__(
        self,
        plan: Plan,
        target: dialling.Target,
        side: Side,
        link: Link,
        clock: Clock,
        tap: Tap | None = None,
        wrap: Callable[[Link], Link] = _as_it_is,
    ) -> None:
        self._tap = tap
        self._wrap = wrap
        self._plan = plan
        self._target = target
        self._side = side
        self._link = link
        self._clock = clock

    async def run(self) -> None:
        side, clock = self._side, self._clock
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._listen(self._link))]
            await self._send(side.begin(clock.now()))
            while not side.over:
                await self._send(side.tick(clock.now(), clock.wall_ms()))
                tasks += await self._carry_out(group)
                await asyncio.sleep(max(0.0, side.next_tick(clock.now()) - clock.now()))
            for task in tasks:
                task.cancel()

    async def say(self, events: Sequence[FromGateway]) -> None:
        """Send what the side says out of turn."""
        await self._send(events)

    async def close(self) -> None:
        """Close the link in bounded time (``dial.CLOSE_TIMEOUT_S``)."""
        await self._link.close()
        if self._side.close_code is None:
            self._side.link_closed(
                self._link.close_code, self._link.close_reason, self._clock.now()
            )

    async def _carry_out(self, group: asyncio.TaskGroup) -> list[asyncio.Task[None]]:
        """What the side wants done to its link."""
        if (order := self._side.drop_link) is None:
            return []
        self._side.drop_link = None
        return [group.create_task(self._reconnect(group, order.resume_after_s))]

    async def _listen(self, link: Link) -> None:
        side, clock = self._side, self._clock

        async def take(message: ToGateway | Dropped) -> None:
            await self._send(side.received(message, clock.now(), clock.wall_ms()))

        await link.listen(take)
        if link is self._link and side.link_up:
            side.link_closed(link.close_code, link.close_reason, clock.now())

    async def _send(self, events: Sequence[FromGateway]) -> None:
        link = self._link
        for event in events:
            try:
                async with asyncio.timeout(SEND_TIMEOUT_S):
                    await link.send(event)
            except TimeoutError:
                wait = f"{SEND_TIMEOUT_S:g} s"
                self._side.broken(f"the bridge read nothing for {wait}", self._clock.now())
                link.abort()
                return
            except ConnectionClosed:
                return  # the listener says why

    async def _reconnect(self, group: asyncio.TaskGroup, resume_after_s: float | None) -> None:
        """Cut the socket as a broken network would; C#: come back on a new one."""
        side, clock = self._side, self._clock
        if not side.link_up:
            return
        side.link_dropped(clock.now())
        self._link.abort()
        if resume_after_s is None or self._plan.dial.dialect == "standin":
            # StandIn has no resume: a call whose socket is gone is over.
            side.broken("the link was dropped on purpose", clock.now())
            return
        await asyncio.sleep(resume_after_s)
        try:
            socket = await dialling.open_socket(self._plan.dial, self._target, clock.wall_ms())
        except TeamscallError as error:
            side.broken(f"no resume: {error.message}", clock.now())
            return
        link = self._wrap(SocketLink(socket, "csharp", self._target.call_id, self._tap))
        await self._go_on(group, link, side.resumed)

    async def _go_on(
        self,
        group: asyncio.TaskGroup,
        link: Link,
        say: Callable[[float], list[FromGateway]],
    ) -> None:
        """The call goes on over ``link``, with what ``say`` says first."""
        self._link = link
        events = say(self._clock.now())
        listener = group.create_task(self._listen(link))
        try:
            await self._send(events)
            await listener
        finally:
            listener.cancel()
