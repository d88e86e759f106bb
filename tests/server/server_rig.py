"""A bridge on loopback in front of an exchange that only remembers, and raw clients."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import msgspec
from websockets.asyncio.client import ClientConnection, connect

from teamscall import config as configuration
from teamscall.calls.link import Link, Readiness, Unavailable
from teamscall.clock import Clock, SystemClock
from teamscall.config import Config, Secret, Serve, StandIn
from teamscall.server.bridge import Bridge, Listening
from teamscall.wire.events import Dialect, Dropped, FromGateway, Outcome
from teamscall.wire.signature import GENERATIONS, Generation, upgrade_headers

SECRET = "0123456789abcdef0123456789abcdef"
STANDIN_SECRET = "standin-secret-standin-secret-32"
PATIENCE_S = 10.0  # generous: two cores shared by many


class FakeExchange:
    """Remembers what the server told it; answers as it is set to."""

    def __init__(self) -> None:
        self.links: list[Link] = []
        self.call_ids: list[str | None] = []
        self.events: list[FromGateway] = []
        self.drops: list[Dropped] = []
        self.gone: list[tuple[Link, str]] = []
        self.outcomes: list[tuple[str, Outcome]] = []
        self.live: set[str] = set()
        self.full: Unavailable | None = None
        self.capacity = 10_000
        self.ready = Readiness(True, False, 0, 5)
        self.on_received: Callable[[Link, FromGateway], None] | None = None

    def unavailable(self, dialect: Dialect, address: str) -> Unavailable | None:
        assert ":" not in address or address.count(":") > 1, "a host without its port"
        if self.full is None and len(self.live) >= self.capacity:
            return "capacity"
        return self.full

    def reserve(self, call_id: str, address: str) -> bool:
        if call_id in self.live:
            return False
        self.live.add(call_id)
        return True

    def connected(self, link: Link, call_id: str | None) -> None:
        self.links.append(link)
        self.call_ids.append(call_id)

    def received(self, link: Link, event: FromGateway) -> None:
        self.events.append(event)
        if self.on_received is not None:
            self.on_received(link, event)

    def dropped(self, link: Link, dropped: Dropped) -> None:
        self.drops.append(dropped)

    def disconnected(self, link: Link, reason: str) -> None:
        self.gone.append((link, reason))
        call_id = self.call_ids[self.links.index(link)]
        if call_id is not None:
            self.live.discard(call_id)

    def outcome(self, call_id: str, outcome: Outcome) -> None:
        self.outcomes.append((call_id, outcome))

    def readiness(self) -> Readiness:
        return self.ready


def make_config(
    *, shared: bool = False, serve: dict[str, Any] | None = None, **standin: Any
) -> Config:
    """Both dialects on free loopback ports. ``shared``: nothing but C#'s listener."""
    return Config(
        serve=msgspec.structs.replace(Serve(port=0, close_timeout_ms=1000), **(serve or {})),
        bridge=configuration.Bridge(secret=Secret(SECRET)),
        standin=msgspec.structs.replace(
            StandIn(enabled=not shared, port=0, secret=Secret(STANDIN_SECRET)), **standin
        ),
    )


