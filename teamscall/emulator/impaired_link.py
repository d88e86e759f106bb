"""Carries out what ``impairments`` decides, between a far side and its link.

Owns the waiting: frames leave and arrive when they are due. Refuses to decide which.
"""

from __future__ import annotations

import asyncio

from websockets.exceptions import ConnectionClosed

from teamscall.clock import Clock
from teamscall.emulator.impairments import Channel, Impairments, Toll
from teamscall.emulator.links import Link, Take
from teamscall.wire.events import AudioIn, AudioOut, Dropped, Flush, FromGateway, ToGateway


class Weather:
    """One call's bad network: it stays the same over a resume."""

    def __init__(self, what: Impairments, clock: Clock) -> None:
        self._what = what
        self._clock = clock
        self.to_bridge: Channel[AudioIn] = Channel(what.to_bridge, what.seed, "in")
        self.from_bridge: Channel[AudioOut] = Channel(what.from_bridge, what.seed, "out")

    def wrap(self, link: Link) -> Link:
        """``link`` in this weather."""
        return ImpairedLink(link, self._what, self, self._clock) if self._what.on_the_way else link

    def toll(self) -> Toll | None:
        """What it has done so far; None: the way is good."""
        if not self._what.on_the_way:
            return None
        return Toll(self.to_bridge.hit(), self.from_bridge.hit())


class ImpairedLink:
    """See the module."""

    def __init__(self, link: Link, what: Impairments, weather: Weather, clock: Clock) -> None:
        self._link = link
        self._what = what
        self._in = weather.to_bridge
        self._out = weather.from_bridge
        self._clock = clock
        self._sending, self._taking = asyncio.Event(), asyncio.Event()

    @property
    def close_code(self) -> int | None:
        return self._link.close_code

    @property
    def close_reason(self) -> str:
        return self._link.close_reason

    async def listen(self, take: Take) -> None:
        async with asyncio.TaskGroup() as group:
            pumps = [group.create_task(self._pump_in()), group.create_task(self._pump_out(take))]

            async def arrived(message: ToGateway | Dropped) -> None:
                if isinstance(message, AudioOut) and not self._what.from_bridge.none:
                    self._out.put(message, self._clock.now())
                    self._taking.set()
                else:
                    if isinstance(message, Flush):
                        self._out.clear()  # a gateway drops what it still holds
                    await take(message)
                if self._what.read_pause_s:
                    await asyncio.sleep(self._what.read_pause_s)

            await self._link.listen(arrived)
            for pump in pumps:
                pump.cancel()

    async def send(self, event: FromGateway) -> None:
        if not isinstance(event, AudioIn) or self._what.to_bridge.none:
            await self._link.send(event)
            return
        self._in.put(event, self._clock.now())
        self._sending.set()

    def abort(self) -> None:
        self._link.abort()

    async def close(self) -> None:
        await self._link.close()

    async def _pump_in(self) -> None:
        while True:
            for event in self._in.due(self._clock.now()):
                try:
                    await self._link.send(event)
                except ConnectionClosed:
                    return  # the listener says why
            await self._until(self._in, self._sending)

    async def _pump_out(self, take: Take) -> None:
        while True:
            for message in self._out.due(self._clock.now()):
                await take(message)
            await self._until(self._out, self._taking)

    async def _until(
        self, channel: Channel[AudioIn] | Channel[AudioOut], news: asyncio.Event
    ) -> None:
        """The next frame is due, or another one has come."""
        news.clear()
        due = channel.next_due
        wait = None if due is None else max(0.0, due - self._clock.now())
        try:
            async with asyncio.timeout(wait):
                await news.wait()
        except TimeoutError:
            return
