"""Engines that do as a test says, and a call that listens to a chain of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence

from engines_rig import Talk

from teamscall.engines.base import (
    AnswerAudio,
    AnswerDone,
    BeginUtterance,
    CallBrief,
    CommitUtterance,
    Emit,
    EngineCommand,
    EngineEvent,
    EngineReady,
    Hear,
    Phrase,
    PressDigit,
    Respond,
    Say,
    TurnTaking,
)
from teamscall.engines.fallback import FallbackEngine, Limits, Patience

SOON = Limits(patience=Patience(ready=0.05, close=0.05))
RATE = 16_000


class ProbeSession:
    """Keeps what it is told; the test says what it emits."""

    def __init__(self, engine: ProbeEngine, call: CallBrief, emit: Emit) -> None:
        self.engine = engine
        self.call = call
        self.emit = emit
        self.commands: list[EngineCommand] = []
        self.closed = 0
        self._end: asyncio.Future[None] | None = None

    async def run(self) -> None:
        self._end = asyncio.get_running_loop().create_future()
        if self.engine.ready is not None:
            self.emit(self.engine.ready)
        await self._end

    def submit(self, command: EngineCommand) -> None:
        self.commands.append(command)
        asyncio.get_running_loop().call_soon(self.engine.behave, self, command)

    async def close(self) -> None:
        self.closed += 1
        await self.engine.on_close()
        self.end()

    # --- what a test lets it do ---------------------------------------------------------

    def end(self, error: BaseException | None = None) -> None:
        """Leave ``run``."""
        if self._end is not None and not self._end.done():
            if error is None:
                self._end.set_result(None)
            else:
                self._end.set_exception(error)

    def tell(self, *events: EngineEvent) -> None:
        for event in events:
            self.emit(event)

    # --- what it was told ---------------------------------------------------------------

    @property
    def heard(self) -> bytes:
        return b"".join(c.pcm for c in self.commands if isinstance(c, Hear))

    @property
    def marks(self) -> list[EngineCommand]:
        return [c for c in self.commands if not isinstance(c, Hear)]

    @property
    def asked(self) -> list[EngineCommand]:
        """What it was to answer, not only to remember."""
        asked = [c for c in self.commands if isinstance(c, Respond | PressDigit | Say)]
        return [c for c in asked if not (isinstance(c, Say) and not c.aloud)]

    def within(self, utterance: int) -> bytes:
        """The audio between an utterance's marks."""
        begin = self.commands.index(BeginUtterance(utterance))
        end = self.commands.index(CommitUtterance(utterance))
        return b"".join(c.pcm for c in self.commands[begin:end] if isinstance(c, Hear))


Behave = Callable[[ProbeSession, EngineCommand], None]


def silent(session: ProbeSession, command: EngineCommand) -> None:
    """Do nothing."""


def obliging(session: ProbeSession, command: EngineCommand) -> None:
    """Answer whatever is asked with a little audio that names the engine."""
    if isinstance(command, Respond | PressDigit) or (isinstance(command, Say) and command.aloud):
        text = f"{session.engine.name} answers. "
        session.tell(AnswerAudio(command.turn, bytes(320), RATE, text), AnswerDone(command.turn))


def failing(*before: EngineEvent) -> Behave:
    """Emits ``before`` and then fails each answer."""

    def behave(session: ProbeSession, command: EngineCommand) -> None:
        if isinstance(command, Respond | PressDigit | Say):
            session.tell(*before, AnswerDone(command.turn, "failed", error="500"))

    return behave


class ProbeEngine:
    """``ready``: what its sessions emit first; None: they never get ready."""

    def __init__(
        self,
        name: str,
        behave: Behave = obliging,
        *,
        turn_taking: TurnTaking = "local",
        ready: EngineReady | None = EngineReady(),  # noqa: B008
        start: Exception | None = None,
        opens: bool = True,
        phrases: Iterable[str] = (),
    ) -> None:
        self.name = name
        self.behave = behave
        self.turn_taking = turn_taking
        self.ready = ready
        self.sessions: list[ProbeSession] = []
        self.did: list[str] = []
        self._start = start
        self._opens = opens
        self._phrases = set(phrases)
        self.on_close: Callable[[], Awaitable[None]] = self._close

    async def _close(self) -> None:
        return

    def describe(self) -> str:
        return f"{self.name}: a probe"

    async def start(self) -> None:
        self.did.append("start")
        if self._start is not None:
            raise self._start

    async def stop(self) -> None:
        self.did.append("stop")

    def open(self, call: CallBrief, emit: Emit) -> ProbeSession:
        if not self._opens:
            raise RuntimeError("no session today")
        self.sessions.append(ProbeSession(self, call, emit))
        return self.sessions[-1]

    def warm(self) -> None:
        self.did.append("warm")

    async def prepare(self, texts: Sequence[str]) -> None:
        self.did.append(f"prepare {len(texts)}")

    def phrase(self, text: str) -> Phrase | None:
        return Phrase(text, self.name.encode(), RATE) if text in self._phrases else None

    @property
    def session(self) -> ProbeSession:
        return self.sessions[-1]


def chain(*engines: ProbeEngine, limits: Limits = SOON) -> FallbackEngine:
    return FallbackEngine(engines, limits=limits)


async def settled(turns: int = 8) -> None:
    """Let everything happen that can happen by itself."""
    for _ in range(turns):
        await asyncio.sleep(0)


def frames(first: int, count: int) -> list[Hear]:
    """20 ms frames, no two of them equal."""
    return [Hear(n.to_bytes(4, "little") * 160) for n in range(first, first + count)]


class Caller:
    """A caller's audio, as the call passes it on: no two frames of it are equal."""

    def __init__(self, talk: Talk) -> None:
        self._talk = talk
        self._count = 0

    def speak(self, count: int) -> bytes:
        """Submit so many frames; what they sound like."""
        spoken = frames(self._count, count)
        self._count += count
        self._talk.submit(*spoken)
        return b"".join(hear.pcm for hear in spoken)

    def utter(self, utterance: int, count: int) -> bytes:
        self._talk.submit(BeginUtterance(utterance))
        spoken = self.speak(count)
        self._talk.submit(CommitUtterance(utterance))
        return spoken


def kinds(talk: Talk) -> list[str]:
    return [type(event).__name__ for event in talk.events]
