"""What is broken in a track: holes, clicks, clipping.

Owns how each is told from what speech does by itself. Refuses to know why it is there.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import numpy as np

from teamscall.audio.dbfs import FULL_SCALE
from teamscall.audio.sounding import STEP, Floats, Numbers, Samples, Sounding

# Samples that are looked at at once: 64 MB as float64.
_CHUNK = 1 << 20
_EDGE = 80  # samples on either side of a hole that must sound: 5 ms
_BRINK = 24  # and of these, the ones that a fade would have made soft: 1.5 ms
_AROUND = 80  # and of a step, that it is compared with
_OWN = 2  # samples next to a step that are part of it: an impulse is two steps


class Limits(msgspec.Struct, frozen=True):
    """What counts as broken."""

    # A lost frame is 10 or 20 ms; zeros of less are within a voice's closures.
    hole_ms: float = 8.0
    # Longer is a pause, or another utterance.
    longest_hole_ms: float = 1000.0
    # On both sides of a hole is sound of so much over the utterance's threshold; a pause is
    # entered and left softly.
    hole_edge_db: float = 6.0
    # And on one side at least, its brink is no softer than the sound before it by so much: a
    # fade of 5 ms makes it 10 to 15. (One: in a vowel, it may fall between two pulses.)
    hole_brink_db: float = 8.0
    # Runs of full scale: a single such sample is a peak that just fits.
    clipped_run: int = 3
    # A step between two samples, as a share of full scale; softer ones are not heard.
    click_step: float = 0.02
    # And by so much over the RMS of the steps around it: a voice's own reach 6.
    click_ratio: float = 10.0


def holes(samples: Samples, heard: Sounding, limits: Limits) -> list[tuple[int, int]]:
    """Digital silence between two sounds, in samples (start, end).

    Zeros, or one least significant bit, that begin and end abruptly: a voice does not.
    """
    if not heard.utterances:
        return []
    # Milliseconds of zeros first: a hole has some, and there are few such places.
    edges = np.diff(np.concatenate([[False], heard.silent, [False]]).astype(np.int8))
    out: list[tuple[int, int]] = []
    ends = [one.end for one in heard.utterances]
    for first, last in zip(
        np.flatnonzero(edges == 1).tolist(), np.flatnonzero(edges == -1).tolist(), strict=True
    ):
        if last - first > limits.longest_hole_ms or last - first < limits.hole_ms - 2:
            continue
        longest = int(limits.longest_hole_ms * STEP)
        start, end = _widened(samples, first * STEP, last * STEP, longest)
        if not limits.hole_ms * STEP <= end - start <= longest:
            continue
        number = int(np.searchsorted(ends, start - 1))
        if number == len(ends) or heard.utterances[number].start >= start:
            continue
        threshold = heard.utterances[number].threshold * 10 ** (limits.hole_edge_db / 20)
        before, after = samples[max(0, start - _EDGE) : start], samples[end : end + _EDGE]
        if min(_rms(before), _rms(after)) < threshold:
            continue
        brink = max(
            _rms(before[-_BRINK:]) / max(_rms(before[:-_BRINK]), 1e-9),
            _rms(after[:_BRINK]) / max(_rms(after[_BRINK:]), 1e-9),
        )
        if brink >= 10 ** (-limits.hole_brink_db / 20):
            out.append((start, end))
    return out


def _widened(samples: Samples, start: int, end: int, most: int) -> tuple[int, int]:
    """To the last sample that is a zero, or one bit; by ``most`` on each side, where a silence
    of minutes has no end."""
    before = samples[max(0, start - most) : start]
    sounding = np.flatnonzero((before < -1) | (before > 1))
    start += (int(sounding[-1]) + 1 if len(sounding) else 0) - len(before)
    after = samples[end : end + most]
    sounding = np.flatnonzero((after < -1) | (after > 1))
    return start, end + (int(sounding[0]) if len(sounding) else len(after))


def _rms(samples: Samples) -> float:
    if not len(samples):
        return 0.0
    return float(np.sqrt(np.square(samples.astype(np.float64)).mean())) / FULL_SCALE


def clipped(samples: Samples, limits: Limits) -> int:
    """How many samples are at full scale, in runs of the same sign."""
    total = 0
    for full in (samples >= 32767, samples <= -32767):
        at = np.flatnonzero(full)
        if len(at):
            runs = np.split(at, np.flatnonzero(np.diff(at) != 1) + 1)
            total += sum(len(run) for run in runs if len(run) >= limits.clipped_run)
    return total


def clicks(samples: Samples, limits: Limits) -> list[int]:
    """Samples after a step that neither a voice nor a fade makes.

    A step counts where it is ``click_ratio`` times the RMS of those around it. Several
    within 5 ms are one.
    """
    out: list[int] = []
    for at in _steps(samples, limits):
        if not out or at - out[-1] > _AROUND:
            out.append(at)
    return out


def _steps(samples: Samples, limits: Limits) -> Iterator[int]:
    smallest = limits.click_step * FULL_SCALE
    for begin in range(0, len(samples), _CHUNK):
        first = max(0, begin - _AROUND - 1)
        here = samples[first : begin + _CHUNK + _AROUND].astype(np.float64)
        step = np.diff(here)
        large: Numbers = np.flatnonzero(np.abs(step) >= smallest)
        # The step at index i leads to sample first + i + 1, which must be of this chunk.
        large = large[(large + first + 1 >= begin) & (large + first + 1 < begin + _CHUNK)]
        if not len(large):
            continue
        energy = np.concatenate([[0.0], np.cumsum(np.square(step))])

        # The louder side counts: a plosive breaks out of silence, a join that does not fit
        # is a stranger on both.
        before = _between(energy, large - _AROUND, large - _OWN)
        after = _between(energy, large + _OWN + 1, large + _AROUND + 1)
        mean = np.maximum(before, after) / (_AROUND - _OWN)
        found = np.square(step[large]) >= limits.click_ratio**2 * mean
        yield from (large[found] + first + 1).tolist()


def _between(energy: Floats, low: Numbers, high: Numbers) -> Floats:
    """From a running sum."""
    top = len(energy) - 1
    out: Floats = energy[np.clip(high, 0, top)] - energy[np.clip(low, 0, top)]
    return out
