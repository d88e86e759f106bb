"""The stand-in's voice and ear: made of tones and scripted, or the offline engine's.

Owns what is said as audio and what audio says. Refuses to know protocols.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import aclosing
from typing import TYPE_CHECKING, Protocol

from teamscall.testing.settings import Script, Settings

if TYPE_CHECKING:
    from teamscall.engines.offline.worker import Worker

RATE = 24_000
BYTES_PER_MS = RATE * 2 // 1000

# A vowel's worth of harmonics: a voice activity detector takes a pure tone for a tone.
_PITCHES_HZ = (110.0, 123.5, 138.6, 146.8, 164.8)  # neighbouring words differ audibly
_HARMONICS = (1.0, 0.9, 0.8, 0.9, 0.7, 0.4, 0.3, 0.25, 0.2, 0.15)
_PEAK = 12_000.0  # of 32,767: as loud as a speaking voice
_RAMP_MS = 8  # words fade in and out, so that a click in a test is never ours
_SENTENCE = re.compile(r"[^.!?]+[.!?]*\s*")


class Voice(Protocol):
    async def speak(self, text: str, speed: float = 1.0) -> bytes:
        """``text`` as s16le mono PCM at 24 kHz."""
        ...


class Ear(Protocol):
    async def transcribe(self, pcm: bytes) -> str:
        """What s16le mono PCM at 24 kHz says."""
        ...


def tone_speech(text: str, *, word_ms: int, pause_ms: int, rate: int = RATE) -> bytes:
    """Audible, speech-like PCM: per word ``word_ms`` of voice, then ``pause_ms`` of silence.

    Returns:
        s16le mono at ``rate``: exactly ``words * (word_ms + pause_ms)`` long.
    """
    import numpy as np

    n_word = rate * word_ms // 1000
    time = np.arange(n_word) / rate
    ramp = np.minimum(1.0, np.arange(n_word) / max(1, rate * _RAMP_MS // 1000))
    pause = bytes(2 * (rate * pause_ms // 1000))
    out = bytearray()
    for word in text.split():
        pitch = _PITCHES_HZ[sum(map(ord, word)) % len(_PITCHES_HZ)]
        wave = np.zeros(n_word)
        for index, strength in enumerate(_HARMONICS, 1):
            wave += strength * np.sin(2 * np.pi * pitch * index * time)
        wave *= ramp * ramp[::-1] * (_PEAK / max(1e-9, float(np.abs(wave).max(initial=0.0))))
        out += wave.astype("<i2").tobytes() + pause
    return bytes(out)


class ToneVoice:
    """One voiced sound per word."""

    def __init__(self, word_ms: int, pause_ms: int) -> None:
        self._word_ms = word_ms
        self._pause_ms = pause_ms

    async def speak(self, text: str, speed: float = 1.0) -> bytes:
        return tone_speech(
            text, word_ms=int(self._word_ms / speed), pause_ms=int(self._pause_ms / speed)
        )


class ScriptEar:
    """Hears the script's lines, in order, then again."""

    def __init__(self, script: Script) -> None:
        self._lines = script.hears
        self._next = 0

    @property
    def coming(self) -> str:
        """What will be heard next."""
        return self._lines[self._next % len(self._lines)] if self._lines else ""

    async def transcribe(self, pcm: bytes) -> str:
        text = self.coming
        self._next += 1
        return text


class Workers:
    """The offline engine's processes, started only when they are wanted."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._voice: Worker | None = None
        self._ear: Worker | None = None

    async def start(self) -> None:
        """Raises MissingPackageError when the offline extra is not installed."""
        if "offline" not in (self._settings.voice, self._settings.ear):
            return
        from teamscall.engines.offline import engine, weights

        if self._settings.voice == "offline":
            weights.require("piper", "onnxruntime", weights.VOICE_PACKAGE)
            self._voice = engine.voice_worker()
            await self._voice.start()
        if self._settings.ear == "offline":
            weights.require("faster_whisper", weights.EAR_PACKAGE)
            self._ear = engine.ear_worker()
            await self._ear.start()

    async def stop(self) -> None:
        for worker in (self._voice, self._ear):
            if worker is not None:
                await worker.stop()

    def voice(self) -> Voice:
        settings = self._settings
        if self._voice is None:
            return ToneVoice(settings.word_ms, settings.pause_ms)
        return _OfflineVoice(self._voice)

    def open_ear(self) -> Callable[[], Ear]:
        """What makes the ear of one session: each hears the script from its beginning."""
        if self._ear is None:
            return lambda: ScriptEar(self._settings.script)
        ear = _OfflineEar(self._ear)
        return lambda: ear


class _OfflineVoice:
    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    async def speak(self, text: str, speed: float = 1.0) -> bytes:
        from teamscall.audio.resample import resample_all
        from teamscall.engines.offline.frames import Spoken, Synthesise

        pcm, rate = bytearray(), RATE
        for sentence in _SENTENCE.findall(text):
            job = self._worker.submit(Synthesise(0, sentence.strip()))
            async with aclosing(job.replies()) as replies:
                async for reply in replies:
                    if isinstance(reply, Spoken):
                        pcm += reply.pcm
                        rate = reply.rate
        # Faster is also higher here, which nobody's test minds.
        return resample_all(bytes(pcm), round(rate * speed), RATE)


class _OfflineEar:
    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    async def transcribe(self, pcm: bytes) -> str:
        from teamscall.audio.resample import resample_all
        from teamscall.engines.offline.frames import Transcribe

        job = self._worker.submit(Transcribe(0, resample_all(pcm, RATE, 16_000)))
        return (await job.finished()).text
