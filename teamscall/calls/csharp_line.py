"""One socket of a C# gateway: any number of calls, and the decisions about them.

Owns ``auth_request`` and its one answer, the second check at ``session_start``, who may
end or resume a call. Refuses to know what is said in a call.
"""

from __future__ import annotations

from teamscall.calls.bookings import Grant
from teamscall.calls.call import Call
from teamscall.calls.deciding import identity
from teamscall.calls.declining import declined
from teamscall.calls.desk import Desk, host
from teamscall.calls.events import EndRequested, LinkLost
from teamscall.calls.link import Link
from teamscall.calls.placing import FarProgress, FarWord
from teamscall.policy.authorization import Decision, PolicyRequest
from teamscall.text import printable
from teamscall.wire import events as wire

_AT_CAPACITY = Decision(False, "capacity", "At capacity")

# Calls placed over one socket of which it is remembered that they were.
MAX_ASKED = 1024

_GOT_EVERYTHING = 2**63 - 1  # a last received seq beyond anything sent


class CSharpLine:
    """See the module."""

    def __init__(self, desk: Desk, link: Link) -> None:
        self._desk = desk
        self._link = link
        self._gone = False
        self._asked: dict[str, None] = {}  # calls that it was asked to place, oldest first

    def place(self, order: wire.PlaceCall) -> None:
        """Ask the gateway to ring somebody."""
        self._asked[order.call_id] = None
        if len(self._asked) > MAX_ASKED:
            del self._asked[next(iter(self._asked))]
        self._link.send(order)

    def was_asked(self, call_id: str) -> bool:
        """Whether this gateway was asked for this call."""
        return call_id in self._asked

    def hang_up(self, call_id: str) -> None:
        """Ask the gateway to stop ringing."""
        self._asked.pop(call_id, None)
        self._link.send(wire.HangUp(call_id, "cancelled"))

    def received(self, event: wire.FromGateway) -> None:
        desk, link = self._desk, self._link
        call = desk.calls.get(event.call_id)
        if isinstance(event, wire.Pinged):
            link.send(wire.Pong(event.call_id, event.ts))
            desk.seen(link, event.call_id)
        elif isinstance(event, wire.AuthRequested):
            self._on_auth_request(event)
        elif isinstance(event, wire.CallStarted):
            self._on_session_start(event)
        elif isinstance(event, wire.CallResumed):
            self._on_resume(event)
        elif isinstance(event, wire.CallProgressed):
            self._on_progress(event)
        elif call is not None and call.link is link:
            call.feed(event)
        elif call is None and isinstance(event, wire.CallEnded):
            desk.bookings.forget(event.call_id)
        else:
            desk.count("not-its-call", link)

    def dropped(self) -> None:
        """Nobody knows whose message it was: it keeps no call from being idle."""

    def disconnected(self, reason: str) -> None:
        self._gone = True
        for call in self._desk.on_link(self._link):
            call.detach()
            if self._desk.draining:
                lost = EndRequested("connection-lost", "gateway", detail=reason, tell=False)
                call.feed(lost)
            else:
                call.feed(LinkLost())
                self._desk.fulfil_wish(call)

    def drain(self) -> None:
        """The socket stays: its calls end one by one, and every auth_request is answered."""

    # --- may a call be -----------------------------------------------------------

    def _on_auth_request(self, event: wire.AuthRequested) -> None:
        desk, link, call_id = self._desk, self._link, event.call_id
        desk.expire()
        live = call_id in desk.calls
        asked = False

        def gate() -> Decision | None:
            nonlocal asked
            closed = desk.inbound_gate()
            if closed is not None or live or asked:
                return closed
            asked = desk.bookings.ask(call_id, host(link))
            return None if asked else _AT_CAPACITY

        def decided(decision: Decision) -> None:
            if decision.authorized:
                desk.warm()
            if asked:
                until = desk.clock.now() + desk.config.bridge.auth_grant_ms / 1000
                granted = None
                if decision.authorized:
                    granted = Grant(event.caller, until, decision.settings)
                desk.bookings.decided(call_id, granted)
            elif not decision.authorized:
                desk.bookings.revoke(call_id)
            link.send(
                wire.AuthAnswer(
                    call_id=call_id,
                    correlation_id=event.correlation_id,
                    authorized=decision.authorized,
                    strategy=decision.strategy,
                    reason=decision.reason,
                    timestamp_ms=desk.clock.wall_ms(),
                )
            )

        request = PolicyRequest(call_id, "csharp", event.caller, "auth_request")
        desk.deciding.ask(request, link.address, gate, decided)

    def _on_session_start(self, event: wire.CallStarted) -> None:
        desk, link, call_id = self._desk, self._link, event.call_id
        desk.expire()
        if (call := desk.calls.get(call_id)) is not None:
            self._on_start_again(call, event)
            return
        if event.direction == "outbound":
            if not desk.when_named(event, "csharp", lambda: self._start_placed(event)):
                self._start_placed(event)
            return
        grant = desk.bookings.redeem(call_id)
        granted = grant.caller if grant else None
        request = PolicyRequest(call_id, "csharp", event.caller, "session_start")
        decision = desk.deciding.redeem(request, link.address, desk.inbound_gate, granted)
        if decision.authorized and grant is not None:
            desk.start(link, event, event.recording, settings=grant.settings)
            return
        if grant is not None:
            desk.slots.give_back(call_id)
        link.send(wire.HangUp(call_id, "not-allowed"))

    def _start_placed(self, event: wire.CallStarted) -> None:
        desk, link = self._desk, self._link
        if self._gone:
            desk.bookings.forget(event.call_id)
        elif not desk.start_placed(link, event, event.recording):
            desk.count("unknown-outbound", link)
            link.send(wire.HangUp(event.call_id, "not-allowed"))

    # --- calls that exist -----------------------------------------------------------

    def _on_start_again(self, call: Call, event: wire.CallStarted) -> None:
        """A gateway that cannot resume starts its call anew on another socket.

        The running call keeps its socket; one that has lost it goes on here, if the same
        caller may still call. Nothing is sent again: the gateway knows of no gap.
        """
        desk, link = self._desk, self._link
        same = (
            call.setup.dialect == "csharp"
            and call.setup.direction == event.direction
            and identity(call.setup.caller) == identity(event.caller)
        )
        allowed = same
        if same and event.direction == "inbound":
            request = PolicyRequest(event.call_id, "csharp", event.caller, "session_start")
            decision = desk.deciding.by_rules(request, desk.inbound_gate)
            desk.deciding.record(request, link.address, decision)
            allowed = decision.authorized
        if call.link is not None:
            desk.count("duplicate-call", link)
            if allowed and call.link is not link:
                desk.wish(call, link, _GOT_EVERYTHING)
        elif allowed:
            desk.resume(call, link, _GOT_EVERYTHING)
        else:
            desk.count("duplicate-call", link)
            link.send(wire.HangUp(event.call_id, "not-allowed"))

    def _on_resume(self, event: wire.CallResumed) -> None:
        call = self._desk.calls.get(event.call_id)
        if call is None or call.setup.dialect != "csharp" or call.link is self._link:
            self._desk.count("resume-unknown", self._link)
        elif call.link is None:
            self._desk.resume(call, self._link, event.last_received_seq)
        else:
            # Its socket still looks alive. If that is only because nobody noticed yet that
            # it is dead, the wish is granted the moment we do.
            self._desk.count("resume-foreign", self._link)
            self._desk.wish(call, self._link, event.last_received_seq)

    def _on_progress(self, event: wire.CallProgressed) -> None:
        desk = self._desk
        desk.seen(self._link, event.call_id)
        error = printable(event.error)
        turned_down = event.status == "failed" and declined(error)
        word: FarWord = "declined" if turned_down else event.status
        desk.far_progress(FarProgress(event.call_id, word, error))
