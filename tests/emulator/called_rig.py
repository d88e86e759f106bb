"""A real bridge, a phone that it can call, and requests made by hand."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx2

from teamscall.calls.placing import FarProgress, LegRefused, PlacingEvent
from teamscall.calls.records import CallAnswered, CallClosed, CallRecord
from teamscall.clock import SystemClock
from teamscall.config import (
    Authorization,
    Bridge,
    Config,
    Control,
    JournalFile,
    Outbound,
    Secret,
    Serve,
    StandIn,
)
from teamscall.emulator import happenings as seen
from teamscall.emulator.answering import Answering, Asked
from teamscall.emulator.called import Ends, Phone
from teamscall.emulator.controls import Controls
from teamscall.emulator.plan import Dial, Plan
from teamscall.emulator.report import Report
from teamscall.emulator.sources import Silence
from teamscall.engines.scripted import Script, ScriptedEngine, ScriptLine
from teamscall.server.run import Running, running
from teamscall.wire import control
from teamscall.wire.events import Dialect
from teamscall.wire.signature import control_headers

SECRET = b"one-secret-for-both-0123456789abcdef"
USER = "3f0d2a53-2f6e-4c11-9f0a-5d5f0f6f5e11"
TENANT = "8a7c1d0e-90b4-4a0b-8c5d-6f1e2d3c4b5a"
SCRIPT = Script(lines=(ScriptLine(heard="hello", answer="Hi."),), word_ms=40, pause_ms=20)
PATIENCE_S = 15.0
LOCAL = ("127.0.0.1", 0)


async def until(what: Callable[[], object]) -> None:
    """Look again and again; time out with a failure."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            if what():
                return
            await asyncio.sleep(0.01)


class Site:
    """A bridge that is up, and what it said."""

    def __init__(self, up: Running, *, watched: bool) -> None:
        self.up = up
        self.board = up.switchboard
        self.records: list[CallRecord] = []
        self.placing: list[PlacingEvent] = []
        self.board.watch(self.records.append)
        if watched:
            self.board.watch_placing(self.placing.append)

    def url(self, dialect: Dialect) -> str:
        return next(one.urls[0] for one in self.up.listening if dialect in one.dialects)

    @property
    def words(self) -> list[str]:
        return [event.word for event in self.placing if isinstance(event, FarProgress)]

    @property
    def refused(self) -> int:
        return sum(isinstance(event, LegRefused) for event in self.placing)

    @property
    def answered(self) -> int:
        return sum(isinstance(record, CallAnswered) for record in self.records)

    @property
    def closed(self) -> list[str]:
        return [record.reason for record in self.records if isinstance(record, CallClosed)]

    def expect(self, call_id: str = "", *, ring_s: float = 30.0, **more: Any) -> bool:
        more = {"opening": "You have mail.", "notify": True, "attempt": "a-1", **more}
        return self.board.expect(call_id, ring_timeout_s=ring_s, **more)


@contextlib.asynccontextmanager
async def bridge(*, by_hand: bool = True) -> AsyncIterator[Site]:
    """``by_hand``: the test expects and names the calls; else the bridge places its own."""
    config = Config(
        engine="scripted",
        bridge=Bridge(secret=Secret(SECRET.decode())),
        serve=Serve(port=0),
        standin=StandIn(enabled=True, port=0, secret=Secret(SECRET.decode())),
        authorization=Authorization(mode="open"),
        journal=JournalFile(enabled=False),
        control=Control(enabled=False),
        outbound=Outbound(allow_to=("*",), tenant=TENANT, ring_timeout_ms=1000),
    )
    async with running(config, engine=ScriptedEngine(SCRIPT)) as up:
        site = Site(up, watched=by_hand)
        yield site
        await until(lambda: not site.board.active)


class Home:
    """A house that remembers."""

    def __init__(self) -> None:
        self.events: list[seen.EmulatorEvent] = []
        self.reports: list[Report] = []
        self.asked: list[Asked] = []
        self.controls: list[Controls] = []

    def told(self, event: seen.EmulatorEvent) -> None:
        self.events.append(event)

    def rung(self, asked: Asked) -> Ends:
        self.asked.append(asked)
        self.controls.append(Controls())
        return Ends(Silence(), self.controls[-1], self.events.append)

    def over(self, asked: Asked, ends: Ends, report: Report) -> None:
        self.reports.append(report)

    def of(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def warnings(self) -> str:
        return "\n".join(event.text for event in self.of(seen.Warned))


class Called:
    """A phone under test. ``end`` waits until it has taken its calls."""

    def __init__(self, phone: Phone, home: Home, task: asyncio.Task[None]) -> None:
        self.phone, self.home, self._task = phone, home, task

    async def end(self) -> Report:
        async with asyncio.timeout(PATIENCE_S):
            await self._task
        return self.home.reports[-1]

    # --- requests as a bridge makes them --------------------------------------------------

    async def request(
        self, method: str, path: str, headers: list[tuple[str, str]], body: bytes = b""
    ) -> httpx2.Response:
        async with httpx2.AsyncClient(timeout=PATIENCE_S, trust_env=False) as client:
            url = self.phone.url + path
            return await client.request(method, url, content=body, headers=headers)

    async def place(self, *, which: Any = "v2", secret: bytes = SECRET) -> httpx2.Response:
        body = control.encode_placing(control.Placing(USER, TENANT))
        path = control.PLACE_PATH
        headers = control_headers(secret, now_ms(), "POST", path, body, USER, which)
        return await self.request("POST", path, headers, body)

    async def placed(self, **how: Any) -> str:
        answer = await self.place(**how)
        placed = control.decode_placed(answer.status_code, answer.content)
        assert isinstance(placed, control.Placed)
        return placed.call_id

    async def cancel(self, call_id: str, *, which: Any = "v2") -> int:
        path = control.call_path(control.PLACE_PATH, call_id)
        headers = control_headers(SECRET, now_ms(), "DELETE", path, b"", call_id, which)
        return (await self.request("DELETE", path, headers)).status_code

    async def ask(self, method: str, path: str, body: Any = None, secret: bytes = SECRET) -> Any:
        """The C# control plane: status and body."""
        data = b"" if body is None else json.dumps(body).encode()
        answer = await self.request(method, path, [("X-Bridge-Secret", secret.decode())], data)
        text = answer.text
        return answer.status_code, json.loads(text) if text.startswith("{") else text


@contextlib.asynccontextmanager
async def phone(
    url: str, dialect: Dialect, *, plan: dict[str, Any] | None = None, **answering: Any
) -> AsyncIterator[Called]:
    """A phone that waits for calls; whatever is left of them is hung up at the end."""
    if dialect == "standin":
        answering.setdefault("listen", LOCAL)
    home = Home()
    dial = Dial(url, SECRET, dialect)
    it = Phone(Plan(dial, **(plan or {})), Answering(**answering), home, SystemClock())
    async with asyncio.TaskGroup() as group:
        task = group.create_task(it.run())
        await until(lambda: home.of(seen.Waiting) or task.done())
        yield Called(it, home, task)
        it.stop()


def now_ms() -> int:
    return time.time_ns() // 1_000_000
