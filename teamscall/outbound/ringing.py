"""Runs the calls that are being placed: asks the far side, waits, and stops the ringing.

Owns the attempts under way, their timers and their way to the disk, and what is known of
calls that were given up. Refuses to know whether a call may be placed (``gates``) and what
the far sides speak (``dialling``).

Rules:

1. What is to be said is on the disk before the far side is asked, where there is a disk; one
   that fails costs the record, not the call.
2. Nobody is asked twice for the same order, not even after a crash: what may have been asked
   was asked.
3. A booking at the switchboard ends with the attempt, whatever ends it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Literal

import msgspec

from teamscall.calls.placing import (
    EarlyLeg,
    GatewayOpened,
    LegRefused,
    PlacingEvent,
)
from teamscall.calls.records import (
    CallAnswered,
    CallClosed,
    CallRecord,
    OutboundProgress,
    OutboundState,
)
from teamscall.calls.switchboard import Switchboard
from teamscall.calls.tasks import Tasks
from teamscall.clock import Clock
from teamscall.errors import PlacingError
from teamscall.journal.kept import Kept, KeptOrder, Undelivered
from teamscall.outbound.attempt import Change, EarlyWords, Life
from teamscall.outbound.dialling import Dialling, Far, Unanswered
from teamscall.outbound.hanging import HangingUp, side_of
from teamscall.outbound.target import Target
from teamscall.outbound.underway import Ringing
from teamscall.wire import events as wire

log = logging.getLogger("teamscall.outbound")

# A write takes milliseconds; a disk that hangs must not hold up a call.
KEEP_S = 2.0
# StandIn reports why a leg went by a POST of its own, before or after its socket is gone.
OUTCOME_GRACE_S = 2.0

_RESTARTED = "The bridge was restarted"


class Ringer:
    """See the module.

    Args:
        undelivered: is given what nobody heard.
        wants_undelivered: whether anybody is to be told of such things.
    """

    def __init__(
        self,
        switchboard: Switchboard,
        kept: Kept,
        clock: Clock,
        dialling: Dialling,
        undelivered: Callable[[Undelivered], None],
        wants_undelivered: Callable[[], bool],
    ) -> None:
        self._switchboard = switchboard
        self._kept = kept
        self._clock = clock
        self._dialling = dialling
        self._undelivered = undelivered
        self._wants_undelivered = wants_undelivered
        self.tasks = Tasks()
        self.under_way: dict[str, Ringing] = {}  # by attempt
        self._by_call: dict[str, Ringing] = {}
        self._hanging = HangingUp(switchboard, clock, dialling, self.tasks)
        self._early = EarlyWords()

    # --- what is asked of it -----------------------------------------------------------

    @property
    def _ring_s(self) -> float:
        return self._dialling.config.outbound.ring_timeout_ms / 1000

    def ringing_at(self, key: str) -> str:
        """The attempt that rings this target; blank for none."""
        for attempt, one in self.under_way.items():
            if one.life.rings and one.target.key == key:
                return attempt
        return ""

    def find(self, call_id_or_attempt: str) -> Ringing | None:
        return self.under_way.get(call_id_or_attempt) or self._by_call.get(call_id_or_attempt)

    def begin(self, one: Ringing) -> bool:
        """Take the slot and go; False: there is none. Awaits nothing."""
        if not self._expect(one, self._ring_s):
            return False
        self._add(one, self._ring_s)
        self._tell(one, "requested")
        self.tasks.spawn(self._run(one), f"place {one.order.attempt}")
        return True

    def restore(self, order: KeptOrder) -> bool:
        """Go on waiting for the leg of a call that was being placed when the last process
        ended. Asks nobody. False: there is nothing to wait for, ``conclude`` it."""
        one, left_s = self._from(order), self._left_s(order)
        if order.state == "answered" or left_s <= 0 or not self._expect(one, left_s):
            return False
        one.is_placed()
        self._add(one, left_s)
        if one.life.state == "waiting":
            self.tasks.spawn(self._ask_gateway(one), f"place {order.attempt}")
        return True

    def conclude(self, order: KeptOrder) -> None:
        """End what the last process left and ``restore`` did not take up."""
        one = self._from(order)
        if order.state == "answered":
            ended = Change("ended", "answered", f"{_RESTARTED}.", hang_up=True)
            self._over(one, one.life.interrupted(ended))
        elif self._left_s(order) <= 0:
            self._went(one, one.life.ring_timed_out(self._ring_s))
        else:
            self._went(one, one.life.fail(f"{_RESTARTED}, and had no slot left for it."))

    def stop_ringing(self, one: Ringing, detail: str, *, failed: bool = False) -> bool:
        """End it unless it was answered; whether it is over by this."""
        change = one.life.fail(detail) if failed else one.life.cancel(detail)
        self._went(one, change)
        return change is not None

    # --- what the calls tell -----------------------------------------------------------

    def on_record(self, record: CallRecord) -> None:
        """Something happened in a call."""
        if not isinstance(record, CallAnswered | CallClosed):
            return
        one = self._by_call.get(record.call_id)
        if one is None:
            return
        if isinstance(record, CallAnswered):
            self._went(one, one.life.answered())
            return
        self._went(one, one.life.closed(record))
        if one.life.lingers and not one.life.over:
            self._arm(one, OUTCOME_GRACE_S)

    def on_placing(self, event: PlacingEvent) -> None:
        """The far side says something about a leg to come."""
        if isinstance(event, GatewayOpened):
            self._hanging.gateway_opened()
            for one in self.under_way.values():
                one.news.set()
        elif isinstance(event, EarlyLeg):
            self._adopt(event)
        elif isinstance(event, LegRefused):
            self._hanging.leg_refused(event.call_id)
        elif (rung := self._by_call.get(event.call_id)) is not None:
            self._went(rung, rung.life.word(event.word, event.detail))
        elif any(not one.life.call_id for one in self.under_way.values()):
            self._early.keep(event)  # it may overtake the answer that names the call

    def _adopt(self, leg: EarlyLeg) -> None:
        """A restart lost the far side's answer: the leg itself says which call it is.

        Only where it says who it is; one that names nobody is taken if it can be no other.
        """
        names = {leg.caller.user_id.casefold(), leg.caller.phone_number.casefold()} - {""}
        waiting = [
            one
            for one in self.under_way.values()
            if one.adoptable and one.order.via == leg.dialect and not one.life.over
        ]
        fitting = [one for one in waiting if one.target.name.casefold() in names]
        if not names and len(waiting) == 1:
            fitting = waiting
        if fitting:
            self._named(fitting[0], leg.call_id)
            self.tasks.spawn(self._keep(fitting[0]), f"keep {fitting[0].order.attempt}")

    # --- the life of one ------------------------------------------------------------------

    async def _run(self, one: Ringing) -> None:
        if one.far == "socket":
            if not self._switchboard.gateway_is_open:
                self._went(one, one.life.wait())  # so that it is kept as not asked yet
            await self._keep(one)
            await self._ask_gateway(one)
            return
        await self._keep(one)
        if not one.life.over:
            await self._ask_far(one, one.far)

    async def _ask_gateway(self, one: Ringing) -> None:
        """By its socket; by the next one that opens where none is open."""
        board, life = self._switchboard, one.life
        while not life.over:
            one.news.clear()
            if not board.gateway_is_open:
                self._went(one, life.wait())
                one.is_placed()
                await one.news.wait()
                continue
            if life.state == "waiting":
                ring_s = self._ring_s  # anew: it has not rung yet
                self._change_order(one, ring_until_ms=self._clock.wall_ms() + round(ring_s * 1000))
                board.unplaced(one.order.attempt, life.call_id)
                if not self._expect(one, ring_s):
                    self._went(one, life.fail("There is no slot left for it."))
                    return
                self._arm(one, ring_s)
                await self._keep(one, "ringing")
                if one.life.over:
                    return
            target = one.target
            life.ask()
            if board.place(
                wire.PlaceCall(life.call_id, target.kind, target.name, one.order.message)
            ):
                self._went(one, life.ringing())
                one.is_placed()
                return
            life.asked = False

    async def _ask_far(self, one: Ringing, far: Far) -> None:
        order, life = one.order, one.life
        life.ask()
        try:
            call_id = await self._dialling.ring(far, one.target, order.tenant, order.message)
        except PlacingError as error:
            may_ring = isinstance(error, Unanswered)
            one.is_placed(error)
            refused = error.far_side_refused
            self._went(one, life.not_asked(str(error), may_ring=may_ring, refused=refused))
            return
        self._named(one, call_id)
        if not life.over:
            await self._keep(one)

    def _named(self, one: Ringing, call_id: str) -> None:
        """The far side rings. Its leg may come up within this very call."""
        life = one.life
        one.adoptable = False
        if call_id in self._by_call:
            life.asked = False  # the other call must not be hung up
            self._went(one, life.fail("The far side gave it the id of another call."))
            return
        life.call_id = call_id
        self._change_order(one, call_id=call_id)
        if life.over:
            self._hanging.hang_up(one.far, one.life.call_id)
            return
        self._by_call[call_id] = one
        self._went(one, life.ringing())
        one.is_placed()
        if not self._switchboard.named(one.order.attempt, call_id):
            del self._by_call[call_id]
            life.call_id, life.asked = "", False  # the other call must not be hung up
            self._went(one, life.fail("The far side gave it an id that is in use."))
        elif early := self._early.take(call_id):
            self._went(one, life.word(early.word, early.detail))

    def _went(self, one: Ringing, change: Change | None) -> None:
        if change is None:
            return
        if change.state == "ended":
            self._over(one, change)
            return
        if change.state == "answered":
            self._disarm(one)
            one.is_placed()
        self._tell(one, change.state)

    def _over(self, one: Ringing, change: Change) -> None:
        """It has ended: its slot is free, its leg and the far side stop, the disk knows."""
        one.ended_ms = self._clock.wall_ms()
        self._disarm(one)
        call_id = one.life.call_id
        self.under_way.pop(one.order.attempt, None)
        if self._by_call.get(call_id) is one:
            del self._by_call[call_id]
        self._switchboard.unplaced(one.order.attempt, call_id)
        if call_id and change.outcome not in ("answered", None):
            by: Literal["operator", "bridge"] = (
                "operator" if change.outcome == "cancelled" else "bridge"
            )
            self._switchboard.end(call_id, str(change.outcome), by)
        if change.hang_up:
            self._hanging.hang_up(one.far, one.life.call_id)
        one.news.set()
        one.is_placed()
        self.tasks.spawn(self._settle(one, change), f"settle {one.order.attempt}")

    async def _settle(self, one: Ringing, change: Change) -> None:
        order, ended_ms = one.order, one.ended_ms or self._clock.wall_ms()
        outcome = change.outcome or "failed"
        owed = outcome != "answered" and bool(order.message) and self._wants_undelivered()
        # On its way to the disk before the record is, which would end it without a word.
        settling = self._kept.settle(order.attempt, outcome, change.detail, ended_ms, tell=owed)
        await _within(KEEP_S, settling)
        self._tell(one, "ended")
        if owed:
            self._undelivered(
                Undelivered(
                    attempt=order.attempt,
                    call_id=one.life.call_id,
                    target=order.target,
                    mode=order.mode,
                    asked_by=order.asked_by,
                    asked_ms=order.asked_ms,
                    ended_ms=ended_ms,
                    outcome=outcome,
                    detail=change.detail,
                    message=order.message,
                )
            )

    # --- small things -----------------------------------------------------------

    def _expect(self, one: Ringing, ring_s: float) -> bool:
        return self._switchboard.expect(
            one.life.call_id,
            opening=one.order.message,
            notify=one.order.mode == "notify",
            ring_timeout_s=ring_s,
            attempt=one.order.attempt,
        )

    def _add(self, one: Ringing, ring_s: float) -> None:
        self.under_way[one.order.attempt] = one
        if one.life.call_id:
            self._by_call[one.life.call_id] = one
        self._arm(one, ring_s)

    def _arm(self, one: Ringing, seconds: float) -> None:
        self._disarm(one)
        loop = asyncio.get_running_loop()
        one.timer = loop.call_later(seconds, lambda: self._time_is_up(one))

    def _disarm(self, one: Ringing) -> None:
        if one.timer is not None:
            one.timer.cancel()
            one.timer = None

    def _time_is_up(self, one: Ringing) -> None:
        if one.life.rings:
            self._went(one, one.life.ring_timed_out(self._ring_s))

    async def _keep(self, one: Ringing, state: OutboundState | None = None) -> None:
        """``state``: as it is about to be, for a far side that is about to be asked."""
        if one.life.over:
            return  # it was settled: what is to be said must not come back
        order = msgspec.structs.replace(one.order, state=state or one.life.state)
        kept = await _within(KEEP_S, self._kept.keep(order))
        if not kept and one.on_disk:
            one.on_disk = False  # said once
            log.warning("A placed call is not on the disk", extra={"attempt": order.attempt})

    def _change_order(self, one: Ringing, **changes: object) -> None:
        one.order = msgspec.structs.replace(one.order, **changes)

    def _left_s(self, order: KeptOrder) -> float:
        """Of its ringing; a wall clock that was set back gives no more than a whole one."""
        left_s = (order.ring_until_ms - self._clock.wall_ms()) / 1000
        return min(left_s, self._ring_s)

    def _from(self, order: KeptOrder) -> Ringing:
        kind, _, name = order.target.partition(":")
        target = Target("phone" if kind == "phone" else "user", name)
        waiting = order.state == "waiting"
        state: OutboundState = "waiting" if waiting else "ringing"
        one = Ringing(
            order, target, side_of(order), Life(order.call_id, state=state, asked=not waiting)
        )
        one.adoptable = not order.call_id
        return one

    def _tell(self, one: Ringing, state: OutboundState) -> None:
        ended, o = state == "ended", one.order
        self._switchboard.tell(
            OutboundProgress(
                call_id=one.life.call_id,
                wall_ms=(one.ended_ms if ended else None) or self._clock.wall_ms(),
                attempt=o.attempt,
                state=state,
                target=o.target,
                mode=o.mode,
                dialect=o.via,
                outcome=one.life.outcome if ended else None,
                detail=one.life.detail if ended else "",
            )
        )


async def _within(seconds: float, keeping: Coroutine[None, None, bool]) -> bool:
    """Wait for the disk, but not for ever; a write that comes late is not undone."""
    try:
        async with asyncio.timeout(seconds):
            return await keeping
    except TimeoutError:
        return False
