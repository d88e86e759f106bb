"""Voice activity per frame, and endpointing over frames."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from teamscall.audio.vad import (
    Endpointer,
    NoiseFloor,
    SpeechStarted,
    SpeechStopped,
    VoiceActivity,
)

RATE = 16_000
Samples = np.ndarray[tuple[int], np.dtype[np.float64]]
Event = SpeechStarted | SpeechStopped


def frames(samples: Samples) -> list[bytes]:
    pcm = np.clip(np.rint(samples * 32768), -32768, 32767).astype("<i2").tobytes()
    return [pcm[at : at + 640] for at in range(0, len(pcm) - 639, 640)]


def noise(seconds: float, dbfs: float, seed: int = 1) -> Samples:
    scatter = np.random.default_rng(seed).standard_normal(int(seconds * RATE))
    return np.asarray(scatter * 10 ** (dbfs / 20))


def babble(seconds: float, dbfs: float = -20.0) -> Samples:
    """Something voiced: 120 Hz harmonics under two formants, in syllables of 200 ms."""
    t = np.arange(int(seconds * RATE)) / RATE
    voice = np.zeros_like(t)
    for k in range(1, 30):
        f = 120 * k
        gain = np.exp(-(((f - 600) / 300) ** 2)) + 0.5 * np.exp(-(((f - 1800) / 400) ** 2))
        voice += (gain + 0.02) * np.sin(2 * np.pi * f * t + k * k)
    voice *= np.sin(np.pi * t / 0.2) ** 2
    return np.asarray(voice / voice.std() * 10 ** (dbfs / 20))


def run(decisions: list[bool], silence_ms: int = 800) -> list[Event]:
    endpointer = Endpointer(silence_ms=silence_ms)
    return [event for event in map(endpointer.push, decisions) if event]


def ms(voiced: int, value: bool = True) -> list[bool]:
    return [value] * (voiced // 20)


class TestVoiceActivity:
    @pytest.mark.parametrize("aggressiveness", [0, 1, 2, 3])
    @pytest.mark.parametrize("dbfs", [-25, -30, -40])
    def test_steady_white_noise_is_not_speech(self, dbfs: int, aggressiveness: int) -> None:
        activity = VoiceActivity(aggressiveness)
        decisions = [activity.is_speech(frame) for frame in frames(noise(5, dbfs))]
        assert sum(decisions) <= 2
        assert run(decisions) == []

    def test_loud_noise_stops_being_speech_once_it_is_known(self) -> None:
        activity = VoiceActivity()
        decisions = [activity.is_speech(frame) for frame in frames(noise(8, -20))]
        assert not any(decisions[-200:])

    @pytest.mark.parametrize("noise_dbfs", [-90, -40, -35])
    def test_a_voice_above_the_noise_is_speech_from_onset_to_end(self, noise_dbfs: int) -> None:
        speech = np.concatenate([np.zeros(RATE), babble(2.0), np.zeros(RATE * 3 // 2)])
        speech = speech + noise(len(speech) / RATE, noise_dbfs)
        activity = VoiceActivity()
        started, stopped = run([activity.is_speech(frame) for frame in frames(speech)])
        assert isinstance(started, SpeechStarted)
        assert isinstance(stopped, SpeechStopped)
        assert started.onset_ms == pytest.approx(1000, abs=100)
        assert stopped.last_voiced_ms == pytest.approx(3000, abs=150)

    def test_a_voice_from_the_first_frame_is_speech(self) -> None:
        activity = VoiceActivity()
        (started,) = run([activity.is_speech(frame) for frame in frames(babble(1.0))])
        assert isinstance(started, SpeechStarted)
        assert started.onset_ms <= 200

    def test_digital_silence_is_not_speech(self) -> None:
        activity = VoiceActivity(0)
        assert not any(activity.is_speech(bytes(640)) for _ in range(50))

    @pytest.mark.parametrize("size", [0, 638, 642, 1280])
    def test_another_size_is_refused(self, size: int) -> None:
        with pytest.raises(ValueError, match="640"):
            VoiceActivity().is_speech(bytes(size))

    def test_another_mode_is_refused(self) -> None:
        with pytest.raises(ValueError, match="aggressiveness"):
            VoiceActivity(4)

    @pytest.mark.parametrize("aggressiveness", [0, 2, 3])
    def test_a_threshold_of_half_changes_nothing(self, aggressiveness: int) -> None:
        sound = frames(babble(2.0, -45) + noise(2.0, -50))
        plain, half = VoiceActivity(aggressiveness), VoiceActivity(aggressiveness, 0.5)
        decisions = [plain.is_speech(frame) for frame in sound]
        assert decisions == [half.is_speech(frame) for frame in sound]
        assert 0 < sum(decisions) < len(decisions)

    def test_a_higher_threshold_takes_less_for_speech(self) -> None:
        quiet = noise(3.0, -50)
        sound = frames(np.concatenate([quiet, babble(4.0, -45) + noise(4.0, -50, seed=2)]))
        counts = []
        for threshold in (0.0, 0.3, 0.5, 0.8, 1.0):
            activity = VoiceActivity(threshold=threshold)
            counts.append(sum(activity.is_speech(frame) for frame in sound))
        assert counts == sorted(counts, reverse=True)
        assert counts[0] > counts[2] > counts[-1]

    @pytest.mark.parametrize("threshold", [-0.01, 1.01, float("nan")])
    def test_another_threshold_is_refused(self, threshold: float) -> None:
        with pytest.raises(ValueError, match="threshold"):
            VoiceActivity(threshold=threshold)

    def test_the_floor_follows_up_within_its_window_and_down_at_once(self) -> None:
        floor = NoiseFloor()
        for _ in range(200):
            floor.update(-50.0)
        for n in range(300):
            level = floor.update(-35.0)
            if n < 130:
                assert level == -50.0
        assert level == -35.0
        assert floor.update(-55.0) == -55.0
        assert floor.update(-120.0) == -60.0


class TestEndpointer:
    def test_speech_starts_at_its_first_voiced_frame(self) -> None:
        assert run(ms(500, False) + ms(100)) == [SpeechStarted(onset_ms=500)]

    def test_a_closure_within_the_window_is_bridged(self) -> None:
        assert run(ms(40) + ms(80, False) + ms(60)) == [SpeechStarted(onset_ms=0)]

    @pytest.mark.parametrize("click", [20, 40, 80])
    def test_a_click_is_not_speech_however_often_it_comes(self, click: int) -> None:
        assert run((ms(click) + ms(200, False)) * 20) == []

    def test_speech_stops_after_the_silence_and_says_when_it_ended(self) -> None:
        events = run(ms(400) + ms(800, False), silence_ms=800)
        assert events[1:] == [SpeechStopped(last_voiced_ms=400, voiced_ms=400)]
        assert run(ms(400) + ms(780, False), silence_ms=800)[1:] == []

    def test_a_pause_shorter_than_the_silence_goes_on(self) -> None:
        events = run(ms(400) + ms(780, False) + ms(400) + ms(800, False))
        assert events[1:] == [SpeechStopped(last_voiced_ms=1580, voiced_ms=800)]

    def test_a_single_stray_frame_does_not_prolong_the_pause(self) -> None:
        events = run(ms(400) + ms(400, False) + ms(20) + ms(380, False))
        assert events[1:] == [SpeechStopped(last_voiced_ms=400, voiced_ms=420)]

    def test_each_utterance_is_reported_on_the_same_timeline(self) -> None:
        events = run((ms(300) + ms(900, False)) * 3)
        assert events[::2] == [SpeechStarted(onset_ms=at) for at in (0, 1200, 2400)]
        assert [e.last_voiced_ms for e in events[1::2] if isinstance(e, SpeechStopped)] == [
            300,
            1500,
            2700,
        ]

    def test_voiced_ms_counts_a_stretch_and_forgets_it_after_the_hangover(self) -> None:
        endpointer = Endpointer(hangover_ms=200)
        seen = []
        for voiced in ms(60) + ms(180, False) + ms(100) + ms(200, False) + ms(20):
            endpointer.push(voiced)
            seen.append(endpointer.voiced_ms)
        assert seen[2] == 60
        assert seen[11] == 60
        assert seen[16] == 160
        assert seen[-2:] == [0, 20]

    def test_reset_forgets_the_speech_but_not_the_time(self) -> None:
        endpointer = Endpointer()
        for voiced in ms(400):
            endpointer.push(voiced)
        endpointer.reset()
        assert not endpointer.speaking
        assert endpointer.voiced_ms == 0
        assert endpointer.position_ms == 400
        events = [event for event in map(endpointer.push, ms(100)) if event]
        assert events == [SpeechStarted(onset_ms=400)]

    def test_paused_ms_tells_how_long_the_caller_has_paused(self) -> None:
        endpointer = Endpointer()
        for voiced in ms(400) + ms(300, False):
            endpointer.push(voiced)
        assert endpointer.paused_ms == 300
        assert endpointer.uttered_ms == 400

    def test_between_utterances_nothing_is_paused_or_uttered(self) -> None:
        endpointer = Endpointer(silence_ms=200)
        for voiced in ms(400) + ms(300, False) + ms(40):
            endpointer.push(voiced)
        assert (endpointer.paused_ms, endpointer.uttered_ms) == (0, 0)


def utterance(*pauses: int, end: int) -> list[bool]:
    """400 ms of voice around each pause, then silence."""
    return (
        [frame for pause in pauses for frame in ms(400) + ms(pause, False)]
        + ms(400)
        + ms(end, False)
    )


def needed_after(decisions: list[bool], *, shortest: int = 0, longest: int = 1600) -> int:
    endpointer = Endpointer(silence_ms=800, adaptive=True, shortest_ms=shortest, longest_ms=longest)
    for voiced in decisions:
        endpointer.push(voiced)
    return endpointer.needed_ms


class TestAdaptiveEndpointer:
    @pytest.mark.parametrize(
        ("decisions", "needed"),
        [
            ([], 800),
            (utterance(end=2000), 800),
            (utterance(300, 500, 640, end=2000), 800),  # comfortably shorter: nothing learnt
            (utterance(700, end=0), 860),  # p90 700 and 150, in whole frames
            (utterance(300, 760, end=0), 920),
            (utterance(1200, end=0), 1360),  # cut off: went on 400 ms after the stop
            (utterance(1480, end=0), 1600),  # as long as allowed
            (utterance(1520, end=0), 800),  # 720 ms after the stop: the next utterance
        ],
    )
    def test_what_one_caller_teaches(self, decisions: list[bool], needed: int) -> None:
        assert needed_after(decisions) == needed

    def test_a_caller_cut_off_once_is_not_cut_off_by_the_same_pause_again(self) -> None:
        decisions = utterance(1000, end=3000) + utterance(1000, end=3000)
        fixed = run(decisions)
        endpointer = Endpointer(adaptive=True)
        adapted = [event for event in map(endpointer.push, decisions) if event]
        assert len(fixed) == 8
        assert len(adapted) == 6

    def test_the_excess_decays_over_utterances_without_such_pauses(self) -> None:
        cut_off = utterance(1200, end=3000)
        needed = [needed_after(cut_off + utterance(end=3000) * n) for n in (0, 1, 2, 4, 16)]
        assert needed == sorted(needed, reverse=True)
        assert needed[0] == 1360  # not yet by the one that had it
        assert needed[3] < 1000
        assert needed[-1] == 800

    @pytest.mark.parametrize(
        ("shortest", "pauses", "needed"),
        [
            (400, [300] * 7, 800),  # not enough seen
            (400, [300] * 8, 460),
            (400, [200] * 12, 400),  # no further than allowed
            (0, [300] * 12, 800),  # not allowed
            (900, [300] * 12, 800),  # no shorter than configured
            (400, [100] * 30, 800),  # closures are no pauses
            (400, [300] * 6 + [600, 600], 760),
        ],
    )
    def test_it_shrinks_for_a_fluent_caller_where_allowed(
        self, shortest: int, pauses: list[int], needed: int
    ) -> None:
        assert needed_after(utterance(*pauses, end=3000), shortest=shortest) == needed

    def test_after_shrinking_a_false_stop_lengthens_it_again(self) -> None:
        fluent = utterance(*[300] * 12, end=3000)
        assert needed_after(fluent, shortest=400) == 460
        assert needed_after(fluent + utterance(900, end=0), shortest=400) > 900

    def test_what_was_reset_is_no_false_stop(self) -> None:
        endpointer = Endpointer(adaptive=True)
        for voiced in ms(400) + ms(820, False):
            endpointer.push(voiced)
        endpointer.reset()
        for voiced in ms(400):
            endpointer.push(voiced)
        assert endpointer.needed_ms == 800


@given(
    decisions=st.lists(st.booleans(), max_size=600),
    shortest=st.integers(0, 1000),
    longest=st.integers(0, 2000),
)
def test_the_adapted_pause_stays_within_its_bounds(
    decisions: list[bool], shortest: int, longest: int
) -> None:
    endpointer = Endpointer(silence_ms=300, adaptive=True, shortest_ms=shortest, longest_ms=longest)
    for voiced in decisions:
        endpointer.push(voiced)
        assert (shortest or 300) <= endpointer.needed_ms + 19 or shortest >= 300
        assert endpointer.needed_ms <= max(300, longest) + 19


@given(decisions=st.lists(st.booleans(), max_size=600), silence=st.integers(20, 1000))
def test_starts_and_stops_alternate_in_time_for_any_decisions(
    decisions: list[bool], silence: int
) -> None:
    endpointer = Endpointer(silence_ms=silence)
    speaking, before = False, 0
    for voiced in decisions:
        event = endpointer.push(voiced)
        if isinstance(event, SpeechStarted):
            assert not speaking
            assert before <= event.onset_ms <= endpointer.position_ms - 100
            speaking, before = True, event.onset_ms
        elif isinstance(event, SpeechStopped):
            assert speaking
            assert before <= event.last_voiced_ms <= endpointer.position_ms - silence
            speaking, before = False, event.last_voiced_ms
        assert endpointer.speaking is speaking
