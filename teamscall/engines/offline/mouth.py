"""The offline voice: clauses to the voice worker, speech back as it comes.

Owns nothing but that way, and says when turns had to queue. Refuses to know models.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from teamscall.engines.base import Emit, EngineDegraded
from teamscall.engines.offline.frames import Spoken, Synthesise
from teamscall.engines.offline.worker import Worker
from teamscall.engines.parts import Speech

# Work that waited longer than this for another call's is worth a word to the operator.
QUEUE_NOTICE_S = 1.0


class OfflineMouth:
    """One call's use of the voice worker."""

    def __init__(self, worker: Worker, emit: Emit) -> None:
        self._worker = worker
        self._emit = emit

    async def speak(self, text: str) -> AsyncGenerator[Speech]:
        job = self._worker.submit(Synthesise(0, text))
        async with aclosing(job.replies()) as replies:
            told = False
            async for reply in replies:
                if job.waited_s > QUEUE_NOTICE_S and not told:
                    told = True
                    waited_ms = int(job.waited_s * 1000)
                    self._emit(EngineDegraded("speak", "turns queue", waited_ms))
                if isinstance(reply, Spoken):
                    yield Speech(reply.pcm, reply.rate)
