"""Tracks with known edges, for the analyser."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import numpy.typing as npt

from teamscall.audio.measures import Measures
from teamscall.audio.wav import read_wav
from teamscall.audio.waveform import Thresholds, measure

PACKAGE = Path(__file__).parents[2] / "teamscall"
SPOKEN = PACKAGE / "engines" / "spoken"
PER_MS = 16

Samples = npt.NDArray[np.float64]


def tone(ms: float, hz: float = 300.0, dbfs: float = -20.0) -> Samples:
    """A sine of this RMS level that begins and ends at once, and at its peak: its first and
    last samples are loud."""
    t = np.arange(round(ms * PER_MS)) / 16_000
    peak = 32768.0 * 2**0.5 * 10 ** (dbfs / 20)
    return peak * np.cos(2 * np.pi * hz * t)


def noise(ms: float, dbfs: float, seed: int = 1) -> Samples:
    rng = np.random.default_rng(seed)
    return rng.normal(0.0, 32768.0 * 10 ** (dbfs / 20), round(ms * PER_MS))


@functools.cache
def clip(name: str) -> Samples:
    """Real speech of a synthetic voice, cut to its sound by the simplest rule there is: from
    the first to the last 2 ms over -45 dBFS."""
    path = PACKAGE / "assets" / "question.wav" if name == "question" else SPOKEN / f"{name}.wav"
    samples = np.frombuffer(read_wav(path), "<i2").astype(np.float64)
    parts = samples[: len(samples) // 32 * 32].reshape(-1, 32)
    loud = np.flatnonzero(np.sqrt(np.square(parts).mean(axis=1)) > 32768 * 10 ** (-45 / 20))
    return samples[loud[0] * 32 : (loud[-1] + 1) * 32]


def track(length_ms: float, *parts: tuple[float, Samples]) -> bytes:
    """Sounds laid over each other, each at its millisecond."""
    out = np.zeros(round(length_ms * PER_MS))
    for at_ms, sound in parts:
        at = round(at_ms * PER_MS)
        out[at : at + len(sound)] += sound[: len(out) - at]
    return np.clip(np.rint(out), -32768, 32767).astype("<i2").tobytes()


def of(
    caller: list[tuple[float, float]],
    bot: list[tuple[float, float]],
    *,
    thresholds: Thresholds | None = None,
    length_ms: float = 20_000,
) -> Measures:
    """What is measured of tones from and to these milliseconds."""
    sides = (
        track(length_ms, *((start, tone(end - start, hz)) for start, end in spans))
        for spans, hz in ((caller, 300.0), (bot, 410.0))
    )
    return measure(*sides, thresholds=thresholds or Thresholds())


def responses(found: Measures) -> list[tuple[int, int]]:
    return [(round(one.asked_ms), round(one.answered_ms)) for one in found.responses]


def barge_ins(found: Measures) -> list[tuple[int, int | None]]:
    return [
        (round(one.onset_ms), None if one.silent_ms is None else round(one.silent_ms))
        for one in found.barge_ins
    ]
