"""Who has the floor: interruptions that are none, thinking ahead, direct engines."""

from __future__ import annotations

from typing import Any

import pytest
from playbook import CALL, SILENCE, VOICE, Playbook, tone

from teamscall.calls import records
from teamscall.calls.backchannel import Backchannels, same_words
from teamscall.calls.settings import BACKCHANNEL_WAIT_S, BargeInSettings, EndpointSettings
from teamscall.engines import base as engine
from teamscall.wire import events as wire

STORY = "one two three four five six seven eight"
NEVER_AHEAD = EndpointSettings(speculate_after_ms=0)


def telling(**changes: Any) -> Playbook:
    """The bot is 1.4 s into a story of four."""
    book = Playbook(**changes)
    book.quiet(0.5)
    book.answer(book.ask(), STORY, ms=4000)
    book.quiet(1.4)
    return book


def sent(book: Playbook) -> bytes:
    return b"".join(frame.pcm for frame in book.all(wire.AudioOut))


class TestWhatIsNoInterruption:
    def test_mhm_stops_the_bot_and_it_goes_on_where_it_was_heard_last(self) -> None:
        book = telling()
        book.speak(0.3)
        flushed = book.last(records.Interrupted)
        stopped_at = len(book.all(wire.AudioOut))
        book.quiet(0.24)  # what was said is asked for before the full pause
        peek = book.last(engine.PeekUtterance)
        book(engine.Transcript(peek.utterance, "Mhm.", final=False, settled=True))
        book.expect(records.Interrupted, records.CarriedOn)
        carried_on = book.last(records.CarriedOn)
        assert (carried_on.turn, carried_on.why) == (flushed.turn, "backchannel")
        book.quiet(1)
        assert len(book.all(wire.AudioOut)) > stopped_at
        book(engine.Transcript(peek.utterance, "Mhm.", final=True))
        book.quiet(3)
        assert [r.text for r in book.all(engine.Respond)] == ["What time is it?"]
        ended = book.last(records.TurnEnded)
        assert (ended.status, ended.heard_text, ended.heard_ms) == ("completed", STORY, 4000)
        # The engine had been told of the cut: now it hears that all of it was heard.
        assert book.last(engine.TruncateAnswer) == engine.TruncateAnswer(1, 4000, STORY)
        assert book.talk.counters.carried_on == 1

    def test_every_sample_of_what_goes_on_is_heard_once(self) -> None:
        book = telling()
        book.speak(0.3)
        heard_ms = book.last(engine.TruncateAnswer).heard_ms
        before = len(book.all(wire.AudioOut))
        book.quiet(1)
        book(engine.Transcript(book.last(engine.CommitUtterance).utterance, "uh-huh", True))
        book.quiet(4)
        story = tone(4000)
        went_on = b"".join(frame.pcm for frame in book.all(wire.AudioOut)[before:])
        at = heard_ms * 32
        assert went_on[640:] == story[at + 640 :]  # the first frame fades in

    def test_a_noise_that_nobody_takes_for_speech(self) -> None:
        book = telling()
        book.hear(VOICE[4:8])
        assert book.last(records.Interrupted).why == "speech"
        book.quiet(0.6)
        assert book.last(records.CarriedOn).why == "noise"
        assert book.all(engine.BeginUtterance) == [engine.BeginUtterance(1)]

    def test_a_click_only_pauses(self) -> None:
        book = telling()
        book.hear(VOICE[4:6])
        before = len(book.all(wire.AudioOut))
        book.quiet(0.06)
        assert len(book.all(wire.AudioOut)) == before
        book.quiet(0.3)
        assert book.all(wire.Flush) == []
        assert len(book.all(wire.AudioOut)) > before
        book.quiet(4)
        assert book.last(records.TurnEnded).heard_ms == 4000

    def test_nothing_intelligible_is_a_noise(self) -> None:
        book = telling()
        book.speak(0.3)
        book.quiet(1)
        book(engine.Transcript(2, "", True))
        assert book.last(records.CarriedOn).why == "noise"

    def test_yes_to_the_bots_last_words_is_an_answer(self) -> None:
        book = telling()
        book.quiet(1.6)
        book.speak(0.3)
        book.quiet(0.3)
        book(engine.Transcript(2, "Yeah.", final=False, settled=True))
        assert book.all(records.CarriedOn) == []
        book.quiet(0.6)
        book(engine.Transcript(2, "Yeah.", True))
        assert book.last(engine.Respond).text == "Yeah."

    def test_words_that_follow_the_mhm_are_answered(self) -> None:
        book = telling()
        book.speak(0.3)
        book.quiet(0.24)
        book(engine.Transcript(2, "yeah", final=False, settled=True))
        book.quiet(0.2)
        book.speak(0.5)
        book.quiet(1)
        book(engine.Transcript(2, "Yeah, but when?", True))
        assert book.last(engine.Respond).text == "Yeah, but when?"
        statuses = [t.status for t in book.all(records.TurnEnded)]
        assert statuses == ["interrupted"]

    def test_an_answer_that_was_not_all_there_is_carried_on(self) -> None:
        book = Playbook()
        turn = book.ask()
        book(engine.AnswerText(turn, "on and on"))
        book(engine.AnswerAudio(turn, tone(3000), 16_000, "on "))
        book.quiet(1)
        book.speak(0.3)
        assert book.last(engine.TruncateAnswer).heard_text == ""
        book(engine.AnswerAudio(turn, tone(1000), 16_000, "and on"), engine.AnswerDone(turn))
        book.quiet(1)
        book(engine.Transcript(2, "Uh-huh.", True))
        book.quiet(4)
        assert book.all(engine.CancelAnswer) == []
        assert book.last(records.CarriedOn).why == "backchannel"
        ended = book.last(records.TurnEnded)
        assert (ended.status, ended.heard_ms) == ("completed", 4000)
        assert book.last(engine.TruncateAnswer).heard_text == "on and on"

    def test_its_engine_goes_on_until_words_want_the_turn(self) -> None:
        book = Playbook()
        turn = book.ask()
        book(engine.AnswerAudio(turn, tone(3000), 16_000, "on and on"))
        book.quiet(1)
        book.speak(0.3)
        book.quiet(0.2)
        assert book.all(engine.CancelAnswer) == []
        book(engine.Transcript(2, "No, wait", False))
        assert book.all(engine.CancelAnswer) == [engine.CancelAnswer(turn)]
        assert book.all(records.Interrupted)[-1].turn == turn

    def test_few_words_do_not_interrupt_where_more_are_asked_for(self) -> None:
        book = telling(barge_in=BargeInSettings(min_words=3))
        book.speak(0.5)
        assert book.all(records.Interrupted) == []
        assert book.all(engine.TruncateAnswer) == []
        assert book.all(wire.Flush)  # but silent it is, at once
        book(engine.Transcript(2, "wait a", final=False))
        assert book.all(records.Interrupted) == []
        book(engine.Transcript(2, "wait a moment", final=False))
        assert book.last(records.Interrupted).why == "words"

    def test_the_end_of_a_call_ends_what_is_on_the_shelf(self) -> None:
        book = telling()
        book.speak(0.3)
        book(wire.CallEnded(CALL, "bye"))
        assert book.reason() == "bye"
        ended = book.last(records.TurnEnded)
        assert (ended.turn, ended.status) == (1, "interrupted")

    def test_the_gate_closes_over_what_is_on_the_shelf(self) -> None:
        book = telling(recording_required=True, recording="active")
        book.speak(0.3)
        book(wire.RecordingChanged(CALL, "inactive"))
        assert book.last(records.TurnEnded).status == "interrupted"
        book(wire.RecordingChanged(CALL, "active"))
        book.answer(book.ask("And now?"), ms=300)
        book.wait(1)
        assert book.last(records.TurnEnded).status == "completed"


