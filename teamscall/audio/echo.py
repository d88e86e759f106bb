"""Is this voice the caller's, or the bot's own, back through a loudspeaker.

``EchoJudge`` compares what the caller's microphone sends with what was played to it;
``CallerVoice`` joins its verdicts with ``VoiceActivity``. Both take time as an argument and
know nothing of calls. Nothing is computed while nothing was played.

How a frame is judged:

1. Nothing was played within the longest delay: ``clear``.
2. The echo's path is known: its echo is predicted and subtracted. What is left, if it is
   more than the prediction's error, is ``speech``; else the frame is ``echo``.
3. Something was played for long enough without coming back: there is no path, so this is
   ``speech`` (and the path is still searched: a headset may be unplugged).
4. Nothing is known yet. A delay with which something as loud as this was played before,
   and came back as silence, is none; with no delay left this is ``speech``. Else it is
   ``echo`` for the first two frames of voice; from the third on, the likeness with what was
   played tells (over all levels, delays and rooms of the tests an echo stands out by 12 and
   more in the third frame and by 16 in the fourth, an unrelated voice by 12.3 at most).
"""

from __future__ import annotations

from collections import deque
from typing import Literal

import numpy as np

from teamscall.audio.echo_path import (
    BLOCK,
    EARLY,
    FRAME,
    MAX_DELAY,
    MIN_DELAY,
    RATE,
    WINDOW,
    Decimator,
    DelaySearch,
    EchoFilter,
    Samples,
    Timeline,
)
from teamscall.audio.vad import VoiceActivity

Flags = np.ndarray[tuple[int], np.dtype[np.bool_]]
Verdict = Literal["echo", "speech", "clear"]

# What is played comes back for as long as the longest delay and the room last.
REACH = MAX_DELAY + RATE * 100 // 1000

# A microphone's frame below this level is not worth judging: under the detector's own gate.
QUIET = 10 ** (-66 / 20) * 32768  # RMS, pre-emphasised at 8 kHz (some 6 dB below the whole)

# So many frames without a voice in a row are all of a window: what the noise is like.
QUIET_FRAMES = WINDOW // FRAME

# What was played this loud comes back audibly, if at all.
LOUD = 10 ** (-45 / 20) * 32768

# The caller's clock is taken to have jumped (muted, resumed) beyond this.
JUMP = RATE // 4

# The history from which a path just found is learnt.
LEARN_FRAMES = 50
LEARN_PASSES = 2  # a first guess, and what it explains

# A path is tried when the search's best delay stands out by this many standard deviations
# after as many frames of voice. Unrelated voices may: a path that explains nothing is not
# taken.
TRY_AT = {3: 18.0, 4: 15.0, 6: 12.0, 8: 10.0, 10: 8.0, 12: 7.0, 14: 7.0, 16: 7.0, 18: 7.0}
TRY_LATER = 12.0  # and every TRY_EVERY frames after those
TRY_EVERY = 4
# ... and taken when it explains the voice: this much of its power may be left. Early, 288
# taps fit part of it by chance.
TAKEN_EARLY = 0.05
TAKEN = 0.15

# The noise's mean power over that of its softest frame in a second.
NOISE_MARGIN = 1.3

# This much voice is not an echo unless a delay stands out; then, it is one for this long
# without a path that explains it.
UNKNOWN_FRAMES = 2
SUSPECT = 13.0
SUSPECT_EARLY = 11.0  # in the first frame that is judged
SUSPECT_FRAMES = 40
# An echo of what is this much louder than all that came back as silence may be heard.
LOUDER = 10 ** (1 / 20)
VOICE_FRAMES = 4  # the latest frames of voice, which must come from something that loud

# This much played without anything coming back: there is no path.
SILENT_FRAMES = 10

# What is left of an echo is its own power times the filter's error, which is learnt within
# these bounds: the first is what a caller 10 dB below the echo leaves.
ERROR_LEAST = 0.1
ERROR_MOST = 0.4
ERROR_MARGIN = 2.5
# ... and the filter's own doubt, where it has not heard enough yet.
DOUBT_MARGIN = 1.0
# Reverberation after the filter's end: 6 dB per frame covers every living room.
TAIL = 0.25


