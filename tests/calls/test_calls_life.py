"""The life of a call: the recording gate, links that drop, limits, and every end."""

from __future__ import annotations

from typing import Any

import pytest
from playbook import CALL, FRAME_S, Playbook, tone

from teamscall.calls import records
from teamscall.calls.events import EndRequested, Finish, LinkLost, LinkResumed, MessageSeen
from teamscall.calls.settings import RESEND_FRAMES, Goodbyes
from teamscall.engines import base as engine
from teamscall.wire import events as wire

ACTIVE = wire.RecordingChanged(CALL, "active")
INACTIVE = wire.RecordingChanged(CALL, "inactive")


class TestTheRecordingGate:
    @pytest.mark.parametrize("status", [None, "inactive", "unknown"])
    def test_closed_nothing_reaches_the_engine(self, status: wire.RecordingStatus | None) -> None:
        book = Playbook(recording_required=True, recording=status, dialect="standin")
        book.speak(0.5)
        book.quiet(1)
        book(wire.VideoIn(CALL, "camera", 0, 1, 1, "image/jpeg", b"x"))
        assert not book.all(engine.Hear)
        assert not book.all(engine.BeginUtterance)
        assert book.talk.counters.gated_in == 76
        assert book.last(records.GateChanged).open is False

    def test_closed_the_bot_still_speaks(self) -> None:
        book = Playbook(recording_required=True, greeting="Hello.")
        book.answer(1, "Hello.", ms=400)
        book.wait(1)
        book(wire.SayRequested(CALL, "Time."))
        book.answer(2, "Time.", ms=400)
        book.wait(1)
        assert len(book.all(wire.AudioOut)) == 40

    def test_opens_and_the_caller_is_heard(self) -> None:
        book = Playbook(recording_required=True)
        book(ACTIVE)
        assert book.last(records.GateChanged).open is True
        book.answer(book.ask())
        assert book.all(wire.AudioOut)

    def test_that_closes_in_an_utterance_discards_it(self) -> None:
        book = Playbook(recording_required=True, recording="active")
        book.speak(0.5)
        book(INACTIVE)
        book.expect(engine.BeginUtterance(1), engine.DiscardHeard())
        book.quiet(1)
        assert book.all(engine.CommitUtterance) == []
        book(engine.Transcript(1, "secret", True))
        book(ACTIVE)
        book(engine.Transcript(1, "secret", False), engine.Transcript(1, "secret", True))
        assert not book.all(records.Heard)
        assert not book.all(engine.Respond)
        book.ask("now")
        assert book.last(engine.Respond).text == "now"

    def test_that_closes_before_the_transcript_makes_it_void(self) -> None:
        book = Playbook(recording_required=True, recording="active")
        book.speak(0.5)
        book.quiet(1)
        book(INACTIVE, engine.Transcript(1, "secret", True), ACTIVE)
        book(engine.Transcript(1, "secret", True))
        assert book.all(engine.Respond) == []
        book.wait(20)
        assert book.all(records.EngineTrouble) == []

    def test_that_closes_before_the_engine_is_up_keeps_nothing(self) -> None:
        book = Playbook(recording_required=True, recording="active", ready=False)
        book.speak(0.5)
        book.quiet(1)
        book(INACTIVE)
        out = book(engine.EngineReady())
        assert out == [engine.DiscardHeard()]

    def test_that_closes_releases_what_waited_for_the_caller(self) -> None:
        book = Playbook(recording_required=True, recording="active")
        turn = book.ask()
        book.speak(0.3)
        book.answer(turn, ms=300)
        assert book.all(wire.AudioOut) == []
        book(INACTIVE)
        assert book.all(wire.AudioOut)

    def test_counts_for_an_engine_that_takes_the_turns(self) -> None:
        book = Playbook(recording_required=True, recording="active", turn_taking="engine")
        book(engine.SpeechStarted(1), INACTIVE, engine.SpeechStopped(1), ACTIVE)
        book(engine.SpeechStopped(1), engine.Transcript(1, "secret", True))
        assert book.all(engine.Respond) == []

    def test_not_required_leaves_no_record(self) -> None:
        book = Playbook()
        book(INACTIVE, ACTIVE)
        assert book.all(records.GateChanged) == []
        book.ask()

    @pytest.mark.parametrize("required", [True, False])
    def test_or_not_every_change_of_the_status_is_recorded(self, required: bool) -> None:
        book = Playbook(recording_required=required, recording="inactive", dialect="standin")
        book(ACTIVE, ACTIVE)
        book.speak(0.5)
        book(INACTIVE)
        seen = [(seen.status, seen.utterance) for seen in book.all(records.RecordingSeen)]
        assert seen == [("inactive", 0), ("active", 0), ("inactive", 1)]

    def test_of_a_call_without_one_is_not_recorded(self) -> None:
        book = Playbook()
        book.answer(book.ask())
        assert book.all(records.RecordingSeen) == []

    def test_that_changes_before_a_vendors_transcript_counts_what_was_said_already(self) -> None:
        book = Playbook(turn_taking="engine", dialect="standin", recording="inactive")
        book.speak(0.5)
        book(ACTIVE)
        assert book.last(records.RecordingSeen).utterance == 1


