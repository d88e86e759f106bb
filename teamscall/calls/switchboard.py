"""The calls as the server and the operator see them.

Owns the sockets and which rules each follows, readiness, placed calls and the drain. The
rules of a dialect are in its line; what lines share is the desk's. Refuses to know HTTP,
bytes and what is said.
"""

from __future__ import annotations

import asyncio
import collections
import logging
from collections.abc import Callable

from teamscall.calls.bookings import Placed
from teamscall.calls.csharp_line import CSharpLine
from teamscall.calls.desk import Desk
from teamscall.calls.link import Link, Readiness, Unavailable
from teamscall.calls.records import EndedBy, Watch
from teamscall.calls.standin_line import StandInLine
from teamscall.clock import Clock
from teamscall.config import Config
from teamscall.engines.base import Engine
from teamscall.policy.authorization import Policy
from teamscall.wire import events as wire

log = logging.getLogger("teamscall.calls")

# What closing the engines' sessions may take after the last call is over.
DRAIN_CLOSE_S = 5.0


class Switchboard:
    """Implements :class:`teamscall.calls.link.Exchange`. One per bridge, on one event loop."""

    def __init__(self, config: Config, voice: Engine, policy: Policy, clock: Clock) -> None:
        self._clock = clock
        self._desk = Desk(config, voice, policy, clock)
        self._lines: dict[Link, StandInLine | CSharpLine] = {}
        self._per_address = config.standin.max_connections_per_address

    # --- who watches, what is going on -----------------------------------------------------

    def watch(self, watcher: Watch) -> Callable[[], None]:
        """Tell ``watcher`` every record of every call; returns what stops it."""
        return self._desk.watch(watcher)

    @property
    def active(self) -> int:
        return len(self._desk.calls)

    @property
    def drops(self) -> collections.Counter[str]:
        """Messages dropped, by cause."""
        return self._desk.drops

    def readiness(self) -> Readiness:
        self._desk.expire()
        free = self._desk.slots.free
        return Readiness(
            ready=free > 0 and not self._desk.draining,
            draining=self._desk.draining,
            active_calls=self.active,
            slots_free=free,
        )

    # --- the server's questions -----------------------------------------------------------

    def unavailable(self, dialect: wire.Dialect, address: str) -> Unavailable | None:
        if self._desk.draining:
            return "draining"
        self._desk.expire()
        if not self._desk.slots.free and not self._desk.bookings.awaits_leg:
            return "capacity"
        if self._desk.slots.at_address(address) >= self._per_address:
            return "address-capacity"
        return None

    def reserve(self, call_id: str, address: str) -> bool:
        if call_id in self._desk.calls:
            return False
        return self._desk.bookings.meet(call_id) or self._desk.slots.take(call_id, address)

    def connected(self, link: Link, call_id: str | None) -> None:
        if call_id is None:
            self._lines[link] = CSharpLine(self._desk, link)
        else:
            self._lines[link] = StandInLine(self._desk, link, call_id)

    def received(self, link: Link, event: wire.FromGateway) -> None:
        if (line := self._lines.get(link)) is not None:
            line.received(event)

    def dropped(self, link: Link, dropped: wire.Dropped) -> None:
        self._desk.count(dropped.cause, link, dropped.detail)
        if (line := self._lines.get(link)) is not None:
            line.dropped()

    def disconnected(self, link: Link, reason: str) -> None:
        if (line := self._lines.pop(link, None)) is not None:
            self._desk.forget_wishes(link)
            line.disconnected(reason)

    def outcome(self, call_id: str, outcome: wire.Outcome) -> None:
        if outcome != "answered" and self._desk.bookings.forget(call_id):
            log.info("A placed call ended", extra={"callId": call_id, "outcome": outcome})

    # --- the operator -----------------------------------------------------------

    def expect(
        self, call_id: str, *, opening: str = "", notify: bool | None = None, ring_timeout_s: float
    ) -> bool:
        """A call was asked for: take its slot and let its leg in until the ring times out.

        ``opening`` is said once it is answered; with ``notify`` the call ends when it was
        heard. None: as ``outbound.default_mode`` says.
        """
        if notify is None:
            notify = self._desk.config.outbound.default_mode == "notify"
        self._desk.expire()
        if self._desk.draining or call_id in self._desk.calls:
            return False
        self._desk.warm()
        until = self._clock.now() + ring_timeout_s
        return self._desk.bookings.place(call_id, Placed(opening, notify, until))

    def end(self, call_id: str, reason: str, by: EndedBy = "operator") -> bool:
        """End one call; False when there is none of this id."""
        return self._desk.end(call_id, reason, by)

    async def drain(self, seconds: float) -> None:
        """No new calls; goodbyes; wait at most ``seconds``; end what is left.

        With ``goodbye.shutdown`` it is spoken at once and each call ends when it was heard;
        without one, calls have ``seconds`` to end by themselves. A call whose socket is gone
        ends at once.
        """
        desk = self._desk
        desk.draining = True
        for line in list(self._lines.values()):
            line.drain()
        desk.end_lost()
        desk.quiet.clear()
        if goodbye := desk.config.goodbye.shutdown:
            desk.end_all(goodbye)
        if desk.calls:
            try:
                async with asyncio.timeout(seconds):
                    await desk.quiet.wait()
            except TimeoutError:
                log.info("The drain's time is over", extra={"calls": self.active})
        desk.end_all("")
        await desk.tasks.wait(DRAIN_CLOSE_S)
