"""When a track sounds: its utterances, to the sample, above its own noise.

Owns what "begins" and "ends" mean, so that somebody else would measure the same:

1. The level is that of 10 ms windows, every millisecond, without their own mean (so that a
   DC offset is no sound).
2. A window sounds when its level is over the threshold: ``below_speech_db`` under how loud
   the utterance is (the level that it reaches for 50 ms in all) or ``audible_dbfs``, whichever
   is lower; but never less than ``above_noise_db`` above the noise around it, nor than
   ``quietest_dbfs``.
3. Sound with pauses of less than ``pause_ms`` is one utterance, if it lasts for
   ``shortest_ms``; what lasts for less than ``click_ms``, by itself, is a click and no sound.
4. An utterance begins with the first sample of its first sounding window that reaches the
   threshold's amplitude (that of a sine of this level), and ends after the last such sample
   of its last sounding window.

Refuses to know whose track it is. Memory: the samples once, and about 100 bytes per millisecond.
"""

from __future__ import annotations

import math

import msgspec
import numpy as np
import numpy.typing as npt

from teamscall.audio.dbfs import FULL_SCALE, SILENCE_DBFS

Samples = npt.NDArray[np.int16]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.int64]

# One step of the measurement is a millisecond; edges are then looked up to the sample.
STEP = 16  # samples
# A level needs a pitch period (of the lowest voice: 12 ms): less, and it follows the wave.
WINDOW = 10  # steps
# Loud is what an utterance reaches for this long: a vowel, not a click.
_LOUD = 50  # steps
# Of a chunk that is looked at at once: 60 s as float64 are 8 MB.
CHUNK = 60_000  # steps

# --- the noise ---
# As in ``vad``: speech has dips of more than 20 dB within any second, noise has none. The
# lowest 20 ms of this long are the noise; the longer, the surer, and the slower to follow.
NOISE_REACH_MS = 5000
_NOISE_BLOCK = 100  # steps: the window slides by this
_SMOOTH = 20  # steps: a period of a 50 Hz hum
# Less than this between the loudest and the softest: it does not tell noise from sound.
STEADY_DB = 12.0
# Then it is noise up to here. Steady noise that is louder, nobody lets into a call.
STEADY_NOISE_DBFS = -45.0
# Of noise there is as much as this within 6 dB of its softest moment; of a dip in speech,
# a third of it.
_NOISE_MS = 100
# Zeros for this long were put there: what is on either side was not recorded together.
SPLICE_MS = 300


class Hearing(msgspec.Struct, frozen=True):
    """When something sounds. See the module's rules."""

    # Others may measure with fixed thresholds of -45 or -50 dBFS, or 30, 35 or 40 dB under the
    # loudest window. Of 28 to 38, 30 to 32 agree best with them all: over 42 latencies, 24 of
    # spoken clips and 18 of calls, 37, 34, 30, 38 and 31 were within 20 ms of these. Over
    # recordings of rooms that rumble, few are.
    below_speech_db: float = 31.0
    # What is as loud as this is heard, however loud the voice was before it.
    audible_dbfs: float = -45.0
    # Noise scatters by 3 dB around its mean, and its lowest 20 ms are 1 to 5 dB under it.
    above_noise_db: float = 11.0
    # Dither, comfort noise and the tails of resampling filters are under this.
    quietest_dbfs: float = -60.0
    # Closures within words last up to 100 ms, hesitations 250; people take turns from 200 on,
    # but whose turn it is does not depend on it.
    pause_ms: float = 300.0
    # A cough's edge or a key lasts for 20 to 60 ms, the shortest "yes" for 150.
    shortest_ms: float = 70.0
    # A join that does not fit and a lost sample last for 1 ms, a plosive's burst for 10.
    click_ms: float = 5.0


class Utterance(msgspec.Struct, frozen=True):
    """In samples, ``end`` exclusive. ``pieces``: its sound without its pauses, in
    milliseconds (start, end); ``threshold``: RMS amplitude over which it sounds, 0 to 1."""

    start: int
    end: int
    pieces: tuple[tuple[int, int], ...]
    threshold: float


class Sounding(msgspec.Struct, frozen=True):
    """A track's utterances, and its levels on the way."""

    utterances: tuple[Utterance, ...]
    power: Floats  # of each window, full scale is 1
    silent: Flags  # of each millisecond: nothing but zeros


