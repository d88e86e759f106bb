"""How a Live session's output becomes answers. No time passes here."""

from __future__ import annotations

from teamscall.engines.base import AnswerAudio, AnswerBegan, AnswerDone, AnswerText, EngineEvent
from teamscall.engines.openai.live_messages import BYTES_PER_MS, RATE, pieces
from teamscall.engines.openai.live_speech import (
    GAP_S,
    GIVE_TURN_S,
    MAX_ASKED,
    MAX_HELD_BYTES,
    SAY_S,
    SILENCE_MS,
    Speech,
)
from teamscall.engines.scripted import tone_speech

SOUND = tone_speech("a", rate=RATE, word_ms=100, pause_ms=0)
SILENCE = bytes(100 * BYTES_PER_MS)


class Heard:
    """What comes out of a ``Speech``."""

    def __init__(self, gives: int = 0) -> None:
        self.events: list[EngineEvent] = []
        self.gives = gives  # the turn that is given from inside AnswerBegan
        self.speech = Speech(self._began, self.events.append)

    def _began(self, event: AnswerBegan) -> None:
        self.events.append(event)
        if self.gives:
            self.speech.give(self.gives)

    def take(self) -> list[EngineEvent]:
        taken = self.events[:]
        self.events.clear()
        return taken


def test_an_answer_begins_with_sound_and_ends_with_a_gap() -> None:
    heard = Heard(gives=7)
    heard.speech.text("Hello", 0.9)
    heard.speech.audio(SILENCE, 0.9)
    assert heard.take() == []
    heard.speech.audio(SOUND, 1.0)
    assert heard.take() == [
        AnswerBegan(),
        AnswerText(7, "Hello"),
        AnswerAudio(7, SOUND, RATE, "Hello"),
    ]
    heard.speech.audio(SOUND, 1.1)
    assert heard.take() == [AnswerAudio(7, SOUND, RATE)]
    assert heard.speech.deadline() == 1.1 + GAP_S
    heard.speech.tick(1.1 + GAP_S)
    assert heard.take() == [AnswerDone(7)]
    assert heard.speech.idle


def test_it_is_kept_until_the_call_gives_it_a_turn() -> None:
    heard = Heard()
    heard.speech.audio(SOUND, 1.0)
    heard.speech.text(" there", 1.1)
    heard.speech.audio(SOUND, 1.2)
    assert heard.take() == [AnswerBegan()]
    heard.speech.give(3)
    assert heard.take() == [
        AnswerAudio(3, SOUND, RATE),
        AnswerText(3, " there"),
        AnswerAudio(3, SOUND, RATE, " there"),
    ]
    heard.speech.give(4)  # a second answer is not there to be given
    assert heard.take() == [AnswerDone(4)]


def test_without_a_turn_it_is_dropped_until_it_pauses() -> None:
    heard = Heard()
    heard.speech.audio(SOUND, 1.0)
    heard.take()
    heard.speech.tick(1.0 + GIVE_TURN_S)
    heard.speech.audio(SOUND, 3.1)
    heard.speech.give(3)
    assert heard.take() == [AnswerDone(3)]
    heard.speech.tick(3.1 + GAP_S)
    heard.speech.audio(SOUND, 4.0)
    assert heard.take() == [AnswerBegan()]


