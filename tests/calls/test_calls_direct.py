"""Engines that answer what they heard: asked at once (direct), or not at all (duplex)."""

from __future__ import annotations

from typing import Any

import pytest
from playbook import CALL, SILENCE, VOICE, Playbook, tone

from teamscall.calls import records
from teamscall.calls.settings import BargeInSettings, Silence
from teamscall.engines import base as engine
from teamscall.wire import events as wire

STORY = "one two three four five six seven eight"


def direct(**changes: Any) -> Playbook:
    book = Playbook(turn_taking="engine", ready=False, **changes)
    book(engine.EngineReady(direct=True))
    book.quiet(0.5)
    return book


def said(book: Playbook, utterance: int, seconds: float = 0.6) -> None:
    """The caller says something, and the vendor hears it."""
    book.speak(0.2)
    book(engine.SpeechStarted(utterance))
    book.speak(seconds - 0.2)
    book.quiet(0.3)
    book(engine.SpeechStopped(utterance))


def telling(*, complete: bool, **changes: Any) -> Playbook:
    """The bot is 1 s into what it has said 3 s of, perhaps with more to come."""
    book = direct(**changes)
    said(book, 1)
    turn = book.last(engine.Respond).turn
    book(engine.Transcript(1, "Tell me a story.", True))
    book(engine.AnswerAudio(turn, tone(3000), 16_000, STORY))
    if complete:
        book(engine.AnswerDone(turn))
    book.quiet(1)
    return book


def duplex(*, complete: bool) -> Playbook:
    """The same, with an engine that tells nothing of the caller's speech."""
    book = direct()
    book.speak(0.6)
    book.quiet(0.5)
    answers(book, complete=complete, text="Tell me a story.", utterance=1)
    book.quiet(1)
    return book


def answers(book: Playbook, *, complete: bool = True, text: str = "", utterance: int = 0) -> int:
    """A duplex engine begins to speak; which turn it was given."""
    if text:
        book(engine.Transcript(utterance, text, True))
    book(engine.AnswerBegan())
    turn = book.last(engine.Respond).turn
    book(engine.AnswerAudio(turn, tone(3000), 16_000, STORY))
    if complete:
        book(engine.AnswerDone(turn))
    return turn


def frames(book: Playbook) -> int:
    return len(book.all(wire.AudioOut))


class TestDirect:
    def test_the_answer_waits_for_no_transcript(self) -> None:
        book = direct()
        said(book, 1)
        turn = book.last(engine.Respond).turn
        book.quiet(0.2)
        book(engine.AnswerAudio(turn, tone(1000), 16_000, "It is noon."))
        book.quiet(0.1)
        assert frames(book) >= 5
        book(engine.Transcript(1, "What time is it?", True), engine.AnswerDone(turn))
        book.quiet(1.2)
        assert book.last(records.TurnEnded).status == "completed"
        assert len(book.all(engine.Respond)) == 1

    def test_the_answer_does_not_begin_over_the_caller_all_the_same(self) -> None:
        book = direct()
        said(book, 1)
        book.speak(0.2)
        book(engine.SpeechStarted(2))
        turn = book.last(engine.Respond).turn
        book(engine.AnswerAudio(turn, tone(1000), 16_000, "It is noon."))
        book.speak(0.4)
        assert frames(book) == 0

    def test_the_vendor_is_told_within_100_ms_of_the_onset(self) -> None:
        book = direct()
        book(engine.SpeechStarted(1), engine.SpeechStopped(1))
        book(engine.AnswerAudio(1, tone(4000), 16_000, "on and on"))
        book.quiet(1.5)
        onset = book.now
        book.hear(VOICE[4:14])
        assert book.moments(engine.CancelAnswer)[0] - onset <= 0.1
        assert book.moments(engine.TruncateAnswer)[0] - onset <= 0.1

    def test_the_engine_goes_on_while_it_may_be_a_noise(self) -> None:
        book = telling(complete=False)
        before = frames(book)
        book.hear(VOICE[4:7])
        assert book.all(wire.Flush)
        assert book.all(engine.CancelAnswer) == []
        book.quiet(0.6)
        assert book.last(records.CarriedOn).why == "noise"
        book(engine.AnswerAudio(1, tone(500), 16_000), engine.AnswerDone(1))
        book.quiet(3)
        ended = book.last(records.TurnEnded)
        assert (ended.status, ended.heard_ms) == ("completed", 3500)
        assert frames(book) > before

    def test_speech_cancels_it_soon(self) -> None:
        book = telling(complete=False)
        onset = book.now
        book.speak(0.4)
        (cancelled,) = book.moments(engine.CancelAnswer)
        (flushed,) = book.moments(wire.Flush)
        assert flushed - onset <= 0.1
        assert cancelled - onset <= 0.16  # the detector may miss the first frames
        assert book.last(engine.TruncateAnswer).turn == 1

    def test_what_the_vendor_did_not_hear_costs_no_answer(self) -> None:
        """It was cancelled for what we took for speech: it is asked to go on."""
        book = telling(complete=False)
        book.speak(0.3)
        assert book.all(engine.CancelAnswer)
        book(engine.AnswerDone(1, "cancelled"))
        book.quiet(0.6)
        again = book.last(engine.Respond)
        assert (again.turn, again.text, again.utterance) == (2, "", 0)
        before = frames(book)
        book.answer(again.turn, "five six")
        book.quiet(1)
        assert frames(book) > before

    @pytest.mark.parametrize(("seconds", "waits"), [(0.4, True), (2.0, False)])
    def test_only_what_may_be_a_mhm_waits_for_its_words(self, seconds: float, waits: bool) -> None:
        book = telling(complete=True)
        said(book, 2, seconds)
        assert (len(book.all(engine.Respond)) == 1) is waits
        if waits:
            book(engine.Transcript(2, "Mhm.", True))
            assert book.last(records.CarriedOn).why == "backchannel"
            assert book.all(engine.IgnoreUtterance) == [engine.IgnoreUtterance(2)]
            assert len(book.all(engine.Respond)) == 1

    def test_an_answer_asked_for_in_the_middle_of_a_doubt_leaves_nothing_paused(self) -> None:
        book = Playbook()
        book.speak(0.6)
        book.quiet(1)
        book(wire.SayRequested(CALL, "Listen to this."))
        book(engine.AnswerAudio(1, tone(4000), 16_000, "Listen"), engine.AnswerDone(1))
        book.quiet(1.4)
        book.hear(VOICE[4:6])
        book.quiet(0.02)
        stopped = frames(book)
        book.quiet(0.02)
        assert frames(book) == stopped
        book(engine.Transcript(1, "What time is it?", True))
        book.quiet(4)
        assert book.all(records.TurnEnded)[0].heard_ms == 4000


