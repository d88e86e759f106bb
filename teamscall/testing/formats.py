"""The audio formats of a session: PCM at its rates, and G.711.

Everything behind this is s16le mono PCM at 24 kHz.
"""

from __future__ import annotations

from teamscall.audio.resample import Resampler, resample_all
from teamscall.testing import g711
from teamscall.testing.visits import Json
from teamscall.testing.voice import RATE


def rate_of(format_: Json) -> int:
    """In Hz, of a session's ``format``."""
    return int(format_.get("rate", RATE)) if format_["type"] == "audio/pcm" else g711.RATE


def bytes_per_ms(format_: Json) -> int:
    return rate_of(format_) * (2 if format_["type"] == "audio/pcm" else 1) // 1000


class Inward:
    """What a client sends, as it comes in."""

    def __init__(self, format_: Json) -> None:
        self._type = format_["type"]
        self._resampler = Resampler(rate_of(format_), RATE)

    def push(self, data: bytes) -> bytes:
        """Take more; up to 15 ms are held back where the rate is another."""
        if self._type != "audio/pcm":
            data = g711.decode(data, self._type)
        return self._resampler.push(data)

    def flush(self) -> bytes:
        """What was held back, as before a commit."""
        return self._resampler.flush()


def outward(pcm: bytes, format_: Json) -> bytes:
    """A whole answer, as a client wants it."""
    pcm = resample_all(pcm, RATE, rate_of(format_))
    return pcm if format_["type"] == "audio/pcm" else g711.encode(pcm, format_["type"])
