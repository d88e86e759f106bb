"""A switchboard with links that only remember, and what must be left of it at the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import msgspec

from teamscall.calls.records import CallClosed, CallRecord, Decided
from teamscall.calls.switchboard import Switchboard
from teamscall.clock import Clock, SystemClock
from teamscall.config import Authorization, Config
from teamscall.engines.base import Engine
from teamscall.engines.scripted import Script, ScriptedEngine, ScriptLine
from teamscall.policy.authorization import Policy
from teamscall.wire import events as wire

T = TypeVar("T")
PATIENCE_S = 10.0  # generous: two cores shared by many
ANN = wire.Caller(user_id="u-ann", tenant_id="t-1", display_name="Ann")
BOB = wire.Caller(user_id="u-bob", tenant_id="t-1", display_name="Bob")
OPEN = Authorization(mode="open")
# Short words, so that a greeting takes 60 ms and not seconds.
SCRIPT = Script(lines=(ScriptLine(heard="hello", answer="Hi."),), word_ms=40, pause_ms=20)


async def until(what: Callable[[], object]) -> None:
    """Look again and again; time out with a failure."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            if what():
                return
            await asyncio.sleep(0.005)


class FakeLink:
    """One socket. Remembers what was sent, and how it was closed."""

    def __init__(self, dialect: wire.Dialect, address: str) -> None:
        self.dialect: wire.Dialect = dialect
        self.address = address
        self.lead_ms = 60 if dialect == "csharp" else 160
        self.dropped_out = 0
        self.sent: list[wire.ToGateway] = []
        self.closed: tuple[int, str] | None = None

    def send(self, message: wire.ToGateway) -> None:
        if self.closed is None:
            self.sent.append(message)

    def close(self, code: int, reason: str) -> None:
        if self.closed is None:
            self.closed = code, reason

    def of(self, kind: type[T]) -> list[T]:
        return [message for message in self.sent if isinstance(message, kind)]

    @property
    def farewell(self) -> str:
        """The reason that the far side was told."""
        (hangup,) = self.of(wire.HangUp)
        return hangup.reason


class Rig:
    def __init__(self, board: Switchboard, clock: Clock) -> None:
        self.board = board
        self.clock = clock
        self.records: list[CallRecord] = []
        self.ports = iter(range(1000, 100_000))
        board.watch(self.records.append)

    def of(self, kind: type[T]) -> list[T]:
        return [record for record in self.records if isinstance(record, kind)]

    @property
    def free(self) -> int:
        return self.board.readiness().slots_free

    def ended(self) -> list[str]:
        return [record.reason for record in self.of(CallClosed)]

    async def until(self, what: Callable[[], object]) -> None:
        await until(what)

    # --- a C# gateway -----------------------------------------------------------

    def csharp(self) -> FakeLink:
        link = FakeLink("csharp", f"10.0.0.1:{next(self.ports)}")
        self.board.connected(link, None)
        return link

    def ask(self, link: FakeLink, call_id: str, caller: wire.Caller = ANN) -> None:
        self.board.received(link, wire.AuthRequested(call_id, f"cor-{call_id}", caller))

    def answer(self, link: FakeLink) -> wire.AuthAnswer:
        return link.of(wire.AuthAnswer)[-1]

    def start(self, link: FakeLink, call_id: str, caller: wire.Caller = ANN, **more: Any) -> None:
        self.board.received(link, wire.CallStarted(call_id, caller, **more))

    def call(self, call_id: str = "c1", link: FakeLink | None = None) -> FakeLink:
        """A call that is up."""
        link = link or self.csharp()
        self.ask(link, call_id)
        self.start(link, call_id)
        assert call_id in self.live()
        return link

    def live(self) -> set[str]:
        closed = {record.call_id for record in self.of(CallClosed)}
        opened = {r.call_id for r in self.records if type(r).__name__ == "CallOpened"}
        return opened - closed

    # --- StandIn -----------------------------------------------------------

    def standin(self, call_id: str = "s1") -> FakeLink:
        """An upgrade that was admitted."""
        assert self.board.unavailable("standin", "10.0.0.2") is None
        assert self.board.reserve(call_id, "10.0.0.2")
        link = FakeLink("standin", f"10.0.0.2:{next(self.ports)}")
        self.board.connected(link, call_id)
        return link

    def close(self, *links: FakeLink) -> None:
        for link in links:
            link.closed = link.closed or (1006, "")
            self.board.disconnected(link, "peer-gone")

    def decision(self) -> Decided:
        return self.of(Decided)[-1]


@asynccontextmanager
async def rig(
    voice: Engine | None = None,
    *,
    authorization: Authorization = OPEN,
    clock: Clock | None = None,
    **config: Any,
) -> AsyncIterator[Rig]:
    """A rig that, when it is left, must have no slot, task or call left."""
    whole = msgspec.structs.replace(Config(authorization=authorization), **config)
    clock = clock or SystemClock()
    voice = voice or ScriptedEngine(SCRIPT)
    before = asyncio.all_tasks()
    board = Switchboard(whole, voice, Policy(authorization), clock)
    site = Rig(board, clock)
    yield site
    await board.drain(0.0)
    await until(lambda: not asyncio.all_tasks() - before)
    assert board.active == 0
    assert site.live() == set()
    for link in list(board._lines):
        board.disconnected(link, "test-over")
    if isinstance(clock, SystemClock):
        return
    clock.advance(10_000)  # type: ignore[attr-defined]
    assert site.free == whole.max_concurrent_calls