class TestALinkThatDrops:
    def speaking(self, **changes: Any) -> Playbook:
        book = Playbook(**changes)
        book.answer(book.ask(), ms=2000)
        book.wait(0.5)
        book(LinkLost())
        return book

    def test_pauses_and_goes_on_where_the_gateway_was(self) -> None:
        book = self.speaking()
        sent = book.all(wire.AudioOut)
        book.wait(3)
        assert book.all(wire.AudioOut) == sent
        got = sent[-6].seq
        resumed = book.now
        book(LinkResumed(got))
        book.wait(3)
        seqs = [f.seq for f in book.all(wire.AudioOut)]
        assert seqs == [*range(len(sent)), *range(got + 1, 100)]
        moments = [m for m in book.moments(wire.AudioOut) if m >= resumed]
        for n, moment in enumerate(moments):
            assert moment - resumed >= (n - 2) * FRAME_S - 1e-6, "ahead of the lead"
            assert moment - resumed <= n * FRAME_S + 1e-6, "late"
        assert book.last(records.TurnEnded).status == "completed"

    def test_and_a_gateway_that_has_everything_gets_only_what_is_new(self) -> None:
        book = self.speaking()
        sent = len(book.all(wire.AudioOut))
        book(LinkResumed(10**12))
        book.wait(3)
        assert [f.seq for f in book.all(wire.AudioOut)] == list(range(100))
        assert sent < 100

    def test_and_a_gateway_that_is_far_behind_gets_the_last_five_seconds(self) -> None:
        book = Playbook()
        book.answer(book.ask(), ms=8000)
        book.wait(7)
        book(LinkLost())
        sent = len(book.all(wire.AudioOut))
        book(LinkResumed(0))
        book.wait(10)
        again = [f.seq for f in book.all(wire.AudioOut)][sent:]
        assert again == list(range(sent - RESEND_FRAMES, 400))

    def test_and_nothing_that_was_flushed_comes_again(self) -> None:
        book = Playbook()
        book.answer(book.ask(), ms=2000)
        book.wait(0.5)
        book.speak(0.4)
        assert book.all(wire.Flush)
        book(LinkLost(), LinkResumed(-1))
        sent = len(book.all(wire.AudioOut))
        book.wait(2)
        assert len(book.all(wire.AudioOut)) == sent

    def test_and_what_is_sent_again_can_be_interrupted(self) -> None:
        book = self.speaking()
        book.wait(1)
        book(LinkResumed(0))
        flushes = len(book.all(wire.Flush))
        book.speak(0.4)
        assert len(book.all(wire.Flush)) == flushes + 1
        sent = len(book.all(wire.AudioOut))
        book.quiet(0.5)
        assert len(book.all(wire.AudioOut)) == sent

    def test_twice(self) -> None:
        book = self.speaking()
        book(LinkResumed(5))
        book.wait(0.1)
        book(LinkLost())
        sent = len(book.all(wire.AudioOut))
        book(LinkResumed(5))
        book.wait(5)
        assert [f.seq for f in book.all(wire.AudioOut)][sent:] == list(range(6, 100))

    def test_for_longer_than_the_grace_ends_the_call_untold(self) -> None:
        book = self.speaking(resume_grace_s=15.0)
        book.wait(15.1)
        assert book.reason() == "connection-lost"
        assert book.all(wire.HangUp) == []

    def test_while_a_goodbye_is_due_ends_without_it(self) -> None:
        book = self.speaking()
        book(EndRequested("time-limit", "bridge", "Time is up."))
        assert book.reason() == "time-limit"
        assert book.all(engine.Say) == []


