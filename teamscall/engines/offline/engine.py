"""The offline engine: two workers, a pluggable mind, and a cascade per call.

Owns the workers' lives and tells every open session when one is restarted or lost.
Refuses to know which mind is behind ``open_mind``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Unpack

from teamscall.engines.base import (
    CallBrief,
    Emit,
    EngineDegraded,
    EngineEvent,
    EngineFailed,
    Phrase,
    Stage,
    TurnTaking,
)
from teamscall.engines.cascade import CascadeSession, Deadlines, Manners
from teamscall.engines.offline import weights
from teamscall.engines.offline.ear import OfflineEar, Talkers
from teamscall.engines.offline.mouth import OfflineMouth
from teamscall.engines.offline.worker import Worker
from teamscall.engines.parts import Ear, Mind, Mouth
from teamscall.engines.phrases import Phrases
from teamscall.engines.speakable import speakable as make_speakable

EAR_MODULE = "teamscall.engines.offline.worker_ear"
VOICE_MODULE = "teamscall.engines.offline.worker_voice"


def ear_worker(
    model: str = "",
    *,
    language: str = "en",
    beam_size: int = 1,
    threads: int = 2,
    restarted: Callable[[str], None] = lambda detail: None,
    lost: Callable[[str], None] = lambda detail: None,
) -> Worker:
    """The recogniser's process. ``model``: a directory, or "" for the packaged one."""
    return Worker(
        EAR_MODULE,
        (model, language, str(beam_size), str(threads)),
        stage="hear",
        threads=threads,
        restarted=restarted,
        lost=lost,
    )


def voice_worker(
    voice: str = "",
    *,
    threads: int = 2,
    speed: float = 1.0,
    restarted: Callable[[str], None] = lambda detail: None,
    lost: Callable[[str], None] = lambda detail: None,
) -> Worker:
    """The voice's process. ``voice``: an ``.onnx`` file, or "" for the packaged one.
    ``speed``: 1 is the voice's own, 2 twice as fast."""
    return Worker(
        VOICE_MODULE,
        (voice, str(threads), str(speed)),
        stage="speak",
        threads=threads,
        restarted=restarted,
        lost=lost,
    )


class OfflineEngine:
    """Hears with Whisper tiny.en, speaks with a Piper voice, thinks as told.

    Args:
        open_mind: makes one call's mind.
        mind: one word or two for the banner.
        stt_model, tts_voice, language, beam_size, threads: of ``offline.*``.
        speed: of the voice, 1 is its own (``tts.speed``).
        speakable: text is made speakable before it is spoken.
        deadlines: of the cascade.
    """

    def __init__(
        self,
        open_mind: Callable[[CallBrief], Mind],
        *,
        mind: str = "built-in responder",
        stt_model: str = "",
        tts_voice: str = "",
        language: str = "en",
        beam_size: int = 1,
        threads: int = 2,
        speed: float = 1.0,
        speakable: bool = True,
        deadlines: Deadlines | None = None,
    ) -> None:
        self._open_mind = open_mind
        self._mind = mind
        self._speakable = speakable
        self._language = language.partition("-")[0].lower()
        self._deadlines = deadlines
        self._packaged_ear = not stt_model
        self._packaged_voice = not tts_voice
        self._open: dict[_OfflineSession, Emit] = {}
        self._talkers = Talkers()
        self.ear = ear_worker(
            stt_model,
            language=language,
            beam_size=beam_size,
            threads=threads,
            restarted=lambda detail: self._degraded("hear", detail),
            lost=lambda detail: self._failed("hear", detail),
        )
        self.voice = voice_worker(
            tts_voice,
            threads=threads,
            speed=speed,
            restarted=lambda detail: self._degraded("speak", detail),
            lost=lambda detail: self._failed("speak", detail),
        )
        self._phrases = Phrases(
            lambda: OfflineMouth(self.voice, lambda event: None),
            lambda text: make_speakable(text, self._language) if speakable else text,
        )

    @property
    def name(self) -> str:
        return "offline"

    @property
    def turn_taking(self) -> TurnTaking:
        return "local"

    def describe(self) -> str:
        ear = self.ear.about or "Whisper"
        voice = self.voice.about or "Piper"
        return f"offline: hears with {ear}; thinks with {self._mind}; speaks with {voice}"

    async def start(self) -> None:
        weights.require("faster_whisper", "piper", "onnxruntime")
        if self._packaged_ear:
            weights.require(weights.EAR_PACKAGE)
        if self._packaged_voice:
            weights.require(weights.VOICE_PACKAGE)
        results = await asyncio.gather(self.ear.start(), self.voice.start(), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                await self.stop()
                raise result

    async def stop(self) -> None:
        await asyncio.gather(self.ear.stop(), self.voice.stop())

    def open(self, call: CallBrief, emit: Emit) -> CascadeSession:
        from teamscall.audio.vad import VoiceActivity

        return _OfflineSession(
            self,
            call,
            emit,
            open_ear=lambda emit: OfflineEar(
                self.ear, emit, is_speech=VoiceActivity().is_speech, talkers=self._talkers
            ),
            mind=self._open_mind(call),
            mouth=OfflineMouth(self.voice, emit),
            phrase=self.phrase,
            speakable=self._speakable,
            language=self._language,
            deadlines=self._deadlines,
        )

    def warm(self) -> None:
        """The workers are up as long as the bridge is."""

    async def prepare(self, texts: Sequence[str]) -> None:
        await self._phrases.prepare(texts)

    def phrase(self, text: str) -> Phrase | None:
        return self._phrases.get(text)

    def _degraded(self, stage: Stage, detail: str) -> None:
        self._tell(EngineDegraded(stage, detail))

    def _failed(self, stage: Stage, detail: str) -> None:
        self._tell(EngineFailed(stage, detail, fatal=True))

    def _tell(self, event: EngineEvent) -> None:
        for emit in tuple(self._open.values()):
            emit(event)

    def _joined(self, session: _OfflineSession, emit: Emit) -> None:
        if broken := self.ear.broken or self.voice.broken:
            emit(EngineFailed("session", broken.message, fatal=True))
            raise broken
        self._open[session] = emit

    def _left(self, session: _OfflineSession) -> None:
        self._open.pop(session, None)


class _OfflineSession(CascadeSession):
    """A cascade that hears, while it runs, what becomes of the shared workers."""

    def __init__(
        self,
        engine: OfflineEngine,
        call: CallBrief,
        emit: Emit,
        *,
        open_ear: Callable[[Emit], Ear],
        mind: Mind,
        mouth: Mouth,
        **manners: Unpack[Manners],
    ) -> None:
        super().__init__(
            call,
            emit,
            open_ear=open_ear,
            mind=mind,
            mouth=mouth,
            **manners,
        )
        self._engine = engine
        self._told = emit

    async def run(self) -> None:
        self._engine._joined(self, self._told)
        try:
            await super().run()
        finally:
            self._engine._left(self)
