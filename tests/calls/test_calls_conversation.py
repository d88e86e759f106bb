"""Turn taking: hearing, answering, interrupting."""

from __future__ import annotations

from typing import Any

import pytest
from playbook import CALL, FRAME_S, SILENCE, VOICE, Playbook, tone

from teamscall.calls import records
from teamscall.calls.settings import (
    ANSWER_STALL_S,
    HOLD_LIMIT_S,
    KEPT_FRAMES,
    RETRY_PHRASE,
    TRANSCRIPT_DEADLINE_S,
    BargeInSettings,
)
from teamscall.engines import base as engine
from teamscall.wire import events as wire


def sequence(book: Playbook) -> list[int]:
    return [frame.seq for frame in book.all(wire.AudioOut)]


class TestGreeting:
    def test_is_said_first_and_recorded_as_heard(self) -> None:
        book = Playbook(greeting="Hello there.")
        book.answer(1, "Hello there.")
        book.wait(2)
        book.expect(
            records.CallOpened,
            records.TurnBegan(CALL, 1_700_000_000_000, 1, "greeting"),
            engine.Say(1, "Hello there."),
            wire.AudioOut,
            records.TurnEnded,
        )
        ended = book.last(records.TurnEnded)
        assert (ended.status, ended.heard_text, ended.heard_ms) == (
            "completed",
            "Hello there.",
            1000,
        )

    def test_is_not_said_when_there_is_none(self) -> None:
        book = Playbook()
        assert book.all(engine.Say) == []

    def test_that_may_not_be_interrupted_plays_on_and_the_caller_is_answered_after_it(self) -> None:
        book = Playbook(greeting="Hello.", greeting_interruptible=False)
        book.answer(1, "Hello.", ms=4000)
        turn = book.ask("Can you hear me?")
        assert book.all(wire.Flush) == []
        book.answer(turn, "Yes.", ms=400)
        book.wait(6)
        ended = book.all(records.TurnEnded)
        assert [(e.turn, e.status) for e in ended] == [(1, "completed"), (2, "completed")]

    def test_that_may_be_interrupted_is(self) -> None:
        book = Playbook(greeting="Hello.")
        book.answer(1, "Hello.", ms=4000)
        book.ask()
        assert book.all(records.TurnEnded)[0].status == "interrupted"


class TestBeforeTheEngineIsUp:
    def test_audio_is_kept_and_sent_in_order(self) -> None:
        book = Playbook(ready=False)
        book.speak(0.4)
        assert book.all(engine.Hear) == []
        out = book(engine.EngineReady())
        assert [c.pcm for c in out if isinstance(c, engine.Hear)] == VOICE[:20]
        assert engine.BeginUtterance(1) in out

    def test_only_the_last_five_seconds_are_kept(self) -> None:
        book = Playbook(ready=False)
        book.speak(0.2)
        book.quiet(0.8 + KEPT_FRAMES * FRAME_S)
        out = book(engine.EngineReady())
        heard = [c.pcm for c in out if isinstance(c, engine.Hear)]
        assert heard == [SILENCE] * KEPT_FRAMES
        # What marks the audio outlives it: the engine owes an answer to a commit.
        assert engine.CommitUtterance(1) in out
        assert book.talk.counters.dropped_in == 50

    def test_an_engine_that_never_is_up_is_apologised_for(self) -> None:
        book = Playbook(ready=False)
        book.wait(9.9)
        assert book.all(engine.Say) == []
        book.wait(0.2)
        book.expect(engine.Say(1, "Sorry."))
        book.wait(5)
        assert book.reason() == "agent-unavailable"
        assert book.last(records.CallClosed).ended_by == "engine"


