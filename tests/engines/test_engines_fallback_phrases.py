"""The default texts can be spoken without any engine."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from teamscall.calls.settings import RETRY_PHRASE
from teamscall.config import Config
from teamscall.engines import spoken
from teamscall.engines.spoken import TEXTS, packaged_phrase

DEFAULTS = Config()
SAID_BY_DEFAULT = [
    DEFAULTS.goodbye.apology,
    DEFAULTS.goodbye.time_limit,
    RETRY_PHRASE,
    DEFAULTS.idle.reprompt,
    DEFAULTS.idle.goodbye,
    *DEFAULTS.filler.words,
]
MAX_BYTES = 700_000  # what they may add to the package


def test_each_default_text_has_a_recording_and_nothing_else_has() -> None:
    assert sorted(TEXTS.values()) == sorted(SAID_BY_DEFAULT)
    files = list(spoken.FOLDER.glob("*.wav"))
    assert {file.stem for file in files} == set(TEXTS)
    assert sum(file.stat().st_size for file in files) < MAX_BYTES


@pytest.mark.parametrize("text", SAID_BY_DEFAULT)
def test_a_recording_is_speech_of_the_texts_length_at_the_level_of_a_voice(text: str) -> None:
    phrase = packaged_phrase(text)
    assert phrase is not None
    assert (phrase.text, phrase.rate) == (text, 16_000)
    samples = np.frombuffer(phrase.pcm, "<i2").astype(np.float64)
    assert 9 < len(text) / (len(samples) / 16_000) < 25  # characters per second
    blocks = samples[: len(samples) // 320 * 320].reshape(-1, 320)
    rms = np.sqrt((blocks**2).mean(axis=1))
    voiced = rms > 300  # -41 dBFS
    assert voiced.mean() > 0.4
    assert 1_500 < np.sqrt((samples**2).mean()) < 6_000
    assert abs(samples).max() < 29_000  # -1 dBFS: nothing was clipped


@pytest.mark.parametrize("text", SAID_BY_DEFAULT)
def test_a_recording_begins_and_ends_in_silence_without_a_click(text: str) -> None:
    phrase = packaged_phrase(text)
    assert phrase is not None
    samples = np.frombuffer(phrase.pcm, "<i2").astype(np.int32)
    lead_in, lead_out = samples[:320], samples[-1_600:]
    assert not lead_in.any()
    assert not lead_out.any()
    steps = abs(np.diff(samples))
    first, last = np.flatnonzero(samples)[[0, -1]]
    assert steps[first - 1 : first + 16].max() < 200
    assert steps[last - 16 : last + 1].max() < 200


def test_blanks_around_the_text_do_not_matter_and_other_texts_have_none() -> None:
    assert packaged_phrase(f" {RETRY_PHRASE}\n") == packaged_phrase(RETRY_PHRASE)
    assert packaged_phrase(RETRY_PHRASE.lower()) is None
    assert packaged_phrase("") is None


@pytest.mark.parametrize("content", [None, b"", b"not a recording at all"])
def test_a_file_that_cannot_be_read_costs_the_phrase_only(
    content: bytes | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    if content is not None:
        (tmp_path / "retry.wav").write_bytes(content)
    monkeypatch.setattr(spoken, "FOLDER", tmp_path)
    spoken._read.cache_clear()
    with caplog.at_level(logging.WARNING):
        assert packaged_phrase(RETRY_PHRASE) is None
    assert "cannot be read" in caplog.text
    spoken._read.cache_clear()