class Site:
    """A running bridge, and clients that dial it."""

    def __init__(
        self, bridge: Bridge, exchange: FakeExchange, listening: tuple[Listening, ...], clock: Clock
    ) -> None:
        self.bridge = bridge
        self.exchange = exchange
        self.listening = listening
        self.clock = clock

    def port(self, dialect: Dialect) -> int:
        return next(one.port for one in self.listening if dialect in one.dialects)

    async def raw(
        self, request: bytes | str, dialect: Dialect = "standin", *, eof: bool = False
    ) -> bytes:
        """Send bytes, return everything until the server closes."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port(dialect))
        try:
            writer.write(request if isinstance(request, bytes) else request.encode("latin-1"))
            if eof:
                writer.write_eof()
            async with asyncio.timeout(PATIENCE_S):
                return await reader.read()
        except ConnectionResetError:
            return b""
        finally:
            await close(writer)

    async def request(
        self,
        method: str,
        target: str,
        headers: dict[str, str] | None = None,
        *,
        body: bytes = b"",
        dialect: Dialect = "standin",
        upgrade: bool = False,
    ) -> tuple[int, dict[str, str], bytes]:
        """One request that is answered and closed: status, headers, body."""
        lines = [f"{method} {target} HTTP/1.1", "Host: bridge"]
        if upgrade:
            lines += UPGRADE
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        head = ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8")
        return parse(await self.raw(head + body, dialect))

    def signed(
        self,
        call_id: str,
        *,
        at: int = 0,
        secret: str = STANDIN_SECRET,
        generations: tuple[Generation, ...] = GENERATIONS,
    ) -> dict[str, str]:
        """The headers of a signed upgrade; ``at``: milliseconds from now."""
        stamp = self.clock.wall_ms() + at
        return dict(upgrade_headers(secret.encode(), call_id, stamp, generations))

    async def dial_csharp(self, **options: Any) -> ClientConnection:
        return await connect(
            f"ws://127.0.0.1:{self.port('csharp')}/teams-call/stream",
            additional_headers={"X-Bridge-Secret": SECRET},
            **{"compression": None, "ping_interval": None, "proxy": None} | options,
        )

    async def dial_standin(self, call_id: str = "call-1", **options: Any) -> ClientConnection:
        return await connect(
            f"ws://127.0.0.1:{self.port('standin')}/msteams/calling/{call_id}",
            additional_headers=self.signed(call_id),
            **{"compression": None, "ping_interval": None, "proxy": None} | options,
        )

    async def link(self) -> Link:
        """The first link that the exchange was told of."""
        await until(lambda: bool(self.exchange.links))
        return self.exchange.links[0]

    async def gone(self, count: int = 1) -> list[str]:
        """Wait for ``count`` disconnects; their reasons."""
        await until(lambda: len(self.exchange.gone) >= count)
        return [reason for _, reason in self.exchange.gone]


UPGRADE = [
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
]


def parse(answer: bytes) -> tuple[int, dict[str, str], bytes]:
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    assert first.startswith("HTTP/1.1 "), answer
    headers = {name.lower(): value.strip() for name, _, value in (x.partition(":") for x in lines)}
    return int(first.split()[1]), headers, body


async def until(condition: Callable[[], bool], seconds: float = PATIENCE_S) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110  (what is waited for has no event)
            await asyncio.sleep(0.005)


async def close(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()
    with suppress(OSError):
        await writer.wait_closed()


@asynccontextmanager
async def site(config: Config | None = None, *, clock: Clock | None = None) -> AsyncIterator[Site]:
    clock = clock or SystemClock()
    exchange = FakeExchange()
    bridge = Bridge(config or make_config(), exchange, clock)
    listening = await bridge.start()
    try:
        yield Site(bridge, exchange, listening, clock)
    finally:
        await bridge.stop()
        assert bridge.open_links == 0
        told = [link for link, _ in exchange.gone]
        assert sorted(map(id, told)) == sorted(map(id, exchange.links)), "one goodbye per hello"


def run(test: Callable[[], Awaitable[None]]) -> None:
    """Run a test on its own loop; no task, descriptor, thread or loop error left.

    ``PYTHONASYNCIODEBUG=1`` also finds calls from another thread, in twice the time.
    """
    faults: list[dict[str, Any]] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: faults.append(context))
        loop.slow_callback_duration = 60
        await test()
        await asyncio.sleep(0)
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, f"tasks left: {left}"

    before, threads = descriptors(), threading.active_count()
    asyncio.run(main())
    assert not faults, faults
    assert threading.active_count() <= threads, threading.enumerate()
    assert descriptors() <= before, "descriptors left"


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