class TestBackchannels:
    @pytest.mark.parametrize("text", ["Mhm.", "mmmhm", "Uh-huh.", "yeah, yeah", "I see. Okay!"])
    def test_are_known_however_they_are_spelt(self, text: str) -> None:
        assert Backchannels(["mhm", "uh huh", "yeah", "i see", "okay"]).only(text)

    @pytest.mark.parametrize("text", ["", "yeah but", "no", "I see it", "okay stop"])
    def test_are_not_words_that_want_the_turn(self, text: str) -> None:
        assert not Backchannels(["mhm", "uh huh", "yeah", "i see", "okay"]).only(text)

    def test_may_be_none(self) -> None:
        assert not Backchannels([]).only("mhm")

    def test_same_words(self) -> None:
        assert same_words("What time is it?", "what time IS it")
        assert not same_words("What time is it?", "What time is it now?")


class TestThinkingAhead:
    def asked(self, text: str = "What time is it?") -> Playbook:
        book = Playbook()
        book.speak(0.6)
        book.quiet(0.34)
        book.expect(engine.PeekUtterance(1))
        book(engine.Transcript(1, text, final=False, settled=True))
        return book

    def test_an_answer_is_ready_when_the_pause_is_over(self) -> None:
        book = self.asked()
        assert book.last(engine.Respond) == engine.Respond(1, "What time is it?", 1, True)
        book.answer(1, "It is noon.", ms=500)
        assert book.all(wire.AudioOut) == []
        assert book.all(records.TurnBegan) == []
        assert book.all(records.Said) == []
        book.quiet(0.6)
        book.expect(engine.CommitUtterance(1))
        assert book.all(wire.AudioOut) == []
        book(engine.Transcript(1, "what time is it", True))
        book.expect(records.TurnBegan, engine.ConfirmAnswer(1), records.Said, wire.AudioOut)
        assert len(book.all(engine.Respond)) == 1
        book.quiet(1)
        ended = book.last(records.TurnEnded)
        assert (ended.status, ended.heard_text) == ("completed", "It is noon.")
        assert book.talk.counters.speculated == 1
        assert book.talk.counters.thrown_away == 0

    def test_it_is_thrown_away_unheard_when_the_caller_goes_on(self) -> None:
        book = self.asked("I would like")
        book.answer(1, "What?", ms=500)
        book.speak(0.4)
        assert book.last(engine.CancelAnswer) == engine.CancelAnswer(1, forget=True)
        book.quiet(1)
        book(engine.Transcript(1, "I would like a pizza.", True))
        assert book.last(engine.Respond) == engine.Respond(2, "I would like a pizza.", 1)
        assert book.all(wire.AudioOut) == []
        assert [t.turn for t in book.all(records.TurnBegan)] == [2]
        assert book.all(records.Said) == []
        assert book.talk.counters.thrown_away == 1

    def test_it_is_asked_anew_when_the_words_were_others(self) -> None:
        book = self.asked("What time")
        book.quiet(0.6)
        book(engine.Transcript(1, "What time is it?", True))
        book.expect(engine.CancelAnswer(1, forget=True), engine.Respond(2, "What time is it?", 1))

    def test_it_does_not_fail_aloud(self) -> None:
        book = self.asked()
        book(engine.AnswerDone(1, "failed", error="503"))
        assert book.all(records.EngineTrouble) == []
        book.quiet(0.6)
        book(engine.Transcript(1, "What time is it?", True))
        assert book.last(engine.Respond) == engine.Respond(2, "What time is it?", 1)

    def test_a_settled_transcript_that_comes_after_the_caller_went_on_is_nothing(self) -> None:
        book = Playbook()
        book.speak(0.6)
        book.quiet(0.34)
        book.speak(0.3)
        book(engine.Transcript(1, "What time", final=False, settled=True))
        assert book.all(engine.Respond) == []

    def test_it_can_be_switched_off(self) -> None:
        book = Playbook(endpoint=NEVER_AHEAD)
        book.speak(0.6)
        book.quiet(0.7)
        assert book.all(engine.PeekUtterance) == []

    def test_the_end_of_the_call_forgets_it(self) -> None:
        book = self.asked()
        book(wire.CallEnded(CALL, "bye"))
        assert book.reason() == "bye"
        assert book.all(records.TurnBegan) == []


