"""What the caller's voice over the bot's speech means, frame by frame.

Owns the way from the first voiced frame to a decision. Pure: it counts frames, reads no
clock, and refuses to know what pausing and cutting do.

The bot falls silent first and thinks then: a caller who wants the turn hears silence
within 100 ms, and one who only coughed hears the rest of the sentence a moment later.

Rule 1: ``pause_ms`` of voice pauses. When the voice ends before ``min_speech_ms``, that
was a noise, and the speech goes on.
Rule 2: ``min_speech_ms`` of voice cuts. Voice that hums ("mm"), and any voice when words
are asked for, only stops the speech (``doubt``): what was said of it decides.
Rule 3: voice for longer than any sign of listening ("uh-huh") wants the turn for good.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Literal

from teamscall.calls.settings import BargeInSettings
from teamscall.wire.events import FRAME_MS

Stance = Literal["listening", "paused", "doubting", "cut"]
Step = Literal["pause", "go on", "doubt", "cut", "insist"]

# One unvoiced frame in the middle of voice is the detector's error or a closure.
GAP_FRAMES = 2
# Paused, and so long no voice: it was a click.
CALM_FRAMES = 4
# Stopped, and so long no voice without this having become an utterance: it was a noise.
QUIET_FRAMES = 20
# A hum is judged by its latest part. The longest "mm-hmm" lasts about this long.
HUM_FRAMES = 4
LONGEST_HUM_FRAMES = 45
# A click or a knock has voice for 20 to 60 ms.
SURE_FRAMES = 4
# "uh-huh", "okay", "got it", "I see" have this much voice at most (four voices of flite).
LONGEST_SIGN_FRAMES = 32


class BargeIn:
    """See the module.

    Args:
        settings: thresholds; rounded up to whole frames.
        is_hum: whether this voiced PCM (s16le, 16 kHz, 60 ms and more) hums.

    Attributes:
        stance: what was decided last; ``paused`` and on: the bot is silent for it.
    """

    def __init__(self, settings: BargeInSettings, is_hum: Callable[[bytes], bool]) -> None:
        self._pause = _frames(settings.pause_ms)
        self._speech = _frames(settings.min_speech_ms)
        self._wants_words = settings.min_words > 0
        self._is_hum = is_hum
        self._recent: deque[bytes] = deque(maxlen=HUM_FRAMES)  # voiced
        self.stance: Stance = "listening"
        self._run = 0  # voiced frames, gaps of one frame forgiven
        self._length = 0  # frames since the first of the run
        self._quiet = 0  # unvoiced frames in a row

    def reset(self) -> None:
        """It is decided, or there is nothing to decide any more."""
        self.stance = "listening"
        self._run = self._length = 0
        self._recent.clear()

    @property
    def since_onset_ms(self) -> int:
        """From the begin of the first voiced frame of this run to now."""
        return self._length * FRAME_MS

    @property
    def sure(self) -> bool:
        """Whether the voice that cut was more than a click: the vendor may be told, within
        100 ms of the onset."""
        return self.stance == "cut" and self._run >= SURE_FRAMES

    @property
    def faded(self) -> bool:
        """Whether the voice is over for so long that nothing will come of it by itself."""
        return self._quiet >= QUIET_FRAMES

    def frame(
        self, pcm: bytes, *, voiced: bool, interruptible: bool, regained: int = 0
    ) -> Step | None:
        """Take one frame; what to do about it.

        ``regained``: frames before it that turn out to have been voice as well.
        ``interruptible``: the far side plays, or would play if it were not stopped for
        this, something that the caller may interrupt.
        """
        self._count(pcm, voiced, regained)
        if self.stance == "listening":
            if not interruptible or self._run < self._pause:
                return None
            if self._run >= self._speech:
                return self._judge()
            self.stance = "paused"
            return "pause"
        if self.stance == "paused":
            if self._run >= self._speech:
                return self._judge()
            if self._quiet >= CALM_FRAMES:
                self.reset()
                return "go on"
        elif self.stance == "doubting" and voiced and self._is_speech():
            self.stance = "cut"
            return "cut"
        elif self.stance == "cut" and voiced and self._run >= LONGEST_SIGN_FRAMES:
            return "insist"
        return None

    def _count(self, pcm: bytes, voiced: bool, regained: int) -> None:
        if voiced:
            if self._run == 0:
                self._length = regained
            self._run += 1 + regained
            self._quiet = 0
            self._recent.append(pcm)
        else:
            self._quiet += 1
            if self._quiet >= GAP_FRAMES and self.stance == "listening":
                self._run = 0
                self._recent.clear()
        self._length += 1

    def _judge(self) -> Step:
        if self._wants_words or self._hums():
            self.stance = "doubting"
            return "doubt"
        self.stance = "cut"
        return "cut"

    def _is_speech(self) -> bool:
        """Doubted, and the voice goes on: whether it is no hum after all."""
        if self._wants_words:
            return False
        return self._run >= LONGEST_HUM_FRAMES or not self._hums()

    def _hums(self) -> bool:
        return self._is_hum(b"".join(self._recent))


def _frames(ms: int) -> int:
    return max(1, -(-ms // FRAME_MS))
