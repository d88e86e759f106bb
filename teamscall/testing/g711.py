"""G.711, the telephone's 8-bit samples, as the service takes and gives them.

Pure, by tables: from ITU-T G.711, section 2 (the decision values are those of s16 PCM).
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Law = Literal["audio/pcmu", "audio/pcma"]
RATE = 8_000


def decode(data: bytes, law: Law) -> bytes:
    """One byte per sample to s16le mono PCM at 8 kHz."""
    import numpy as np

    return _levels(law)[np.frombuffer(data, np.uint8)].astype("<i2").tobytes()


def encode(pcm: bytes, law: Law) -> bytes:
    """s16le mono PCM at 8 kHz to one byte per sample, the nearest level each."""
    import numpy as np

    levels = _levels(law)
    order = np.argsort(levels, kind="stable")
    ordered = levels[order]
    borders = (ordered[1:] + ordered[:-1]) / 2
    nearest = np.searchsorted(borders, np.frombuffer(pcm, "<i2"))
    return order[nearest].astype(np.uint8).tobytes()


@cache
def _levels(law: Law) -> NDArray[np.int32]:
    """What each of the 256 codes stands for."""
    import numpy as np

    codes = np.arange(256, dtype=np.int32)
    if law == "audio/pcmu":
        codes ^= 0xFF
        exponent, mantissa = codes >> 4 & 7, codes & 15
        size = (2 * mantissa + 33 << exponent) - 33 << 2
        return _signed(codes & 0x80 > 0, size)
    codes ^= 0x55
    exponent, mantissa = codes >> 4 & 7, codes & 15
    size = (2 * mantissa + 1 + np.where(exponent > 0, 32, 0) << np.maximum(exponent - 1, 0)) << 3
    return _signed(codes & 0x80 == 0, size)


def _signed(negative: NDArray[np.bool_], size: NDArray[np.int32]) -> NDArray[np.int32]:
    signed: NDArray[np.int32] = size * (1 - 2 * negative.astype("i4"))
    return signed
