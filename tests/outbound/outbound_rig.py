"""A real bridge that places calls, and far sides on loopback that answer as they are told."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import h11
import msgspec
from websockets.asyncio.client import ClientConnection, connect

from teamscall.calls.records import (
    CallClosed,
    CallRecord,
    OutboundOutcome,
    OutboundProgress,
    TurnEnded,
)
from teamscall.config import (
    Authorization,
    Bridge,
    Config,
    JournalFile,
    Outbound,
    Secret,
    Serve,
    StandIn,
)
from teamscall.engines.scripted import Script, ScriptedEngine, ScriptLine
from teamscall.outbound.orders import Attempt, Order
from teamscall.server.run import Running, running
from teamscall.wire.signature import control_headers, upgrade_headers, verify_control

BRIDGE_SECRET = "bridge-secret-0123456789abcdef0123456789"
STANDIN_SECRET = "standin-secret-0123456789abcdef0123456789"
PATIENCE_S = 15.0  # generous: two cores shared by many
ANN = "user:ann-1"
SCRIPT = Script(lines=(ScriptLine(heard="hello", answer="Hi."),), word_ms=40, pause_ms=20)


async def until(what: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            if what():
                return
            await asyncio.sleep(0.005)


class Request(msgspec.Struct, frozen=True):
    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def signed(self, subject: str) -> bool:
        """Whether it verifies as the server verifies StandIn's own control requests."""
        now_ms = int(self.headers["x-standin-timestamp"])
        verdict = verify_control(
            STANDIN_SECRET.encode(),
            self.headers,
            self.method,
            self.target,
            self.body,
            subject,
            now_ms,
            1000,
        )
        return verdict.ok


class FarSide:
    """An HTTP endpoint: StandIn's control, or a gateway's. Remembers what it was asked.

    Attributes:
        answers: (status, body) of the next requests that place a call; then it places them
            under the ids ``far-1``, ``far-2``, ….
        hold: set, an answer waits for it.
        refuse_hang_up: how many times it fails to hang up.
    """

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.answers: list[tuple[int, bytes]] = []
        self.headers: list[tuple[str, str]] = []
        self.hold: asyncio.Event | None = None
        self.before_answer: Callable[[str], Awaitable[None]] | None = None
        self.refuse_hang_up = 0
        self.placed = 0
        self.url = ""

    def placings(self) -> list[Request]:
        return [r for r in self.requests if r.target.endswith(("/api/calls", "/initiateCall"))]

    def hung_up(self) -> list[str]:
        """The call ids that it was told to end."""
        ids = [unquote(r.target.rpartition("/")[2]) for r in self.requests if r.method == "DELETE"]
        return ids + [r.json["callId"] for r in self.requests if r.target.endswith("/hangup")]

    async def _answer(self, request: Request) -> tuple[int, bytes]:
        if request not in self.placings():
            if self.refuse_hang_up:
                self.refuse_hang_up -= 1
                return 503, b""
            return 200, b'{"success": true}'
        self.placed += 1
        call_id = f"far-{self.placed}"
        if self.before_answer is not None:
            await self.before_answer(call_id)
        if self.hold is not None:
            await self.hold.wait()
        if self.answers:
            return self.answers.pop(0)
        return 202, json.dumps({"callId": call_id, "scenarioId": 7}).encode()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = h11.Connection(h11.SERVER)
        head: h11.Request | None = None
        body = b""
        try:
            while True:
                event = connection.next_event()
                if event is h11.NEED_DATA:
                    connection.receive_data(await reader.read(65_536))
                elif isinstance(event, h11.Request):
                    head = event
                elif isinstance(event, h11.Data):
                    body += bytes(event.data)
                elif isinstance(event, h11.EndOfMessage):
                    break
                else:
                    return
            assert head is not None
            headers = {k.decode().lower(): v.decode("latin-1") for k, v in head.headers}
            request = Request(head.method.decode(), head.target.decode(), headers, body)
            self.requests.append(request)
            status, words = await self._answer(request)
            extra = [*self.headers, ("Content-Length", str(len(words))), ("Connection", "close")]
            writer.write(connection.send(h11.Response(status_code=status, headers=extra)) or b"")
            writer.write(connection.send(h11.Data(data=words)) or b"")
            writer.write(connection.send(h11.EndOfMessage()) or b"")
            with suppress(ConnectionError):
                await writer.drain()
        finally:
            writer.close()


@asynccontextmanager
async def far_side(port: int = 0) -> AsyncIterator[FarSide]:
    far = FarSide()
    server = await asyncio.start_server(far.serve, "127.0.0.1", port)
    far.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield far
    finally:
        if far.hold is not None:
            far.hold.set()
        server.close()
        await asyncio.sleep(0.01)