def listen(samples: Samples, hearing: Hearing) -> Sounding:
    """Find the utterances of a track at 16 kHz."""
    first, second, silent = _sums(samples)
    if len(first) < WINDOW:
        return Sounding((), np.zeros(0), silent)
    power = _window_power(first, second)
    floor = _noise(power, silent)
    low = np.maximum(floor * _power(hearing.above_noise_db), _power(hearing.quietest_dbfs))
    starts, ends = _without_clicks(*_runs(power >= low), hearing)
    found: list[Utterance] = []
    for begin, end in _grouped(starts, ends, hearing):
        here = power[begin:end]
        at = max(0, len(here) - _LOUD)
        loud = float(np.partition(here, at)[at])
        under = min(loud * _power(-hearing.below_speech_db), _power(hearing.audible_dbfs))
        over = np.maximum(low[begin:end], under)
        inner = _without_clicks(*_runs(here >= over), hearing)
        for a, b in _grouped(*inner, hearing):
            of = (inner[0] >= a) & (inner[1] <= b)
            runs = np.stack([inner[0][of], inner[1][of]]) + begin
            edges = (over[a], over[b - 1])
            found.append(_utterance(samples, runs, (float(edges[0]), float(edges[1]))))
    return Sounding(tuple(found), power, silent)


def dbfs(power: float) -> float:
    """A power (full scale is 1) as a level."""
    return max(SILENCE_DBFS, 10.0 * math.log10(power)) if power > 0.0 else SILENCE_DBFS


def _power(db: float) -> float:
    return float(10.0 ** (db / 10.0))


# --- levels ---------------------------------------------------------------------------


def _sums(samples: Samples) -> tuple[Floats, Floats, Flags]:
    """Of each whole millisecond: the sum, the sum of squares, and whether it is all zeros."""
    steps = len(samples) // STEP
    first, second = np.zeros(steps), np.zeros(steps)
    silent = np.zeros(steps, np.bool_)
    for at in range(0, steps, CHUNK):
        to = min(steps, at + CHUNK)
        block = samples[at * STEP : to * STEP].reshape(-1, STEP).astype(np.float64)
        first[at:to] = block.sum(axis=1)
        second[at:to] = np.einsum("ij,ij->i", block, block)
        silent[at:to] = second[at:to] == 0.0
    return first, second, silent


def _window_power(first: Floats, second: Floats) -> Floats:
    """The variance of each window: its power without its mean. Sums of integers: exact."""
    count = WINDOW * STEP
    sums = _sliding(first) / count
    squares = _sliding(second) / count
    power: Floats = np.maximum(squares - sums * sums, 0.0) / FULL_SCALE**2
    return power


def _sliding(values: Floats, width: int = WINDOW) -> Floats:
    total = np.concatenate([[0.0], np.cumsum(values)])
    out: Floats = total[width:] - total[:-width]
    return out


# --- noise ----------------------------------------------------------------------------


def _noise(power: Floats, silent: Flags) -> Floats:
    """The noise's power around each window; 0 where there are only zeros."""
    floor = np.zeros(len(power))
    starts, ends = _runs(silent)
    long = ends - starts >= SPLICE_MS
    cuts = np.concatenate([[0], np.stack([starts[long], ends[long]], 1).ravel(), [len(silent)]])
    for at, cut in zip(cuts[::2].tolist(), cuts[1::2].tolist(), strict=True):
        to = min(cut, len(power))
        if to > at:
            floor[at:to] = _noise_of(power[at:to], silent[at:to], at > 0 or to < len(power))
    return floor