class TestADirectEngine:
    """It answers what it heard; nobody waits for its transcript."""

    def book(self, **changes: Any) -> Playbook:
        book = Playbook(ready=False, turn_taking="engine", **changes)
        book(engine.EngineReady(direct=True))
        return book

    def telling(self, **changes: Any) -> Playbook:
        book = self.book(**changes)
        book(engine.SpeechStarted(1), engine.SpeechStopped(1))
        book.answer(1, STORY, ms=4000)
        book(engine.Transcript(1, "Tell me.", True))
        book.quiet(1)
        return book

    def test_is_asked_as_soon_as_the_caller_stopped(self) -> None:
        book = self.book()
        book(engine.SpeechStarted(1))
        book(engine.SpeechStopped(1))
        assert book.last(engine.Respond) == engine.Respond(1, "", 1)
        book.answer(1, "Hello.", ms=500)
        book.quiet(0.1)
        book(engine.Transcript(1, "Hi there.", True))
        assert len(book.all(engine.Respond)) == 1
        assert book.last(records.Heard).text == "Hi there."
        book.quiet(1)
        latency = book.last(records.TurnEnded).latency
        assert latency.transcript_ms is not None

    def test_is_interrupted_by_our_own_ear_first(self) -> None:
        book = self.telling()
        book.speak(0.1)
        seen = book.last(records.Interrupted)
        assert seen.why == "speech"
        assert seen.onset_to_flush_ms <= 100
        book(engine.SpeechStarted(2))
        book.speak(0.5)
        book.quiet(0.3)
        book(engine.SpeechStopped(2))
        assert len(book.all(engine.Respond)) == 1  # was that a "mhm"?
        book(engine.Transcript(2, "Stop, please.", True))
        assert book.last(engine.Respond) == engine.Respond(2, "", 2)

    def test_does_not_wait_for_words_for_long(self) -> None:
        book = self.telling()
        book.speak(0.1)
        book(engine.SpeechStarted(2), engine.SpeechStopped(2))
        book.wait(BACKCHANNEL_WAIT_S + 0.1)
        assert book.last(engine.Respond) == engine.Respond(2, "", 2)

    def test_ignores_a_mhm(self) -> None:
        book = self.telling()
        book.speak(0.1)
        book(engine.SpeechStarted(2), engine.SpeechStopped(2))
        book(engine.Transcript(2, "Mhm.", True))
        book.expect(engine.IgnoreUtterance(2), records.CarriedOn)
        book.quiet(4)
        assert book.last(records.TurnEnded).status == "completed"

    def test_that_hears_first_interrupts_too(self) -> None:
        book = self.telling()
        book(engine.SpeechStarted(2))
        assert book.last(records.Interrupted).why == "vendor"

    def test_that_hears_what_paused_it_interrupted_with_the_begin_of_that(self) -> None:
        book = self.telling(barge_in=BargeInSettings(min_speech_ms=400))
        book.speak(0.2)
        assert book.all(records.Interrupted) == []
        book(engine.SpeechStarted(2))
        stop = book.last(records.Interrupted)
        assert (stop.why, stop.onset_to_detected_ms) == ("vendor", 40.0)
        assert stop.onset_to_flush_ms > 100

    def test_that_speaks_of_its_own_accord_gets_a_turn(self) -> None:
        book = self.book()
        book(engine.AnswerBegan())
        assert book.last(engine.Respond) == engine.Respond(1, "")
        book.answer(1, "By the way.", ms=300)
        book.quiet(1)
        assert book.last(records.TurnEnded).heard_text == "By the way."


