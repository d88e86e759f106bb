"""How much of a caller's audio is voice: frame by frame, and shortly before.

Owns the cutting into frames and the pre-roll's memory, which every ear needs that is told
of an utterance only when the caller has been speaking for a while. Refuses to know what
is transcribed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

FRAME_BYTES = 640  # 20 ms of 16 kHz s16le mono
FRAME_MS = 20
# Before an utterance is said to have begun: what the call needed to be sure (160 ms and
# more) and 300 ms in which a soft first consonant lies.
PRE_ROLL_MS = 500
PRE_ROLL_BYTES = PRE_ROLL_MS // FRAME_MS * FRAME_BYTES
# The call was sure by this much voice, whatever was found here.
CERTAIN_FRAMES = 5


class Voicing:
    """One call's frames. ``is_speech`` tells of a 640-byte frame whether it holds speech;
    it is asked of every frame, because it learns the noise floor from the pauses."""

    def __init__(self, is_speech: Callable[[bytes], bool]) -> None:
        self._is_speech = is_speech
        self._frame = bytearray()  # towards the next whole one
        self._recent: deque[bool] = deque(maxlen=PRE_ROLL_MS // FRAME_MS)

    def push(self, pcm: bytes) -> list[bool]:
        """Take any number of bytes; say of each frame that is whole now whether it is voice."""
        self._frame += pcm
        found: list[bool] = []
        while len(self._frame) >= FRAME_BYTES:
            found.append(self._is_speech(bytes(self._frame[:FRAME_BYTES])))
            del self._frame[:FRAME_BYTES]
        self._recent.extend(found)
        return found

    def forget(self) -> None:
        """The audio until now is discarded."""
        self._frame.clear()
        self._recent.clear()

    @property
    def recent_frames(self) -> int:
        """Frames of voice in the pre-roll of an utterance that begins now."""
        return max(CERTAIN_FRAMES, sum(self._recent))
