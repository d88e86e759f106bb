"""The stand-in for OpenAI on a loop of its own, and engines pointed at it."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar

from teamscall.config import Config, OpenAI, Secret, Streaming, Tts
from teamscall.engines.base import BeginUtterance, CommitUtterance, EngineCommand, Hear
from teamscall.engines.openai.engine import OpenAIEngine
from teamscall.engines.select import build_engine
from teamscall.testing import Event, FakeOpenAI, Settings, tone_speech

T = TypeVar("T")

VOICES = {"speech": "gpt-4o-mini-tts", "reading": "gpt-realtime-2.1-mini"}


class Cloud:
    """A stand-in that runs in a thread, so that its tasks are not the engine's."""

    def __init__(self, fake: FakeOpenAI, loop: asyncio.AbstractEventLoop) -> None:
        self.fake = fake
        self._loop = loop

    def does(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    def sockets(self, model: str = "") -> list[list[Event]]:
        """What each socket received, oldest first; with a model, the voice's ones."""
        return [
            list(visit.events)
            for visit in self.fake.visits("/realtime", "WS")
            if (visit.query["model"] == model if model else "intent" in visit.query)
        ]

    def asked(self, path: str) -> list[dict[str, Any]]:
        return [visit.body for visit in self.fake.visits(path, "POST")]


@contextlib.contextmanager
def cloud(settings: Settings | None = None) -> Iterator[Cloud]:
    """A stand-in that listens."""
    started = threading.Event()
    found: list[Cloud] = []

    async def live() -> None:
        async with FakeOpenAI(settings) as fake:
            over = asyncio.Event()
            found.append(Cloud(fake, asyncio.get_running_loop()))
            ends.append(over)
            started.set()
            await over.wait()
            # A connection that was accepted just now must begin before it can end.
            await asyncio.sleep(0.05)

    ends: list[asyncio.Event] = []
    thread = threading.Thread(target=lambda: asyncio.run(live()))
    thread.start()
    try:
        assert started.wait(30)
        yield found[0]
    finally:
        if found:
            found[0]._loop.call_soon_threadsafe(ends[0].set)
        thread.join(30)


def configured(
    cloud: Cloud, voice: str = "speech", *, key: str = "", **streaming: object
) -> Config:
    """A configuration that asks this stand-in for everything."""
    return Config(
        engine="openai",
        openai=OpenAI(base_url=cloud.fake.base_url, api_key=Secret(key or cloud.fake.api_key)),
        tts=Tts(model=VOICES[voice]),
        streaming=Streaming(**streaming),  # type: ignore[arg-type]
    )


@contextlib.asynccontextmanager
async def started(config: Config) -> Any:
    """The engine of this configuration, stopped at the end."""
    engine = build_engine(config)
    assert isinstance(engine, OpenAIEngine)
    await engine.start()
    try:
        yield engine
    finally:
        await engine.stop()


def voice(words: int = 4) -> bytes:
    """16 kHz audio that voice activity detection takes for that many words."""
    return tone_speech("word " * words, word_ms=220, pause_ms=60, rate=16_000)


def utterance(number: int, pcm: bytes | None = None) -> list[EngineCommand]:
    """The commands of one utterance, from its first to its last frame."""
    pcm = voice() if pcm is None else pcm
    frames = [Hear(pcm[i : i + 640].ljust(640, b"\0")) for i in range(0, len(pcm), 640)]
    return [BeginUtterance(number), *frames, CommitUtterance(number)]
