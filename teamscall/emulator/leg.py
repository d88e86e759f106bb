"""One call that the bridge placed, from the first ring to its end, as a pure state machine.

Owns what a far side says while it rings, who stops the ringing and why, and what comes of
it. Refuses to know sockets, HTTP and clocks. Once somebody has picked up, ``far_side``
plays the call; this has the same face, so the same shell runs it.

Rule 1: no audio flows before the pick-up, and no second session start after it.
Rule 2: the first reason to stop ringing wins; with ``late`` the phone is picked up anyway.
Rule 3: StandIn's leg may close before the request to cancel comes: that is waited for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import msgspec

from teamscall.emulator import happenings as seen
from teamscall.emulator.answering import Answering, Asked
from teamscall.emulator.controls import Controls, DropLink, HangUpNow
from teamscall.emulator.diary import Diary
from teamscall.emulator.far_side import FarSide
from teamscall.emulator.plan import Plan
from teamscall.emulator.report import EXIT_CODES, Outcome, Report, Rung
from teamscall.emulator.sources import Source
from teamscall.emulator.tracks import Tracks
from teamscall.text import printable
from teamscall.wire import events as wire
from teamscall.wire.events import FRAME_MS, Dropped, FromGateway, ToGateway

State = Literal[
    "ringing",
    "deserted",  # StandIn: the bridge closed the leg; its DELETE must follow
    "linking",  # a socket is needed, for the call or for the last word about it
    "talking",
    "over",
]
Stopped = Literal["bridge", "callee", "link", "interrupted"]

FRAME_S = FRAME_MS / 1000

# standin.md: a cancelled call is always cancelled by DELETE.
CANCEL_WAIT_S = 5.0

# A bridge must hang up a leg that is answered too late. Longer than any refusal takes.
LATE_PATIENCE_S = 10.0

_REFUSALS = frozenset({"not-allowed", "callid-mismatch", "agent-unavailable"})
_ENDED_BY: dict[str, Literal["bridge", "callee", "link"]] = {
    "completed": "callee",
    "interrupted": "callee",
    "ended-by-bot": "bridge",
    "refused": "bridge",
    "handshake-refused": "bridge",
}


class Leg:
    """See the module. ``linked``: it begins on an open link."""

    def __init__(
        self,
        plan: Plan,
        answering: Answering,
        asked: Asked,
        url: str,
        source: Source,
        controls: Controls,
        *,
        began: float,
        linked: bool,
        on_event: seen.OnEvent,
        tracks: Tracks | None = None,
        play: Callable[[bytes], None] | None = None,
    ) -> None:
        self.state: State = "ringing"
        self.handshake_ms = 0.0
        self.wants_link = False  # for the shell to carry out; ``linked`` follows
        self.outcome: wire.Outcome | None = None  # StandIn: to be posted to the bridge
        self._plan = msgspec.structs.replace(plan, direction="outbound")
        self._answering = answering
        self._asked = asked
        self._url = url
        self._source = source
        self._controls = controls
        self._tracks = tracks
        self._play = play
        self._on_event = on_event
        self._diary = Diary(began, on_event)
        self._standin = plan.dial.dialect == "standin"
        self._began = began
        self._due = began + answering.ring_for_s
        self._side: FarSide | None = None
        self._link_up = linked
        self._close_code: int | None = None
        self._close_reason = ""
        self._last_word: wire.ProgressStatus | None = None  # C#: to be said once linked
        self._late = False
        self._rang_s: float | None = None
        self._by: Stopped = "link"
        self._result: Outcome = "lost"
        self._reason = ""

    # --- the shell's face ---------------------------------------------------------------

    @property
    def over(self) -> bool:
        return self.state == "over" if self._side is None else self._side.over

    @property
    def link_up(self) -> bool:
        return self._link_up if self._side is None else self._side.link_up

    @property
    def drop_link(self) -> DropLink | None:
        return None if self._side is None else self._side.drop_link

    @drop_link.setter
    def drop_link(self, order: DropLink | None) -> None:
        assert self._side is not None
        self._side.drop_link = order

    @property
    def close_code(self) -> int | None:
        return self._close_code if self._side is None else self._side.close_code

    def begin(self, now: float) -> list[FromGateway]:
        """It rings: the leg is announced (StandIn), or its progress (C#)."""
        if self.state == "over":
            return []
        plan, asked = self._plan, self._asked
        self._began, self._due = now, now + self._answering.ring_for_s
        self._diary.tell(
            seen.Ringing(
                self._diary.ms(now),
                asked.call_id,
                asked.target_type,
                printable(asked.target),
                printable(asked.tenant_id),
                printable(asked.message, 500),
            )
        )
        if not self._answering.rings or not self._link_up:
            return []
        if not self._standin:
            return [wire.CallProgressed(asked.call_id, "ringing")]
        self._tell_connected(now)
        return [self._start("inactive" if plan.recording_at_start is not None else None)]

    def next_tick(self, now: float) -> float:
        return now + FRAME_S if self._side is None else self._side.next_tick(now)

    def tick(self, now: float, wall_ms: int) -> list[FromGateway]:
        """Everything that is due at ``now``."""
        if self._side is not None:
            return self._side.tick(now, wall_ms)
        while self.state in ("ringing", "deserted") and (command := self._controls.take()):
            if isinstance(command, HangUpNow):
                return self._declined(command, now)
            self._diary.warn("not done: it still rings", now)
        if self.state == "deserted" and now >= self._due:
            self._diary.warn("the bridge left while it rang, and sent no DELETE", now)
            self._stop("not-answered", "bridge", self._reason, now)
        elif self.state == "ringing" and now >= self._due:
            return self._answer(now)
        return []

    def received(self, message: ToGateway | Dropped, now: float, wall_ms: int) -> list[FromGateway]:
        """One decoded message of the bridge."""
        if self._side is not None:
            return self._side.received(message, now, wall_ms)
        if self.state == "over":
            return []
        if isinstance(message, Dropped):
            self._diary.ignore(message.cause, message.detail, now)
        elif message.call_id != self._asked.call_id:
            self._diary.ignore("foreign", "a message for another call", now)
        elif isinstance(message, wire.HangUp):
            words = printable(message.reason)
            if self._standin and words in _REFUSALS:
                self._stop("refused", "bridge", words, now)
            elif self._standin:
                self._reason = words  # its close follows, and a DELETE
            else:
                return self.cancelled("hung up while it rang", now)
        elif isinstance(message, wire.AudioOut):
            self._diary.ignore("early-audio", "audio before anybody has picked up", now)
        elif not isinstance(message, wire.Pong | wire.Express | wire.SpeechMarks):
            self._diary.ignore("unexpected", "a message before anybody has picked up", now)
        return []

    def link_closed(self, code: int | None, reason: str, now: float) -> None:
        """The socket is gone."""
        if self._side is not None:
            self._side.link_closed(code, reason, now)
            return
        self._link_up = False
        self._close_code, self._close_reason = code, printable(reason)
        if self.state != "ringing" or self._late:
            return
        words = self._reason or self._close_reason or f"closed with {code}"
        words = f"the bridge ended the ringing leg: {words}"
        if not self._standin:
            if not self._answering.own_socket:
                self._stop("lost", "link", "the socket broke while it rang", now)
        elif self._answering.late_s is not None:
            self.cancelled(words, now)
        else:
            self._reason = words
            self.state, self._due = "deserted", now + CANCEL_WAIT_S

    def broken(self, reason: str, now: float) -> None:
        """The shell cannot go on."""
        if self._side is not None:
            self._side.broken(reason, now)
        else:
            self._stop("lost", "link", reason, now)

    def refused(self, reason: str, now: float) -> None:
        """The bridge does not let the wanted link in; a late one, it must not."""
        if self._late:
            self._stop("ended-by-bot", "bridge", f"the late leg was refused: {reason}", now)
        else:
            self._stop("handshake-refused", "bridge", reason, now)

    def link_dropped(self, now: float) -> None:
        if self._side is not None:
            self._side.link_dropped(now)

    def resumed(self, now: float) -> list[FromGateway]:
        return [] if self._side is None else self._side.resumed(now)

    def linked(self, now: float) -> list[FromGateway]:
        """The link that was wanted is open."""
        self._link_up = True
        if self.state != "linking":
            return []
        if self._last_word is None:
            return self._talk(now, announce=True)
        self._stop("not-answered", "callee", self.outcome or "failed", now)
        return [self._progress(self._last_word)]

    # --- from outside ---------------------------------------------------------------------

    def cancelled(self, words: str, now: float) -> list[FromGateway]:
        """The bridge stops the ringing; of a call that is up: it ends it."""
        if self._side is not None:
            return self._side.received(wire.HangUp(self._asked.call_id, words), now, 0)
        if self.state not in ("ringing", "deserted", "linking") or self._late:
            return []
        late_s = self._answering.late_s
        if late_s is None:
            said = self._standin and self._link_up
            self._stop("not-answered", "bridge", words, now)
            return [wire.CallEnded(self._asked.call_id, "cancelled")] if said else []
        self._late = True
        self.state, self._due = "ringing", now + late_s
        self._diary.tell(seen.RingStopped(self._diary.ms(now), "bridge", words, self._rang_ms(now)))
        return []

    def ms(self, now: float) -> int:
        """Milliseconds since the call was asked for."""
        return self._diary.ms(now)

    def report(self) -> Report:
        """What came of it."""
        if self._side is None:
            report = self._unanswered()
        else:
            report = self._side.report()
            if self._late:
                report = _judge_late(report)
        return msgspec.structs.replace(report, rung=self.rung(report))

    def rung(self, report: Report) -> Rung:
        """Who was rung, for a report of this call."""
        asked = self._asked
        by = _ENDED_BY.get(report.outcome, "link")
        if self._side is None and self._by != "interrupted":
            by = self._by
        return Rung(
            asked.target_type,
            printable(asked.target),
            printable(asked.tenant_id),
            printable(asked.message, 500),
            self._answering.answer,
            rang_ms=round((self._rang_s or 0.0) * 1000),
            picked_up=self._side is not None,
            late=self._late,
            ended_by=by,
        )

    # --- ringing ends ---------------------------------------------------------------------

    def _answer(self, now: float) -> list[FromGateway]:
        answer = self._answering.answer
        if answer == "pick-up":
            if not self._link_up or (self._answering.own_socket and not self._standin):
                self._want_link()
                return [self._progress("answered")] if self._link_up else []
            return self._talk(now, announce=not self._standin)
        return self._turn_away(answer, now)

    def _turn_away(self, outcome: wire.Outcome, now: float) -> list[FromGateway]:
        self.outcome = outcome
        if not self._standin and not self._link_up:
            self._last_word = self._word()
            self._want_link()
            return []
        said = self._final_word()
        self._stop("not-answered", "callee", outcome, now)
        return said

    def _declined(self, command: HangUpNow, now: float) -> list[FromGateway]:
        """Hands on the phone: a key declines it, Ctrl-C ends the emulator."""
        if not command.interrupted:
            return self._turn_away("declined", now)
        self.outcome = "failed"
        said = self._final_word()  # no new socket is opened for it
        self._stop("interrupted", "interrupted", printable(command.reason), now)
        return said

    def _final_word(self) -> list[FromGateway]:
        if not self._link_up:
            return []
        if self._standin:
            return [wire.CallEnded(self._asked.call_id, self.outcome or "failed")]
        return [self._progress(self._word())]

    def _word(self) -> wire.ProgressStatus:
        """The outcome in the C# dialect, which has no word for a callee who declines."""
        if self.outcome == "no-answer" or self.outcome == "busy":
            return self.outcome
        return "failed"

    def _want_link(self) -> None:
        self.state, self.wants_link = "linking", True

    def _talk(self, now: float, *, announce: bool) -> list[FromGateway]:
        self._rang_s = now - self._began
        plan = self._plan
        if self._late:
            patience = min(LATE_PATIENCE_S, plan.duration_s or LATE_PATIENCE_S)
            plan = msgspec.structs.replace(
                plan, duration_s=patience, silence_s=None, expect_speech=False
            )
        if self._standin and announce:
            self._tell_connected(now)
        self._diary.tell(seen.PickedUp(self._diary.ms(now), self._rang_ms(now), self._late))
        self._side = FarSide(
            plan,
            self._asked.call_id,
            self._url,
            self._source,
            self._controls,
            began=self._began,
            handshake_ms=self.handshake_ms,
            on_event=self._on_event,
            tracks=self._tracks,
            play=self._play,
            diary=self._diary,
        )
        self.state = "talking"
        self.outcome = None if self._late else "answered"
        started = self._side.pick_up(now, announce=announce)
        # On its own socket the call is announced by the session start alone, unless nothing
        # has been said about it yet.
        if self._standin or (self._answering.own_socket and self._answering.hold_socket):
            return started
        return [self._progress("answered"), *started]

    def _stop(self, result: Outcome, by: Stopped, reason: str, now: float) -> None:
        if self.state == "over":
            return
        self.state = "over"
        self._rang_s = now - self._began
        self._result, self._by, self._reason = result, by, reason
        at = self._diary.ms(now)
        self._diary.tell(seen.RingStopped(at, by, reason, self._rang_ms(now)))
        self._diary.tell(seen.Ended(at, result, reason))

    # --- pieces ---------------------------------------------------------------------------

    def _start(self, recording: wire.RecordingStatus | None) -> wire.CallStarted:
        plan = self._plan
        return wire.CallStarted(
            self._asked.call_id, plan.caller, "outbound", plan.thread_id, recording
        )

    def _progress(self, status: wire.ProgressStatus) -> wire.CallProgressed:
        error = ""
        if status == "failed":
            error = "declined" if self.outcome == "declined" else "the call failed"
        return wire.CallProgressed(self._asked.call_id, status, error)

    def _rang_ms(self, now: float) -> int:
        return round((now - self._began) * 1000)

    def _tell_connected(self, now: float) -> None:
        self._diary.tell(
            seen.Connected(
                self._diary.ms(now),
                self._url,
                self._asked.call_id,
                self._plan.dial.dialect,
                self.handshake_ms,
            )
        )

    def _unanswered(self) -> Report:
        result, reason = self._result, self._reason
        wanted = self._answering.answer == "pick-up" and self._plan.expect_speech
        if result == "not-answered" and wanted:
            result, reason = "no-speech", f"nobody had picked up: {reason}"
        return Report(
            outcome=result,
            exit_code=int(EXIT_CODES[result]),
            reason=reason,
            call_id=self._asked.call_id,
            url=self._url,
            dialect=self._plan.dial.dialect,
            direction="outbound",
            handshake_ms=self.handshake_ms or None,
            close_code=self._close_code,
            close_reason=self._close_reason,
            warnings=tuple(self._diary.warnings),
        )


def _judge_late(report: Report) -> Report:
    """A leg that was answered too late must be hung up by the bridge, and soon."""
    if report.outcome in ("interrupted", "lost"):
        return report
    if report.outcome in ("refused", "ended-by-bot"):
        outcome: Outcome = "ended-by-bot"
        reason = f"the late leg was hung up: {report.reason}"
    else:
        outcome = "failed"
        reason = f"the bridge did not hang up a leg that was picked up late: {report.reason}"
    return msgspec.structs.replace(
        report, outcome=outcome, exit_code=int(EXIT_CODES[outcome]), reason=reason
    )
