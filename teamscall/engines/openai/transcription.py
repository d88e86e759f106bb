"""What every ear over a transcription session has: its socket, its watch, its guard.

Owns the session's coming and going, what is told of it, and what the service counted.
Refuses to know where an utterance begins and ends, and what is kept of the audio.

Rule 1: what a lost session did not finish is sent again to the next one, whose buffer is
empty: no word is lost and none comes twice.
Rule 2: what is sent and never answered has a deadline.
"""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Callable

from teamscall.audio.resample import Resampler
from teamscall.engines.base import Emit, EngineDegraded, EngineReady
from teamscall.engines.guard import Guard
from teamscall.engines.openai import messages
from teamscall.engines.openai.messages import ServerEvent
from teamscall.engines.openai.socket import Socket
from teamscall.engines.openai.usage import usage_event
from teamscall.engines.parts import EarCommand
from teamscall.engines.voicing import Voicing
from teamscall.errors import EngineError

SOURCE_RATE = 16_000
# From a commit, or the latest sign of life about it, to the next one. Twice this is less
# than the cascade's own hard stop.
PROGRESS_S = 4.0
RESEND_BYTES = messages.BYTES_PER_S  # one message per second of audio

OpenSocket = Callable[
    [Callable[[], None], Callable[[ServerEvent], None], Callable[[str], None]], Socket
]


class TranscriptionEar(ABC):
    """An :class:`teamscall.engines.parts.Ear`, but for what is an utterance.

    Args:
        open_socket: makes the socket, given ``opened``, ``received`` and ``lost``.
        emit: takes the events.
        is_speech: tells whether a 640-byte frame holds speech.
        model: for what is told of its usage.
        now: monotonic seconds.
    """

    ready = EngineReady()

    def __init__(
        self,
        open_socket: OpenSocket,
        emit: Emit,
        *,
        is_speech: Callable[[bytes], bool],
        model: str = "",
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._socket = open_socket(self._opened, self._received, self._lost)
        self._emit = emit
        self._voicing = Voicing(is_speech)
        self._guard = Guard()
        self._model = model
        self._progress_s = PROGRESS_S
        self._now = now
        self._resampler = Resampler(SOURCE_RATE, messages.RATE)
        self._lost_at: float | None = None
        self._lost_reason = ""
        self._wake = asyncio.Event()

    @property
    def made_up(self) -> int:
        """Transcripts of nothing that were dropped."""
        return self._guard.dropped

    async def run(self) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._socket.run(), name="ear socket")
                group.create_task(self._watch(), name="ear watch")
        except BaseExceptionGroup as failures:
            for failure in failures.exceptions:
                if not isinstance(failure, EngineError):
                    raise failure from None
            raise failures.exceptions[0] from None

    @abstractmethod
    def submit(self, command: EarCommand) -> None: ...

    @abstractmethod
    async def close(self) -> None: ...

    # --- what the kinds of ear do in their own way -----------------------------------------

    @abstractmethod
    def _resume(self) -> int:
        """A new session is there: send what is unfinished; return how many bytes it was."""

    @abstractmethod
    def _received(self, event: ServerEvent) -> None: ...

    @abstractmethod
    def _step(self) -> float | None:
        """Emit what is due; return when something is due next, unless woken before."""

    # --- the session -----------------------------------------------------------------------

    def _opened(self) -> None:
        sent = self._resume()
        if self._socket.sessions == 1:
            self._emit(self.ready)
        if self._lost_at is not None:
            gap_s, self._lost_at = self._now() - self._lost_at, None
            again = f"; {sent / messages.BYTES_PER_S:.1f} s of audio sent again" if sent else ""
            detail = f"the recogniser was lost ({self._lost_reason}) and back in {gap_s:.1f} s"
            self._emit(EngineDegraded("hear", detail + again, round(gap_s * 1000)))
        self._wake.set()

    def _lost(self, reason: str) -> None:
        if self._lost_at is None and self._socket.sessions:
            self._lost_at, self._lost_reason = self._now(), reason

    def _send_again(self, pcm: bytes) -> int:
        for start in range(0, len(pcm), RESEND_BYTES):
            self._socket.send(messages.append(pcm[start : start + RESEND_BYTES]))
        return len(pcm)

    def _tell_usage(self, event: ServerEvent) -> None:
        """What a completed transcript cost, by the service's own count."""
        if (used := messages.used(event.usage)) is not None:
            self._emit(usage_event("hear", self._model, used))

    async def _watch(self) -> None:
        while True:
            self._wake.clear()
            due = self._step()
            if self._wake.is_set():
                continue
            try:
                async with asyncio.timeout(None if due is None else max(0.01, due - self._now())):
                    await self._wake.wait()
            except TimeoutError:
                continue