def _noise_of(power: Floats, silent: Flags, spliced: bool) -> Floats:
    """Of what was recorded together. Holes in it are left out."""
    if len(power) < _SMOOTH:
        return np.zeros(len(power))
    smooth = _sliding(power, _SMOOTH) / _SMOOTH
    # Every window that touches a hole: ``_SMOOTH`` windows reach WINDOW - 1 further.
    reach = _SMOOTH + WINDOW - 1
    holes = np.concatenate([silent, np.zeros(reach, np.bool_)]).astype(np.float64)
    touched = _sliding(holes, reach)[: len(smooth)] > 0
    lowest = _blocks(np.where(touched, np.inf, smooth), np.inf).min(axis=1)
    highest = _blocks(np.where(touched, 0.0, smooth), 0.0).max(axis=1)
    reach = min(len(lowest), NOISE_REACH_MS // _NOISE_BLOCK)
    floor = np.maximum(*_both_sides(lowest, reach))
    loudest = -np.minimum(*_both_sides(-highest, reach))
    steady = loudest < floor * _power(STEADY_DB)
    short = spliced and len(power) < NOISE_REACH_MS
    bound = 0.0 if short else _power(STEADY_NOISE_DBFS)
    floor = np.where(steady, np.minimum(floor, bound), floor)
    floor = np.where(np.isfinite(floor), floor, 0.0)
    if short and np.count_nonzero(smooth[~touched] <= floor.max() * _power(6.0)) < _NOISE_MS:
        floor[:] = 0.0  # a word without a pause: its softest moment is no noise
    out: Floats = np.repeat(floor, _NOISE_BLOCK)[: len(power)]
    return np.concatenate([out, np.full(len(power) - len(out), out[-1])])


def _blocks(values: Floats, fill: float) -> Floats:
    missing = -len(values) % _NOISE_BLOCK
    return np.concatenate([values, np.full(missing, fill)]).reshape(-1, _NOISE_BLOCK)


def _both_sides(values: Floats, reach: int) -> tuple[Floats, Floats]:
    """The least of the ``reach`` blocks up to each one, and of those from it on. At an end
    there are as many: those that there are."""
    least = np.lib.stride_tricks.sliding_window_view(values, reach).min(axis=1)
    before = np.concatenate([np.full(reach - 1, least[0]), least])
    after = np.concatenate([least, np.full(reach - 1, least[-1])])
    return before, after


# --- runs of sounding windows ---------------------------------------------------------


def _runs(flags: Flags) -> tuple[Numbers, Numbers]:
    """Where runs of true begin, and where they end (exclusive)."""
    edges = np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8))
    return np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)


def _without_clicks(starts: Numbers, ends: Numbers, hearing: Hearing) -> tuple[Numbers, Numbers]:
    """Leave out runs that are too short and stand alone.

    A sound of n milliseconds is in n + WINDOW - 1 windows.
    """
    if not len(starts):
        return starts, ends
    short = ends - starts - (WINDOW - 1) < hearing.click_ms
    pause = np.concatenate([[np.inf], starts[1:] - ends[:-1] + WINDOW - 1, [np.inf]])
    alone = np.minimum(pause[:-1], pause[1:]) >= 2 * WINDOW
    keep = ~(short & alone)
    return starts[keep], ends[keep]


def _grouped(starts: Numbers, ends: Numbers, hearing: Hearing) -> list[tuple[int, int]]:
    """Runs that are one utterance, if they sound for long enough."""
    if not len(starts):
        return []
    breaks = np.flatnonzero(starts[1:] - ends[:-1] + WINDOW - 1 >= hearing.pause_ms)
    firsts = np.concatenate([[0], breaks + 1])
    lasts = np.concatenate([breaks, [len(starts) - 1]])
    lengths = np.concatenate([[0], np.cumsum(np.maximum(ends - starts - (WINDOW - 1), 1))])
    sounding = lengths[lasts + 1] - lengths[firsts]
    keep = sounding >= hearing.shortest_ms
    return list(zip(starts[firsts[keep]].tolist(), ends[lasts[keep]].tolist(), strict=True))


def _utterance(samples: Samples, runs: Numbers, edges: tuple[float, float]) -> Utterance:
    first, last = int(runs[0, 0]), int(runs[1, -1]) - 1
    start = first * STEP + int(_reached(samples, first, edges[0])[0])
    end = last * STEP + int(_reached(samples, last, edges[1])[-1]) + 1
    # Of each run what really sounds: the windows reach over both ends of it. What is shorter
    # than a window is where they all overlap.
    begins = np.minimum(runs[0] + WINDOW - 1, runs[1] - 1)
    stops = np.maximum(runs[1], runs[0] + WINDOW)
    begins[0], stops[-1] = start // STEP, -(-end // STEP)
    begins[-1] = min(begins[-1], stops[-1] - 1)
    joined = [(int(begins[0]), int(stops[0]))]
    for a, b in zip(begins[1:].tolist(), stops[1:].tolist(), strict=True):
        if a <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(b, joined[-1][1]))
        else:
            joined.append((a, b))
    return Utterance(start, end, tuple(joined), math.sqrt(min(edges)))


def _reached(samples: Samples, window: int, power: float) -> Numbers:
    """The samples of a window that reach a sine's amplitude of this power; its largest, if
    none does (a square wave)."""
    here = samples[window * STEP : (window + WINDOW) * STEP].astype(np.float64)
    # Most of the window is beside the sound: its median is the DC offset, its mean is not.
    size = np.abs(here - np.median(here))
    return np.flatnonzero(size >= min(FULL_SCALE * math.sqrt(2.0 * power), float(size.max())))
