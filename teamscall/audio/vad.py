"""Is this frame speech, and has the caller begun or stopped to speak.

``VoiceActivity`` decides per 20 ms frame: WebRTC's detector, and an energy gate above an
adaptive noise floor, since the detector alone takes some steady noises for speech.
``Endpointer`` turns those decisions into turns. Both count frames, read no clock, and
know nothing of calls.
"""

from __future__ import annotations

import math
from collections import deque

import msgspec
import webrtcvad

from teamscall.audio.level import rms_dbfs
from teamscall.audio.pauses import WENT_ON_MS, Pauses
from teamscall.wire.events import FRAME_BYTES, FRAME_MS, SAMPLE_RATE

# --- one frame ------------------------------------------------------------------------

# Speech has dips of more than 20 dB within any second, steady noise has none: the lowest
# level of this long is the noise. Shorter, and a drawn-out vowel becomes the floor;
# longer, and a fan that is switched on stays speech for longer.
FLOOR_WINDOW_MS = 3000
FLOOR_BLOCK_MS = 300  # the window slides by this: ten minima to keep instead of 150

# White noise of 320 samples scatters by 0.34 dB (one sigma) and its minimum over the
# window lies 1 dB below its mean: 6 dB above the floor is never noise, and speech at a
# ratio below that is not intelligible to a recogniser either.
FLOOR_MARGIN_DB = 6.0

# What a threshold of 0, 0.5 and 1 asks for: half as much above the floor, this, twice it.
# And the detector's mode, by so much: (below this threshold, steps).
THRESHOLD = 0.5
MODE_STEPS = ((0.2, -2), (0.4, -1), (0.7, 0), (1.1, 1))

# The floor is never taken to be lower: comfort noise and dither have no business here,
# and what is under -54 dBFS (with the margin) a listener on the phone does not notice.
FLOOR_MIN_DBFS = -60.0

# Nor higher until the window is full: a caller who speaks from the very first frame must
# be heard though nothing quieter has been seen yet. Teams suppresses noise; louder than
# this for less than the window is not only noise.
FLOOR_FIRST_DBFS = -30.0


class NoiseFloor:
    """The lowest level of the last ``FLOOR_WINDOW_MS``, within bounds."""

    def __init__(self) -> None:
        self._blocks: deque[float] = deque(
            [FLOOR_FIRST_DBFS], maxlen=FLOOR_WINDOW_MS // FLOOR_BLOCK_MS
        )
        self._lowest = math.inf  # of the block that is being filled
        self._frames = 0
        self.level_dbfs = FLOOR_FIRST_DBFS

    def update(self, dbfs: float) -> float:
        """Take one frame's level; return the floor."""
        self._lowest = min(self._lowest, dbfs)
        self.level_dbfs = max(FLOOR_MIN_DBFS, min(self._lowest, *self._blocks))
        self._frames += 1
        if self._frames * FRAME_MS >= FLOOR_BLOCK_MS:
            self._blocks.append(self._lowest)
            self._lowest, self._frames = math.inf, 0
        return self.level_dbfs


class VoiceActivity:
    """One call's speech detector. It has state: feed it every frame, in order.

    Args:
        aggressiveness: WebRTC's mode, 0 (takes most for speech) to 3 (least). Mode 2 hits
            99.8 % of clean speech frames at 1.2 % false ones.
        threshold: 0 (whatever may be speech) to 1 (only what must be), as the services'
            ``vad_threshold``. It moves the level that speech must have above the noise from
            3 dB to 12 dB, and the mode around ``aggressiveness``; 0.5 leaves both alone.

    Raises:
        ValueError: no such mode, no such threshold.
    """

    def __init__(self, aggressiveness: int = 2, threshold: float = THRESHOLD) -> None:
        if aggressiveness not in (0, 1, 2, 3):
            raise ValueError("aggressiveness is 0, 1, 2 or 3")
        if not 0.0 <= threshold <= 1.0:
            raise ValueError("a threshold is from 0 to 1")
        steps = next(steps for below, steps in MODE_STEPS if threshold < below)
        self._vad = webrtcvad.Vad(min(3, max(0, aggressiveness + steps)))
        self._margin_db = FLOOR_MARGIN_DB * 4.0 ** (threshold - THRESHOLD)
        self._floor = NoiseFloor()

    def is_speech(self, frame: bytes) -> bool:
        """Whether this frame (640 bytes: 20 ms of 16 kHz s16le mono) is speech.

        Raises:
            ValueError: the frame has another size.
        """
        if len(frame) != FRAME_BYTES:
            raise ValueError(f"a frame has {FRAME_BYTES} bytes, not {len(frame)}")
        level = rms_dbfs(frame)
        loud = level >= self._floor.update(level) + self._margin_db
        # Asked even when it is not loud: the detector adapts to what it hears.
        voiced = bool(self._vad.is_speech(frame, SAMPLE_RATE))
        return loud and voiced

    @property
    def noise_floor_dbfs(self) -> float:
        return self._floor.level_dbfs


# --- turns ----------------------------------------------------------------------------

# A click, a cough's edge or a knock is voiced for 20 to 60 ms; the shortest "yes" for 200.
START_VOICED_MS = 100
# ... which may be broken by a stop consonant's closure of 50 to 100 ms.
START_WINDOW_MS = 200
# The pause that ends a turn (``streaming.silence_duration_ms``).
SILENCE_MS = 800
# What an adaptive one grows to at most: longer, and the caller wonders whether we are there.
LONGEST_MS = 1600
# Within a pause, one voiced frame alone is the detector's error (1.2 % of frames): the
# pause goes on. Two in a row are speech.
RESUME_VOICED_MS = 40
# How long ``voiced_ms`` survives unvoiced frames: longer than any closure in a word.
HANGOVER_MS = 200