class Leg:
    """One socket of a far side."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.got: list[dict[str, Any]] = []
        self.closed = asyncio.Event()

    async def read(self) -> None:
        try:
            async for message in self.socket:
                self.got.append(json.loads(message))
        finally:
            self.closed.set()

    async def send(self, **message: object) -> None:
        await self.socket.send(json.dumps(message))

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [message for message in self.got if message["type"] == kind]

    def frames(self) -> int:
        return len(self.of("audio_out")) + len(self.of("audio.frame"))


class Site:
    """A bridge, its records, and sockets into it."""

    def __init__(self, bridge: Running) -> None:
        self.bridge = bridge
        self.board = bridge.switchboard
        self.outbound = bridge.outbound
        self.records: list[CallRecord] = []
        self.board.watch(self.records.append)
        self._stack: list[Any] = []
        self.tasks = asyncio.TaskGroup()

    def url(self, dialect: str) -> str:
        [port] = [one.port for one in self.bridge.listening if dialect in one.dialects]
        return f"127.0.0.1:{port}"

    def of(self, attempt: str) -> list[OutboundProgress]:
        return [
            record
            for record in self.records
            if isinstance(record, OutboundProgress) and record.attempt == attempt
        ]

    def states(self, attempt: str) -> list[str]:
        return [record.state for record in self.of(attempt)]

    async def over(self, attempt: str) -> tuple[OutboundOutcome | None, str]:
        """How it ended: outcome and detail."""
        await until(lambda: self.states(attempt)[-1:] == ["ended"])
        last = self.of(attempt)[-1]
        return last.outcome, last.detail

    def closed(self) -> list[str]:
        return [record.reason for record in self.records if isinstance(record, CallClosed)]

    def heard(self) -> list[str]:
        return [record.heard_text for record in self.records if isinstance(record, TurnEnded)]

    async def place(self, to: str = ANN, message: str = "Hello.", **more: Any) -> Attempt:
        return await self.outbound.place(Order(to, message, **more))

    async def _leg(self, url: str, headers: list[tuple[str, str]]) -> Leg:
        socket = await connect(f"ws://{url}", additional_headers=headers, open_timeout=PATIENCE_S)
        leg = Leg(socket)
        self._stack.append(socket)
        self.tasks.create_task(leg.read())
        return leg

    async def gateway(self) -> Leg:
        """A C# gateway's socket."""
        before = self.bridge.bridge.open_links
        leg = await self._leg(
            f"{self.url('csharp')}/teams-call/stream", [("X-Bridge-Secret", BRIDGE_SECRET)]
        )
        await until(lambda: self.bridge.bridge.open_links > before)
        return leg

    async def standin(self, call_id: str, recording: str = "unknown", **start: Any) -> Leg:
        """StandIn's socket of a call that rings; recording ``active``: it was answered."""
        wall_ms = time.time_ns() // 1_000_000
        headers = upgrade_headers(STANDIN_SECRET.encode(), call_id, wall_ms)
        leg = await self._leg(f"{self.url('standin')}/msteams/calling/{call_id}", headers)
        await leg.send(
            **{
                "type": "session.start",
                "callId": call_id,
                "direction": "outbound",
                "recordingStatus": recording,
                **start,
            }
        )
        return leg

    async def outcome(self, call_id: str, word: str) -> int:
        """StandIn reports how a placed call ended; the status of our answer."""
        path = f"/msteams/calling/outcome/{call_id}"
        body = json.dumps({"outcome": word}).encode()
        wall_ms = time.time_ns() // 1_000_000
        signed = control_headers(
            STANDIN_SECRET.encode(), wall_ms, "POST", path, body, call_id, "both"
        )
        host, _, port = self.url("standin").partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        lines = [f"POST {path} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in signed]
        writer.write("\r\n".join([*lines, "Connection: close", "", ""]).encode() + body)
        answer = await reader.read()
        writer.close()
        return int(answer.split(b" ", 2)[1])

    async def close(self) -> None:
        for socket in self._stack:
            await socket.close()


def configured(tmp_path: Path | None, far: FarSide | None = None, **outbound: Any) -> Config:
    """Both dialects, everybody may be called."""
    given: dict[str, Any] = {"allow_to": ("*",), "ring_timeout_ms": 5000} | outbound
    return Config(
        authorization=Authorization(mode="open", allowed_tenants=("t-1",)),
        serve=Serve(port=0),
        bridge=Bridge(secret=Secret(BRIDGE_SECRET)),
        standin=StandIn(
            enabled=True,
            port=0,
            secret=Secret(STANDIN_SECRET),
            worker_base_url=far.url if far else "http://127.0.0.1:1",
        ),
        outbound=Outbound(**given),
        journal=JournalFile(
            enabled=tmp_path is not None,
            path=str(tmp_path / "journal.sqlite3") if tmp_path else "",
        ),
    )


@asynccontextmanager
async def site(config: Config) -> AsyncIterator[Site]:
    """A bridge; at its end no slot is held."""
    async with running(config, engine=ScriptedEngine(SCRIPT)) as bridge:
        one = Site(bridge)
        async with one.tasks:
            try:
                yield one
            finally:
                await one.close()
        await bridge.outbound.stop()
        await bridge.switchboard.drain(0.0)
        assert bridge.switchboard.readiness().slots_free == config.max_concurrent_calls
        assert bridge.outbound.attempts() == ()
