"""Dead air, fillers, what an engine that fails comes to, and what a call costs."""

from __future__ import annotations

import pytest
from playbook import CALL, Playbook, tone

from teamscall.calls import records
from teamscall.calls.events import Fill
from teamscall.calls.settings import RETRY_PHRASE, Filler, Silence
from teamscall.calls.spending import cost_of
from teamscall.config import Price
from teamscall.engines import base as engine
from teamscall.wire import events as wire

SILENCES = Silence(
    reprompt_after_s=5, reprompt="Still there?", hangup_after_s=12, goodbye="Goodbye."
)


class TestDeadAir:
    def test_is_asked_into_once_and_then_the_call_ends(self) -> None:
        book = Playbook(silence=SILENCES)
        book.quiet(4.9)
        assert book.all(engine.Say) == []
        book.quiet(0.2)
        assert book.last(engine.Say).text == "Still there?"
        assert book.last(records.TurnBegan).kind == "reprompt"
        book.answer(1, "Still there?", ms=600)
        book.quiet(6.5)
        assert len(book.all(engine.Say)) == 1
        book.quiet(0.5)
        assert book.last(engine.Say).text == "Goodbye."
        book.answer(2, "Goodbye.", ms=300)
        book.quiet(0.5)
        assert book.reason() == "caller-silent"
        assert book.last(records.CallClosed).ended_by == "bridge"

    def test_ends_with_the_callers_voice(self) -> None:
        book = Playbook(silence=SILENCES)
        book.quiet(4.5)
        book.answer(book.ask(), ms=1000)
        book.quiet(5.5)
        assert [say.text for say in book.all(engine.Say)] == []
        book.quiet(1)
        assert [say.text for say in book.all(engine.Say)] == ["Still there?"]

    def test_is_asked_into_again_after_the_caller_spoke(self) -> None:
        book = Playbook(silence=SILENCES)
        book.quiet(5.1)
        book.answer(1, "Still there?", ms=300)
        book.quiet(0.5)
        book.answer(book.ask("Yes."), ms=300)
        book.quiet(6)
        assert len(book.all(engine.Say)) == 2

    def test_counts_a_key_as_a_sign_of_life(self) -> None:
        book = Playbook(silence=SILENCES)
        book.quiet(4)
        book(wire.DigitPressed(CALL, "1"))
        book(engine.AnswerDone(1))
        book.quiet(4.5)
        assert book.all(engine.Say) == []

    def test_is_none_while_the_bot_thinks_or_speaks(self) -> None:
        book = Playbook(silence=SILENCES)
        turn = book.ask()
        book.quiet(8)
        book.answer(turn, ms=10_000)
        book.quiet(9)
        assert book.all(engine.Say) == []

    def test_is_none_among_several_people(self) -> None:
        book = Playbook(silence=SILENCES)
        book(wire.ParticipantsChanged(CALL, 3))
        book.quiet(14)
        assert book.all(engine.Say) == []

    def test_is_none_behind_a_closed_gate(self) -> None:
        book = Playbook(silence=SILENCES, recording_required=True)
        book.quiet(14)
        assert book.all(engine.Say) == []

    def test_never_by_default(self) -> None:
        book = Playbook(idle_timeout_s=1000)
        book.quiet(100)
        assert book.all(engine.Say) == []


