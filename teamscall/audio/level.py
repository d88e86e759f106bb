"""How loud PCM is, in dBFS: 0 is the largest 16-bit amplitude, a full sine is -3 RMS."""

from __future__ import annotations

import math

import numpy as np

from teamscall.audio.dbfs import FULL_SCALE, SILENCE_DBFS


def rms_dbfs(pcm: bytes) -> float:
    """The RMS level of s16le PCM; ``SILENCE_DBFS`` for silence or less than one sample."""
    samples = _samples(pcm)
    if not samples.size:
        return SILENCE_DBFS
    return _dbfs(math.sqrt(float(np.vdot(samples, samples)) / samples.size))


def peak_dbfs(pcm: bytes) -> float:
    """The level of the largest sample of s16le PCM; ``SILENCE_DBFS`` for silence."""
    samples = _samples(pcm)
    return _dbfs(float(np.abs(samples).max())) if samples.size else SILENCE_DBFS


def _samples(pcm: bytes) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    # Not integers: a dot product of int32 overflows, and |-32768| does in int16.
    return np.frombuffer(pcm, "<i2", count=len(pcm) // 2).astype(np.float64)


def _dbfs(amplitude: float) -> float:
    if amplitude <= 0.0:
        return SILENCE_DBFS
    return max(SILENCE_DBFS, 20.0 * math.log10(amplitude / FULL_SCALE))
