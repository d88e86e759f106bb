"""The caller's side of a conversation: one timeline of frames, and where speech is in it.

Owns sequence discipline, the rate cap and endpointing of one call. Pure: time is an
argument, and speech is measured on the audio's own timeline, so a burst after a stall is
judged as it was spoken. Refuses to know what is done about speech.
"""

from __future__ import annotations

import math

import msgspec

from teamscall.audio import vad
from teamscall.audio.echo import CallerVoice
from teamscall.audio.reorder import Reorder
from teamscall.calls.settings import LAPSE_S, EndpointSettings
from teamscall.wire.events import FRAME_BYTES


class SpeechBegan(msgspec.Struct, frozen=True):
    """The caller speaks; ``onset`` in monotonic seconds."""

    utterance: int
    onset: float


class SpeechEnded(msgspec.Struct, frozen=True):
    """The caller paused; ``last_voiced`` in monotonic seconds."""

    utterance: int
    last_voiced: float


class Listening:
    """See the module.

    Args:
        detect: look for speech; False where there are no turns.
        endpoint: the pause that ends an utterance, and how sure voice must be.
        echo_immunity: what the far side plays and comes back is no voice.
        burst_frames, rate_fps: frames beyond this are dropped (a token bucket).

    Attributes:
        voiced, echo: of the latest frame; an echo is not voiced.
        regained: frames before it that turned out to be the caller's.
        spoke: whether the caller was ever heard.
    """

    def __init__(
        self,
        *,
        detect: bool,
        endpoint: EndpointSettings,
        echo_immunity: bool,
        burst_frames: int,
        rate_fps: float,
    ) -> None:
        self._reorder = Reorder()
        self._detect = detect
        self._voice = CallerVoice(endpoint.threshold)
        self._immune = echo_immunity
        self._endpoint = endpoint
        self._endpointer = _endpointer(endpoint, 0)
        self.voiced = self.echo = self.spoke = False
        self.regained = 0
        self._burst = float(burst_frames)
        self._rate = rate_fps
        self._tokens = self._burst
        self._filled_at: float | None = None
        self._over_rate = 0
        self.detected_at = -math.inf  # when the latest speech was known to be speech
        self.utterance = 0

    # --- frames -----------------------------------------------------------

    def frames(self, seq: int, pcm: bytes, now: float) -> list[bytes]:
        """The 640-byte frames that this message completes, gaps filled with silence."""
        if self._filled_at is not None:
            silent_s = now - self._filled_at
            if silent_s > LAPSE_S and not self.in_speech:
                self._endpointer.reset()  # a pause that nobody sent taught nothing about pauses
            gained = silent_s * self._rate
            self._tokens = min(self._burst, self._tokens + gained)
        self._filled_at = now
        cost = max(1.0, len(pcm) / FRAME_BYTES)
        if self._tokens < cost:
            self._over_rate += 1
            return []
        self._tokens -= cost
        return self._reorder.push(seq, pcm)

    @property
    def dropped(self) -> int:
        """Messages dropped: repeated, late, or more than real time can bring."""
        return self._reorder.duplicates + self._over_rate

    @property
    def silence_frames(self) -> int:
        return self._reorder.silence_frames

    # --- speech -----------------------------------------------------------

    def speech(self, frame: bytes, now: float) -> SpeechBegan | SpeechEnded | None:
        """Look at one frame; what it brought about, with moments on the caller's timeline."""
        if not self._detect:
            return None
        self.voiced = self._voice.frame(frame, now)
        self.echo = self._voice.echoed
        self.regained = self._voice.regained
        self.spoke = self.spoke or self.voiced
        found = self._endpointer.push(self.voiced)
        if found is None:
            return None
        if isinstance(found, vad.SpeechStarted):
            self.utterance += 1
            self.detected_at = now
            return SpeechBegan(self.utterance, self._moment(found.onset_ms, now))
        return SpeechEnded(self.utterance, self._moment(found.last_voiced_ms, now))

    def _moment(self, position_ms: int, now: float) -> float:
        return now - (self._endpointer.position_ms - position_ms) / 1000

    @property
    def in_speech(self) -> bool:
        return self._endpointer.speaking

    @property
    def paused_ms(self) -> int:
        """Since the caller's last word; 0 outside of speech."""
        return self._endpointer.paused_ms

    def played(self, pcm: bytes, plays_at: float) -> None:
        """The far side plays this frame then: its echo is none of the caller's voice."""
        if self._detect and self._immune:
            self._voice.played(pcm, plays_at)

    def flushed(self, now: float) -> None:
        """The far side dropped what it had not played."""
        if self._detect and self._immune:
            self._voice.flushed(now)

    def settle(self, settle_ms: int) -> None:
        """The recogniser needs this much more than the pause to have heard the last word."""
        if not self._endpointer.speaking:
            self._endpointer = _endpointer(self._endpoint, settle_ms)

    def lapses_at(self) -> float:
        """When speech is over because no frame came any more; infinite outside of speech."""
        if not self._endpointer.speaking or self._filled_at is None:
            return math.inf
        return self._filled_at + self._endpointer.needed_ms / 1000 + LAPSE_S

    def lapse(self, now: float) -> SpeechEnded | None:
        """The end of speech that nothing follows: the gateway stopped sending (a mute)."""
        if self.lapses_at() > now or self._filled_at is None:
            return None
        self.reset()
        return SpeechEnded(self.utterance, self._filled_at)

    def reset(self) -> None:
        """Forget the speech that is going on; its audio was discarded."""
        self._endpointer.reset()


def _endpointer(endpoint: EndpointSettings, settle_ms: int) -> vad.Endpointer:
    return vad.Endpointer(
        silence_ms=endpoint.silence_ms + settle_ms,
        adaptive=endpoint.adaptive,
        shortest_ms=endpoint.shortest_ms,
        longest_ms=endpoint.longest_ms,
    )
