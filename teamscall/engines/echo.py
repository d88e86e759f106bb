"""The echo engine: the caller's audio goes back, sample for sample.

Owns nothing but the way from ``Hear`` to ``AnswerAudio``. It is what an operator uses to
hear that a line works, and what a test uses to see that every frame survives.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence

from teamscall.engines.base import (
    AnswerAudio,
    AnswerDone,
    CallBrief,
    CommitUtterance,
    Emit,
    EngineCommand,
    EngineDegraded,
    EngineEvent,
    EngineReady,
    Hear,
    Phrase,
    PressDigit,
    Respond,
    Say,
    Transcript,
    TurnTaking,
)

TURN = 1  # one endless turn
RATE = 16_000
MAX_WAITING = 1_500  # events; 30 s of 20 ms frames, beyond which the oldest are dropped


class EchoSession:
    """One call's echo. Events leave from ``run``, never from inside ``submit``."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._events: deque[EngineEvent] = deque(maxlen=MAX_WAITING)
        self._wake = asyncio.Event()
        self._closed = False
        self.dropped = 0  # events lost because nobody ran the session

    async def run(self) -> None:
        self._emit(EngineReady())
        reported = 0
        while not self._closed:
            await self._wake.wait()
            self._wake.clear()
            if self.dropped > reported:
                reported = self.dropped
                self._emit(EngineDegraded("session", "the echo fell behind; audio was dropped"))
            while self._events and not self._closed:
                self._emit(self._events.popleft())

    def submit(self, command: EngineCommand) -> None:
        if self._closed:
            return
        match command:
            case Hear(pcm=pcm):
                self._put(AnswerAudio(TURN, pcm, RATE))
            case Respond(turn=turn) | PressDigit(turn=turn) | Say(turn=turn, aloud=True):
                self._put(AnswerDone(turn))
            case CommitUtterance(utterance=utterance):
                self._put(Transcript(utterance, "", final=True))
            case _:
                pass  # nothing is thought or kept, so nothing is cancelled or forgotten

    async def close(self) -> None:
        self._closed = True
        self._events.clear()
        self._wake.set()

    def _put(self, event: EngineEvent) -> None:
        if len(self._events) == MAX_WAITING:
            self.dropped += 1
        self._events.append(event)
        self._wake.set()


class EchoEngine:
    """Needs nothing, knows nothing."""

    @property
    def name(self) -> str:
        return "echo"

    @property
    def turn_taking(self) -> TurnTaking:
        return "none"

    def describe(self) -> str:
        return "echo: sends the caller's audio back"

    async def start(self) -> None:
        return

    async def stop(self) -> None:
        return

    def open(self, call: CallBrief, emit: Emit) -> EchoSession:
        return EchoSession(emit)

    def warm(self) -> None:
        """Nothing takes time here."""

    async def prepare(self, texts: Sequence[str]) -> None:
        return

    def phrase(self, text: str) -> Phrase | None:
        return None
