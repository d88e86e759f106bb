"""A placed call as a state machine: from the first ring, without a socket and without waiting."""

from __future__ import annotations

from typing import Any

import pytest
from emulator_rig import tone

from teamscall.emulator import happenings as seen
from teamscall.emulator.answering import MAX_RING_S, Answering, Asked
from teamscall.emulator.controls import Controls
from teamscall.emulator.leg import CANCEL_WAIT_S, LATE_PATIENCE_S, Leg
from teamscall.emulator.plan import Dial, Plan
from teamscall.emulator.report import Report
from teamscall.emulator.sources import Silence
from teamscall.wire.events import (
    AudioIn,
    AudioOut,
    CallEnded,
    CallProgressed,
    CallStarted,
    Dialect,
    Dropped,
    FromGateway,
    HangUp,
    ParticipantsChanged,
    RecordingChanged,
    ToGateway,
)

WALL = 1_700_000_000_000
ASKED = Asked("call", "user", "u-1", "t-1", "Hello")


class Play:
    """Drives a leg with a hand-moved clock and keeps what it sent."""

    def __init__(
        self,
        dialect: Dialect = "standin",
        *,
        linked: bool = True,
        plan: dict[str, Any] | None = None,
        **answering: Any,
    ) -> None:
        self.events: list[seen.EmulatorEvent] = []
        self.controls = Controls()
        self.now = 100.0
        self.leg = Leg(
            Plan(Dial("x", b"s", dialect), **(plan or {})),
            Answering(**answering),
            ASKED,
            "ws://x/call",
            Silence(),
            self.controls,
            began=self.now,
            linked=linked,
            on_event=self.events.append,
        )
        self.sent: list[FromGateway] = list(self.leg.begin(self.now))

    def run(self, seconds: float, *, step: float = 0.02) -> None:
        end = self.now + seconds
        while self.now < end - 1e-9 and not self.leg.over:
            self.now += step
            self.sent += self.leg.tick(self.now, WALL)

    def get(self, message: ToGateway | Dropped) -> None:
        self.sent += self.leg.received(message, self.now, WALL)

    def cancel(self) -> None:
        self.sent += self.leg.cancelled("cancelled", self.now)

    def link(self) -> None:
        assert self.leg.wants_link
        self.leg.wants_link = False
        self.sent += self.leg.linked(self.now)

    @property
    def report(self) -> Report:
        assert self.leg.over
        return self.leg.report()

    def told(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


def test_standin_announces_a_leg_that_rings_and_says_active_when_it_is_picked_up() -> None:
    play = Play(ring_s=1.0)
    assert [type(event) for event in play.sent] == [CallStarted]
    start = play.sent[0]
    assert isinstance(start, CallStarted)
    assert (start.direction, start.recording) == ("outbound", "inactive")
    play.run(0.98)
    assert len(play.sent) == 1
    play.run(0.2)
    kinds = [type(event) for event in play.sent]
    assert kinds[:4] == [CallStarted, RecordingChanged, ParticipantsChanged, AudioIn]
    assert play.sent[1] == RecordingChanged("call", "active")
    assert kinds.count(CallStarted) == 1
    (picked_up,) = play.told(seen.PickedUp)
    assert picked_up.rang_ms == pytest.approx(1000, abs=25)
    assert not picked_up.late


def test_csharp_says_how_it_goes_and_then_starts_the_session() -> None:
    play = Play("csharp", ring_s=1.0)
    play.run(1.02)
    assert play.sent[:2] == [
        CallProgressed("call", "ringing"),
        CallProgressed("call", "answered"),
    ]
    assert isinstance(play.sent[2], CallStarted)
    assert play.sent[2].direction == "outbound"


def test_the_first_audio_is_counted_from_the_pick_up() -> None:
    play = Play("csharp", ring_s=3.0)
    play.run(3.5)
    play.get(AudioOut("call", 0, tone(20)))
    play.get(HangUp("call", ""))
    play.run(2.0)
    assert play.report.first_audio_ms == pytest.approx(500, abs=30)
    rung = play.report.rung
    assert rung is not None
    assert rung.rang_ms == pytest.approx(3000, abs=30)
    assert (rung.message, rung.ended_by) == ("Hello", "bridge")


def test_audio_before_the_pick_up_is_a_fault_of_the_bridge() -> None:
    play = Play(answer="no-answer", ring_s=1.0)
    play.get(AudioOut("call", 0, tone(20)))
    play.get(Dropped("not-json"))
    play.get(HangUp("another", "x"))
    play.run(1.1)
    assert "audio before anybody has picked up" in " ".join(play.report.warnings)
    assert len(play.report.warnings) == 3
    assert play.report.outcome == "not-answered"


@pytest.mark.parametrize("answer", ["busy", "failed"])
def test_a_busy_line_and_a_failure_never_ring(answer: Any) -> None:
    assert Play("csharp", answer=answer).sent == []
    play = Play(linked=False, answer=answer, ring_s=0.0)
    play.run(0.1)
    assert (play.sent, play.leg.outcome) == ([], answer)


def test_no_answer_rings_until_the_bridge_stops_it_and_not_for_ever() -> None:
    play = Play(answer="no-answer")
    play.run(MAX_RING_S - 1, step=1.0)
    assert not play.leg.over
    play.cancel()
    assert play.sent[-1] == CallEnded("call", "cancelled")
    assert play.leg.outcome is None  # the bridge knows
    play = Play(answer="no-answer")
    play.run(MAX_RING_S + 1, step=1.0)
    assert play.leg.outcome == "no-answer"


def test_the_first_reason_to_stop_wins() -> None:
    play = Play("csharp", ring_s=5.0)
    play.get(HangUp("call", ""))
    play.cancel()
    play.get(AudioOut("call", 0, tone(20)))
    play.leg.link_closed(1000, "", play.now)
    report = play.report
    assert (report.outcome, report.reason) == ("not-answered", "hung up while it rang")
    assert play.told(seen.PickedUp) == []


def test_a_bridge_that_leaves_the_ringing_leg_must_delete_the_call() -> None:
    play = Play(answer="no-answer")
    play.leg.link_closed(1000, "", play.now)
    play.run(1.0)
    assert not play.leg.over
    play.cancel()
    assert (play.report.reason, play.report.warnings) == ("cancelled", ())
    play = Play(answer="no-answer")
    play.get(HangUp("call", "no-answer"))
    play.leg.link_closed(1000, "", play.now)
    play.run(CANCEL_WAIT_S + 1)
    assert "no-answer" in play.report.reason
    assert "sent no DELETE" in play.report.warnings[0]
    assert play.report.exit_code == 0


def test_a_leg_that_the_bridge_refuses_is_refused() -> None:
    play = Play()
    play.get(HangUp("call", "not-allowed"))
    assert (play.report.outcome, play.report.exit_code) == ("refused", 5)


def test_a_csharp_socket_that_breaks_while_it_rings_loses_the_call() -> None:
    play = Play("csharp", ring_s=5.0)
    play.leg.link_closed(None, "", play.now)
    assert (play.report.outcome, play.report.exit_code) == ("lost", 4)


def test_with_a_socket_of_its_own_the_call_waits_for_it() -> None:
    play = Play("csharp", ring_s=1.0, own_socket=True)
    play.run(1.5)
    assert play.sent == [CallProgressed("call", "ringing"), CallProgressed("call", "answered")]
    play.link()
    play.run(0.1)
    assert [type(e) for e in play.sent[2:4]] == [CallStarted, AudioIn]
    play = Play("csharp", linked=False, hold_socket=False, ring_s=1.0)
    play.run(1.5)
    assert play.sent == []
    play.link()
    assert play.sent[0] == CallProgressed("call", "answered")


def test_without_a_socket_the_last_word_opens_one() -> None:
    play = Play("csharp", linked=False, hold_socket=False, answer="declined", ring_s=0.5)
    play.run(1.0)
    assert not play.leg.over
    play.link()
    assert play.sent == [CallProgressed("call", "failed", "declined")]
    assert play.report.outcome == "not-answered"


def test_a_late_answer_must_be_hung_up_soon() -> None:
    play = Play("csharp", late_s=2.0)
    play.run(5.0)
    assert play.told(seen.PickedUp) == []
    play.get(HangUp("call", ""))
    play.run(1.9)
    assert not play.leg.over
    play.run(0.2)
    assert play.told(seen.PickedUp)[0].late
    play.run(LATE_PATIENCE_S + 1)
    assert (play.report.outcome, play.report.exit_code) == ("failed", 1)
    assert "did not hang up" in play.report.reason

    play = Play("standin", late_s=2.0)
    play.leg.link_closed(1000, "", play.now)  # a leg that is closed is a cancelled one
    play.run(2.1)
    play.link()
    assert isinstance(play.sent[1], RecordingChanged | CallStarted)
    play.get(HangUp("call", "not-allowed"))
    play.run(2.0)
    assert (play.report.outcome, play.report.exit_code) == ("ended-by-bot", 0)
    assert play.leg.outcome is None

    play = Play("standin", late_s=2.0)
    play.leg.link_closed(1000, "", play.now)
    play.run(2.1)
    play.leg.refused("no such call (409)", play.now)
    assert play.report.exit_code == 0


def test_hands_on_a_ringing_phone_decline_it_and_ctrl_c_ends_it() -> None:
    play = Play()
    play.controls.mute()
    play.controls.hang_up("hung up by key")
    play.run(0.1)
    assert play.leg.outcome == "declined"
    assert play.report.exit_code == 0
    assert play.sent[-1] == CallEnded("call", "declined")
    play = Play("csharp")
    play.controls.hang_up("interrupted", interrupted=True)
    play.run(0.1)
    assert play.sent[-1] == CallProgressed("call", "failed", "the call failed")
    assert (play.report.outcome, play.report.exit_code) == ("interrupted", 130)


def test_expected_speech_needs_a_call_that_was_picked_up() -> None:
    play = Play(plan={"expect_speech": True})
    play.cancel()
    assert (play.report.outcome, play.report.exit_code) == ("no-speech", 1)


def test_what_the_bridge_says_of_the_callee_is_made_printable() -> None:
    leg = Leg(
        Plan(Dial("x", b"s", "csharp")), Answering(),
        Asked("call", "user", "a\x1b[2Jb", "", "c\x07\r\nd"), "ws://x", Silence(), Controls(),
        began=0.0, linked=True, on_event=(events := list[seen.EmulatorEvent]()).append,
    )  # fmt: skip
    leg.begin(0.0)
    ringing = events[0]
    assert isinstance(ringing, seen.Ringing)
    assert (ringing.target, ringing.message) == ("a [2Jb", "c d")
