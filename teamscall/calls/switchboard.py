"""Which socket belongs to which call, and whether a call may be.

Owns the rules between a handshake and a conversation: slots, authorization on the first
and on the second message, duplicate ids, who may end or resume a call, deadlines before
the start, and the drain. Refuses to know HTTP, bytes and what is said.

Rules:

1. A slot is taken before anything is awaited, and given back exactly once.
2. A decision that fails, or comes too late, is a denial.
3. A call belongs to one link at a time; messages from any other are dropped and counted.
"""

from __future__ import annotations

import asyncio
import collections
import logging
from collections.abc import Callable

import msgspec

from teamscall.calls.call import Call
from teamscall.calls.conversation import (
    EndRequested,
    Finish,
    LinkLost,
    LinkResumed,
    MessageSeen,
    Setup,
)
from teamscall.calls.link import Link, Readiness, Unavailable
from teamscall.calls.records import CallRecord, Decided, EndedBy, Watch
from teamscall.calls.registry import Slots
from teamscall.calls.settings import KEPT_FRAMES, CallSettings, call_settings
from teamscall.calls.tasks import Tasks
from teamscall.clock import Clock
from teamscall.config import Config
from teamscall.engines.base import Engine
from teamscall.policy.authorization import Decision, Policy, PolicyRequest
from teamscall.wire import events as wire

log = logging.getLogger("teamscall.calls")

# Decisions that wait on a hook at the same time; more is a flood, and is denied.
MAX_DECISIONS = 64
# Grants, placed calls: bounded against a gateway that asks and never calls.
MAX_GRANTS = 1024

CLOSE_NORMAL = 1000
CLOSE_GOING_AWAY = 1001

AT_CAPACITY = Decision(False, "capacity", "At capacity")
DRAINING = Decision(False, "draining", "Shutting down")
INBOUND_OFF = Decision(False, "disabled", "Inbound calls disabled")
NO_REQUEST = Decision(False, "validation-failed", "No authorization request")
OTHER_IDENTITY = Decision(False, "validation-failed", "Identity differs from the authorized one")


class Placed(msgspec.Struct):
    """A call that we asked for and that has not come up yet."""

    call_id: str
    opening: str
    notify: bool
    until: float


class _Grant(msgspec.Struct):
    """An ``auth_request`` that was granted; its slot waits for the ``session_start``."""

    caller: wire.Caller
    until: float


class _Line:
    """One socket and what came over it so far."""

    def __init__(self, link: Link, call_id: str | None) -> None:
        self.link = link
        self.path_call_id = call_id  # StandIn only
        self.calls: set[str] = set()
        self.recording: wire.RecordingStatus | None = None  # latched before the start
        self.state = "waiting"  # StandIn: waiting, deciding, started, closed
        self.early: collections.deque[wire.FromGateway] = collections.deque(maxlen=KEPT_FRAMES)
        self.start_timer: asyncio.TimerHandle | None = None

    def stop_timer(self) -> None:
        if self.start_timer is not None:
            self.start_timer.cancel()
            self.start_timer = None