def test_no_more_is_kept_than_an_answer() -> None:
    heard = Heard()
    heard.speech.audio(SOUND, 1.0)
    heard.speech.audio(SOUND * (MAX_HELD_BYTES // len(SOUND)), 1.0)
    assert heard.speech.dropped_bytes > MAX_HELD_BYTES
    heard.speech.give(3)
    assert heard.take() == [AnswerBegan(), AnswerDone(3)]


def test_what_is_cancelled_is_dropped_and_what_follows_a_pause_is_not() -> None:
    heard = Heard(gives=7)
    heard.speech.audio(SOUND, 1.0)
    heard.take()
    assert heard.speech.cancel(7)
    assert not heard.speech.cancel(7)
    heard.speech.text("more", 1.1)
    heard.speech.audio(SOUND, 1.1)
    heard.speech.tick(1.2)
    heard.speech.audio(SOUND, 1.3)
    assert heard.take() == []
    heard.speech.tick(1.3 + GAP_S)
    heard.gives = 8
    heard.speech.audio(SOUND, 2.0)
    assert heard.take() == [AnswerBegan(), AnswerAudio(8, SOUND, RATE)]


def test_output_that_goes_on_as_silence_ends_an_answer_too() -> None:
    heard = Heard(gives=7)
    heard.speech.audio(SOUND, 1.0)
    for _ in range(SILENCE_MS // 100):
        heard.speech.audio(SILENCE, 1.0)  # faster than it plays: no gap is seen
    assert heard.take()[-1] == AnswerDone(7)
    for _ in range(50):
        heard.speech.audio(SILENCE, 1.0)
    assert heard.take() == []


def test_words_after_their_sound_are_not_lost() -> None:
    heard = Heard(gives=7)
    heard.speech.audio(SOUND, 1.0)
    heard.take()
    heard.speech.text(" late", 1.1)
    heard.speech.tick(1.1 + GAP_S)
    text, audio, done = heard.take()
    assert text == AnswerText(7, " late")
    assert isinstance(audio, AnswerAudio)
    assert (audio.text, len(audio.pcm)) == (" late", BYTES_PER_MS)
    assert done == AnswerDone(7)


def test_words_without_sound_are_forgotten() -> None:
    heard = Heard(gives=7)
    heard.speech.text("Hm", 1.0)
    heard.speech.tick(heard.speech.deadline())
    heard.speech.audio(SOUND, 9.0)
    assert heard.take() == [AnswerBegan(), AnswerAudio(7, SOUND, RATE)]


def test_what_was_asked_for_has_a_turn_already() -> None:
    heard = Heard()
    heard.speech.ask(5, 1.0)
    assert heard.speech.waiting() == (5,)
    heard.speech.audio(SOUND, 2.0)
    assert heard.take() == [AnswerAudio(5, SOUND, RATE)]
    assert heard.speech.waiting() == ()
    heard.speech.ask(6, 3.0)
    heard.speech.ask(7, 3.1)
    assert heard.speech.cancel(6)
    heard.speech.tick(3.0 + SAY_S)
    (done,) = heard.take()  # turn 5 paused long ago; 6 is of no interest
    assert done == AnswerDone(5)
    heard.speech.tick(3.1 + SAY_S)
    (done,) = heard.take()
    assert isinstance(done, AnswerDone)
    assert (done.turn, done.status) == (7, "failed")


def test_what_was_asked_for_and_cancelled_is_not_heard() -> None:
    heard = Heard(gives=9)
    heard.speech.ask(5, 1.0)
    assert heard.speech.cancel(5)
    heard.speech.audio(SOUND, 1.5)
    heard.speech.tick(1.5 + GAP_S)
    assert heard.take() == []
    heard.speech.audio(SOUND, 3.0)
    assert heard.take()[0] == AnswerBegan()


def test_only_so_much_is_asked_for_at_once() -> None:
    heard = Heard()
    for turn in range(1, MAX_ASKED + 2):
        heard.speech.ask(turn, 1.0)
    (done,) = heard.take()
    assert isinstance(done, AnswerDone)
    assert (done.turn, done.status) == (MAX_ASKED + 1, "failed")


def test_a_lost_session_fails_what_it_was_saying() -> None:
    heard = Heard(gives=7)
    heard.speech.audio(SOUND, 1.0)
    heard.take()
    heard.speech.lost("gone")
    assert heard.take() == [AnswerDone(7, "failed", error="gone")]
    assert heard.speech.idle
    heard.gives = 0
    heard.speech.audio(SOUND, 1.1)
    heard.speech.lost("gone")
    heard.speech.give(8)
    assert heard.take() == [AnswerBegan(), AnswerDone(8)]


def test_samples_may_be_split_between_deltas() -> None:
    heard = Heard(gives=7)
    heard.speech.audio(SOUND[:1_001], 1.0)
    heard.speech.audio(SOUND[1_001:], 1.0)
    audio = [event.pcm for event in heard.take() if isinstance(event, AnswerAudio)]
    assert b"".join(audio) == SOUND
    assert all(len(pcm) % 2 == 0 for pcm in audio)


def test_texts_are_cut_to_what_may_be_appended() -> None:
    text = "Grüße an alle, " * 40 + "x" * 700
    cut = list(pieces(text.strip(), 100))
    assert all(len(piece.encode()) <= 100 for piece in cut)
    assert "".join(cut).replace(" ", "") == text.replace(" ", "")
    assert list(pieces("ä" * 75, 100)) == ["ä" * 50, "ä" * 25]
    assert list(pieces("short")) == ["short"]
    assert list(pieces("")) == []
