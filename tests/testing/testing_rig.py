"""Peers of the stand-in: the official SDK, and a bare socket."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any

from openai import AsyncOpenAI
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosedError

from teamscall.testing import FakeOpenAI, Settings, tone_speech

DEADLINE_S = 20  # of a whole test: only a hang takes so long
MS = 48  # bytes per ms at 24 kHz
Json = dict[str, Any]


def run(work: Coroutine[Any, Any, None]) -> None:
    """Run one test."""

    async def bounded() -> None:
        async with asyncio.timeout(DEADLINE_S):
            await work

    asyncio.run(bounded())


@contextlib.asynccontextmanager
async def sdk(fake: FakeOpenAI, **options: Any) -> AsyncIterator[AsyncOpenAI]:
    options = {"api_key": fake.api_key, "max_retries": 0, **options}
    async with AsyncOpenAI(base_url=fake.base_url, **options) as client:
        yield client


class Peer:
    """A realtime client that speaks JSON."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    async def say(self, type_: str, **fields: object) -> None:
        await self.socket.send(json.dumps({"type": type_, **fields}))

    async def hear(self) -> Json:
        event: Json = json.loads(await self.socket.recv())
        assert event["event_id"].startswith("event_")
        return event

    async def until(self, type_: str) -> list[Json]:
        """Everything up to and with the next event of this type."""
        events = [await self.hear()]
        while events[-1]["type"] != type_:
            events.append(await self.hear())
        return events

    async def ask(self, type_: str, **fields: object) -> Json:
        """Say something and hear the next event."""
        await self.say(type_, **fields)
        return await self.hear()

    async def update(self, **session: object) -> Json:
        return await self.ask("session.update", session=session)

    async def append(self, pcm: bytes, chunk: int = 20 * MS) -> None:
        for at in range(0, len(pcm), chunk):
            audio = base64.b64encode(pcm[at : at + chunk]).decode()
            await self.say("input_audio_buffer.append", audio=audio)

    async def closed(self) -> int | None:
        """Read on until the socket is closed; the code."""
        with contextlib.suppress(ConnectionClosedError):  # any code but 1000 and 1001
            async for _ in self.socket:
                pass
        return self.socket.close_code


@contextlib.asynccontextmanager
async def peer(
    fake: FakeOpenAI, query: str = "intent=transcription", **headers: str
) -> AsyncIterator[Peer]:
    """A socket whose ``session.created`` has been heard."""
    async with bare(fake, query, **headers) as found:
        assert (await found.hear())["type"] == "session.created"
        yield found


@contextlib.asynccontextmanager
async def bare(
    fake: FakeOpenAI, query: str = "intent=transcription", **headers: str
) -> AsyncIterator[Peer]:
    """A socket on which nothing was heard yet."""
    given = {"Authorization": f"Bearer {fake.api_key}", **headers}
    url = f"{fake.websocket_base_url}/realtime?{query}"
    # What nobody reads keeps the goodbye waiting, ten seconds by default.
    async with connect(
        url, additional_headers=given, compression=None, max_size=None, close_timeout=0.5
    ) as socket:
        yield Peer(socket)


def with_fake(
    test: Callable[[FakeOpenAI], Awaitable[None]], settings: Settings | None = None
) -> None:
    """Run ``test`` against a stand-in."""

    async def work() -> None:
        async with FakeOpenAI(settings) as fake:
            await test(fake)

    run(work())


def speech(words: int = 4) -> bytes:
    """Something said, as PCM at 24 kHz."""
    return tone_speech("word " * words, word_ms=220, pause_ms=60)


def silence(ms: int) -> bytes:
    return bytes(ms * MS)


def types(events: list[Json]) -> list[str]:
    return [event["type"] for event in events]
