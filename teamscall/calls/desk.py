"""What the sockets of a bridge share: slots, bookings, decisions and the running calls.

Owns the calls by id, who is on which socket, and starting and ending them. Refuses to
know the order of a dialect's messages.

Rules:

1. A slot is taken before anything is awaited, and given back exactly once.
2. A call belongs to one socket at a time.
"""

from __future__ import annotations

import asyncio
import collections
import logging
from collections.abc import Callable, Mapping

import msgspec

from teamscall.calls.bookings import Bookings, Placed
from teamscall.calls.call import Call
from teamscall.calls.deciding import Deciding
from teamscall.calls.events import EndRequested, Finish, LinkResumed, MessageSeen, Setup
from teamscall.calls.lateness import Lateness
from teamscall.calls.levels import Ticks
from teamscall.calls.link import Link
from teamscall.calls.placing import EarlyLeg, FarProgress, LegRefused, PlacingEvent, PlacingWatch
from teamscall.calls.records import CallRecord, EndedBy, Watch
from teamscall.calls.registry import Slots
from teamscall.calls.settings import CallSettings, call_settings
from teamscall.calls.tape import Tapes
from teamscall.calls.tasks import Tasks
from teamscall.calls.voices import Voices
from teamscall.clock import Clock
from teamscall.config import Config, for_one_call
from teamscall.engines.base import Engine
from teamscall.policy.authorization import Decision, Policy, PolicyRequest
from teamscall.wire import events as wire

log = logging.getLogger("teamscall.calls")

CLOSE_NORMAL = 1000
CLOSE_GOING_AWAY = 1001

# Sockets that wish to resume a call whose own socket has not been noticed dead.
MAX_WISHES = 1024

_DRAINING = Decision(False, "draining", "Shutting down")
_INBOUND_OFF = Decision(False, "disabled", "Inbound calls disabled")


