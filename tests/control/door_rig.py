"""A whole bridge in this process with its door open, and gateways that call it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import msgspec
from websockets.asyncio.client import ClientConnection, connect, unix_connect

from teamscall.config import (
    Authorization,
    Bridge,
    Config,
    Control,
    JournalFile,
    Outbound,
    Secret,
    Serve,
)
from teamscall.control.client import Client
from teamscall.control.client import connect as ask_bridge
from teamscall.control.where import Where
from teamscall.server.run import Running, running

SECRET = "bridge-secret-0123456789abcdef0123456789"
TOKEN = "token-0123456789abcdef0123456789abcdef"
PATIENCE_S = 30.0  # generous: two cores shared by many


@contextlib.contextmanager
def short_folder() -> Iterator[Path]:
    """A socket's path is short, and pytest's folders are not."""
    folder = Path(tempfile.mkdtemp(prefix="tc-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def settings(folder: Path, **changes: Any) -> Config:
    config = Config(
        engine="echo",
        serve=Serve(port=0),
        bridge=Bridge(secret=Secret(SECRET)),
        authorization=Authorization(mode="open"),
        journal=JournalFile(path=str(folder / "journal.sqlite3")),
        control=Control(socket=str(folder / "c.sock")),
        outbound=Outbound(allow_to=("user:*",), ring_timeout_ms=1000, tenant="t"),
    )
    return msgspec.structs.replace(config, **changes)


class Site:
    """A bridge that is up."""

    def __init__(self, up: Running, folder: Path) -> None:
        self.up = up
        self.folder = folder
        assert up.door is not None
        self.where = Where(socket=str(up.door.path))

    def client(self, **options: Any) -> contextlib.AbstractAsyncContextManager[Client]:
        return ask_bridge(self.where, timeout_s=PATIENCE_S, **options)

    @contextlib.asynccontextmanager
    async def raw(self, **options: Any) -> AsyncIterator[Raw]:
        async with unix_connect(self.where.socket, compression=None, **options) as link:
            yield Raw(link)

    @contextlib.asynccontextmanager
    async def call(self, *call_ids: str, name: str = "Ann") -> AsyncIterator[ClientConnection]:
        """Calls that are up, on one gateway's socket."""
        url = self.up.listening[0].urls[0]
        async with connect(url, additional_headers={"X-Bridge-Secret": SECRET}) as link:
            who = {"tenantId": "t", "userId": "u", "teamsCallId": "x", "displayName": name}
            for call_id in call_ids:
                head = {"callId": call_id, "metadata": who}
                await link.send(json.dumps({"type": "auth_request", "correlationId": "k", **head}))
                await link.recv()
                start = {"type": "session_start", "direction": "inbound", **head}
                await link.send(json.dumps(start))
            running = self.up.switchboard
            await until(lambda: {c.setup.call_id for c in running.calls} >= set(call_ids))
            yield link


class Raw:
    """A connection that says what it likes."""

    def __init__(self, link: ClientConnection) -> None:
        self.link = link

    async def ask(self, method: str, number: object = 1, **params: Any) -> dict[str, Any]:
        question = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
        return await self.say(json.dumps(question))

    async def say(self, text: str | bytes) -> dict[str, Any]:
        await self.link.send(text)
        return await self.next()

    async def next(self) -> dict[str, Any]:
        async with asyncio.timeout(PATIENCE_S):
            answer: dict[str, Any] = json.loads(await self.link.recv())
            return answer


@contextlib.asynccontextmanager
async def bridge(**changes: Any) -> AsyncIterator[Site]:
    """Up until it is left; its socket is gone then."""
    with short_folder() as folder:
        async with running(settings(folder, **changes)) as up:
            site = Site(up, folder)
            yield site
        assert_gone(site.where.socket)


def assert_gone(path: str) -> None:
    assert not os.path.lexists(path)


async def until(what: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not what():  # noqa: ASYNC110 - of another task's doing
            await asyncio.sleep(0.005)


def run(work: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(60):
            await work

    asyncio.run(bounded())
