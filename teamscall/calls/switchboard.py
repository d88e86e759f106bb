"""The calls as the server and the operator see them.

Owns the sockets and which rules each follows, readiness, placed calls and the drain. The
rules of a dialect are in its line; what lines share is the desk's. Refuses to know HTTP,
bytes and what is said.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import logging
from collections.abc import Callable, Mapping

from teamscall.calls.bookings import Placed
from teamscall.calls.call import LiveCall
from teamscall.calls.csharp_line import CSharpLine
from teamscall.calls.desk import Desk
from teamscall.calls.events import SpeakRequested
from teamscall.calls.lateness import Lateness
from teamscall.calls.link import Link, Readiness, Unavailable
from teamscall.calls.placing import FarProgress, GatewayOpened, PlacingWatch
from teamscall.calls.records import CallRecord, EndedBy, Watch
from teamscall.calls.settings import CallSettings
from teamscall.calls.standin_line import StandInLine
from teamscall.calls.tape import Tapes
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

    def reconfigure(
        self,
        config: Config,
        voice: Engine,
        policy: Policy,
        settings: Mapping[wire.Dialect, CallSettings],
    ) -> None:
        """What calls get from now on; running ones keep what they have. A decision that is
        under way grants nothing that ``policy`` does not. ``settings``: of ``config``."""
        self._per_address = config.standin.max_connections_per_address
        self._desk.reconfigure(config, voice, policy, settings)

    async def unused(self, voice: Engine) -> None:
        """Wait until no call uses an engine that was replaced."""
        await self._desk.voices.over(voice)

    # --- who watches, what is going on -----------------------------------------------------

    def watch(self, watcher: Watch) -> Callable[[], None]:
        """Tell ``watcher`` every record of every call; returns what stops it."""
        return self._desk.watch(watcher)

    def tell(self, record: CallRecord) -> None:
        """Tell those who watch a record that is made elsewhere."""
        self._desk.tell(record)

    def record(self, tapes: Tapes) -> None:
        """Record the calls that start from now on."""
        self._desk.tapes = tapes
        self._desk.deciding.remember = tapes.decided

    def measure_levels(self, on: bool) -> None:
        """Tell ``AudioLevels`` of every call five times a second, or not any more. Needs a
        running event loop; costs nothing while it is off."""
        self._desk.measure_levels(on)

    @property
    def active(self) -> int:
        return len(self._desk.calls)

    @property
    def drops(self) -> collections.Counter[str]:
        """Messages dropped, by cause."""
        return self._desk.drops

    @property
    def lateness(self) -> Lateness:
        """How late the frames of all calls left."""
        return self._desk.lateness

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
        return self._desk.bookings.reserve(call_id, address)

    def connected(self, link: Link, call_id: str | None) -> None:
        if call_id is None:
            self._lines[link] = CSharpLine(self._desk, link)
            self._desk.tell_placing(GatewayOpened())
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
        self._desk.far_progress(FarProgress(call_id, outcome))

    # --- the operator -----------------------------------------------------------

    def watch_placing(self, watcher: PlacingWatch) -> None:
        """Tell ``watcher``, the only one, what the far side says about legs to come."""
        self._desk.placing = watcher

    def expect(
        self,
        call_id: str,
        *,
        opening: str = "",
        notify: bool | None = None,
        ring_timeout_s: float,
        attempt: str = "",
    ) -> bool:
        """A call was asked for: take its slot and let its leg in until the ring times out.

        ``opening`` is said once it is answered; with ``notify`` the call ends when it was
        heard. None: as ``outbound.default_mode`` says. With a blank ``call_id`` the far side
        chooses it: ``named`` or ``unplaced`` must follow for this ``attempt``, and until then
        a leg that it might be waits. False: no slot is free, or we are shutting down.
        """
        desk = self._desk
        if notify is None:
            notify = desk.config.outbound.default_mode == "notify"
        desk.expire()
        if desk.draining or call_id in desk.calls:
            return False
        desk.warm()
        placed = Placed(opening, notify, self._clock.now() + ring_timeout_s, attempt)
        if call_id:
            return desk.bookings.place(call_id, placed)
        return desk.bookings.place_unnamed(placed)

    def named(self, attempt: str, call_id: str) -> bool:
        """The far side rings and has named the call. False: it cannot be let in."""
        known = call_id not in self._desk.calls and self._desk.bookings.named(attempt, call_id)
        self._desk.bookings.unplace(attempt)
        self._desk.look_at_early_legs()
        return known

    def unplaced(self, attempt: str, call_id: str = "") -> None:
        """A placed call will not come: its slot is free, its leg is refused."""
        self._desk.bookings.unplace(attempt)
        if call_id:
            self._desk.bookings.forget(call_id)
        self._desk.look_at_early_legs()

    def place(self, order: wire.PlaceCall) -> bool:
        """Ask a C# gateway to ring somebody; False when none has an open socket."""
        lines = [line for line in self._lines.values() if isinstance(line, CSharpLine)]
        if not lines:
            return False
        lines[-1].place(order)  # the newest: an old one may be dead without our knowing
        return True

    def hang_up(self, call_id: str) -> bool:
        """Ask the C# gateway that was asked for this call to stop ringing: the one that was,
        or, where its socket is gone, every one that is there. False: none is."""
        lines = [line for line in self._lines.values() if isinstance(line, CSharpLine)]
        asked = [line for line in lines if line.was_asked(call_id)]
        for line in asked or lines:
            line.hang_up(call_id)
        return bool(lines)

    @property
    def gateway_is_open(self) -> bool:
        """Whether a C# gateway has an open socket."""
        return any(isinstance(line, CSharpLine) for line in self._lines.values())

    @property
    def calls(self) -> tuple[LiveCall, ...]:
        """The calls that are up, or ringing with a leg, oldest first."""
        return tuple(call.facts() for call in self._desk.calls.values())

    def speak(self, call_id: str, text: str) -> bool:
        """Say exactly this in a call; False when nobody listens there."""
        call = self._desk.calls.get(call_id)
        if call is None or call.phase != "live":
            return False
        call.feed(SpeakRequested(text))
        return True

    def end(
        self,
        call_id: str,
        reason: str,
        by: EndedBy = "operator",
        *,
        after_speech: bool = False,
    ) -> bool:
        """End one call, with ``after_speech`` once the bot has been heard out; False when
        there is none of this id."""
        return self._desk.end(call_id, reason, by, after_speech=after_speech)

    def take_no_more(self) -> None:
        """No new calls from here on. Those that run go on, but for one whose socket is gone:
        none is let in that could resume it."""
        self._desk.draining = True
        for line in list(self._lines.values()):
            line.drain()
        self._desk.end_lost()

    async def wait_quiet(self, seconds: float) -> int:
        """Wait at most ``seconds`` until no call is left; how many are."""
        desk = self._desk
        if desk.calls:
            desk.quiet.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await desk.quiet.wait()
        return len(desk.calls)

    async def drain(self, seconds: float) -> None:
        """No new calls; goodbyes; wait at most ``seconds``; end what is left.

        With ``goodbye.shutdown`` it is spoken at once and each call ends when it was heard;
        without one, calls have ``seconds`` to end by themselves. A call whose socket is gone
        ends at once.
        """
        desk = self._desk
        self.take_no_more()
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