class TestRinging:
    def ringing(self, **changes: Any) -> Playbook:
        changes = {"recording_required": True, "opening": "Good morning.", **changes}
        return Playbook(dialect="standin", direction="outbound", **changes)

    def test_says_nothing_until_the_recording_is_active(self) -> None:
        book = self.ringing()
        book.wait(5)
        assert book.all(engine.Say) == []
        book(ACTIVE)
        book.expect(engine.Say(1, "Good morning."))

    def test_that_was_answered_already_speaks_at_once(self) -> None:
        book = self.ringing(recording="active")
        book.expect(engine.Say(1, "Good morning."))

    def test_ends_when_nobody_answers_and_never_for_being_idle(self) -> None:
        book = self.ringing(idle_timeout_s=1.0, ring_timeout_s=30.0)
        book.wait(29.9)
        assert book.talk.phase == "ringing"
        book.wait(0.2)
        assert book.reason() == "no-answer"
        book.expect(wire.HangUp(CALL, "no-answer"))

    def test_counts_the_longest_call_from_the_answer(self) -> None:
        book = self.ringing(max_duration_s=35.0, idle_timeout_s=1000.0)
        book.wait(20)
        book(ACTIVE)
        book.answer(1, ms=100)
        book.wait(34)
        assert book.talk.phase == "live"

    def test_to_notify_hangs_up_once_the_opening_was_heard(self) -> None:
        book = self.ringing(notify=True)
        book(ACTIVE)
        book.answer(1, "Good morning.", ms=600)
        book.wait(0.5)
        assert book.talk.phase == "live"
        book.wait(0.2)
        assert book.reason() == "hangup-bot"
        assert book.last(records.TurnEnded).heard_text == "Good morning."

    @pytest.mark.parametrize("how", ["fails", "hangs", "nothing to say"])
    def test_to_notify_hangs_up_even_if_nothing_can_be_said(self, how: str) -> None:
        opening = "" if how == "nothing to say" else "Good morning."
        book = self.ringing(notify=True, opening=opening)
        book(ACTIVE)
        if how == "fails":
            book(engine.AnswerDone(1, "failed", error="503"))
        book.wait(31)
        assert book.reason() == "hangup-bot"

    def test_a_csharp_leg_is_up_when_it_starts(self) -> None:
        book = Playbook(direction="outbound", opening="Hi.", greeting="Not this.")
        book.expect(engine.Say(1, "Hi."))


class TestSayAndKeys:
    def test_say_flushes_what_plays_and_speaks(self) -> None:
        book = Playbook(dialect="standin")
        turn = book.ask()
        book.answer(turn, ms=3000)
        book.wait(0.5)
        book(wire.SayRequested(CALL, "One minute."))
        book.expect(wire.Flush, engine.TruncateAnswer, engine.Say(2, "One minute."))
        book.answer(2, "One minute.", ms=200)
        book.wait(0.3)
        ended = book.all(records.TurnEnded)
        assert [(e.kind, e.status) for e in ended] == [
            ("answer", "interrupted"),
            ("say", "completed"),
        ]
        assert book.all(records.Interrupted)[0].by == "say"

    def test_a_key_is_recorded_and_asked_about(self) -> None:
        book = Playbook(dialect="standin")
        book(wire.DigitPressed(CALL, "#"))
        book.expect(records.Pressed, engine.PressDigit(1, "#"))

    def test_a_key_does_not_interrupt_a_greeting_that_may_not_be(self) -> None:
        book = Playbook(greeting="Hello.", greeting_interruptible=False)
        book.answer(1, "Hello.", ms=1000)
        book(wire.DigitPressed(CALL, "1"))
        assert book.all(wire.Flush) == []

    def test_participants_are_recorded(self) -> None:
        book = Playbook()
        book(wire.ParticipantsChanged(CALL, 3))
        assert book.last(records.ParticipantsSeen).count == 3


