"""A live session against the stand-in, and a call's side of it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

from teamscall.config import Secret
from teamscall.engines.base import (
    AnswerAudio,
    AnswerBegan,
    AnswerText,
    CallBrief,
    EngineEvent,
    EngineReady,
    EngineSession,
    Hear,
    Line,
    Respond,
)
from teamscall.engines.openai.endpoint import Endpoint
from teamscall.engines.openai.live import LiveEngine, Manner
from teamscall.engines.openai.live_messages import RATE
from teamscall.testing import (
    FakeOpenAI,
    Script,
    Settings,
    Visit,
    tone_speech,
)

T = TypeVar("T", bound=EngineEvent)

DEADLINE_S = 20
MS = RATE * 2 // 1000
SAID = "You said one two three."
SCRIPT = Script(hears=("one two three",), otherwise="You said {heard}.")
ANSWER_BYTES = 5 * 280 * MS
SPOKEN = tone_speech("a b c", word_ms=220, pause_ms=60, rate=RATE) + bytes(600 * MS)
MANNER = Manner("gpt-live-1", "cedar", "Be brief.", "gpt-6-luna")


class Caller:
    """A call's side of a session: gives turns to answers, and keeps what it is told."""

    def __init__(self, *, gives: bool = True) -> None:
        self.events: list[EngineEvent] = []
        self.session: EngineSession | None = None
        self.gives = gives
        self.turn = 0
        self._news = asyncio.Event()

    def emit(self, event: EngineEvent) -> None:
        self.events.append(event)
        self._news.set()
        if isinstance(event, AnswerBegan) and self.gives:
            self.turn += 1
            self.does(Respond(self.turn, ""))

    def does(self, command: Any) -> None:
        assert self.session is not None
        self.session.submit(command)

    def speak(self, pcm: bytes = SPOKEN) -> None:
        for at in range(0, len(pcm), 640):
            self.does(Hear(pcm[at : at + 640]))

    def all(self, kind: type[T]) -> list[T]:
        return [event for event in self.events if isinstance(event, kind)]

    async def sees(self, kind: type[T], count: int = 1) -> T:
        """The ``count``-th event of this kind, once it is there."""
        await self.until(lambda: len(self.all(kind)) >= count)
        return self.all(kind)[count - 1]

    async def until(self, found: Callable[[], Any]) -> Any:
        while not (result := found()):
            self._news.clear()
            await self._news.wait()
        return result

    def pcm(self, turn: int) -> bytes:
        return b"".join(event.pcm for event in self.all(AnswerAudio) if event.turn == turn)

    def text(self, turn: int) -> str:
        return "".join(event.delta for event in self.all(AnswerText) if event.turn == turn)


def engine_of(fake: FakeOpenAI, *, key: str = "", manner: Manner = MANNER, **more: Any) -> Any:
    endpoint = Endpoint(fake.base_url, Secret(key or fake.api_key))
    return LiveEngine(endpoint, manner, **more)


@contextlib.asynccontextmanager
async def call(
    engine: LiveEngine, *, gives: bool = True, history: tuple[Line, ...] = ()
) -> AsyncIterator[Caller]:
    """A call that is up; the session must not fail."""
    caller = Caller(gives=gives)
    session = caller.session = engine.open(CallBrief("c1", history=history), caller.emit)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(session.run())
        ready = await caller.sees(EngineReady)
        assert (ready.turn_taking, ready.direct) == ("engine", True)
        yield caller
        await session.close()
        await running


def run(test: Callable[[FakeOpenAI], Awaitable[None]], settings: Settings | None = None) -> None:
    async def work() -> None:
        async with (
            asyncio.timeout(DEADLINE_S),
            FakeOpenAI(settings or Settings(script=SCRIPT)) as fake,
        ):
            await test(fake)

    asyncio.run(work())


def contents(visit: Visit, kind: str) -> list[str]:
    return [body["content"] for body in visit.received(f"session.{kind}.append")]


async def arrives(fake: FakeOpenAI, found: Callable[[], Any]) -> Any:
    """What the stand-in has received, once it is there."""
    while True:  # the other end of a socket: nothing to wait on
        if result := found():
            return result
        await asyncio.sleep(0.01)
