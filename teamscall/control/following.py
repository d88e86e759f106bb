"""What becomes of a call that is being placed, as the bridge's events tell it.

Pure: events in, the picture so far out. Owns how far a call is, what came of it and which
exit code that is. Refuses to know the connection, clocks and how it is shown.

Rules:

1. A state is never left backwards: the far side's words may overtake each other.
2. What was not answered is over with its attempt, which may be told seconds after its leg is
   gone. What was answered is over with the call and the attempt, whichever is told last;
   ``settle`` ends the waiting for the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from teamscall.calls.records import CallMode, OutboundOutcome
from teamscall.control.protocol import CallStatus, Initiated
from teamscall.errors import ExitCode
from teamscall.text import printable

FollowState = Literal["requested", "waiting", "ringing", "answered", "talking", "ended"]
STATES: tuple[FollowState, ...] = (
    "requested",
    "waiting",
    "ringing",
    "answered",
    "talking",
    "ended",
)
EVENTS = (
    "outbound-progress",
    "call-answered",
    "turn-began",
    "turn-ended",
    "call-closed",
)
"""What has to be subscribed to."""

OUTCOME_EXIT: dict[OutboundOutcome, ExitCode] = {
    "answered": ExitCode.OK,
    "no-answer": ExitCode.NO_ANSWER,
    "busy": ExitCode.BUSY,
    "declined": ExitCode.DECLINED,
    "refused": ExitCode.REFUSED,
    "failed": ExitCode.FAILED,
    "cancelled": ExitCode.FAILED,
}

# Reasons for the end of an answered call that nobody wanted.
ERRORS = frozenset({"error", "agent-unavailable", "connection-lost", "cancelled", "interrupted"})


class Picture(msgspec.Struct, frozen=True):
    """One call, as far as it is known. Times are the bridge's, in ms since the epoch."""

    attempt: str
    call_id: str
    target: str
    mode: CallMode
    via: str
    state: FollowState
    wall_ms: int = 0  # of the last change
    answered_ms: int = 0  # 0: not
    outcome: OutboundOutcome | None = None
    reason: str = ""
    ended_by: str = ""
    duration_ms: int | None = None  # of the call, from its answer
    detail: str = ""
    heard: bool | None = None  # a notification, to its end; None: there was nothing to hear
    no_gateway: bool = False  # it ended while a gateway was waited for

    @property
    def answered(self) -> bool:
        """Somebody answered; it may be over by now."""
        return self.outcome == "answered" or self.answered_ms > 0

    @property
    def over(self) -> bool:
        return self.state == "ended"

    @property
    def exit_code(self) -> ExitCode:
        """What a command that waited for this much exits with."""
        if self.no_gateway:
            return ExitCode.UNAVAILABLE
        if self.outcome is not None and self.outcome != "answered":
            return OUTCOME_EXIT[self.outcome]
        if not self.over:
            return ExitCode.OK
        if self.outcome is None and not self.answered:
            return ExitCode.FAILED
        if self.mode == "notify":
            return ExitCode.FAILED if self.heard is False else ExitCode.OK
        return ExitCode.FAILED if self.reason in ERRORS else ExitCode.OK


