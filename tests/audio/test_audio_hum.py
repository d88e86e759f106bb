"""A hum, and the begin of a word."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from teamscall.audio.hum import is_hum
from teamscall.audio.wav import read_wav

RATE = 16_000
GOLDEN = Path(__file__).parent.parent / "golden"
Samples = np.ndarray[tuple[int], np.dtype[np.float64]]

# Formants as (hertz, bandwidth, dB).
NOSE = ((250, 90, 0), (1000, 120, -22), (2200, 200, -26), (3000, 250, -32))
AH = ((700, 130, 0), (1200, 150, -3), (2600, 200, -12))
EH = ((550, 120, 0), (1800, 180, -6), (2500, 200, -10))


def voice(pitch: float, formants: tuple[tuple[int, int, int], ...], glide: float = 0.0) -> Samples:
    """200 ms of a sung sound that rises within 40 ms; ``glide`` moves the pitch per second."""
    t = np.arange(RATE // 5) / RATE
    phase = 2 * np.pi * pitch * (t + glide * t**2 / 2)
    sound = np.zeros_like(t)
    for harmonic in range(1, int(4000 / pitch)):
        hertz = harmonic * pitch
        gain = sum(
            10 ** (db / 20) / (1 + ((hertz - at) / width) ** 2) for at, width, db in formants
        )
        sound += gain * np.sin(harmonic * phase + harmonic)
    noise = np.random.default_rng(1).standard_normal(len(t))
    sound = np.minimum(1.0, t / 0.04) * sound / np.abs(sound).max() + 0.001 * noise
    return np.asarray(6000 * sound)


def first(sound: Samples, ms: int) -> bytes:
    return np.rint(sound[: ms * 16]).astype("<i2").tobytes()


@pytest.mark.parametrize("ms", [60, 80, 100])
@pytest.mark.parametrize("pitch", [85, 110, 140, 180, 220, 260])
class TestSounds:
    @pytest.mark.parametrize("glide", [-1.0, 0.0, 2.0])
    def test_a_nasal_is_a_hum_at_any_pitch(self, pitch: int, glide: float, ms: int) -> None:
        assert is_hum(first(voice(pitch, NOSE, glide), ms))

    @pytest.mark.parametrize("formants", [AH, EH])
    def test_an_open_vowel_is_none(
        self, pitch: int, formants: tuple[tuple[int, int, int], ...], ms: int
    ) -> None:
        assert not is_hum(first(voice(pitch, formants), ms))


@pytest.mark.parametrize("pitch", [110, 220])
def test_a_nasal_whose_mouth_opens_is_a_word(pitch: int) -> None:
    opening = np.minimum(1.0, np.linspace(0.0, 1.6, RATE // 5)) ** 2
    sound = (1 - opening) * voice(pitch, NOSE) + opening * voice(pitch, AH)
    assert not is_hum(first(sound, 100))


@pytest.mark.parametrize("pitch", [110, 160, 220])
def test_a_mouth_that_begins_to_open_is_no_hum_though_still_nearly_shut(pitch: int) -> None:
    shut = voice(pitch, ((250, 60, 0),))
    opening = np.clip(np.arange(RATE // 5) / (RATE // 10) - 0.3, 0.0, 1.0) ** 2
    sound = (1 - opening) * shut + opening * voice(pitch, NOSE)
    assert is_hum(first(shut, 100))
    assert is_hum(first(voice(pitch, NOSE), 100))
    assert not is_hum(first(sound, 100))


def test_breath_before_a_nasal_does_not_matter() -> None:
    breath = np.random.default_rng(2).standard_normal(RATE // 50) * 300
    assert is_hum(first(np.concatenate([breath, voice(140, NOSE)[640:]]), 100))


def test_a_spoken_sentence_is_mostly_no_hum() -> None:
    pcm = read_wav(GOLDEN / "speech_bot.wav")
    loud = [
        pcm[at : at + 2560]
        for at in range(0, len(pcm) - 2560, 2560)
        if np.abs(np.frombuffer(pcm[at : at + 2560], "<i2")).max() > 3000
    ]
    assert len(loud) > 30
    assert sum(is_hum(piece) for piece in loud) < len(loud) / 4


@pytest.mark.parametrize("pcm", [b"", b"\0", bytes(1000), bytes(3200), b"\1\0" * 1600])
def test_silence_and_too_little_are_none(pcm: bytes) -> None:
    assert not is_hum(pcm)