class EchoJudge:
    """One call's judge of echoes. Feed it every frame, both ways.

    Attributes:
        delay_ms: how late the echo comes back; None while no path is known.
    """

    def __init__(self) -> None:
        self._played = Timeline()
        self._played_filter = Decimator()
        self._loud_until = -REACH - 1
        self._loud: deque[int] = deque()  # the ends of loud frames played, oldest first
        self._recent: deque[bytes] = deque(maxlen=WINDOW // FRAME)  # heard while clear
        self._heard = Timeline()
        self._heard_filter = Decimator()
        self._at: int | None = None  # the end of the last frame heard
        self._clear = True
        self._levels: deque[float] = deque(maxlen=LEARN_FRAMES)
        self._active: deque[bool] = deque(maxlen=LEARN_FRAMES)
        self._search = DelaySearch()
        self._outstanding = 0.0
        self._filter: EchoFilter | None = None
        self._delay = 0
        self._tail = self._error = 0.0
        self._silent = 0
        self._quiet = 0  # frames without a voice in a row
        self._last_active = 0

    @property
    def delay_ms(self) -> int | None:
        return None if self._filter is None else self._delay * 1000 // RATE

    @property
    def sure(self) -> bool:
        """Whether the latest verdict rests on more than the first frames' doubt."""
        return self._filter is not None or self._search.frames > UNKNOWN_FRAMES

    def played(self, frame: bytes, start: float) -> None:
        """640 bytes that the far side plays from the instant ``start`` on (monotonic s).

        In order; may be told ahead. What begins before the end of what was told replaces it.
        """
        at = round(start * RATE)
        if abs(at - self._played.end) <= FRAME:
            at = self._played.end  # the playout's clock has no gaps of less than a frame
        else:
            self._played_filter.reset()
            if at > self._played.end:
                self._forget_path()
        samples = self._played_filter.push(frame)
        self._played.write(at, samples)
        if _rms(samples) >= LOUD:
            self._loud_until = at + FRAME
            self._loud.append(at + FRAME)

    def _forget_path(self) -> None:
        """Another talk spurt: the far side's buffer starts it up to a frame earlier or later,
        and a path that is off by that predicts nothing. It is soon found again."""
        self._filter = None
        self._search.reset()
        self._silent = 0
        self._loud.clear()

    def flushed(self, now: float) -> None:
        """The far side dropped what it had not played by ``now``."""
        at = round(now * RATE)
        self._played.cut(at)
        self._loud_until = min(self._loud_until, at)
        while self._loud and self._loud[-1] > at:
            self._loud.pop()

    def heard(self, frame: bytes, now: float) -> Verdict:
        """Judge the caller's next frame (640 bytes), which came at ``now``.

        Every frame in order, voiced or not; the verdict matters for voiced ones.
        """
        self._keep_time(round(now * RATE))
        at = self._at or 0
        if at > self._loud_until + REACH:
            self._loud.clear()
            self._clear = True
            self._recent.append(frame)
            return "clear"
        if self._clear:
            self._begin(at)
        samples = self._heard_filter.push(frame)
        self._heard.write(at - FRAME, samples)
        level = _rms(samples)
        self._levels.append(level)
        active = level > max(QUIET, 2.0 * min(self._levels))
        self._active.append(active)
        verdict = self._judge(samples, at, active)
        self._watch_silence(at, active)
        self._quiet = 0 if active else self._quiet + 1
        if self._quiet % QUIET_FRAMES == QUIET_FRAMES - 1:
            self._search.noise(self._heard.read(at - WINDOW, at))
        return verdict

    # --- inside ------------------------------------------------------------------------

    def _keep_time(self, arrived: int) -> None:
        """Frames are counted; their arrival, which jitters, only says when they jumped."""
        expected = arrived if self._at is None else self._at + FRAME
        if abs(arrived - expected) > JUMP:
            expected = arrived
            self._recent.clear()
            self._clear = True
            self._search.reset()
        self._at = expected

    def _begin(self, at: int) -> None:
        """Something is being played again: catch up with what was heard just before."""
        self._clear = False
        self._heard_filter.reset()
        self._levels.clear()
        self._active.clear()
        first = at - FRAME * (len(self._recent) + 1)
        for n, frame in enumerate(self._recent):
            samples = self._heard_filter.push(frame)
            self._heard.write(first + n * FRAME, samples)
            self._levels.append(_rms(samples))
            self._active.append(False)
        self._recent.clear()
        self._quiet = 0
        if len(self._levels) >= QUIET_FRAMES and max(self._levels) <= 2.0 * min(self._levels):
            self._search.noise(self._heard.read(at - FRAME - WINDOW, at - FRAME))

    def _judge(self, samples: Samples, at: int, active: bool) -> Verdict:
        if self._filter is not None:
            verdict = self._judge_left(self._filter, samples, at)
            if verdict == "speech" and active:
                self._look_for_path(at)  # it may have moved
            return verdict
        if not active:
            return "speech"
        if self._look_for_path(at):
            return "echo"
        if self._silent >= SILENT_FRAMES:
            return "speech"
        possible = self._possible_delays(at)
        if not possible.any():
            return "speech"
        early = self._search.frames == UNKNOWN_FRAMES + 1
        bar = SUSPECT_EARLY if early else SUSPECT
        suspect = self._search.outstanding(possible) >= bar
        most = SUSPECT_FRAMES if suspect else UNKNOWN_FRAMES
        return "echo" if self._search.frames <= most else "speech"

    def _judge_left(self, path: EchoFilter, samples: Samples, at: int) -> Verdict:
        echo, left = path.step(self._came_from(at), samples)
        predicted = float(np.vdot(echo, echo))
        remains = float(np.vdot(left, left))
        self._tail = max(predicted, TAIL * self._tail)
        noise = FRAME * max(QUIET, min(self._levels)) ** 2
        bound = min(ERROR_MOST, max(ERROR_LEAST, ERROR_MARGIN * self._error))
        if remains > bound * self._tail + DOUBT_MARGIN * path.doubt + ERROR_MARGIN * noise:
            return "speech"
        if self._tail > noise:
            self._error += 0.1 * (min(1.0, remains / self._tail) - self._error)
        return "echo"

    def _possible_delays(self, at: int) -> Flags:
        """Whether this voice could be an echo that is 0, 1, 2 ... frames late."""
        active = np.array(self._active)[::-1]  # the latest first, as all of these
        count = len(active)
        reach = MAX_DELAY // FRAME + 1
        played = self._played.read(at - (count + reach) * FRAME, at).reshape(-1, FRAME)
        power = np.square(played).sum(axis=1)[::-1]
        by_delay = np.lib.stride_tricks.sliding_window_view(power, count)[: reach + 1]
        silent = by_delay[:, ~active].max(axis=1, initial=0.0)
        voice = by_delay[:, np.flatnonzero(active)[:VOICE_FRAMES]].max(axis=1, initial=0.0)
        audible = voice > FRAME * LOUD**2 / 100  # what was played so softly is not heard again
        return np.asarray(audible & (voice >= LOUDER**2 * silent))

    def _came_from(self, at: int) -> Samples:
        """What was played that is heard in the frame that ends at ``at``."""
        end = at - self._delay + EARLY
        return self._played.read(end - BLOCK, end)

    def _look_for_path(self, at: int) -> bool:
        """Search with this frame; whether a path was found that explains it."""
        window = self._heard.read(at - WINDOW, at)
        delay, outstanding = self._search.update(
            window, self._played.read(at - WINDOW - MAX_DELAY, at - MIN_DELAY)
        )
        self._outstanding = outstanding
        frames = self._search.frames
        bar = TRY_AT.get(frames)
        if bar is None:
            later = frames > max(TRY_AT) and frames % TRY_EVERY == 0
            bar = TRY_LATER if later else np.inf
        if outstanding < bar or (self._filter and abs(delay - self._delay) < EARLY):
            return False
        return self._try_path(delay, at, TAKEN if frames > 8 else TAKEN_EARLY)

    def _try_path(self, delay: int, at: int, most: float) -> bool:
        """Learn a path from the last second; take it if it explains the voice of now."""
        before, self._delay = self._delay, delay
        path = EchoFilter()
        frames = len(self._levels)
        whole = left = 0.0
        for once in range(LEARN_PASSES):
            for n in range(frames - 1, -1, -1):
                end = at - n * FRAME
                heard = self._heard.read(end - FRAME, end)
                _, rest = path.step(self._came_from(end), heard)
                if once == LEARN_PASSES - 1 and n < self._search.frames:
                    whole += float(np.vdot(heard, heard))
                    left += float(np.vdot(rest, rest))
        noise = NOISE_MARGIN * self._search.frames * FRAME * min(self._levels) ** 2
        if left - noise > most * (whole - noise):
            self._delay = before
            return False
        path.settle()
        self._filter = path
        self._tail, self._error = 0.0, left / whole
        self._silent = 0
        self._search.reset()
        return True

    def _watch_silence(self, at: int, active: bool) -> None:
        """Count what was played long enough ago that its echo would have been heard."""
        if active:
            self._last_active = at
        while self._loud and self._loud[0] + REACH <= at:
            loud = self._loud.popleft()
            if self._last_active < loud:
                self._silent += 1


class CallerVoice:
    """Voice activity without the bot's own voice.

    Args:
        threshold: see ``VoiceActivity``.

    Attributes:
        echoed: the latest frame was surely nothing but an echo.
        regained: frames right before the latest that are now known to have been the
            caller's too, though ``frame`` said no.
    """

    def __init__(self, threshold: float = 0.5) -> None:
        self._activity = VoiceActivity(threshold=threshold)
        self.echo = EchoJudge()
        self.echoed = False
        self.regained = self._withheld = 0
        self._before: deque[bool] = deque([False, False], maxlen=2)

    def played(self, frame: bytes, start: float) -> None:
        """See ``EchoJudge.played``."""
        self.echo.played(frame, start)

    def flushed(self, now: float) -> None:
        """See ``EchoJudge.flushed``."""
        self.echo.flushed(now)

    def frame(self, pcm: bytes, now: float) -> bool:
        """Whether the caller speaks in this frame (640 bytes), which came at ``now``.

        Raises:
            ValueError: the frame has another size.
        """
        voiced = self._activity.is_speech(pcm)
        verdict = self.echo.heard(pcm, now)
        heard = voiced and verdict != "echo"
        self.echoed = verdict == "echo" and self.echo.sure
        # Where an echo is subtracted, one frame alone is the prediction's error, no syllable.
        known = verdict == "speech" and self.echo.delay_ms is not None
        alone = known and not any(self._before)
        self._before.append(heard)
        sure = heard and not alone
        self.regained = self._withheld if sure else 0
        # Not yet known to be the caller's, and not known to be an echo either.
        doubtful = voiced and not sure and not self.echoed
        self._withheld = self._withheld + 1 if doubtful else 0
        return sure


def _rms(samples: Samples) -> float:
    return float(np.sqrt(np.vdot(samples, samples) / len(samples)))