class TestAFiller:
    def test_fills_the_time_of_thinking_and_the_answer_follows_it(self) -> None:
        book = Playbook(filler=Filler(after_s=1, words=("One moment.", "Let me see.")))
        turn = book.ask()
        book.wait(1.0)
        assert book.all(Fill) == [Fill(turn + 1, "One moment.")]
        book.answer(turn + 1, "One moment.", ms=600)
        book.wait(0.3)
        book.answer(turn, "It is noon.", ms=500)
        book.wait(2)
        ended = book.all(records.TurnEnded)
        assert [(e.kind, e.heard_ms) for e in ended] == [("filler", 600), ("answer", 500)]
        second = book.ask()
        book.wait(1.1)
        assert book.last(Fill).text == "Let me see."
        assert book.last(Fill).turn == second + 1

    def test_is_not_played_when_there_is_none_in_the_cache(self) -> None:
        book = Playbook(filler=Filler(after_s=1, words=("One moment.",)))
        turn = book.ask()
        book.wait(1.1)
        book(engine.AnswerDone(turn + 1))
        book.answer(turn, ms=300)
        book.wait(1)
        assert len(book.all(wire.AudioOut)) == 15

    def test_does_not_come_when_thinking_is_quick(self) -> None:
        book = Playbook(filler=Filler(after_s=1, words=("One moment.",)))
        book.answer(book.ask(), ms=2000)
        book.wait(3)
        assert book.all(Fill) == []

    def test_never_over_the_callers_speech(self) -> None:
        book = Playbook(filler=Filler(after_s=1, words=("One moment.",)))
        book.ask("I would like")
        book.quiet(0.7)
        book.speak(0.6)
        assert book.all(Fill) == []

    def test_may_be_a_sound_that_stops_for_the_answer(self) -> None:
        book = Playbook(filler=Filler(after_s=1, sound=tone(5000)))
        turn = book.ask()
        book.wait(1.5)
        frames = len(book.all(wire.AudioOut))
        assert frames >= 25
        book.answer(turn, "It is noon.", ms=500)
        book.wait(2)
        assert len(book.all(wire.AudioOut)) <= frames + 25 + 4
        assert [e.kind for e in book.all(records.TurnEnded)] == ["filler", "answer"]

    def test_that_is_interrupted_does_not_cost_the_answer(self) -> None:
        book = Playbook(filler=Filler(after_s=1, words=("One moment.",)))
        turn = book.ask()
        book.wait(1.1)
        book.answer(turn + 1, "One moment.", ms=2000)
        book.speak(0.3)
        assert engine.CancelAnswer(turn) not in book.all(engine.CancelAnswer)
        book.quiet(1)
        book(engine.Transcript(2, "", True))
        book.answer(turn, "It is noon.", ms=500)
        book.wait(1)
        assert book.last(records.TurnEnded).heard_text == "It is noon."


class TestAnEngineThatFailsAgainAndAgain:
    def test_is_apologised_for_and_the_call_ends(self) -> None:
        book = Playbook()
        book(engine.AnswerDone(book.ask(), "failed", error="503"))
        assert book.last(engine.Say).text == RETRY_PHRASE
        book.answer(2, RETRY_PHRASE, ms=300)
        book.wait(1)
        book(engine.AnswerDone(book.ask(), "failed", error="503"))
        assert book.last(engine.Say).text == "Sorry."
        book.answer(4, "Sorry.", ms=300)
        book.wait(1)
        assert book.reason() == "agent-unavailable"

    def test_but_not_when_an_answer_came_in_between(self) -> None:
        book = Playbook()
        book(engine.AnswerDone(book.ask(), "failed"))
        book.answer(2, RETRY_PHRASE, ms=300)
        book.wait(1)
        book.answer(book.ask(), ms=300)
        book.wait(1)
        book(engine.AnswerDone(book.ask(), "failed"))
        assert book.last(engine.Say).text == RETRY_PHRASE
        assert book.talk.phase == "live"


