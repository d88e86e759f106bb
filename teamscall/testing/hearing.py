"""The input audio buffer of one session, and the voice activity in it.

PCM at 24 kHz in, speech begun and ended out. Positions are ms of all the audio appended
in the session. Knows no events and no clock: only audio moves it on.
"""

from __future__ import annotations

from typing import Any

import msgspec

from teamscall.audio.framing import Framer
from teamscall.audio.resample import Resampler
from teamscall.audio.vad import Endpointer, SpeechStarted, VoiceActivity
from teamscall.testing.voice import BYTES_PER_MS, RATE

MIN_COMMIT_MS = 100  # the service refuses less
KEPT_MS = 2_000  # of silence under server VAD, before what is padded
# How long semantic VAD waits here. The real one judges the words; this one cannot.
SEMANTIC_WAIT_MS = {"high": 300, "auto": 500, "medium": 500, "low": 900}


class Started(msgspec.Struct, frozen=True):
    """Speech began at ``ms``, padding included."""

    ms: int


class Stopped(msgspec.Struct, frozen=True):
    """Speech ended; the turn is ``pcm`` and ends at ``ms``, silence included."""

    ms: int
    pcm: bytes
    voiced_ms: int


class InputBuffer:
    """What was appended and not yet committed."""

    def __init__(self) -> None:
        self._resampler = Resampler(RATE, 16_000)
        self._framer = Framer()
        self._activity = VoiceActivity()
        self._endpointer: Endpointer | None = None
        self._endpointer_from_ms = 0
        self._pcm = bytearray()
        self._from = 0  # the position of its first byte, in bytes
        self._framed_ms = 0  # how far voice activity has got
        self._prefix_ms = 300
        self._start_ms: int | None = None  # of the speech that goes on
        self.voiced_ms = 0  # since the last commit or clear

    def detect(self, turn_detection: dict[str, Any] | None) -> None:
        """Find turns in this way from now on; None: do not."""
        self._start_ms = None
        self._endpointer = None
        if turn_detection is None:
            return
        self._prefix_ms = int(turn_detection.get("prefix_padding_ms", 300))
        if turn_detection["type"] == "semantic_vad":
            silence = SEMANTIC_WAIT_MS[turn_detection.get("eagerness", "auto")]
        else:
            silence = int(turn_detection.get("silence_duration_ms", 500))
        self._endpointer = Endpointer(silence_ms=max(20, silence))
        self._endpointer_from_ms = self._framed_ms

    @property
    def position_ms(self) -> int:
        """How much was appended so far."""
        return (self._from + len(self._pcm)) // BYTES_PER_MS

    @property
    def speaking(self) -> bool:
        """Whether speech goes on."""
        return self._start_ms is not None

    @property
    def held_ms(self) -> float:
        return len(self._pcm) / BYTES_PER_MS

    def append(self, pcm: bytes) -> list[Started | Stopped]:
        """Take more audio; say which turns began and ended in it."""
        self._pcm += pcm
        found: list[Started | Stopped] = []
        for frame in self._framer.push(self._resampler.push(pcm)):
            self._framed_ms += 20
            voiced = self._activity.is_speech(frame)
            self.voiced_ms += 20 * voiced
            if self._endpointer is None:
                continue
            event = self._endpointer.push(voiced)
            if isinstance(event, SpeechStarted):
                onset = self._endpointer_from_ms + event.onset_ms
                self._start_ms = max(self._from // BYTES_PER_MS, onset - self._prefix_ms)
                found.append(Started(self._start_ms))
            elif event is not None:
                found.append(self._stop(event.voiced_ms))
        if self._endpointer is not None and self._start_ms is None:
            self._forget(self._framed_ms - self._prefix_ms - KEPT_MS)
        return found

    def commit(self) -> bytes:
        """Take everything out."""
        pcm = bytes(self._pcm)
        self.clear()
        return pcm

    def clear(self) -> None:
        """Forget everything that is held."""
        self._from += len(self._pcm)
        self._pcm.clear()
        self.voiced_ms = 0
        if self._start_ms is not None and self._endpointer is not None:
            self._endpointer.reset()
            self._start_ms = None

    def _stop(self, voiced_ms: int) -> Stopped:
        assert self._start_ms is not None
        start = max(0, self._start_ms * BYTES_PER_MS - self._from)
        end = max(start, self._framed_ms * BYTES_PER_MS - self._from)
        stopped = Stopped(self._framed_ms, bytes(self._pcm[start:end]), voiced_ms)
        self._start_ms = None
        self.voiced_ms = 0
        self._forget(self._framed_ms)
        return stopped

    def _forget(self, until_ms: int) -> None:
        count = until_ms * BYTES_PER_MS - self._from
        if count > 0:
            del self._pcm[:count]
            self._from += count