class Desk:
    """One per bridge."""

    def __init__(self, config: Config, voice: Engine, policy: Policy, clock: Clock) -> None:
        self.config = config
        self.clock = clock
        self.slots = Slots(config.max_concurrent_calls)
        self.bookings = Bookings(self.slots)
        self.tasks = Tasks()
        self.deciding = Deciding(config.authorization, policy, clock, self.tasks, self.tell)
        self.settings: dict[wire.Dialect, CallSettings] = {
            "standin": call_settings(config, "standin"),
            "csharp": call_settings(config, "csharp"),
        }
        self.calls: dict[str, Call] = {}
        self.draining = False
        self.quiet = asyncio.Event()  # no call is left
        self.drops: collections.Counter[str] = collections.Counter()
        self.lateness = Lateness()
        self.voices = Voices(voice)
        self._watchers: list[Watch] = []
        self._ticks = Ticks(self._tell_levels)
        self.placing: PlacingWatch | None = None
        self.tapes: Tapes | None = None  # record the calls that start from now on
        self._early_legs: dict[str, Callable[[], None]] = {}
        self._wishes: dict[str, tuple[Link, int]] = {}

    def reconfigure(
        self,
        config: Config,
        voice: Engine,
        policy: Policy,
        settings: Mapping[wire.Dialect, CallSettings],
    ) -> None:
        """What calls get from now on; running ones keep what they have, also beyond the limit
        on calls. ``settings``: of ``config``, in both dialects."""
        self.config = config
        self.slots.limit = config.max_concurrent_calls
        self.settings = dict(settings)
        self.deciding.reconfigure(config.authorization, policy)
        self.voices.current = voice

    # --- what goes on -----------------------------------------------------------

    def watch(self, watcher: Watch) -> Callable[[], None]:
        self._watchers.append(watcher)
        return lambda: self._watchers.remove(watcher)

    def tell(self, record: CallRecord) -> None:
        """Tell those who watch; one that fails costs the others nothing."""
        for watcher in tuple(self._watchers):
            try:
                watcher(record)
            except Exception as error:
                log.error("A watcher failed", exc_info=error, extra={"callId": record.call_id})

    def measure_levels(self, on: bool) -> None:
        if on:
            self._ticks.start()
            return
        self._ticks.stop()
        for call in self.calls.values():
            call.stop_measuring()

    def _tell_levels(self) -> None:
        for call in list(self.calls.values()):
            self.tell(call.levels())

    def tell_placing(self, event: PlacingEvent) -> None:
        """Tell whoever places calls."""
        if self.placing is not None:
            self.placing(event)

    def count(self, cause: str, link: Link, detail: str = "") -> None:
        """Count a drop; log the first of each cause and then every thousandth."""
        self.drops[cause] += 1
        if self.drops[cause] % 1000 == 1:
            log.warning(
                "Dropped a message",
                extra={
                    "cause": cause,
                    "detail": detail,
                    "address": link.address,
                    "count": self.drops[cause],
                },
            )

    # --- may a call be -----------------------------------------------------------

    def inbound_gate(self) -> Decision | None:
        """Why no inbound call is taken at all; None when they are."""
        return self._drain_gate() or (None if self.config.inbound.enabled else _INBOUND_OFF)

    def _drain_gate(self) -> Decision | None:
        return _DRAINING if self.draining else None

    def expire(self) -> None:
        """Give back the slots of calls that were promised one and did not come."""
        for call_id in self.bookings.expire(self.clock.now()):
            log.info("A placed call did not come up", extra={"callId": call_id})

    def warm(self) -> None:
        """A call is about to come: the engine may open what takes time."""
        self.voices.current.warm()

    def far_progress(self, event: FarProgress) -> None:
        """The far side says how a call that we placed goes. It rings no more: it will not
        come up, and a leg that is ringing ends."""
        if event.word not in ("ringing", "answered"):
            self.bookings.forget(event.call_id)
            call = self.calls.get(event.call_id)
            if call is not None and call.phase == "ringing":
                call.feed(EndRequested(event.word, "gateway", detail=event.detail))
        self.tell_placing(event)

    # --- running calls -----------------------------------------------------------

    def on_link(self, link: Link) -> list[Call]:
        """The calls that are on this socket."""
        return [call for call in self.calls.values() if call.link is link]

    def start(
        self,
        link: Link,
        event: wire.CallStarted,
        recording: wire.RecordingStatus | None,
        placed: Placed | None = None,
        settings: Mapping[str, object] | None = None,
    ) -> Call | None:
        """Start a call that holds its slot. ``settings``: its own, of the configuration's
        keys. None: there is no engine for it; its slot is
        given back, and the far side has been told."""
        voice = self.voices.take()
        setup = Setup(
            call_id=event.call_id,
            dialect=link.dialect,
            direction=event.direction,
            caller=event.caller,
            address=link.address,
            lead_ms=link.lead_ms,
            engine_name=voice.name,
            turn_taking=voice.turn_taking,
            wall_ms=self.clock.wall_ms(),
            recording=recording,
            opening=placed.opening if placed else "",
            notify=placed.notify if placed else False,
            attempt=placed.attempt if placed else "",
        )
        try:
            call = Call(
                setup,
                self._settings(event.call_id, link.dialect, settings),
                link,
                voice,
                self.clock,
                self.tasks,
                self.tell,
                self._over,
                self.lateness,
                self.tapes,
            )
        except Exception as error:
            log.error("No engine for a call", exc_info=error, extra={"callId": event.call_id})
            self.voices.give_back(voice)
            self.slots.give_back(event.call_id)
            self._leave(link, event.call_id, "agent-unavailable", tell=True)
            return None
        self.calls[call.call_id] = call
        self.tasks.spawn(self._run(call, voice), f"call {call.call_id}")
        call.begin()
        return call

    def _settings(
        self, call_id: str, dialect: wire.Dialect, given: Mapping[str, object] | None
    ) -> CallSettings:
        if not given:
            return self.settings[dialect]
        config, problems = for_one_call(self.config, given)
        for problem in problems:
            log.warning("A call's own setting", extra={"callId": call_id, "detail": problem})
        usual = self.settings[dialect]
        # The filling sound is read from its file once, when the bridge starts.
        silent = msgspec.structs.replace(config.filler, sound="")
        own = call_settings(msgspec.structs.replace(config, filler=silent), dialect)
        filler = msgspec.structs.replace(own.filler, sound=usual.filler.sound)
        return msgspec.structs.replace(own, filler=filler)

    def when_named(
        self, event: wire.CallStarted, dialect: wire.Dialect, then: Callable[[], None]
    ) -> bool:
        """An outbound leg may be of a call that the far side is still to name: ``then`` is
        called once that is known. False: it is known already, and ``then`` is not called."""
        call_id = event.call_id
        if self.bookings.is_placed(call_id) or not self.bookings.unnamed or self.draining:
            return False
        self._early_legs[call_id] = then
        self.tell_placing(EarlyLeg(call_id, dialect, event.caller))
        return True

    def look_at_early_legs(self) -> None:
        """A call was named, or will not be: go on with the legs that waited for it."""
        for call_id in list(self._early_legs):
            if self.bookings.is_placed(call_id) or not self.bookings.unnamed:
                self._early_legs.pop(call_id)()

    def start_placed(
        self, link: Link, event: wire.CallStarted, recording: wire.RecordingStatus | None
    ) -> bool:
        """An outbound leg completes a call that we asked for.

        False: nobody asked for it, or too long ago, or we are shutting down; nothing was
        done but leaving the record of the decision.
        """
        self.expire()
        placed = None if self.draining else self.bookings.arrive(event.call_id)
        request = PolicyRequest(event.call_id, link.dialect, event.caller, "session_start")
        self.deciding.of_placed(request, link.address, self._drain_gate, placed=placed is not None)
        if placed is not None:
            self.start(link, event, recording, placed)
        else:
            self.tell_placing(LegRefused(event.call_id))
        return placed is not None

    async def _run(self, call: Call, voice: Engine) -> None:
        try:
            await call.run()
        finally:
            self.voices.give_back(voice)
            # A bug in the call must not keep its slot.
            self._over(call, Finish("error", "bridge"))

    def _over(self, call: Call, finish: Finish) -> None:
        if self.calls.get(call.call_id) is not call:
            return
        del self.calls[call.call_id]
        self.slots.give_back(call.call_id)
        self._wishes.pop(call.call_id, None)
        if (link := call.detach()) is not None:
            self._leave(link, call.call_id, finish.reason, tell=False)
        if not self.calls:
            self.quiet.set()

    def _leave(self, link: Link, call_id: str, reason: str, *, tell: bool) -> None:
        """A call leaves its socket. A StandIn socket has no other and closes."""
        if tell:
            link.send(wire.HangUp(call_id, reason))
        if link.dialect == "standin":
            close(link, reason)

    def feed(self, call_id: str, event: object) -> None:
        """Give an event to a running call; nothing where it is over."""
        if (call := self.calls.get(call_id)) is not None:
            call.feed(event)

    def seen(self, link: Link, call_id: str) -> None:
        """A message of this call came that needs nothing: the call is not idle."""
        call = self.calls.get(call_id)
        if call is not None and call.link is link:
            call.feed(MessageSeen())

    def end_all(self, goodbye: str) -> None:
        for call in list(self.calls.values()):
            call.feed(EndRequested("server-shutdown", "bridge", goodbye))

    def end_lost(self) -> None:
        """A drain lets no socket in that could resume these calls."""
        for call in list(self.calls.values()):
            if call.link is None:
                call.feed(EndRequested("connection-lost", "gateway", tell=False))

    def end(
        self,
        call_id: str,
        reason: str,
        by: EndedBy,
        *,
        detail: str = "",
        after_speech: bool = False,
    ) -> bool:
        call = self.calls.get(call_id)
        if call is not None:
            call.feed(EndRequested(reason, by, detail=detail, after_speech=after_speech))
        return call is not None

    # --- resuming -----------------------------------------------------------

    def resume(self, call: Call, link: Link, last_received_seq: int) -> None:
        """The call, whose link is lost, goes on here."""
        call.attach(link)
        log.info(
            "A call was resumed on another socket",
            extra={"callId": call.call_id, "address": link.address},
        )
        call.feed(LinkResumed(last_received_seq))

    def wish(self, call: Call, link: Link, last_received_seq: int) -> None:
        """Resume the call here as soon as its own socket, which looks alive, is known dead."""
        if len(self._wishes) < MAX_WISHES:
            self._wishes[call.call_id] = (link, last_received_seq)

    def fulfil_wish(self, call: Call) -> None:
        if (wish := self._wishes.pop(call.call_id, None)) is not None:
            self.resume(call, *wish)

    def forget_wishes(self, link: Link) -> None:
        """The socket is gone, and what it wished for."""
        for call_id in [c for c, (wisher, _) in self._wishes.items() if wisher is link]:
            del self._wishes[call_id]


def close(link: Link, reason: str) -> None:
    """Close a StandIn socket with the code that goes with the reason."""
    going_away = reason == "server-shutdown"
    link.close(CLOSE_GOING_AWAY if going_away else CLOSE_NORMAL, reason)


def host(link: Link) -> str:
    """The peer's host without its port."""
    return link.address.rpartition(":")[0].strip("[]")