class TestWhatItCosts:
    PRICE = Price(input=2.0, cached_input=0.5, output=8.0, audio_input=32.0, audio_output=64.0)

    def test_is_recorded_with_the_turn_and_with_the_call(self) -> None:
        book = Playbook(prices={"m": self.PRICE})
        turn = book.ask()
        book(engine.EngineUsage("think", "m", turn, input_tokens=1000, output_tokens=100))
        book(engine.EngineUsage("hear", "ear", audio_in_s=1.5))
        book.answer(turn, ms=300)
        book.wait(1)
        (usage,) = book.last(records.TurnEnded).usage
        assert usage.cost == pytest.approx((1000 * 2 + 100 * 8) / 1e6)
        book(engine.EngineUsage("think", "m", 99, input_tokens=1000))
        book(wire.CallEnded(CALL, "bye"))
        thought, heard = book.last(records.CallClosed).usage
        assert (thought.input_tokens, thought.output_tokens) == (2000, 100)
        assert (heard.model, heard.audio_in_s, heard.cost) == ("ear", 1.5, None)

    def test_audio_and_cached_tokens_have_their_own_price(self) -> None:
        used = engine.EngineUsage(
            "session",
            "m",
            input_tokens=1000,
            cached_tokens=200,
            audio_input_tokens=300,
            output_tokens=500,
            audio_output_tokens=400,
        )
        expected = 500 * 2.0 + 200 * 0.5 + 300 * 32.0 + 100 * 8.0 + 400 * 64.0
        assert cost_of(used, self.PRICE) == pytest.approx(expected / 1e6)

    def test_minutes_and_characters_cost_too(self) -> None:
        price = Price(minute=0.06, characters=15.0)
        used = engine.EngineUsage("speak", "m", audio_out_s=30, characters=200)
        assert cost_of(used, price) == pytest.approx(0.03 + 200 * 15 / 1e6)


class TestARecogniserThatFails:
    def fail(self, book: Playbook) -> None:
        book.speak(0.6)
        book.quiet(1.7)
        utterance = book.last(engine.CommitUtterance).utterance
        book(engine.EngineFailed("hear", "no transcript within 4 s"))
        book(engine.Transcript(utterance, "", True))

    def test_is_no_reason_for_dead_air(self) -> None:
        book = Playbook()
        self.fail(book)
        assert book.last(engine.Say).text == RETRY_PHRASE
        book.answer(1, RETRY_PHRASE, ms=300)
        book.wait(1)
        self.fail(book)
        assert book.last(engine.Say).text == "Sorry."
        book.answer(2, "Sorry.", ms=300)
        book.wait(1)
        assert book.reason() == "agent-unavailable"

    def test_is_forgiven_when_it_hears_again(self) -> None:
        book = Playbook()
        self.fail(book)
        book.answer(1, RETRY_PHRASE, ms=300)
        book.wait(1)
        book.answer(book.ask(), ms=300)
        book.wait(1)
        book.speak(0.6)
        book.quiet(1.7)
        book(engine.Transcript(book.last(engine.CommitUtterance).utterance, "", True))
        assert [say.text for say in book.all(engine.Say)] == [RETRY_PHRASE]

    def test_a_failure_is_recorded_once(self) -> None:
        book = Playbook()
        turn = book.ask()
        book(engine.EngineFailed("speak", "the voice: 503"))
        book(engine.AnswerDone(turn, "failed", error="the voice: 503"))
        assert [t.stage for t in book.all(records.EngineTrouble)] == ["speak"]


class TestASessionThatHearsNothing:
    def play(self) -> Playbook:
        book = Playbook(turn_taking="engine", ready=False)
        book(engine.EngineReady(direct=True))
        return book

    def test_has_the_caller_say_it_again_and_then_ends_the_call(self) -> None:
        book = self.play()
        for said in (RETRY_PHRASE, "Sorry."):
            book.speak(0.8)
            book.quiet(2)
            book(engine.EngineFailed("hear", "the session does not hear the caller"))
            assert book.last(engine.Say).text == said
            book.answer(book.last(engine.Say).turn, said, ms=300)
            book.wait(1)
        assert book.reason() == "agent-unavailable"

    def test_is_not_one_whose_transcript_alone_failed(self) -> None:
        book = self.play()
        book.speak(0.8)
        book(engine.SpeechStarted(1), engine.SpeechStopped(1))
        book.quiet(0.2)
        book(engine.EngineFailed("hear", "the transcription failed"))
        book.answer(book.last(engine.Respond).turn, ms=300)
        book.wait(1)
        book(engine.EngineFailed("hear", "the transcription failed"))
        assert book.all(engine.Say) == []