class Following:
    """See the module. Begins with the bridge's answer to the request, or with a status."""

    def __init__(
        self,
        attempt: str,
        call_id: str,
        target: str,
        mode: CallMode,
        *,
        via: str = "",
        message: bool = False,
    ) -> None:
        """``message``: there is something to be heard, so that a notification can fail."""
        expects = message and mode == "notify"
        self._expects = expects
        self._closed = False  # the call's own record has come
        self._done = False  # the attempt's has
        self.picture = Picture(
            attempt=attempt,
            call_id=call_id,
            target=printable(target),
            mode=mode,
            via=via,
            state="requested",
            heard=False if expects else None,
        )

    @classmethod
    def of(cls, accepted: Initiated, *, message: bool) -> Following:
        """Of a call that the bridge has just agreed to place."""
        return cls(
            accepted.attempt,
            accepted.call_id,
            accepted.target,
            accepted.mode,
            via=accepted.via or "",
            message=message,
        )

    @classmethod
    def found(cls, call: CallStatus) -> Following:
        """Of a call that is there already, placed or not."""
        placed = call.mode or "conversation"
        following = cls(call.attempt, call.call_id, call.target, placed, via=call.dialect)
        following.catch_up(call)
        return following

    def catch_up(self, call: CallStatus) -> bool:
        """Take a status, where events were missed; whether the picture changed."""
        before = self.picture
        if call.call_id:
            self._change(call_id=call.call_id)
        if call.state == "ended":
            outcome = call.outcome or ("answered" if self.picture.answered else None)
            self._change(
                state="ended",
                outcome=outcome,
                reason=printable(call.reason),
                ended_by=printable(call.ended_by),
                duration_ms=call.duration_ms,
                detail=printable(call.detail),
            )
        elif call.state in ("requested", "waiting", "ringing"):
            self._advance(call.state, call.started_ms)
        else:
            self._advance("answered", call.started_ms)
        return self.picture != before

    def on(self, event: Mapping[str, Any]) -> bool:
        """Take one event; whether the picture changed. One of another call changes nothing."""
        if not self._is_about_us(event):
            return False
        before = self.picture
        name, wall_ms = event.get("event"), _number(event.get("wallMs"))
        if call_id := event.get("callId"):
            self._change(call_id=str(call_id))
        if name == "outbound-progress":
            self._on_progress(event, wall_ms)
        elif name == "call-answered":
            self._advance("answered", wall_ms)
        elif name == "turn-began" and self.picture.answered:
            self._advance("talking", wall_ms)
        elif name == "turn-ended" and self._expects and event.get("kind") == "greeting":
            self._change(heard=event.get("status") == "completed" or self.picture.heard)
        elif name == "call-closed":
            self._on_closed(event, wall_ms)
        return self.picture != before

    @property
    def progress(self) -> int:
        """How many states it is along; only ever grows."""
        return STATES.index(self.picture.state)

    @property
    def settling(self) -> bool:
        """One of the two records of the end of an answered call is still to come."""
        closed = self._closed and self.picture.answered
        return (closed or self._done) and not self.picture.over

    def settle(self) -> bool:
        """Do not wait for the other one any longer; whether that ended it."""
        if not self.settling:
            return False
        self._change(state="ended", outcome=self.picture.outcome or "answered")
        return True

    # --- inside -----------------------------------------------------------

    def _is_about_us(self, event: Mapping[str, Any]) -> bool:
        call_id = event.get("callId") or ""
        if event.get("event") == "outbound-progress" and self.picture.attempt:
            return event.get("attempt") == self.picture.attempt
        return bool(call_id) and call_id == self.picture.call_id

    def _on_progress(self, event: Mapping[str, Any], wall_ms: int) -> None:
        if dialect := event.get("dialect"):
            self._change(via=str(dialect))
        if (detail := event.get("detail")) and not self._closed:
            self._change(detail=printable(str(detail)))
        state, outcome = event.get("state"), event.get("outcome")
        if state == "ended":
            self._done = True
            known = outcome if outcome in OUTCOME_EXIT else "failed"
            waited = self.picture.state == "waiting" and known == "failed"
            self._change(outcome=known, wall_ms=wall_ms, no_gateway=waited)
            if known != "answered" or self._closed:
                self._change(state="ended")
        elif state in STATES:
            self._advance(state, wall_ms)

    def _on_closed(self, event: Mapping[str, Any], wall_ms: int) -> None:
        self._closed = True
        duration = _number(event.get("durationMs"))
        if self.picture.answered_ms:
            duration = max(0, wall_ms - self.picture.answered_ms)
        self._change(
            reason=printable(str(event.get("reason") or "")),
            ended_by=printable(str(event.get("endedBy") or "")),
            duration_ms=duration,
            wall_ms=wall_ms,
        )
        if detail := event.get("detail"):
            self._change(detail=printable(str(detail)))
        if self._done or not self.picture.attempt:
            self._change(state="ended")

    def _advance(self, state: FollowState, wall_ms: int) -> None:
        if STATES.index(state) <= STATES.index(self.picture.state):
            return
        self._change(state=state, wall_ms=wall_ms)
        if state in ("answered", "talking") and not self.picture.answered_ms:
            self._change(answered_ms=wall_ms)

    def _change(self, **fields: Any) -> None:
        self.picture = msgspec.structs.replace(self.picture, **fields)


def _number(value: object) -> int:
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) else 0
