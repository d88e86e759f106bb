"""Cuts PCM into 20 ms frames, whatever sizes it comes in. Knows nothing but bytes."""

from __future__ import annotations

from teamscall.wire.events import FRAME_BYTES


class Framer:
    """Re-frames a byte stream: ``frame_bytes`` each (640: 20 ms of 16 kHz s16le mono).

    What does not fill a frame, odd bytes included, is carried to the next push.
    """

    def __init__(self, frame_bytes: int = FRAME_BYTES) -> None:
        self._frame_bytes = frame_bytes
        self._carry = b""

    def push(self, pcm: bytes) -> list[bytes]:
        """Take any number of bytes; return the whole frames that they complete."""
        size = self._frame_bytes
        if not self._carry and len(pcm) == size:  # the usual case costs nothing
            return [pcm]
        data = self._carry + pcm
        whole = len(data) // size * size
        self._carry = data[whole:]
        return [data[at : at + size] for at in range(0, whole, size)]

    def flush(self, pad: bool = True) -> bytes | None:
        """Return what was carried and start afresh; None if that is not even one sample.

        ``pad``: filled up with silence to a whole frame; else as it is. Half a sample at
        the end is dropped.
        """
        rest = self._carry[: len(self._carry) // 2 * 2]
        self._carry = b""
        if not rest:
            return None
        return rest.ljust(self._frame_bytes, b"\0") if pad else rest

    @property
    def carried(self) -> int:
        """Bytes that wait for the rest of their frame."""
        return len(self._carry)