class TestATurn:
    def test_goes_from_voice_to_frames_and_is_measured(self) -> None:
        book = Playbook()
        book.quiet(0.5)
        turn = book.ask()
        book.wait(0.3)
        book(engine.AnswerText(turn, "It is noon."))
        book.wait(0.2)
        book.answer(turn, "", ms=500)
        book.wait(1)
        book.expect(
            engine.BeginUtterance(1),
            engine.CommitUtterance(1),
            records.Heard,
            engine.Respond(turn, "What time is it?", 1),
            wire.Express(CALL, "thinking"),
            wire.Express(CALL, "neutral"),
            wire.AudioOut,
            records.TurnEnded,
        )
        ended = book.last(records.TurnEnded)
        assert ended.said_text == ended.heard_text == "It is noon."
        latency = ended.latency
        assert latency.transcript_ms is not None
        assert latency.endpoint_ms == pytest.approx(800, abs=60)
        assert latency.transcript_ms == pytest.approx(1000, abs=100)
        assert latency.first_text_ms == pytest.approx(latency.transcript_ms + 300, abs=1)
        assert latency.first_frame_ms == latency.first_audio_ms
        assert latency.first_audio_ms == pytest.approx(latency.transcript_ms + 500, abs=1)

    def test_is_paced_and_numbered_without_a_gap(self) -> None:
        book = Playbook()
        book.answer(book.ask(), ms=1000)
        book.wait(2)
        book.answer(book.ask(), ms=1000)
        book.wait(2)
        frames = book.all(wire.AudioOut)
        assert [f.seq for f in frames] == list(range(100))
        assert [f.timestamp_ms for f in frames] == [20 * n for n in range(100)]
        moments = book.moments(wire.AudioOut)[:50]
        for n, moment in enumerate(moments):
            # Never further ahead of the playout than the lead, never late.
            assert moment - moments[0] == pytest.approx(max(0, (n - 2) * FRAME_S), abs=1e-6)

    def test_without_any_sound_is_over_at_once(self) -> None:
        book = Playbook()
        turn = book.ask()
        book(engine.AnswerDone(turn))
        assert book.last(records.TurnEnded).status == "completed"
        assert book.last(wire.Express).emotion == "neutral"

    def test_resamples_and_survives_odd_chunks(self) -> None:
        book = Playbook()
        turn = book.ask()
        pcm = tone(600, 24_000)
        for at in range(0, len(pcm), 777):
            book(engine.AnswerAudio(turn, pcm[at : at + 777], 24_000))
        book(engine.AnswerDone(turn))
        book.wait(2)
        assert len(book.all(wire.AudioOut)) == 30
        assert book.last(records.TurnEnded).heard_ms == 600

    def test_that_says_so_ends_the_call_once_it_was_heard(self) -> None:
        book = Playbook()
        turn = book.ask()
        book(engine.AnswerAudio(turn, tone(400), 16_000, "Bye."))
        book(engine.AnswerDone(turn, end_call=True))
        book.wait(0.3)
        assert book.talk.phase == "live"
        book.wait(0.2)
        assert book.reason() == "hangup-bot"
        assert book.last(records.TurnEnded).status == "completed"
        book.expect(wire.HangUp(CALL, "hangup-bot"))


