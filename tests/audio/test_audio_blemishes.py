"""What is broken in a track, against faults that were planted."""

from __future__ import annotations

import numpy as np
import pytest
from audio_rig import Samples, clip, tone, track

from teamscall.audio.measures import Track
from teamscall.audio.waveform import measure

CLIPS = ("question", "apology", "idle-goodbye", "reprompt", "time-limit", "let-me-see")


def bot(sound: Samples) -> Track:
    return measure(b"", track(8000, (1000, sound))).bot


@pytest.mark.parametrize("name", CLIPS)
def test_speech_that_nobody_broke_has_no_holes_and_is_not_clipped(name: str) -> None:
    found = bot(clip(name))
    assert found.gaps == ()
    assert found.loudness.clipped_samples == 0
    assert found.loudness.clicks <= 1  # a plosive may be as sharp


def vowels(sound: Samples) -> list[int]:
    """Samples in the middle of 60 loud milliseconds."""
    parts = sound[: len(sound) // 160 * 160].reshape(-1, 160)
    loud = np.sqrt(np.square(parts).mean(axis=1)) > 1500
    runs = np.lib.stride_tricks.sliding_window_view(loud, 8).all(axis=1)
    return [int(at + 2) * 160 for at in np.flatnonzero(runs)[::4]]


@pytest.mark.parametrize("name", CLIPS)
def test_a_hole_of_40_ms_in_a_vowel_is_found(name: str) -> None:
    places = vowels(clip(name))
    assert places
    found = 0
    for at in places:
        sound = clip(name).copy()
        sound[at : at + 640] = 0
        gaps = bot(sound).gaps
        at_ms = 1000 + at / 16
        found += len(gaps) == 1 and (
            (gaps[0].start_ms, gaps[0].end_ms) == pytest.approx((at_ms, at_ms + 40), abs=1)
        )
    assert found >= 0.8 * len(places)


def test_a_hole_in_a_tone_is_exact() -> None:
    sound = tone(1000)
    sound[8000:8640] = 0
    ((start, end),) = [(one.start_ms, one.end_ms) for one in bot(sound).gaps]
    assert (start, end) == pytest.approx((1500, 1540), abs=0.1)


def test_a_pause_that_fades_is_no_hole() -> None:
    fade = np.minimum(1.0, np.arange(16 * 200) / 80)
    word = tone(200) * fade * fade[::-1]
    sound = np.concatenate([word, np.zeros(16 * 40), word])
    assert bot(sound).gaps == ()


def test_the_silence_between_two_utterances_is_no_hole() -> None:
    sound = np.concatenate([tone(500), np.zeros(16 * 1500), tone(500)])
    assert bot(sound).gaps == ()
    assert len(bot(sound).utterances) == 2


@pytest.mark.parametrize("size", [3000.0, -6000.0, 20_000.0])
def test_a_single_wrong_sample_is_one_click(size: float) -> None:
    sound = tone(1000, 200.0, -26.0)
    edges = bot(sound).loudness.clicks
    sound[8000] += size
    assert bot(sound).loudness.clicks == edges + 1


def test_a_join_that_does_not_fit_is_one_click() -> None:
    sound = np.concatenate([tone(500, 200.0, -20.0), -tone(500, 200.0, -20.0)])
    edges = bot(tone(500, 200.0, -20.0)).loudness.clicks
    assert edges == 2  # a tone that begins and ends at its peak
    assert bot(sound).loudness.clicks == edges + 1


@pytest.mark.parametrize("sign", [1, -1])
def test_clipping_counts_runs_of_full_scale(sign: int) -> None:
    loud = sign * np.abs(tone(500, 200.0, -1.0)) * 1.3
    assert bot(loud).loudness.clipped_samples > 500
    assert bot(np.clip(loud, -32000, 32000)).loudness.clipped_samples == 0
    single = tone(500, 200.0, -20.0)
    single[4000:4002] = sign * 32767
    assert bot(single).loudness.clipped_samples == 0
    single[4000:4003] = sign * 32767
    assert bot(single).loudness.clipped_samples == 3


def test_level_peak_and_noise_are_what_was_put_there() -> None:
    found = bot(tone(2000, dbfs=-23.0)).loudness
    assert found.level_dbfs == pytest.approx(-23.0, abs=0.1)
    assert found.peak_dbfs == pytest.approx(-20.0, abs=0.1)
    assert found.noise_dbfs == -120.0
    hiss = np.random.default_rng(3).normal(0, 33, 16 * 8000)
    noisy = measure(b"", track(8000, (0, hiss), (3000, tone(1000)))).bot.loudness
    assert noisy.noise_dbfs == pytest.approx(-60, abs=0.5)
