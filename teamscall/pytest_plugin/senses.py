"""The offline voice and ears, for scripted callers in tests.

Owns the life of the ears' process during one script. Refuses to know scripts.
"""

from __future__ import annotations

from contextlib import aclosing
from types import TracebackType

from teamscall.engines.offline import weights
from teamscall.engines.offline.engine import ear_worker
from teamscall.engines.offline.frames import Finished, Transcribe
from teamscall.engines.offline.synthesise import synthesise
from teamscall.engines.offline.worker import Worker


class OfflineVoice:
    """Implements ``emulator.scenario.senses.Voice``."""

    async def speak(self, text: str, voice: str = "") -> bytes:
        return await synthesise(text, voice)


class OfflineEars:
    """Implements ``emulator.scenario.senses.Ears``; loaded when they are needed first, and let
    go at the exit."""

    def __init__(self) -> None:
        self._worker: Worker | None = None

    async def __aenter__(self) -> OfflineEars:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._worker is not None:
            await self._worker.stop()

    async def words(self, pcm: bytes) -> str:
        if self._worker is None:
            weights.require("faster_whisper", weights.EAR_PACKAGE)
            worker = ear_worker()
            await worker.start()
            self._worker = worker
        async with aclosing(self._worker.submit(Transcribe(0, pcm)).replies()) as replies:
            async for reply in replies:
                if isinstance(reply, Finished):
                    return reply.text.strip()
        return ""