class SpeechStarted(msgspec.Struct, frozen=True):
    """The caller speaks, since ``onset_ms``: the begin of the first voiced frame."""

    onset_ms: int


class SpeechStopped(msgspec.Struct, frozen=True):
    """The caller paused. ``last_voiced_ms`` is the end of the last voiced frame,
    ``voiced_ms`` how much of the speech was voiced in all."""

    last_voiced_ms: int
    voiced_ms: int


class Endpointer:
    """Endpointing from per-frame decisions. Times are ms since the first frame pushed.

    Args:
        start_voiced_ms: speech starts when this much was voiced within ``start_window_ms``.
        start_window_ms: see above.
        silence_ms: speech stops after this long without voice.
        hangover_ms: see ``HANGOVER_MS``.
        adaptive: ``silence_ms`` is only the begin: this caller's own pauses lengthen it up
            to ``longest_ms`` and, if ``shortest_ms`` is given, shorten it down to that.
            See ``Pauses``.

    All are rounded up to whole frames.
    """

    def __init__(
        self,
        *,
        start_voiced_ms: int = START_VOICED_MS,
        start_window_ms: int = START_WINDOW_MS,
        silence_ms: int = SILENCE_MS,
        hangover_ms: int = HANGOVER_MS,
        adaptive: bool = False,
        shortest_ms: int = 0,
        longest_ms: int = LONGEST_MS,
    ) -> None:
        self._start = _frames(start_voiced_ms)
        self._silence = _frames(silence_ms)
        self._pauses: Pauses | None = None
        if adaptive:
            self._pauses = Pauses(silence_ms, shortest_ms=shortest_ms, longest_ms=longest_ms)
        self._stopped = -math.inf  # when the last speech was said to have stopped, frames
        self._stopped_voice = 0  # and when its voice had ended
        self._hangover = _frames(hangover_ms)
        self._window: deque[bool] = deque(maxlen=max(self._start, _frames(start_window_ms)))
        self._now = 0  # frames pushed
        self.reset()

    def reset(self) -> None:
        """Forget speech and candidates (the audio was discarded). Time goes on."""
        self.speaking = False
        self._window.clear()
        self._run = 0  # voiced frames in a row
        self._stretch = 0  # voiced frames since the last pause longer than the hangover
        self._unvoiced = 0  # frames in a row
        self._total = 0  # voiced frames of this speech
        self._last_voiced = self._now
        self._stopped = -math.inf

    def push(self, voiced: bool) -> SpeechStarted | SpeechStopped | None:
        """Take one 20 ms frame's decision; say what it brought about."""
        self._now += 1
        self._window.append(voiced)
        self._run = self._run + 1 if voiced else 0
        self._count(voiced)
        if self.speaking:
            return self._look_for_stop(voiced)
        return self._look_for_start()

    @property
    def position_ms(self) -> int:
        """The end of the last frame pushed."""
        return self._now * FRAME_MS

    @property
    def voiced_ms(self) -> int:
        """Voice in the current stretch, speech or not yet: what a barge-in is judged by.

        Zero again after ``hangover_ms`` without voice.
        """
        return self._stretch * FRAME_MS

    @property
    def uttered_ms(self) -> int:
        """Voice in the speech that goes on; 0 outside of speech."""
        return self._total * FRAME_MS

    @property
    def needed_ms(self) -> int:
        """The pause that ends the speech, as of now."""
        return self._silence * FRAME_MS

    @property
    def paused_ms(self) -> int:
        """Time since the caller's last word; 0 outside of speech."""
        return (self._now - self._last_voiced) * FRAME_MS if self.speaking else 0

    def _count(self, voiced: bool) -> None:
        if voiced:
            self._stretch += 1
            self._unvoiced = 0
            return
        self._unvoiced += 1
        if self._unvoiced >= self._hangover:
            self._stretch = 0

    def _look_for_start(self) -> SpeechStarted | None:
        voiced = sum(self._window)
        if voiced < self._start:
            return None
        first = self._now - len(self._window) + self._window.index(True)
        self.speaking = True
        self._total = voiced
        self._last_voiced = self._now
        if self._pauses and (first - self._stopped) * FRAME_MS <= WENT_ON_MS:
            self._pauses.false_stop((first - self._stopped_voice) * FRAME_MS)
            self._silence = _frames(self._pauses.needed_ms)
        return SpeechStarted(onset_ms=first * FRAME_MS)

    def _look_for_stop(self, voiced: bool) -> SpeechStopped | None:
        self._total += voiced
        if self._run * FRAME_MS >= RESUME_VOICED_MS:
            paused = self._now - self._run - self._last_voiced
            if self._pauses and paused > 0:
                self._pauses.went_on(paused * FRAME_MS)
                self._silence = _frames(self._pauses.needed_ms)
            self._last_voiced = self._now
        if voiced or self._now - self._last_voiced < self._silence:
            return None  # a voiced frame may be the first of two
        stopped = SpeechStopped(
            last_voiced_ms=self._last_voiced * FRAME_MS, voiced_ms=self._total * FRAME_MS
        )
        last_voiced = self._last_voiced
        self.reset()
        if self._pauses:
            self._pauses.ended()
            self._silence = _frames(self._pauses.needed_ms)
            self._stopped, self._stopped_voice = self._now, last_voiced
        return stopped


def _frames(ms: int) -> int:
    return max(1, -(-ms // FRAME_MS))
