"""Levels in dBFS."""

from __future__ import annotations

import numpy as np
import pytest

from teamscall.audio.dbfs import SILENCE_DBFS
from teamscall.audio.level import peak_dbfs, rms_dbfs


def test_a_full_sine_is_minus_three_rms_and_zero_peak() -> None:
    sine = (32767 * np.sin(2 * np.pi * np.arange(16000) / 16)).astype("<i2").tobytes()
    assert rms_dbfs(sine) == pytest.approx(-3.01, abs=0.01)
    assert peak_dbfs(sine) == pytest.approx(0.0, abs=0.001)


def test_the_most_negative_sample_does_not_overflow() -> None:
    pcm = np.full(320, -32768, "<i2").tobytes()
    assert rms_dbfs(pcm) == 0.0
    assert peak_dbfs(pcm) == 0.0


@pytest.mark.parametrize("pcm", [b"", b"\1", bytes(640)])
def test_silence_has_a_finite_level(pcm: bytes) -> None:
    assert rms_dbfs(pcm) == peak_dbfs(pcm) == SILENCE_DBFS


def test_half_a_sample_at_the_end_is_ignored() -> None:
    assert rms_dbfs(b"\0\x40\x7f") == pytest.approx(-6.02, abs=0.01)
