"""One StandIn socket: one call, from the upgrade to the start.

Owns what may come before ``session.start``, who is refused and with which reason. The
slot was taken at the upgrade; it goes with the call or is given back here. Refuses to
know what is said once the call is up.
"""

from __future__ import annotations

import asyncio
import collections
import logging
from typing import Literal

import msgspec

from teamscall.calls.desk import Desk, close
from teamscall.calls.events import EndRequested
from teamscall.calls.link import Link
from teamscall.calls.settings import KEPT_FRAMES
from teamscall.policy.authorization import Decision, PolicyRequest
from teamscall.wire import events as wire

log = logging.getLogger("teamscall.calls")

State = Literal[
    "waiting",  # for session.start, by a deadline
    "deciding",  # whether this caller may call
    "started",
    "closed",
]


class StandInLine:
    """See the module."""

    def __init__(self, desk: Desk, link: Link, call_id: str) -> None:
        self._desk = desk
        self._link = link
        self._call_id = call_id
        self._state: State = "waiting"
        self._recording: wire.RecordingStatus | None = None  # an explicit one latches
        self._early: collections.deque[wire.FromGateway] = collections.deque()
        self._start_timer = asyncio.get_running_loop().call_later(
            desk.config.standin.start_timeout_ms / 1000, self.refuse, "pre-start-timeout"
        )
        desk.warm()
        if desk.draining:  # it was let in before the drain began
            self.refuse("server-shutdown")

    def received(self, event: wire.FromGateway) -> None:
        if isinstance(event, wire.Pinged):
            self._link.send(wire.Pong(event.call_id, event.ts))
            self._desk.seen(self._link, self._call_id)
        elif self._state == "started":
            self._started(event)
        elif self._state == "waiting":
            self._before_start(event)
        elif self._state == "deciding":
            self._keep(event)

    def dropped(self) -> None:
        """A message that could not be decoded: the call is not idle all the same."""
        self._desk.seen(self._link, self._call_id)

    def disconnected(self, reason: str) -> None:
        self._start_timer.cancel()
        for call in self._desk.on_link(self._link):
            call.detach()
            call.feed(EndRequested("connection-lost", "gateway", detail=reason, tell=False))
        if self._state in ("waiting", "deciding"):
            self._let_go()

    def drain(self) -> None:
        """No call starts here any more."""
        self.refuse("server-shutdown")

    def refuse(self, reason: str) -> None:
        """No session: say why, close, give the slot back. Nothing once one has started."""
        if self._state not in ("waiting", "deciding"):
            return
        self._let_go()
        log.info(
            "Refused a call before it started",
            extra={"callId": self._call_id, "reason": reason, "address": self._link.address},
        )
        self._link.send(wire.HangUp(self._call_id, reason))
        close(self._link, reason)

    def _let_go(self) -> None:
        self._state = "closed"
        self._start_timer.cancel()
        self._early.clear()
        if not self._desk.bookings.forget(self._call_id):
            self._desk.slots.give_back(self._call_id)

    # --- before, during and after the decision --------------------------------------------

    def _before_start(self, event: wire.FromGateway) -> None:
        if isinstance(event, wire.RecordingChanged):
            self._recording = event.status
        elif isinstance(event, wire.CallEnded):
            self.refuse("ended")
        elif not isinstance(event, wire.CallStarted):
            self._desk.count("before-start", self._link)
        elif event.call_id != self._call_id:
            self.refuse("callid-mismatch")
        else:
            self._state = "deciding"
            self._start_timer.cancel()
            if self._recording is None:
                self._recording = event.recording
            if self._desk.bookings.is_placed(self._call_id):
                # Its id says that it is ours; the direction is optional, and blank is inbound.
                event = msgspec.structs.replace(event, direction="outbound")
            if event.direction == "inbound":
                if self._desk.slots.over_limit:  # it was let in as the leg of a placed one
                    self.refuse("agent-unavailable")
                else:
                    self._decide(event)
            elif not self._desk.when_named(event, "standin", lambda: self._start_placed(event)):
                self._start_placed(event)

    def _start_placed(self, event: wire.CallStarted) -> None:
        if self._state != "deciding":
            return  # the socket went away while we waited for the call's name
        if not self._desk.start_placed(self._link, event, self._recording):
            self.refuse("not-allowed")
            return
        self._state = "started"
        while self._early:
            self._desk.feed(self._call_id, self._early.popleft())

    def _decide(self, event: wire.CallStarted) -> None:
        def decided(decision: Decision) -> None:
            if self._state != "deciding":
                return  # the socket went away, or a drain began, while we decided
            if not decision.authorized:
                self.refuse("not-allowed")
                return
            self._state = "started"
            self._desk.start(self._link, event, self._recording, settings=decision.settings)
            while self._early:
                self._desk.feed(self._call_id, self._early.popleft())

        request = PolicyRequest(event.call_id, "standin", event.caller, "session_start")
        self._desk.deciding.ask(request, self._link.address, self._desk.inbound_gate, decided)

    def _keep(self, event: wire.FromGateway) -> None:
        """While a decision is being made: keep what comes, but nothing the gate forbids."""
        if isinstance(event, wire.CallEnded):
            self.refuse("ended")
            return
        gated = self._desk.settings["standin"].recording_required
        if isinstance(event, wire.RecordingChanged):
            self._recording = event.status
            if gated and event.status != "active":
                kept = [e for e in self._early if not _is_media(e)]
                self._early = collections.deque(kept)
        elif isinstance(event, wire.CallStarted):
            self._desk.count("second-start", self._link)
        elif not (_is_media(event) and gated and self._recording != "active"):
            self._early.append(event)
            if len(self._early) > KEPT_FRAMES:
                self._early.popleft()
                self._desk.count("early-overflow", self._link)

    def _started(self, event: wire.FromGateway) -> None:
        call = self._desk.calls.get(self._call_id)
        if isinstance(event, wire.CallStarted):
            self._desk.count("second-start", self._link)
        elif call is not None and call.link is self._link:
            call.feed(event)


def _is_media(event: wire.FromGateway) -> bool:
    return isinstance(event, wire.AudioIn | wire.VideoIn)
