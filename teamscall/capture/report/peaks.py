"""A track as it is drawn and played in a page: peaks, and a byte for each sample.

mu-law (ITU-T G.711) is WAV that every browser plays, half as large as 16-bit PCM and of the
same sound for a call: its noise is 38 dB below the speech. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from teamscall.capture.report.parts import Piece, Track, Who
from teamscall.wire.events import FRAME_SAMPLES, SAMPLE_RATE

# What is drawn of a call: of a short one every 5 ms, of a long one what a page can carry.
_BUCKETS_MS = ((120.0, 5), (1800.0, 10), (float("inf"), 20))
# Digital silence of at least this is left out of a page.
_SILENT_FRAMES = 25
# A piece is at most this long: strings of a page stay small.
_PIECE_FRAMES = 1500
_BIAS, _CLIP = 132, 32635  # G.711's, of 16-bit samples


def track(who: Who, pcm: bytes, *, length: float, audio: bool) -> Track:
    """One side of a call of ``length`` seconds; ``audio``: with what can be played."""
    samples = np.frombuffer(pcm[: len(pcm) // 2 * 2], "<i2")
    bucket_ms = next(ms for seconds, ms in _BUCKETS_MS if length <= seconds)
    peaks, powers = _drawn(samples, SAMPLE_RATE * bucket_ms // 1000)
    pieces = tuple(_pieces(samples)) if audio else ()
    return Track(who, bucket_ms, peaks, powers, pieces)


def _drawn(samples: npt.NDArray[np.int16], width: int) -> tuple[bytes, bytes]:
    if not len(samples):
        return b"", b""
    padded = np.pad(samples, (0, -len(samples) % width)).reshape(-1, width)
    peaks = np.maximum(padded.max(axis=1).astype(np.int32), -padded.min(axis=1).astype(np.int32))
    # float32 keeps an hour in memory; a mean of squares needs no more.
    floats = padded.astype(np.float32)
    powers = np.sqrt(np.einsum("ij,ij->i", floats, floats) / width)
    return _bytes(peaks), _bytes(powers)


def _bytes(amplitudes: npt.NDArray[np.generic]) -> bytes:
    scaled = np.sqrt(np.asarray(amplitudes, np.float64) / 32768) * 255
    rounded: npt.NDArray[np.uint8] = np.clip(np.rint(scaled), 0, 255).astype(np.uint8)
    return rounded.tobytes()


def _pieces(samples: npt.NDArray[np.int16]) -> Iterator[Piece]:
    frames = np.pad(samples, (0, -len(samples) % FRAME_SAMPLES)).reshape(-1, FRAME_SAMPLES)
    sounding = frames.any(axis=1)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], sounding, [False]]).astype(np.int8)))
    runs: list[list[int]] = []
    for start, end in edges.reshape(-1, 2).tolist():
        if runs and start - runs[-1][1] < _SILENT_FRAMES:
            runs[-1][1] = end
        else:
            runs.append([start, end])
    for start, end in runs:
        for begin in range(start, end, _PIECE_FRAMES):
            part = frames[begin : min(end, begin + _PIECE_FRAMES)]
            yield Piece(begin * FRAME_SAMPLES, mulaw(part.reshape(-1)).tobytes())


def mulaw(samples: npt.NDArray[np.int16]) -> npt.NDArray[np.uint8]:
    """16-bit samples as G.711 mu-law."""
    return _TABLE[samples.astype(np.int32) + 32768]


def _table() -> npt.NDArray[np.uint8]:
    values = np.arange(-32768, 32768, dtype=np.int32)
    sign = np.where(values < 0, 0x80, 0)
    biased = np.minimum(np.abs(values), _CLIP) + _BIAS
    exponent = np.floor(np.log2(biased)).astype(np.int32) - 7
    mantissa = (biased >> (exponent + 3)) & 0x0F
    coded: npt.NDArray[np.uint8] = (~(sign | (exponent << 4) | mantissa) & 0xFF).astype(np.uint8)
    return coded


_TABLE = _table()
