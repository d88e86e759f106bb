"""Runs one emulated call: the clock, the socket and the far side's state machine.

Owns the only I/O of the emulator's core: reads the clock once per step, decodes what comes,
encodes what goes, cuts and reopens the socket when told to. Refuses to know every rule;
they are in ``far_side``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from teamscall.clock import Clock
from teamscall.emulator import dial as dialling
from teamscall.emulator.controls import Controls
from teamscall.emulator.far_side import FarSide
from teamscall.emulator.happenings import EmulatorEvent, OnEvent
from teamscall.emulator.plan import Plan
from teamscall.emulator.report import Report
from teamscall.emulator.sources import Source
from teamscall.emulator.tracks import Tracks
from teamscall.errors import TeamscallError
from teamscall.wire import csharp, standin
from teamscall.wire.events import Dropped, FromGateway, ToGateway

# A bridge that takes nothing for this long has stopped reading.
SEND_TIMEOUT_S = 10.0

_ABNORMAL_CLOSE = 1006  # what websockets reports when there was no close frame


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
) -> Report:
    """Play one call to its end.

    ``source`` is pulled every 20 ms and closed at the end. ``tracks`` keeps both sides'
    sound; ``play`` gets 640 bytes per 20 ms of what the caller hears (and must not block).

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
        shell = _Shell(plan, target, side, socket, clock)
        try:
            await shell.run()
        finally:
            await shell.close()
        return side.report()
    finally:
        source.close()


class _Shell:
    """The socket of one call, and the loop that keeps its time."""

    def __init__(
        self,
        plan: Plan,
        target: dialling.Target,
        side: FarSide,
        socket: ClientConnection,
        clock: Clock,
    ) -> None:
        self._plan = plan
        self._target = target
        self._side = side
        self._socket = socket
        self._clock = clock
        self._dialect = standin if plan.dial.dialect == "standin" else csharp

    async def run(self) -> None:
        side, clock = self._side, self._clock
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._listen(self._socket))]
            await self._send(side.begin(clock.now()))
            while not side.over:
                await self._send(side.tick(clock.now(), clock.wall_ms()))
                if (order := side.drop_link) is not None:
                    side.drop_link = None
                    tasks.append(group.create_task(self._reconnect(group, order.resume_after_s)))
                await asyncio.sleep(max(0.0, side.next_tick(clock.now()) - clock.now()))
            for task in tasks:
                task.cancel()

    async def close(self) -> None:
        """Close the socket in bounded time (``dial.CLOSE_TIMEOUT_S``)."""
        await self._socket.close()
        if self._side.close_code is None:
            self._side.link_closed(*_close_words(self._socket), self._clock.now())

    async def _listen(self, socket: ClientConnection) -> None:
        side, clock = self._side, self._clock
        try:
            while True:
                data = await socket.recv()
                message: ToGateway | Dropped = (
                    self._dialect.decode_to_gateway(data, call_id=self._target.call_id)
                    if isinstance(data, str)
                    else Dropped("binary", "a binary frame")
                )
                await self._send(side.received(message, clock.now(), clock.wall_ms()))
        except ConnectionClosed:
            if socket is self._socket and side.link_up:
                code = socket.close_code
                side.link_closed(
                    None if code == _ABNORMAL_CLOSE else code,
                    socket.close_reason or "",
                    clock.now(),
                )

    async def _send(self, events: Sequence[FromGateway]) -> None:
        socket = self._socket
        for event in events:
            data = self._dialect.encode_from_gateway(event)
            if data is None:
                continue
            try:
                async with asyncio.timeout(SEND_TIMEOUT_S):
                    await socket.send(data, text=True)
            except TimeoutError:
                wait = f"{SEND_TIMEOUT_S:g} s"
                self._side.broken(f"the bridge read nothing for {wait}", self._clock.now())
                socket.transport.abort()
                return
            except ConnectionClosed:
                return  # the listener says why

    async def _reconnect(self, group: asyncio.TaskGroup, resume_after_s: float | None) -> None:
        """Cut the socket as a broken network would; C#: come back on a new one."""
        side, clock = self._side, self._clock
        if not side.link_up:
            return
        side.link_dropped(clock.now())
        self._socket.transport.abort()
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
        self._socket = socket
        events = side.resumed(clock.now())
        listener = group.create_task(self._listen(socket))
        try:
            await self._send(events)
            await listener
        finally:
            listener.cancel()


def _close_words(socket: ClientConnection) -> tuple[int | None, str]:
    """The close code (None: no close frame came) and reason."""
    code = socket.close_code
    return None if code == _ABNORMAL_CLOSE else code, socket.close_reason or ""