class TestTheEnd:
    def test_by_the_caller_in_the_middle_of_an_answer(self) -> None:
        book = Playbook()
        turn = book.ask()
        book(engine.AnswerAudio(turn, tone(3000), 16_000, "one two three four"))
        book.wait(1)
        book(wire.CallEnded(CALL, "hangup-user"))
        assert book.reason() == "hangup-user"
        assert book.all(wire.HangUp) == []
        assert book.last(records.TurnEnded).status == "interrupted"
        book.expect(engine.CancelAnswer(turn), records.TurnEnded, records.CallClosed, Finish)

    def test_by_the_time_limit_after_a_goodbye(self) -> None:
        book = Playbook(max_duration_s=10.0)
        book.answer(book.ask(), ms=60_000)
        book.wait(9)
        book.expect(wire.Flush, engine.Say(2, "Time is up."))
        book.speak(0.5)  # nobody listens any more
        book.answer(2, "Time is up.", ms=1000)
        assert book.talk.phase == "goodbye"
        book.wait(1.1)
        assert book.reason() == "time-limit"
        assert book.last(records.TurnEnded).status == "completed"
        book.expect(wire.HangUp(CALL, "time-limit"))

    def test_by_the_time_limit_though_the_goodbye_hangs(self) -> None:
        book = Playbook(max_duration_s=10.0, ready=False)
        book(engine.EngineReady())
        book.wait(14.9)
        assert book.talk.phase == "goodbye"
        book.wait(0.2)
        assert book.reason() == "time-limit"

    def test_by_the_time_limit_without_a_goodbye(self) -> None:
        book = Playbook(max_duration_s=10.0, goodbyes=Goodbyes())
        book.wait(10)
        assert book.reason() == "time-limit"

    def test_a_goodbye_of_no_length_is_not_waited_for(self) -> None:
        book = Playbook(goodbyes=Goodbyes(time_limit="Bye", deadline_s=0.0))
        book(EndRequested("time-limit", "bridge", "Bye"))
        assert book.reason() == "time-limit"

    def test_for_being_idle(self) -> None:
        book = Playbook(idle_timeout_s=90.0)
        book.wait(60)
        book(MessageSeen())
        book.wait(89)
        assert book.talk.phase == "live"
        book.wait(1.1)
        assert book.reason() == "idle-timeout"
        book.expect(wire.HangUp(CALL, "idle-timeout"))

    @pytest.mark.parametrize(
        "event",
        [
            wire.AudioIn(CALL, 0, bytes(640)),
            ACTIVE,
            wire.ParticipantsChanged(CALL, 1),
            wire.DigitPressed(CALL, "1"),
            wire.SayRequested(CALL, "x"),
            wire.VideoIn(CALL, "camera", 0, 1, 1, "image/jpeg", b"x"),
        ],
        ids=lambda event: type(event).__name__,
    )
    def test_for_being_idle_comes_later_with_every_message(self, event: object) -> None:
        book = Playbook(idle_timeout_s=90.0)
        book.wait(60)
        book(event)
        book.wait(89)
        assert book.talk.phase == "live"

    def test_has_the_first_reason(self) -> None:
        book = Playbook()
        book(EndRequested("time-limit", "bridge", "Time is up."))
        book(EndRequested("server-shutdown", "bridge", "Bye."))
        book(engine.EngineFailed("session", "gone", fatal=True))
        book(EndRequested("operator", "operator"))
        assert book.reason() == "time-limit"
        assert [say.text for say in book.all(engine.Say)] == ["Time is up."]

    def test_has_the_first_reason_when_the_caller_does_not_wait_for_the_goodbye(self) -> None:
        book = Playbook()
        book(EndRequested("time-limit", "bridge", "Time is up."), wire.CallEnded(CALL, "bye"))
        assert book.reason() == "time-limit"
        assert book.all(wire.HangUp) == []

    def test_is_the_end(self) -> None:
        book = Playbook()
        book(EndRequested("a", "operator"), EndRequested("b", "operator"))
        book(wire.CallEnded(CALL, "c"), engine.EngineReady(), LinkLost(), ACTIVE)
        book.wait(5)
        assert book.reason() == "a"

    def test_counts_what_went_through(self) -> None:
        book = Playbook(greeting="Hello.")
        book.answer(1, "Hello.", ms=400)
        book.quiet(1)
        book(wire.AudioIn(CALL, 0, bytes(640)), wire.AudioIn(CALL, book.seq + 2, bytes(640)))
        book(EndRequested("operator", "operator"))
        closed = book.last(records.CallClosed)
        assert closed.duration_ms == 1000
        assert closed.wall_ms == 1_700_000_001_000
        counters = closed.counters
        assert (counters.frames_in, counters.frames_out) == (52, 20)
        assert (counters.dropped_in, counters.silence_in, counters.turns) == (1, 2, 1)

    def test_bounds_what_a_flood_of_audio_costs(self) -> None:
        book = Playbook()
        for seq in range(1000):
            book(wire.AudioIn(CALL, seq, bytes(640)))
        assert len(book.all(engine.Hear)) == 500
        assert book.talk.counters.dropped_in == 500
