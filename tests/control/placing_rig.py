"""A bridge process that may place calls, phones that it rings, and commands that ask it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from bridge_rig import BRIDGE_SECRET, STANDIN_SECRET, Served, ports, served

from teamscall.clock import SystemClock
from teamscall.emulator import happenings as seen
from teamscall.emulator.answering import Answer, Answering, Asked
from teamscall.emulator.called import Ends, Phone
from teamscall.emulator.controls import Controls
from teamscall.emulator.plan import Dial, Plan
from teamscall.emulator.report import Report
from teamscall.emulator.sources import Silence, Source
from teamscall.wire.events import Dialect

TENANT = "00000000-0000-4000-8000-00000000000a"
ANN = "user:00000000-0000-4000-8000-000000000001"
PHONE = "phone:+4930123456"
TARGET: dict[Dialect, str] = {"standin": ANN, "csharp": PHONE}
# Short enough to wait for, long enough for a loaded machine to pick up.
RING_S = 2.0
COMMAND_S = 60.0


class Site(NamedTuple):
    """A running bridge, and where its far sides are."""

    bridge: Served
    csharp_url: str
    standin_url: str
    standin_port: int  # where StandIn's control endpoint is expected
    socket: str  # the control door

    def env(self) -> dict[str, str]:
        """For commands that ask this bridge."""
        clean = {k: v for k, v in os.environ.items() if not k.startswith("TEAMSCALL_")}
        return clean | {"TEAMSCALL_CONTROL_SOCKET": self.socket}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def placing_bridge(folder: Path, *options: str) -> Iterator[Site]:
    """`teamscall serve` that may place calls; its door is in ``folder``."""
    script = folder / "script.toml"
    script.write_text('repeat = true\n[[line]]\nheard = "hello"\nanswer = "I hear you."\n')
    port, door = free_port(), str(folder / "c.sock")
    settings = {
        "scripted.path": script,
        "outbound.allow_to": "user:00000000-*,phone:+49*",
        "outbound.max_per_hour": 10_000,
        "outbound.max_per_target_per_hour": 10_000,
        "outbound.ring_timeout_ms": round(RING_S * 1000),
        "outbound.tenant": TENANT,
        "standin.worker_base_url": f"http://127.0.0.1:{port}",
        "max_concurrent_calls": 20,
        "shutdown.drain_seconds": 0,
    }
    pairs = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    env = {"TEAMSCALL_CONTROL_SOCKET": door}
    with served(folder, "--engine", "scripted", *pairs, *options, env=env) as bridge:
        csharp_url, standin_url = ports(bridge)
        yield Site(bridge, csharp_url, standin_url, port, door)


class House:
    """Where a phone stands: what it saw, and hands to hang up."""

    def __init__(self, source: Source | None) -> None:
        self._source = source
        self.ready = asyncio.Event()
        self.ringing = asyncio.Event()
        self.asked: list[Asked] = []
        self.controls: list[Controls] = []
        self.reports: list[Report] = []
        self.events: list[seen.EmulatorEvent] = []
        self.ended = asyncio.Event()

    def told(self, event: seen.EmulatorEvent) -> None:
        self.events.append(event)
        if isinstance(event, seen.Waiting):
            self.ready.set()

    def rung(self, asked: Asked) -> Ends:
        self.asked.append(asked)
        self.controls.append(Controls())
        self.ringing.set()
        return Ends(self._source or Silence(), self.controls[-1], self.events.append)

    def over(self, asked: Asked, ends: Ends, report: Report) -> None:
        self.reports.append(report)
        self.ended.set()


@contextlib.asynccontextmanager
async def phone(
    site: Site,
    dialect: Dialect,
    answer: Answer = "pick-up",
    *,
    ring_s: float | None = 0.1,
    duration_s: float | None = None,
    source: Source | None = None,
    calls: int = 1,
) -> AsyncIterator[House]:
    """A phone that the bridge can ring. What is up at the end is hung up."""
    standin = dialect == "standin"
    dial = Dial(
        site.standin_url if standin else site.csharp_url,
        (STANDIN_SECRET if standin else BRIDGE_SECRET).encode(),
        dialect,
    )
    answering = Answering(
        answer,
        None if answer == "no-answer" else ring_s,
        calls=calls,
        listen=("127.0.0.1", site.standin_port) if standin else None,
    )
    house = House(source)
    taken = Phone(Plan(dial, duration_s=duration_s), answering, house, SystemClock())
    async with asyncio.TaskGroup() as group:
        running = group.create_task(taken.run())
        try:
            async with asyncio.timeout(COMMAND_S):
                await house.ready.wait()
            yield house
        finally:
            taken.stop()
            await asyncio.wait({running}, timeout=10)
            running.cancel()


class Ran(NamedTuple):
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[dict[str, Any]]:
        """stdout as the JSON objects that it must be."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def last(self) -> dict[str, Any]:
        return self.lines[-1]


async def start(site: Site, *words: str, **pipes: Any) -> asyncio.subprocess.Process:
    """A command, running."""
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "teamscall", *words, env=site.env(),
        stdin=pipes.get("stdin", asyncio.subprocess.DEVNULL),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip


async def finish(process: asyncio.subprocess.Process, given: bytes | None = None) -> Ran:
    """Its end, and all that it printed."""
    try:
        async with asyncio.timeout(COMMAND_S):
            out, err = await process.communicate(given)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return Ran(process.returncode, out.decode(), err.decode())


async def run(site: Site, *words: str, given: bytes | None = None) -> Ran:
    """A command from its start to its end."""
    pipe = asyncio.subprocess.DEVNULL if given is None else asyncio.subprocess.PIPE
    return await finish(await start(site, *words, stdin=pipe), given)


async def line_with(process: asyncio.subprocess.Process, state: str) -> dict[str, Any]:
    """The line of ``--json`` that has this state."""
    assert process.stdout is not None
    async with asyncio.timeout(COMMAND_S):
        while raw := await process.stdout.readline():
            line: dict[str, Any] = json.loads(raw)
            if line["state"] == state:
                return line
    raise AssertionError(f"{state} was never said")
