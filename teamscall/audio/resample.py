"""Changes the sample rate of 16-bit mono PCM, chunk by chunk, without clicks at the joins.

16 <-> 24 kHz, the hot path between a gateway and a realtime vendor, is a polyphase FIR
in numpy: 2 ms of delay where soxr's default stream holds back 37 and comes in lumps.
Other rates (a voice at 22.05 kHz, a device at 48) go through soxr in its variable-rate
mode (10 to 15 ms, even chunks); whole files through soxr at once. Knows nothing of where
the audio comes from.
"""

from __future__ import annotations

from fractions import Fraction
from functools import cache
from typing import Protocol

import numpy as np
import soxr

Samples = np.ndarray[tuple[int], np.dtype[np.float64]]
Kernel = np.ndarray[tuple[int, int], np.dtype[np.float64]]

# --- the filter ------------------------------------------------------------------------

# Both directions pass through 48 kHz and need the same low-pass there: what both 16 and
# 24 kHz can carry. One prototype serves both, 64 taps per output phase up, 96 down.
COMMON_RATE = 48_000
HALF_LENGTH = 96  # taps on either side of the middle one: 2 ms, the delay
CUTOFF_HZ = 0.94 * 8000  # -6 dB; flat within 0.1 dB to 7 kHz, gone at 8.3
KAISER_BETA = 9.0  # -90 dB: below the noise of 16 bits

# Taps are whole multiples of 2^-24 and samples whole numbers, so every product and sum
# is exact in a double (15 + 24 + 7 bits of 53): the output cannot depend on how the input
# was cut into chunks, nor on the order in which a BLAS adds.
TAP_SCALE = float(1 << 24)

# Periods of the filter computed per row of the matrix product: 1 ms of audio, so a 20 ms
# frame is 20 rows and nothing more than the delay is held back. A row per period is three
# times as slow.
PERIODS = 8


class _Stream(Protocol):
    """A resampler in the middle of its input."""

    def push(self, samples: Samples) -> Samples: ...
    def drain(self) -> Samples:
        """What is still held back, as if silence followed. Nothing may be pushed after."""
        ...