class TestDuplex:
    def test_latency_counts_from_the_callers_last_word(self) -> None:
        book = duplex(complete=True)
        book.quiet(3)
        latency = book.last(records.TurnEnded).latency
        assert latency.first_audio_ms is not None
        assert 480 <= latency.first_audio_ms <= 560

    def test_one_that_nobody_asked_counts_from_its_begin(self) -> None:
        book = duplex(complete=True)
        book.quiet(5)
        answers(book)
        book.quiet(4)
        assert book.last(records.TurnEnded).latency.first_audio_ms == 0

    @pytest.mark.parametrize("complete", [True, False])
    def test_what_interrupts_is_answered_and_the_old_answer_stays_silent(
        self, complete: bool
    ) -> None:
        book = duplex(complete=complete)
        book.speak(2.0)
        assert book.all(wire.Flush)
        before = frames(book)
        book.quiet(0.7)
        assert frames(book) == before
        turn = answers(book, text="Stop that, please.", utterance=2)
        book.quiet(0.2)
        assert frames(book) > before
        assert book.all(records.CarriedOn) == []
        first = book.all(records.TurnEnded)[0]
        assert (first.turn, first.status) == (1, "interrupted")
        assert book.all(engine.TruncateAnswer)[0].heard_ms == first.heard_ms
        book.quiet(3.5)
        assert book.last(records.TurnEnded).turn == turn

    @pytest.mark.parametrize("complete", [True, False])
    def test_after_a_mhm_it_goes_on_and_nothing_is_cancelled(self, complete: bool) -> None:
        book = duplex(complete=complete)
        book.speak(0.3)
        book.quiet(0.9)
        book(engine.Transcript(2, "Mhm.", True))
        assert book.last(records.CarriedOn).why == "backchannel"
        if not complete:
            book(engine.AnswerDone(1))
        book.quiet(3)
        ended = book.last(records.TurnEnded)
        assert (ended.status, ended.heard_ms) == ("completed", 3000)
        assert book.all(engine.CancelAnswer) == []

    def test_after_what_the_engine_makes_nothing_of_it_goes_on(self) -> None:
        book = duplex(complete=True)
        book.speak(0.3)
        book.quiet(4)
        assert book.last(records.CarriedOn).why == "noise"

    def test_after_a_noise_it_goes_on(self) -> None:
        book = duplex(complete=False)
        book.hear(VOICE[4:7])
        book.quiet(0.6)
        assert book.last(records.CarriedOn).why == "noise"
        assert book.all(engine.CancelAnswer) == []

    def test_a_mhm_that_is_answered_all_the_same_ends_the_old_answer(self) -> None:
        book = duplex(complete=True)
        book.speak(0.3)
        book.quiet(0.9)
        answers(book, text="Mhm.", utterance=2)
        first = book.all(records.TurnEnded)[0]
        assert (first.turn, first.status) == (1, "interrupted")

    def test_an_answer_over_one_that_the_next_voice_has_paused_takes_its_place(self) -> None:
        book = direct(barge_in=BargeInSettings(min_speech_ms=400))
        book.speak(0.6)
        book.quiet(0.5)
        answers(book, text="Tell me a story.", utterance=1)
        book.quiet(0.5)
        book.speak(0.6)
        book.quiet(3)
        assert book.last(records.CarriedOn).why == "noise"
        book.speak(0.2)
        answers(book)
        ended = book.last(records.TurnEnded)
        assert (ended.turn, ended.status) == (1, "interrupted")
        assert book.last(records.Interrupted).why == "vendor"

    def test_the_caller_who_speaks_is_not_asked_whether_they_are_there(self) -> None:
        book = direct(silence=Silence(reprompt_after_s=2, reprompt="Are you there?"))
        book.speak(3)
        book.hear([SILENCE] * 10)
        assert book.all(engine.Say) == []