class TestBargeIn:
    def interrupted(self, **changes: Any) -> Playbook:
        book = Playbook(**changes)
        book.quiet(0.5)
        turn = book.ask()
        book.answer(turn, "one two three four five six seven eight", ms=4000)
        book.wait(1)
        book.speak(0.4)
        book.quiet(1)
        return book

    def test_flushes_cancels_and_truncates_to_what_was_heard(self) -> None:
        book = self.interrupted()
        flush = book.last(wire.Flush)
        assert flush.turn_id == 1
        truncate = book.last(engine.TruncateAnswer)
        assert truncate.turn == 1
        assert 1000 <= truncate.heard_ms <= 1100
        assert truncate.heard_text == "one two"
        book(engine.Transcript(2, "Stop it.", True))
        ended = book.last(records.TurnEnded)
        assert (ended.status, ended.heard_text) == ("interrupted", "one two")
        seen = book.last(records.Interrupted)
        assert seen.by == "caller"
        assert seen.why == "speech"
        assert 40 <= seen.onset_to_flush_ms <= 100

    def test_cancels_an_engine_that_is_not_done(self) -> None:
        book = Playbook()
        turn = book.ask()
        book(engine.AnswerAudio(turn, tone(3000), 16_000, "on and on"))
        book.wait(0.5)
        book.speak(1.2)  # for longer than any "uh-huh"
        book.expect(
            wire.Flush,
            engine.TruncateAnswer,
            engine.CancelAnswer(turn),
            among=lambda c: not isinstance(c, engine.Hear),
        )
        assert len(book.all(engine.CancelAnswer)) == 1

    def test_cancels_an_engine_that_detects_speech_itself_at_once(self) -> None:
        book = Playbook(turn_taking="engine")
        book(engine.SpeechStarted(1), engine.SpeechStopped(1), engine.Transcript(1, "Go.", True))
        turn = book.last(engine.Respond).turn
        book(engine.AnswerAudio(turn, tone(3000), 16_000, "on and on"))
        book.wait(0.5)
        book.speak(0.2)
        assert engine.CancelAnswer(turn) in book.all(engine.CancelAnswer)

    def test_nothing_of_the_turn_leaves_afterwards(self) -> None:
        book = self.interrupted()
        sent = len(book.all(wire.AudioOut))
        book(engine.AnswerAudio(1, tone(1000), 16_000, "late"), engine.AnswerDone(1))
        book.wait(3)
        assert len(book.all(wire.AudioOut)) == sent

    def test_works_though_both_began_at_the_same_time(self) -> None:
        book = Playbook()
        book.quiet(0.5)
        turn = book.ask()
        book.speak(0.08)
        assert book.all(engine.BeginUtterance) == [engine.BeginUtterance(1)]
        book.answer(turn, ms=4000)
        book.hear(VOICE[4:14])
        assert book.last(records.Interrupted).turn == turn

    def test_does_not_hit_what_is_said_over_the_caller_on_purpose(self) -> None:
        book = Playbook(dialect="standin")
        book.speak(0.5)
        book(wire.SayRequested(CALL, "One minute left."))
        book.answer(1, "One minute left.", ms=600)
        book.speak(0.7)
        assert book.last(records.TurnEnded).status == "completed"
        assert len(book.all(wire.AudioOut)) == 30

    def test_can_be_switched_off(self) -> None:
        book = self.interrupted(barge_in=BargeInSettings(enabled=False))
        assert book.all(wire.Flush) == []

    def test_needs_more_than_a_short_noise(self) -> None:
        book = self.interrupted(barge_in=BargeInSettings(min_speech_ms=2000))
        assert book.all(wire.Flush) == []

    def test_a_hundred_times_in_ten_seconds(self) -> None:
        book = Playbook(turn_taking="engine")
        for n in range(1, 101):
            book(engine.SpeechStopped(n), engine.Transcript(n, "go on", True))
            turn = book.last(engine.Respond).turn
            book(engine.AnswerAudio(turn, bytes([n, 0]) * 16_000, 16_000, "a b c"))
            book.wait(0.1)
            book(engine.SpeechStarted(n + 1))
        assert sequence(book) == list(range(len(sequence(book))))
        assert book.talk.counters.interruptions == 100
        # The far side hears of each turn only what left before its flush.
        current = 0
        for _, way, item in book.script:
            if way == "<-" and isinstance(item, engine.Respond):
                current += 1
            elif way == "<-" and isinstance(item, wire.AudioOut):
                assert item.pcm[0] == current
        book.wait(1)
        assert book.talk.next_deadline() is not None

    def test_a_key_interrupts_too(self) -> None:
        book = Playbook()
        book.answer(book.ask(), ms=3000)
        book.wait(0.5)
        book(wire.DigitPressed(CALL, "5"))
        book.expect(
            wire.Flush,
            records.TurnBegan(CALL, book.last(records.TurnBegan).wall_ms, 2, "digit"),
            engine.PressDigit(2, "5"),
        )
        book.answer(2, "Five.")
        book.wait(2)
        assert book.last(records.TurnEnded).status == "completed"


