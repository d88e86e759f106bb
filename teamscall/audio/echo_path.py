"""The way from the bot's mouth to the caller's microphone: found, followed, subtracted.

``Reference`` is what was played, on the timeline of the far side. ``DelaySearch`` finds
how late it comes back, ``EchoFilter`` learns what the loudspeaker and the room do to it
and predicts the echo. All work at 8 kHz on pre-emphasised samples: the band that every
loudspeaker has, at a quarter of the cost. They know no calls, no clocks and no verdicts.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from teamscall.wire.events import FRAME_MS

Samples = np.ndarray[tuple[int], np.dtype[np.float64]]

RATE = 8000
FRAME = RATE * FRAME_MS // 1000  # 160 samples
PREEMPHASIS = 0.9  # speech falls by some 6 dB per octave: this is nearly white

# --- the reference ----------------------------------------------------------------------

# Delay, plus the history that a new path is learnt from, plus what is sent ahead.
KEPT = 3 * RATE


class Decimator:
    """16 kHz s16le frames to pre-emphasised samples at 8 kHz, with state."""

    # Flat to 2.7 kHz, -50 dB from 4 kHz. What folds is not predictable: with a half-band
    # filter every "s" from a reverberant room was taken for the caller.
    _TAPS = 41
    _CUT = 3350 / 8000
    _at = np.arange(_TAPS) - _TAPS // 2
    _filter = np.sinc(_at * _CUT) * np.hamming(_TAPS)
    _filter = np.convolve(_filter / _filter.sum(), [1.0, 0.0, -PREEMPHASIS])

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self._tail = np.zeros(len(self._filter) - 1)

    def push(self, frame: bytes) -> Samples:
        """640 bytes to 160 samples."""
        whole = np.concatenate([self._tail, np.frombuffer(frame, "<i2")])
        self._tail = whole[-len(self._tail) :]
        return np.asarray(np.convolve(whole, self._filter, "valid")[::2])


class Timeline:
    """Samples by their absolute index; silence where there are none. Keeps ``KEPT``."""

    def __init__(self) -> None:
        self._samples = np.zeros(2 * KEPT)
        self._base = 0  # the index of the first one here
        self.end = 0

    def write(self, at: int, samples: Samples) -> None:
        """Put these at ``at``; what was there or later is gone."""
        self.cut(at)
        stop = at + len(samples)
        if stop - self._base > len(self._samples):
            kept = self.read(stop - KEPT, stop)
            self._samples[:KEPT] = kept
            self._samples[KEPT:] = 0.0
            self._base = stop - KEPT
        elif at < self._base:
            return  # a past that nobody can ask for
        self._samples[at - self._base : stop - self._base] = samples
        self.end = stop

    def cut(self, at: int) -> None:
        """Forget what is at ``at`` and later."""
        if at < self.end:
            self._samples[max(0, at - self._base) : self.end - self._base] = 0.0
            self.end = at

    def read(self, start: int, stop: int) -> Samples:
        out = np.zeros(stop - start)
        low, high = max(start, self._base), min(stop, self.end)
        if low < high:
            out[low - start : high - start] = self._samples[low - self._base : high - self._base]
        return out


# --- how late it comes back ----------------------------------------------------------------

# 800 ms of network, playout and room, and what delivery in bursts adds to it.
MAX_DELAY = RATE * 1050 // 1000
# The model of the far side's playout may be late by a frame.
MIN_DELAY = -FRAME
WINDOW = RATE * 80 // 1000
_FFT = 9216  # holds WINDOW + MAX_DELAY - MIN_DELAY, and is 2^10 * 3^2
# Per frame: what was heard 280 ms ago counts by a third of what is heard now.
FORGET = 0.93
# The noise at the microphone, by its spectrum: smoothed over 170 Hz, by so much per window.
SMOOTH = 193
NOISE_STEP = 0.25
# A bin that is not this much above the noise (in power) is noise and says nothing.
ABOVE_NOISE = 3.0

_frequencies = np.fft.rfftfreq(_FFT, 1 / RATE)
_BAND = (_frequencies > 200) & (_frequencies < 3500)


class DelaySearch:
    """Whitened cross-correlation of the caller's last 80 ms with all that was played.

    One window says little (an unrelated voice reaches what an echo from a reverberant room
    does), but the echo's delay stays where it is and the rest moves: sums tell them apart
    within 60 ms (a clean echo) to 240 ms (no direct sound at all). Measured: echoes stand
    out by 16 standard deviations and more from the twelfth frame of voice on, unrelated
    voices by less than 11.
    """

    def __init__(self) -> None:
        self._noise: Samples | None = None  # the power of its spectrum
        self.reset()

    def noise(self, window: Samples) -> None:
        """The last ``WINDOW`` samples heard, in which nobody spoke."""
        power = np.abs(np.fft.rfft(window, _FFT)) ** 2
        sums = np.cumsum(np.pad(power, (SMOOTH // 2 + 1, SMOOTH // 2), mode="reflect"))
        smooth = (sums[SMOOTH:] - sums[:-SMOOTH]) / SMOOTH
        before = smooth if self._noise is None else self._noise
        self._noise = before + NOISE_STEP * (smooth - before)

    def reset(self) -> None:
        """Forget the delay; the noise stays what it is."""
        self._sum = np.zeros(MAX_DELAY - MIN_DELAY + 1)
        self.frames = 0

    def update(self, window: Samples, played: Samples) -> tuple[int, float]:
        """Take the last ``WINDOW`` samples heard and the last ``MAX_DELAY + WINDOW`` played
        (and ``-MIN_DELAY`` to come); return the likeliest delay in samples, and how far it
        stands out, in standard deviations."""
        cross = _whitened(window, self._noise).conj() * _whitened(played)
        likeness = np.fft.irfft(cross, _FFT)[: len(self._sum)]
        power = float(np.vdot(likeness, likeness)) / len(likeness)
        if power > 0.0:
            self._sum *= FORGET
            self._sum += likeness / np.sqrt(power)
            self.frames += 1
        size = np.abs(self._sum)
        best = int(size.argmax())
        spread = np.sqrt(float(np.vdot(size, size)) / len(size))
        return MAX_DELAY - best, float(size[best] / spread) if spread else 0.0

    def outstanding(self, possible: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> float:
        """How far the likeliest of the possible delays stands out, in standard deviations.

        ``possible[n]``: a delay of n frames, give or take one and a half.
        """
        size = np.abs(self._sum)
        spread = np.sqrt(float(np.vdot(size, size)) / len(size))
        delays = (MAX_DELAY - np.arange(len(size))) / FRAME
        nearest = np.abs(delays[:, None] - np.flatnonzero(possible)[None, :]).min(axis=1)
        within = size[nearest <= 1.5]
        return float(within.max() / spread) if spread and len(within) else 0.0


def _whitened(
    samples: Samples, noise: Samples | None = None
) -> np.ndarray[Any, np.dtype[np.complex128]]:
    """The spectrum with its magnitude to the power of a quarter: sharp peaks, harmonics tamed.

    Bins that do not stand out of the noise are left out: they would be made as loud as the
    rest."""
    spectrum = np.fft.rfft(samples, _FFT)
    size = np.abs(spectrum)
    half = np.sqrt(size)
    weight = half * np.sqrt(half)
    gain = _BAND / (weight + 0.01 * weight.mean() + 1e-9)
    if noise is not None:
        gain *= np.maximum(0.0, 1.0 - ABOVE_NOISE * noise / (size * size + 1e-9))
    return np.asarray(spectrum * gain)


# --- what the way does to it ------------------------------------------------------------------

BLOCK = 512
TAPS = 288  # 36 ms: 27 dB of a room that falls by 60 dB in 80 ms
EARLY = RATE * 6 // 1000  # taps before the delay found, which may be that of a reflection
# No bin is taken to be passed on by more than this times the average one (in power).
CAP = 4.0
# The path is expected to change by this little per frame (Kalman's transition factor).
STEADY = 0.998


class EchoFilter:
    """A frequency-domain Kalman filter: the echo, predicted from what was played.

    After Enzner and Vary (2006): its step size follows from how uncertain each bin is and
    how much of the caller's own voice is in the error, so that double talk does not spoil
    it and nothing need detect that.

    Attributes:
        doubt: how much of the last echo predicted may be wrong (energy of a frame).
    """

    def __init__(self) -> None:
        bins = BLOCK // 2 + 1
        self._weights = np.zeros(bins, complex)
        self._uncertain = np.ones(bins)
        self._noise: Samples | None = None
        self.doubt = 0.0

    def settle(self) -> None:
        """Bins never heard are no likelier to be passed on than those that were."""
        size = np.abs(self._weights) ** 2
        np.minimum(self._uncertain, CAP * size.mean(), out=self._uncertain)

    def step(self, played: Samples, heard: Samples) -> tuple[Samples, Samples]:
        """Take ``BLOCK`` samples that end with the frame's own (at the path's delay), and
        the frame heard; return the echo predicted, and what is left of the frame."""
        x = np.fft.rfft(played)
        echo = np.fft.irfft(self._weights * x)[-FRAME:]
        left = heard - echo
        padded = np.zeros(BLOCK)
        padded[-FRAME:] = left
        error = np.fft.rfft(padded)
        error_power = np.abs(error) ** 2
        self._noise = error_power if self._noise is None else 0.2 * self._noise + 0.8 * error_power
        power = np.abs(x) ** 2
        self.doubt = float(np.vdot(self._uncertain, power)) * 2 / BLOCK * FRAME / BLOCK
        gain = self._uncertain / (power * self._uncertain + BLOCK / FRAME * self._noise + 1e-3)
        step = np.fft.irfft(gain * x.conj() * error)
        step[TAPS:] = 0.0
        self._weights += np.fft.rfft(step)
        kept = 1.0 - FRAME / BLOCK * gain * power
        self._uncertain *= STEADY**2 * kept
        self._uncertain += (1.0 - STEADY**2) * np.abs(self._weights) ** 2
        return echo, left