class Resampler:
    """One direction of one stream: s16le mono in at ``source_rate``, out at ``target_rate``.

    The output's first sample is the input's first instant, and after ``flush`` both last
    equally long (rounded up to a sample).

    Raises:
        ValueError: a rate is not positive.
    """

    def __init__(self, source_rate: int, target_rate: int) -> None:
        if source_rate <= 0 or target_rate <= 0:
            raise ValueError(f"no such sample rates: {source_rate}, {target_rate}")
        self._source_rate = source_rate
        self._target_rate = target_rate
        self.reset()

    def reset(self) -> None:
        """Forget everything held back, as after a barge-in; the next push starts afresh."""
        self._carry = b""  # half a sample
        self._taken = 0  # samples since the start
        self._given = 0
        self._stream = _stream(self._source_rate, self._target_rate)

    def push(self, pcm: bytes) -> bytes:
        """Take any number of bytes (an odd one is carried); return what is ready.

        Held back are 2 to 3 ms between 16 and 24 kHz, 15 ms at most for other rates.
        """
        if self._carry:
            pcm = self._carry + pcm
        whole = len(pcm) // 2 * 2
        self._carry = pcm[whole:]
        if self._stream is None or not whole:
            return pcm[:whole]
        samples = np.frombuffer(pcm, "<i2", count=whole // 2)
        self._taken += len(samples)
        return self._give(self._stream.push(samples.astype(np.float64)))

    def flush(self) -> bytes:
        """End the stream: return what is still held back, and start afresh."""
        rest = b""
        if self._stream is not None and self._taken:
            total = -(-self._taken * self._target_rate // self._source_rate)
            tail = self._stream.drain()[: total - self._given]
            missing = total - self._given - len(tail)
            rest = self._give(np.pad(tail, (0, missing)))
        self.reset()
        return rest

    def _give(self, samples: Samples) -> bytes:
        self._given += len(samples)
        return _s16(samples)


def resample_all(pcm: bytes, source_rate: int, target_rate: int) -> bytes:
    """Resample a whole piece of s16le mono PCM at soxr's high quality.

    The result lasts as long as the input (rounded up to a sample); half a sample at the
    end is dropped.
    """
    pcm = pcm[: len(pcm) // 2 * 2]
    if source_rate == target_rate or not pcm:
        return pcm
    samples = np.frombuffer(pcm, "<i2")
    total = -(-len(samples) * target_rate // source_rate)
    out = soxr.resample(samples.astype(np.float64), source_rate, target_rate)[:total]
    return _s16(np.pad(out, (0, total - len(out))))


def _s16(samples: Samples) -> bytes:
    np.rint(samples, out=samples)
    np.minimum(samples, 32767.0, out=samples)
    np.maximum(samples, -32768.0, out=samples)
    return samples.astype("<i2").tobytes()


def _stream(source_rate: int, target_rate: int) -> _Stream | None:
    if source_rate == target_rate:
        return None
    if {source_rate, target_rate} == {16_000, 24_000}:
        return _Polyphase(source_rate, target_rate)
    return _Soxr(source_rate, target_rate)


class _Polyphase:
    """``up`` outputs for every ``down`` inputs, by one small matrix product per push.

    Output ``k`` sits at tick ``k * down`` of the common rate, input ``i`` at tick
    ``i * up``. Outputs come in blocks whose windows on the input are a whole number of
    periods apart, so one kernel (window x block) serves every block.
    """

    def __init__(self, source_rate: int, target_rate: int) -> None:
        up, down = COMMON_RATE // source_rate, COMMON_RATE // target_rate
        self._kernel, before = _kernel(up, down)
        self._held: Samples = np.zeros(before)  # silence before the first sample
        self._width = len(self._kernel)
        self._step = down * PERIODS

    def push(self, samples: Samples) -> Samples:
        held = np.concatenate([self._held, samples])
        blocks = max(0, (len(held) - self._width) // self._step + 1)
        # Overlapping rows on the same memory; as_strided says the same in ten times the time.
        windows: Kernel = np.ndarray(
            (blocks, self._width), np.float64, held, strides=(self._step * 8, 8)
        )
        self._held = held[blocks * self._step :]
        return (windows @ self._kernel).ravel()

    def drain(self) -> Samples:
        return self.push(np.zeros(self._width + self._step))


@cache
def _kernel(up: int, down: int) -> tuple[Kernel, int]:
    """The block kernel, and how many samples before a block's first its window begins."""
    ticks = np.arange(-HALF_LENGTH, HALF_LENGTH + 1)
    cutoff = 2 * CUTOFF_HZ / COMMON_RATE
    taps = cutoff * np.sinc(cutoff * ticks) * np.kaiser(len(ticks), KAISER_BETA)
    taps = np.rint(taps / taps.sum() * up * TAP_SCALE) / TAP_SCALE
    # To output r of a block, input i gives the tap at tick r * down - i * up.
    outputs = np.arange(up * PERIODS)
    first, last = -(HALF_LENGTH // up), (int(outputs[-1]) * down + HALF_LENGTH) // up
    inputs = np.arange(first, last + 1)[:, np.newaxis]
    at = outputs * down - inputs * up
    inside = np.abs(at) <= HALF_LENGTH
    return np.where(inside, taps[np.where(inside, at, 0) + HALF_LENGTH], 0.0), -first


class _Soxr:
    """Any ratio. The variable-rate mode is the one that gives even chunks early."""

    def __init__(self, source_rate: int, target_rate: int) -> None:
        ratio = Fraction(source_rate, target_rate)
        self._soxr = soxr.ResampleStream(
            ratio.numerator, ratio.denominator, 1, dtype="float64", vr=True
        )

    def push(self, samples: Samples) -> Samples:
        return np.asarray(self._soxr.resample_chunk(samples))

    def drain(self) -> Samples:
        return np.asarray(self._soxr.resample_chunk(np.zeros(0), last=True))