class TestTheCallerGoesOn:
    def test_before_the_answer_began_and_it_is_thrown_away_unheard(self) -> None:
        book = Playbook()
        first = book.ask("I would like")
        book.speak(0.3)
        book(engine.AnswerAudio(first, tone(500), 16_000, "What?"), engine.AnswerDone(first))
        book.speak(0.5)
        assert book.all(wire.AudioOut) == []
        book.quiet(1.7)  # who was cut off once is waited for
        book(engine.Transcript(2, "a pizza", True))
        book.expect(engine.TruncateAnswer(first, 0, ""), engine.Respond(2, "a pizza", 2))
        assert book.all(records.TurnEnded)[0].status == "cancelled"
        book.answer(2, "Which one?", ms=300)
        book.wait(1)
        assert book.last(records.TurnEnded).heard_text == "Which one?"
        assert len(book.all(wire.AudioOut)) == 15

    def test_with_nothing_intelligible_and_the_answer_is_released(self) -> None:
        book = Playbook()
        first = book.ask()
        book.speak(0.3)
        book.answer(first, "Noon.", ms=500)
        book.quiet(1.7)
        assert book.all(wire.AudioOut) == []
        book(engine.Transcript(2, "  ", True))
        book.wait(1)
        assert book.last(records.TurnEnded).status == "completed"

    def test_for_so_long_that_the_answer_is_said_all_the_same(self) -> None:
        book = Playbook()
        first = book.ask()
        book.speak(0.3)
        book.answer(first, "Noon.", ms=500)
        book.speak(HOLD_LIMIT_S - 2)
        assert book.all(wire.AudioOut) == []
        book.speak(3)
        assert len(book.all(wire.AudioOut)) == 25  # all of it: it is not interrupted at once
        assert book.last(records.TurnEnded).status == "completed"

    def test_silently_because_the_gateway_stops_sending(self) -> None:
        book = Playbook()
        book.speak(0.5)
        book.wait(2)  # muted: not one more frame
        book.expect(engine.BeginUtterance(1), engine.CommitUtterance(1))
        book(engine.Transcript(1, "hello?", True))
        book.expect(engine.Respond(1, "hello?", 1))

    def test_while_an_answer_hangs_in_the_middle_and_the_new_one_is_said(self) -> None:
        book = Playbook()
        first = book.ask()
        book(engine.AnswerAudio(first, tone(300), 16_000, "It is"))
        book.wait(1)
        second = book.ask("Well?")
        assert book.all(records.TurnEnded)[0].status == "interrupted"
        book.answer(second, "Noon.", ms=300)
        book.wait(1)
        assert book.last(records.TurnEnded).heard_text == "Noon."


class TestTheEngineTakesTheTurns:
    def test_its_speech_interrupts_and_holds_what_was_not_begun(self) -> None:
        book = Playbook(turn_taking="engine")
        book(engine.SpeechStarted(1), engine.SpeechStopped(1), engine.Transcript(1, "hi", True))
        turn = book.last(engine.Respond).turn
        book(engine.SpeechStarted(2))
        book.answer(turn, ms=500)
        book.wait(1)
        assert book.all(wire.AudioOut) == []
        book(engine.SpeechStopped(2), engine.Transcript(2, "", True))
        book.wait(0.3)
        assert book.all(wire.AudioOut)
        book(engine.SpeechStarted(3))
        assert book.last(records.Interrupted).turn == turn

    def test_nothing_is_detected_here(self) -> None:
        book = Playbook(turn_taking="engine")
        book.speak(1)
        book.quiet(1)
        assert book.all(engine.BeginUtterance) == []
        assert len(book.all(engine.Hear)) == 100


class TestAnEcho:
    """An engine without turns: what it emits is played."""

    def echo(self, book: Playbook, seconds: float) -> None:
        for _ in range(round(seconds / FRAME_S)):
            book(engine.AnswerAudio(1, tone(20), 16_000))
            book.wait(FRAME_S)

    def test_plays_and_plays_on_after_a_greeting_without_sound(self) -> None:
        book = Playbook(turn_taking="none", greeting="Hello.")
        book(engine.AnswerDone(1))
        self.echo(book, 1)
        assert len(book.all(wire.AudioOut)) == 50

    def test_stops_for_what_must_be_said_and_goes_on(self) -> None:
        book = Playbook(turn_taking="none", dialect="standin")
        self.echo(book, 1)
        book(engine.AnswerAudio(1, tone(20), 16_000))
        book(wire.SayRequested(CALL, "One minute left."))
        book.expect(wire.Flush, engine.Say(1, "One minute left."))
        self.echo(book, 0.2)
        book(engine.AnswerDone(1))
        assert book.last(records.TurnEnded).status == "completed"
        before = len(book.all(wire.AudioOut))
        self.echo(book, 1)
        assert len(book.all(wire.AudioOut)) == before + 50
        assert sequence(book) == list(range(before + 50))

    def test_ends_with_a_goodbye_that_has_no_sound(self) -> None:
        book = Playbook(turn_taking="none", max_duration_s=2.0)
        self.echo(book, 2.1)
        book.expect(engine.Say(1, "Time is up."))
        book(engine.AnswerDone(1))
        assert book.reason() == "time-limit"


