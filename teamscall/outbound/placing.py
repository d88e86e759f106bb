"""Places calls: weighs each order by every gate, and lets the ringer run what passes.

Owns the counts for the caps, the operator's switch and the order of start and stop. Refuses
to know far sides' protocols, and who asked through what.

Rule 1: nothing is awaited between the gates' word and the attempt's entry: two orders for one
target at once give one call.
Rule 2: what a gate refuses leaves a record, counts for no cap, and asks nobody.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import logging
import secrets

from teamscall.calls.records import CallMode, OutboundProgress
from teamscall.calls.switchboard import Switchboard
from teamscall.clock import Clock
from teamscall.config import Config
from teamscall.config.quiet import local_time
from teamscall.errors import PlacingError
from teamscall.journal.kept import Kept, KeptOrder
from teamscall.outbound.attempt import Life
from teamscall.outbound.dialling import Dialling
from teamscall.outbound.gates import HOUR_MS, Facts, Route, route, weigh
from teamscall.outbound.hanging import our_call_id, side_of
from teamscall.outbound.orders import Attempt, GateResult, Order, Weighed
from teamscall.outbound.ringing import KEEP_S, Ringer
from teamscall.outbound.target import (
    Address,
    Resolved,
    Target,
    Unreadable,
    key_of,
    read_target,
    resolve,
)
from teamscall.outbound.telling import PAUSES_S, Teller, Telling
from teamscall.outbound.underway import Ringing
from teamscall.text import printable

log = logging.getLogger("teamscall.outbound")

# An operator's resolver is a process or a request each: so many at a time.
MAX_RESOLVING = 4
# Stopping: far sides are told to ring no more, and the disk what became of it.
STOP_S = 5.0


class Outbound:
    """Implements the placing of calls for one bridge, on its event loop.

    Args:
        kept: what outlives the process. Without a journal nothing does.
        tell_undelivered: told of a message that nobody heard; True means told.
        pauses_s: between the tries to tell.
    """

    def __init__(
        self,
        config: Config,
        switchboard: Switchboard,
        kept: Kept,
        clock: Clock,
        tell_undelivered: Teller | None = None,
        *,
        pauses_s: tuple[float, ...] = PAUSES_S,
    ) -> None:
        self._config = config
        self._switchboard = switchboard
        self._kept = kept
        self._clock = clock
        self._dialling = Dialling(config, clock)
        self._telling = Telling(kept, tell_undelivered, pauses_s)
        self._ringer = Ringer(
            switchboard, kept, clock, self._dialling, self._telling.add, self._wants_undelivered
        )
        self._on = False
        self._unread = True  # it is off because the disk has not said how it is
        self._reading = asyncio.Lock()
        self._stopping = False
        self._prepared = False
        self._left: list[KeptOrder] = []  # by the last process, to be concluded
        self._placed: collections.deque[tuple[int, str]] = collections.deque()  # when, whom
        self._resolving = asyncio.Semaphore(MAX_RESOLVING)

    # --- start and stop -----------------------------------------------------------

    async def prepare(self) -> None:
        """Take up what the last process left, before any leg can come. Nobody is asked or
        told anything yet: the start may still fail. Idempotent."""
        if self._prepared:
            return
        self._prepared = True
        self._switchboard.watch(self._ringer.on_record)
        self._switchboard.watch_placing(self._ringer.on_placing)
        await self._read_back()
        if self._unread:
            log.error("Placing calls is off: the journal does not say whether it was switched off")
        for order in await self._kept.unfinished():
            if not self._ringer.restore(order):
                self._left.append(order)

    async def _read_back(self) -> None:
        """The switch, and whom the last process called. While the disk does not say, calls
        stay off; the operator's word counts at once."""
        on = await self._kept.outbound_is_on()
        before = await self._kept.placed_since(self._clock.wall_ms() - HOUR_MS)
        if on is not None and self._unread:
            self._on, self._unread = on, False
            self._placed.extend((placed.asked_ms, key_of(placed.target)) for placed in before)

    async def _read_back_again(self) -> None:
        """The disk may have come back."""
        async with self._reading:
            if self._unread:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(KEEP_S):
                        await self._read_back()

    async def start(self) -> None:
        """The bridge listens: end what cannot go on, tell what was not told."""
        await self.prepare()
        left, self._left = self._left, []
        for order in left:
            self._ringer.conclude(order)
        if left or self._ringer.under_way:
            log.info(
                "Took up calls that were being placed",
                extra={"ringing": self.ringing, "over": len(left)},
            )
        if not self._on:
            self._cancel_all("Calls are switched off.")
        if self._wants_undelivered():
            self._telling.add_all(await self._kept.to_tell())

    async def stop(self) -> None:
        """Place no more; what rings is hung up at its far side. Calls that were answered go
        on, and end with the drain. Call it before the drain, and again after it."""
        self._stopping = True
        for one in list(self._ringer.under_way.values()):
            self._ringer.stop_ringing(one, "The bridge was shut down.", failed=True)
        await self._ringer.tasks.wait(STOP_S)
        await self._telling.stop(STOP_S)

    def reconfigure(self, config: Config) -> None:
        """New lists, limits and far sides from now on; counts stay, and what rings goes on."""
        self._config = config
        self._dialling.config = config

    @property
    def tell_undelivered(self) -> Teller | None:
        """Whoever is told of messages that nobody heard."""
        return self._telling.teller

    @tell_undelivered.setter
    def tell_undelivered(self, teller: Teller | None) -> None:
        self._telling.teller = teller

    # --- what there is -----------------------------------------------------------

    def attempts(self) -> tuple[Attempt, ...]:
        """The calls that ring, wait, or were answered and go on; oldest first."""
        return tuple(one.attempt() for one in self._ringer.under_way.values())

    @property
    def switched_on(self) -> bool:
        return self._on

    @property
    def ringing(self) -> int:
        """Calls that nobody has answered yet."""
        return sum(one.life.rings for one in self._ringer.under_way.values())

    @property
    def last_hour(self) -> int:
        """Calls that were placed in the last hour."""
        self._forget_old()
        return len(self._placed)

    # --- what is asked -----------------------------------------------------------

    async def weigh(self, order: Order) -> Weighed:
        """Every gate's word on an order. An address is resolved; else nothing is done."""
        who = await self._who(order)
        facts = self._facts(order, who)
        return Weighed(_shown(order, who), self._mode(order), route(facts).dialect, weigh(facts))

    async def place(self, order: Order) -> Attempt:
        """Place a call. Back once the far side rings, a gateway is waited for, or it is over
        already; cancelling the wait does not cancel the call.

        Raises:
            PlacingError: a gate refuses it, or the far side gave no call.
        """
        who = await self._who(order)
        facts = self._facts(order, who)
        words, way = weigh(facts), route(facts)
        refusal = next((word for word in words if not word.passed), None)
        if refusal is not None or isinstance(who, Unreadable) or way.dialect is None:
            raise self._refuse(order, who, way, words, refusal)
        one = self._attempt(order, who.target, way, facts.gateway_open)
        if not self._ringer.begin(one):
            full = GateResult("capacity", False, "No slot is free for this call.")
            words = tuple(full if word.gate == "capacity" else word for word in words)
            raise self._refuse(order, who, way, words, full)
        self._placed.append((one.order.asked_ms, who.target.key))
        error = await asyncio.shield(one.placed)
        if error is not None:
            raise error
        return one.attempt()

    async def cancel(self, call_id_or_attempt: str) -> bool:
        """Stop one that rings or waits; False: there is none, or it was answered."""
        one = self._ringer.find(call_id_or_attempt)
        return one is not None and self._ringer.stop_ringing(one, "It was cancelled.")

    async def switch(self, on: bool) -> bool:
        """Allow placing calls, or stop all that ring and wait and allow no more, also after a
        restart; whether that is on the disk."""
        self._on, self._unread = on, False
        if not on:
            self._cancel_all("Calls were switched off.")
        kept = await self._kept.switch_outbound(on)
        if not kept:
            log.warning("The switch for placing calls is not on the disk", extra={"on": on})
        return kept

    def _cancel_all(self, detail: str) -> None:
        for one in list(self._ringer.under_way.values()):
            self._ringer.stop_ringing(one, detail)

    # --- weighing -----------------------------------------------------------

    async def _who(self, order: Order) -> Resolved | Unreadable:
        if self._unread:
            await self._read_back_again()
        read = read_target(order.to)
        if isinstance(read, Target):
            return Resolved(read)
        if isinstance(read, Address):
            async with self._resolving:
                return await resolve(self._config.outbound, read)
        return read

    def _facts(self, order: Order, who: Resolved | Unreadable) -> Facts:
        self._forget_old()
        key = who.target.key if isinstance(who, Resolved) else ""
        ready = self._switchboard.readiness()
        wall_ms = self._clock.wall_ms()
        return Facts(
            config=self._config,
            switched_on=self._on,
            switch_unread=self._unread,
            draining=self._stopping or ready.draining,
            who=who,
            local=local_time(wall_ms, self._config.outbound.timezone),
            placed=len(self._placed),
            placed_to_it=sum(whom == key for _, whom in self._placed),
            ringing=self._ringer.ringing_at(key),
            slots_free=ready.slots_free,
            gateway_open=self._switchboard.gateway_is_open,
            via=order.via,
            tenant=order.tenant,
        )

    def _forget_old(self) -> None:
        since = self._clock.wall_ms() - HOUR_MS
        while self._placed and self._placed[0][0] <= since:
            self._placed.popleft()

    def _wants_undelivered(self) -> bool:
        outbound = self._config.outbound
        return bool(outbound.undelivered_command or outbound.undelivered_url)

    def _mode(self, order: Order) -> CallMode:
        return order.mode or self._config.outbound.default_mode

    def _attempt(self, order: Order, target: Target, way: Route, gateway_open: bool) -> Ringing:
        assert way.dialect is not None
        by_rest = bool(self._config.bridge.control_url) and not gateway_open
        ours = way.dialect == "csharp" and not by_rest
        call_id = our_call_id(secrets.token_hex(8)) if ours else ""
        now = self._clock.wall_ms()
        kept = KeptOrder(
            attempt=_new_attempt(),
            call_id=call_id,
            target=str(target),
            mode=self._mode(order),
            via=way.dialect,
            tenant=way.tenant,
            asked_by=printable(order.by, 100),
            asked_ms=now,
            ring_until_ms=now + self._config.outbound.ring_timeout_ms,
            state="requested",
            message=order.message,
        )
        return Ringing(kept, target, side_of(kept), Life(call_id))

    def _refuse(
        self,
        order: Order,
        who: Resolved | Unreadable,
        way: Route,
        words: tuple[GateResult, ...],
        refusal: GateResult | None,
    ) -> PlacingError:
        detail = refusal.detail if refusal else way.detail
        self._switchboard.tell(
            OutboundProgress(
                call_id="",
                wall_ms=self._clock.wall_ms(),
                attempt=_new_attempt(),
                state="ended",
                target=_shown(order, who),
                mode=self._mode(order),
                dialect=way.dialect,
                outcome="refused",
                detail=detail,
            )
        )
        nobody = refusal is not None and refusal.gate == "far-side" and way.dialect is None
        return PlacingError(
            "no-far-side" if nobody else "refused",
            detail,
            gates=tuple((word.gate, word.passed, word.detail) for word in words),
        )


def _shown(order: Order, who: Resolved | Unreadable) -> str:
    return str(who.target) if isinstance(who, Resolved) else printable(order.to, 100)


def _new_attempt() -> str:
    return f"out-{secrets.token_hex(6)}"