class TestAnotherEngineTakesOver:
    def test_and_takes_turns_its_own_way(self) -> None:
        book = Playbook(ready=False, turn_taking="engine")
        book(engine.EngineReady(direct=True))
        book(engine.SpeechStarted(1))
        book(engine.EngineSwitched("offline", "local", detail="the session was lost"))
        trouble = book.last(records.EngineTrouble)
        assert (trouble.stage, trouble.fatal) == ("session", False)
        assert book.ask("Still there?") == 1
        book(engine.SpeechStarted(9))  # an engine that is gone
        assert len(book.all(engine.Respond)) == 1

    def test_and_what_the_lost_words_stopped_goes_on(self) -> None:
        book = Playbook(ready=False, turn_taking="engine")
        book(engine.EngineReady(direct=True))
        book(engine.SpeechStarted(1), engine.SpeechStopped(1))
        book.answer(1, STORY, ms=4000)
        book.quiet(1)
        book(engine.SpeechStarted(2), engine.SpeechStopped(2))
        assert book.all(records.Interrupted)
        book(engine.EngineSwitched("offline", "local", detail="the session was lost"))
        book.quiet(1)
        assert book.last(records.CarriedOn).why == "noise"
        book.quiet(4)
        assert book.last(records.TurnEnded).status == "completed"

    def test_local_to_local_owes_its_transcripts(self) -> None:
        book = Playbook()
        book.speak(0.6)
        book.quiet(1)
        book(engine.EngineSwitched("offline", "local"))
        book(engine.Transcript(1, "Are you there?", True))
        assert book.last(engine.Respond).text == "Are you there?"


def test_a_recogniser_that_needs_more_than_the_pause_gets_it() -> None:
    book = Playbook(ready=False, endpoint=EndpointSettings(silence_ms=500))
    book(engine.EngineReady(settle_ms=200))
    book.speak(0.6)
    book.quiet(0.64)
    assert book.all(engine.CommitUtterance) == []
    book.quiet(0.16)
    assert book.all(engine.CommitUtterance)


def test_silence_is_sent_as_it_is() -> None:
    book = Playbook()
    book.quiet(0.1)
    assert [hear.pcm for hear in book.all(engine.Hear)] == [SILENCE] * 5