class Switchboard:
    """Implements :class:`teamscall.calls.link.Exchange`. One per bridge, on one event loop."""

    def __init__(self, config: Config, voice: Engine, policy: Policy, clock: Clock) -> None:
        self._config = config
        self._voice = voice
        self._policy = policy
        self._clock = clock
        self._slots = Slots(config.max_concurrent_calls)
        self._settings: dict[wire.Dialect, CallSettings] = {
            "standin": call_settings(config, "standin"),
            "csharp": call_settings(config, "csharp"),
        }
        self._lines: dict[Link, _Line] = {}
        self._calls: dict[str, Call] = {}
        self._grants: dict[str, _Grant] = {}
        self._placed: dict[str, Placed] = {}
        self._resume_wishes: dict[str, tuple[Link, int]] = {}
        self._tasks = Tasks()
        self._watchers: list[Watch] = []
        self._deciding = 0
        self._draining = False
        self._quiet = asyncio.Event()
        self.drops: collections.Counter[str] = collections.Counter()

    # --- who watches, what is going on -----------------------------------------------------------

    def watch(self, watcher: Watch) -> Callable[[], None]:
        """Tell ``watcher`` every record of every call; returns what stops it."""
        self._watchers.append(watcher)
        return lambda: self._watchers.remove(watcher)

    def _tell(self, record: CallRecord) -> None:
        for watcher in tuple(self._watchers):
            watcher(record)

    @property
    def active(self) -> int:
        return len(self._calls)

    def readiness(self) -> Readiness:
        free = self._slots.free
        return Readiness(
            ready=free > 0 and not self._draining,
            draining=self._draining,
            active_calls=len(self._calls),
            slots_free=free,
        )

    # --- the server's questions -----------------------------------------------------------

    def unavailable(self, dialect: wire.Dialect, address: str) -> Unavailable | None:
        if self._draining:
            return "draining"
        self._expire()
        if not self._slots.free:
            return "capacity"
        if self._slots.at_address(address) >= self._config.standin.max_connections_per_address:
            return "address-capacity"
        return None

    def reserve(self, call_id: str, address: str) -> bool:
        return call_id not in self._calls and self._slots.take(call_id, address)

    def connected(self, link: Link, call_id: str | None) -> None:
        line = _Line(link, call_id)
        self._lines[link] = line
        if call_id is not None:
            delay = self._config.standin.start_timeout_ms / 1000
            line.start_timer = asyncio.get_running_loop().call_later(
                delay, self._refuse_line, line, "pre-start-timeout"
            )

    def received(self, link: Link, event: wire.FromGateway) -> None:
        line = self._lines.get(link)
        if line is None:
            return
        if isinstance(event, wire.Pinged):
            link.send(wire.Pong(event.call_id, event.ts))
            self._seen(line, line.path_call_id or event.call_id)
        elif line.path_call_id is not None:
            self._from_standin(line, event)
        else:
            self._from_csharp(line, event)

    def dropped(self, link: Link, dropped: wire.Dropped) -> None:
        self._count(dropped.cause, link, dropped.detail)
        line = self._lines.get(link)
        if line is not None and line.path_call_id is not None:
            self._seen(line, line.path_call_id)

    def disconnected(self, link: Link, reason: str) -> None:
        line = self._lines.pop(link, None)
        if line is None:
            return
        line.stop_timer()
        for call_id in tuple(line.calls):
            call = self._calls.get(call_id)
            if call is None:
                continue
            call.link = None
            if link.dialect == "csharp" and not self._draining:
                call.feed(LinkLost())
                self._fulfil_wish(call)
            else:
                call.feed(EndRequested("connection-lost", "gateway", detail=reason, tell=False))
        if line.path_call_id is not None and line.state in ("waiting", "deciding"):
            line.state = "closed"
            self._slots.give_back(line.path_call_id)
        for call_id, (wisher, _) in list(self._resume_wishes.items()):
            if wisher is link:
                del self._resume_wishes[call_id]

    def outcome(self, call_id: str, outcome: wire.Outcome) -> None:
        if outcome != "answered" and self._placed.pop(call_id, None) is not None:
            self._slots.give_back(call_id)
            log.info("A placed call ended", extra={"callId": call_id, "outcome": outcome})

    # --- StandIn -----------------------------------------------------------

    def _from_standin(self, line: _Line, event: wire.FromGateway) -> None:
        if line.state == "started":
            call = self._calls.get(line.path_call_id or "")
            if isinstance(event, wire.CallStarted):
                self._count("second-start", line.link)
            elif call is not None and call.link is line.link:
                call.feed(event)
        elif line.state == "deciding":
            self._keep(line, event)
        elif line.state == "waiting":
            self._before_start(line, event)

    def _keep(self, line: _Line, event: wire.FromGateway) -> None:
        """While a decision is being made: keep what comes, except what the gate forbids."""
        if isinstance(event, wire.RecordingChanged):
            line.recording = event.status
        media = isinstance(event, wire.AudioIn | wire.VideoIn)
        gated = self._settings["standin"].recording_required and line.recording != "active"
        if not (media and gated):
            line.early.append(event)

    def _before_start(self, line: _Line, event: wire.FromGateway) -> None:
        if isinstance(event, wire.RecordingChanged):
            line.recording = event.status
        elif isinstance(event, wire.CallEnded):
            self._refuse_line(line, event.reason or "ended")
        elif not isinstance(event, wire.CallStarted):
            self._count("before-start", line.link)
        elif event.call_id != line.path_call_id:
            self._refuse_line(line, "callid-mismatch")
        else:
            line.state = "deciding"
            line.stop_timer()
            if line.recording is None:
                line.recording = event.recording
            if event.direction == "outbound":
                self._start_placed(line, event)
            else:
                self._decide(
                    self._inbound_gate(),
                    PolicyRequest(event.call_id, "standin", event.caller, "session_start"),
                    line.link.address,
                    lambda decision: self._standin_decided(line, event, decision),
                )

    def _standin_decided(self, line: _Line, event: wire.CallStarted, decision: Decision) -> None:
        if line.state != "deciding":
            return  # the socket went away while we decided; its slot is given back
        if not decision.authorized:
            self._refuse_line(line, "not-allowed")
        else:
            self._start(line, event)

    def _refuse_line(self, line: _Line, reason: str) -> None:
        """A StandIn socket that gets no session: say why, close, give the slot back."""
        if line.state not in ("waiting", "deciding") or line.path_call_id is None:
            return
        line.state = "closed"
        line.stop_timer()
        log.info(
            "Refused a call before it started",
            extra={"callId": line.path_call_id, "reason": reason, "address": line.link.address},
        )
        self._slots.give_back(line.path_call_id)
        line.link.send(wire.HangUp(line.path_call_id, reason))
        line.link.close(CLOSE_NORMAL, reason)

    # --- C# gateway -----------------------------------------------------------

    def _from_csharp(self, line: _Line, event: wire.FromGateway) -> None:
        if isinstance(event, wire.AuthRequested):
            self._on_auth_request(line, event)
        elif isinstance(event, wire.CallStarted):
            self._on_session_start(line, event)
        elif isinstance(event, wire.CallResumed):
            self._on_resume(line, event)
        elif isinstance(event, wire.CallProgressed):
            self._on_progress(line, event)
        elif (call := self._calls.get(event.call_id)) is not None and call.link is line.link:
            call.feed(event)
        elif isinstance(event, wire.CallEnded) and event.call_id not in self._calls:
            self._forget(event.call_id)
        else:
            self._count("not-its-call", line.link)

    def _on_auth_request(self, line: _Line, event: wire.AuthRequested) -> None:
        self._expire()
        call_id = event.call_id
        gate = self._inbound_gate()
        live = call_id in self._calls
        granted_before = call_id in self._grants
        reserved = False
        if gate is None and not live and not granted_before:
            full = len(self._grants) >= MAX_GRANTS
            reserved = not full and self._slots.take(call_id, _host(line.link))
            if not reserved:
                gate = AT_CAPACITY

        def decided(decision: Decision) -> None:
            if not live and not granted_before:
                if decision.authorized and reserved:
                    until = self._clock.now() + self._config.bridge.auth_grant_ms / 1000
                    self._grants[call_id] = _Grant(event.caller, until)
                elif reserved:
                    self._slots.give_back(call_id)
            line.link.send(
                wire.AuthAnswer(
                    call_id=call_id,
                    correlation_id=event.correlation_id,
                    authorized=decision.authorized,
                    strategy=decision.strategy,
                    reason=decision.reason,
                    timestamp_ms=self._clock.wall_ms(),
                )
            )

        request = PolicyRequest(call_id, "csharp", event.caller, "auth_request")
        self._decide(gate, request, line.link.address, decided)

    def _on_session_start(self, line: _Line, event: wire.CallStarted) -> None:
        self._expire()
        if event.call_id in self._calls:
            self._count("duplicate-call", line.link)
            return
        if event.direction == "outbound":
            self._start_placed(line, event)
            return
        grant = self._grants.pop(event.call_id, None)
        # The hook has answered for this very identity a moment ago; the rules are free.
        decision = self._inbound_gate() or self._policy.rules_decide(event.caller)
        if decision.authorized and grant is None:
            decision = NO_REQUEST
        elif decision.authorized and grant and not _same_identity(grant.caller, event.caller):
            decision = OTHER_IDENTITY
        self._tell_decision(
            PolicyRequest(event.call_id, "csharp", event.caller, "session_start"),
            decision,
            line.link.address,
        )
        if decision.authorized:
            self._start(line, event)
            return
        if grant is not None:
            self._slots.give_back(event.call_id)
        line.link.send(wire.HangUp(event.call_id, "not-allowed"))

    def _on_resume(self, line: _Line, event: wire.CallResumed) -> None:
        call = self._calls.get(event.call_id)
        if call is None or call.setup.dialect != "csharp" or call.link is line.link:
            self._count("resume-unknown", line.link)
        elif call.link is not None:
            # Its socket still looks alive. If that is only because nobody noticed yet that
            # it is dead, the wish is granted the moment we do.
            self._count("resume-foreign", line.link)
            if len(self._resume_wishes) < MAX_GRANTS:
                self._resume_wishes[event.call_id] = (line.link, event.last_received_seq)
        else:
            self._reattach(call, line, event.last_received_seq)

    def _fulfil_wish(self, call: Call) -> None:
        wish = self._resume_wishes.pop(call.call_id, None)
        if wish is not None and (line := self._lines.get(wish[0])) is not None:
            self._reattach(call, line, wish[1])

    def _reattach(self, call: Call, line: _Line, last_received_seq: int) -> None:
        call.link = line.link
        line.calls.add(call.call_id)
        log.info(
            "A call was resumed on another socket",
            extra={"callId": call.call_id, "address": line.link.address},
        )
        call.feed(LinkResumed(last_received_seq))

    def _on_progress(self, line: _Line, event: wire.CallProgressed) -> None:
        self._seen(line, event.call_id)
        if event.status in ("failed", "busy", "no-answer"):
            self.outcome(event.call_id, event.status)

    # --- both -----------------------------------------------------------

    def expect(
        self, call_id: str, *, opening: str = "", notify: bool = False, ring_timeout_s: float
    ) -> bool:
        """A call was asked for: take its slot and let its leg in until the ring times out."""
        if self._draining or call_id in self._calls or not self._slots.take(call_id):
            return False
        until = self._clock.now() + ring_timeout_s
        self._placed[call_id] = Placed(call_id, opening, notify, until)
        return True

    def _start_placed(self, line: _Line, event: wire.CallStarted) -> None:
        """An outbound leg completes a call that we asked for; any other is hung up."""
        self._expire()
        placed = self._placed.pop(event.call_id, None)
        if placed is not None:
            self._start(line, event, placed)
        elif line.path_call_id is not None:
            self._refuse_line(line, "not-allowed")
        else:
            self._count("unknown-outbound", line.link)
            line.link.send(wire.HangUp(event.call_id, "not-allowed"))

    def _start(self, line: _Line, event: wire.CallStarted, placed: Placed | None = None) -> None:
        line.state = "started"
        line.stop_timer()
        setup = Setup(
            call_id=event.call_id,
            dialect=line.link.dialect,
            direction=event.direction,
            caller=event.caller,
            address=line.link.address,
            lead_ms=line.link.lead_ms,
            engine_name=self._voice.name,
            turn_taking=self._voice.turn_taking,
            wall_ms=self._clock.wall_ms(),
            recording=line.recording if line.path_call_id is not None else event.recording,
            opening=placed.opening if placed else "",
            notify=placed.notify if placed else False,
        )
        call = Call(
            setup,
            self._settings[setup.dialect],
            line.link,
            self._voice,
            self._clock,
            self._tell,
            self._call_over,
        )
        self._calls[call.call_id] = call
        line.calls.add(call.call_id)
        self._tasks.spawn(self._run(call), f"call {call.call_id}")
        while line.early:
            early = line.early.popleft()
            if not isinstance(early, wire.CallStarted):
                call.feed(early)

    async def _run(self, call: Call) -> None:
        try:
            await call.run()
        finally:
            # A bug in the call must not keep its slot.
            self._call_over(call, Finish("error", "bridge"))

    def _call_over(self, call: Call, finish: Finish) -> None:
        if self._calls.get(call.call_id) is not call:
            return
        del self._calls[call.call_id]
        self._slots.give_back(call.call_id)
        self._resume_wishes.pop(call.call_id, None)
        link, call.link = call.link, None
        if link is not None:
            if (line := self._lines.get(link)) is not None:
                line.calls.discard(call.call_id)
            if link.dialect == "standin":
                going = finish.reason == "server-shutdown"
                link.close(CLOSE_GOING_AWAY if going else CLOSE_NORMAL, finish.reason)
        if not self._calls:
            self._quiet.set()

    def _inbound_gate(self) -> Decision | None:
        if self._draining:
            return DRAINING
        return None if self._config.inbound.enabled else INBOUND_OFF

    def _decide(
        self,
        gate: Decision | None,
        request: PolicyRequest,
        address: str,
        then: Callable[[Decision], None],
    ) -> None:
        """Decide, at once where no hook has to be asked, and tell ``then`` exactly once."""

        def finished(decision: Decision) -> None:
            self._tell_decision(request, decision, address)
            then(decision)

        decision = gate or self._policy.rules_decide(request.caller)
        if not decision.authorized or not self._policy.has_hook:
            finished(decision)
        elif self._deciding >= MAX_DECISIONS:
            finished(Decision(False, decision.strategy, "Authorization error"))
        else:
            self._deciding += 1
            self._tasks.spawn(self._ask_hook(request, finished), f"decide {request.call_id}")

    async def _ask_hook(self, request: PolicyRequest, finished: Callable[[Decision], None]) -> None:
        decision = Decision(False, self._config.authorization.mode, "Authorization error")
        try:
            decision = await self._policy.authorize(request)
        finally:
            self._deciding -= 1
            finished(decision)

    def _tell_decision(self, request: PolicyRequest, decision: Decision, address: str) -> None:
        self._tell(
            Decided(
                call_id=request.call_id,
                wall_ms=self._clock.wall_ms(),
                dialect=request.dialect,
                authorized=decision.authorized,
                strategy=decision.strategy,
                reason=decision.reason,
                caller=request.caller,
                on=request.on,
                address=address,
            )
        )

    def _seen(self, line: _Line, call_id: str) -> None:
        call = self._calls.get(call_id)
        if call is not None and call.link is line.link:
            call.feed(MessageSeen())

    def _forget(self, call_id: str) -> None:
        """A call that was granted or placed and will not come."""
        known = self._grants.pop(call_id, None) or self._placed.pop(call_id, None)
        if known is not None:
            self._slots.give_back(call_id)

    def _expire(self) -> None:
        """Give back the slots of grants and placed calls whose time is over."""
        now = self._clock.now()
        for call_id in [c for c, g in self._grants.items() if g.until <= now]:
            del self._grants[call_id]
            self._slots.give_back(call_id)
        for call_id in [c for c, p in self._placed.items() if p.until <= now]:
            del self._placed[call_id]
            self._slots.give_back(call_id)

    def _count(self, cause: str, link: Link, detail: str = "") -> None:
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

    # --- the end -----------------------------------------------------------

    def end(self, call_id: str, reason: str, by: EndedBy = "operator") -> bool:
        """End one call; False when there is none of this id."""
        call = self._calls.get(call_id)
        if call is not None:
            call.feed(EndRequested(reason, by))
        return call is not None

    async def drain(self, seconds: float) -> None:
        """No new calls; goodbyes; wait at most ``seconds``; end what is left.

        With ``goodbye.shutdown`` it is spoken at once and each call ends when it was heard;
        without one, calls have ``seconds`` to end by themselves.
        """
        self._draining = True
        for line in list(self._lines.values()):
            if line.path_call_id is not None:
                self._refuse_line(line, "server-shutdown")
        self._quiet.clear()
        goodbye = self._settings["standin"].goodbyes.shutdown
        if goodbye:
            self._end_all(goodbye)
        if self._calls:
            try:
                async with asyncio.timeout(seconds):
                    await self._quiet.wait()
            except TimeoutError:
                log.info("The drain's time is over", extra={"calls": len(self._calls)})
        self._end_all("")
        await self._tasks.wait(deadline_s=5.0)

    def _end_all(self, goodbye: str) -> None:
        for call in list(self._calls.values()):
            call.feed(EndRequested("server-shutdown", "bridge", goodbye))


def _host(link: Link) -> str:
    return link.address.rpartition(":")[0]


def _same_identity(granted: wire.Caller, caller: wire.Caller) -> bool:
    def key(c: wire.Caller) -> tuple[str, str]:
        return c.user_id.strip().casefold(), c.tenant_id.strip().casefold()

    return key(granted) == key(caller)