class TestAnEngineInTrouble:
    def test_a_transcript_that_never_comes(self) -> None:
        book = Playbook()
        book.speak(0.5)
        book.quiet(1)
        for _ in range(round(TRANSCRIPT_DEADLINE_S)):
            book.quiet(1)
        assert book.last(records.EngineTrouble).stage == "hear"
        book(engine.Transcript(1, "too late", True))
        assert book.all(engine.Respond) == []

    @pytest.mark.parametrize("sign", ["nothing", "text"])
    def test_an_answer_that_never_sounds_is_given_up_with_words(self, sign: str) -> None:
        book = Playbook(response_timeout_s=5.0)
        turn = book.ask()
        if sign == "text":
            book(engine.AnswerText(turn, "It"))
        book.wait(5)
        book.expect(engine.CancelAnswer(turn), engine.Say(turn + 1, RETRY_PHRASE))
        book.wait(5)  # and if that is not said either, the call goes on in silence
        assert [e.status for e in book.all(records.TurnEnded)] == ["failed", "failed"]
        assert book.talk.phase == "live"

    def test_an_answer_that_fails_is_given_up_with_words(self) -> None:
        book = Playbook()
        turn = book.ask()
        book(engine.AnswerDone(turn, "failed", error="503"))
        book.expect(records.EngineTrouble, records.TurnEnded, engine.Say(turn + 1, RETRY_PHRASE))

    def test_an_answer_that_fails_midway_is_heard_as_far_as_it_goes(self) -> None:
        book = Playbook()
        turn = book.ask()
        book(engine.AnswerAudio(turn, tone(500), 16_000, "It is"))
        book(engine.AnswerDone(turn, "failed", error="gone"))
        book.wait(1)
        ended = book.last(records.TurnEnded)
        assert (ended.status, ended.heard_text, ended.heard_ms) == ("failed", "It is", 500)
        assert book.all(engine.Say) == []

    def test_an_answer_that_stops_midway_does_not_block_the_call(self) -> None:
        book = Playbook()
        turn = book.ask()
        book(engine.AnswerAudio(turn, tone(500), 16_000, "It is"))
        book.wait(0.5 + ANSWER_STALL_S + 0.1)
        assert book.last(records.TurnEnded).status == "failed"
        book.expect(engine.CancelAnswer(turn))

    def test_a_long_answer_given_at_once_is_no_stall(self) -> None:
        book = Playbook(idle_timeout_s=1000)
        turn = book.ask()
        book(engine.AnswerAudio(turn, tone(30_000), 16_000, "A long story."))
        book.wait(35)
        assert book.all(engine.CancelAnswer) == []
        book(engine.AnswerDone(turn))
        assert book.last(records.TurnEnded).status == "completed"

    def test_a_fatal_failure_is_apologised_for_once(self) -> None:
        book = Playbook()
        gone = engine.EngineFailed("session", "connection closed", fatal=True)
        book(gone, gone)
        assert [say.text for say in book.all(engine.Say)] == ["Sorry."]
        book.answer(1, "Sorry.", ms=300)
        book.wait(0.5)
        assert book.reason() == "agent-unavailable"
        book.expect(wire.HangUp(CALL, "agent-unavailable"))
        assert len(book.all(records.EngineTrouble)) == 1

    def test_what_is_degraded_is_only_recorded(self) -> None:
        book = Playbook()
        book(engine.EngineDegraded("hear", "slow"), engine.EngineFailed("think", "busy"))
        assert [t.fatal for t in book.all(records.EngineTrouble)] == [False, False]
        assert book.talk.phase == "live"
