"""The whole bridge, in this process or in its own, and callers that know what they must hear.

In this process it is ``teamscall.server.run.running``: real sockets, calls, engine and
journal. What every test must leave is looked at here: no task, descriptor, thread or slot,
and a final record with a reason for every call.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import socket
import struct
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from bridge_rig import BRIDGE_SECRET, STANDIN_SECRET, standin_headers
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from teamscall import config as configuration
from teamscall.calls.records import CallClosed, CallRecord
from teamscall.clock import Clock, SystemClock
from teamscall.config import Config, JournalFile, Secret, Serve, StandIn
from teamscall.engines import base as engine
from teamscall.journal import readers
from teamscall.server.run import Running, running
from teamscall.wire.events import Dialect

T = TypeVar("T")
PATIENCE_S = 20.0  # generous: two cores shared by many
FRAME_S = 0.02
SILENCE = bytes(640)


def numbered(number: int) -> bytes:
    """A frame that no other is equal to."""
    return number.to_bytes(4, "little") + bytes(range(256)) * 2 + bytes(124)


async def until(what: Callable[[], object], seconds: float = PATIENCE_S) -> None:
    """Look again and again; time out with a failure."""
    async with asyncio.timeout(seconds):
        while not what():  # noqa: ASYNC110  (what is waited for has no event)
            await asyncio.sleep(0.005)


# --- callers --------------------------------------------------------------------------


class Caller:
    """A StandIn call: says what it is told and keeps what comes back, with its moment."""

    def __init__(self, socket_: ClientConnection, call_id: str) -> None:
        self.call_id = call_id
        self.messages: list[dict[str, Any]] = []
        self.audio: list[bytes] = []
        self.seqs: list[int] = []
        self.arrived: list[float] = []
        self.sent: list[bytes] = []
        self.closed: int | None = None  # the close code that came
        self._socket = socket_
        self._listening = asyncio.get_running_loop().create_task(self._listen())

    async def _listen(self) -> None:
        try:
            while True:
                message = json.loads(await self._socket.recv())
                if message["type"] == "audio.frame":
                    self.arrived.append(time.monotonic())
                    self.audio.append(base64.b64decode(message["payloadBase64"]))
                    self.seqs.append(message["seq"])
                self.messages.append(message)
        except ConnectionClosed as closed:
            self.closed = closed.rcvd.code if closed.rcvd is not None else 1006

    async def say(self, type_: str, **fields: object) -> None:
        with contextlib.suppress(ConnectionClosed):
            await self._socket.send(json.dumps({"type": type_, **fields}))

    async def start(self, **fields: object) -> None:
        who = {"aadId": "u", "tenantId": "t", "displayName": "Ann"}
        given = {"callId": self.call_id, "recordingStatus": "active", "caller": who, **fields}
        await self.say("session.start", **given)

    async def frame(self, pcm: bytes) -> None:
        number = len(self.sent)
        self.sent.append(pcm)
        data = base64.b64encode(pcm).decode()
        await self.say("audio.frame", seq=number, timestampMs=number * 20, payloadBase64=data)

    async def talk(self, frames: Iterable[bytes], *, every_s: float = FRAME_S) -> None:
        """Send frames on an absolute clock; 0: as fast as they go."""
        began = time.monotonic()
        for number, pcm in enumerate(frames):
            if every_s:
                await asyncio.sleep(max(0.0, began + number * every_s - time.monotonic()))
            await self.frame(pcm)

    async def count(self, frames: int, *, every_s: float = FRAME_S) -> None:
        """Send frames that differ from all others of this call."""
        first = len(self.sent)
        await self.talk(map(numbered, range(first, first + frames)), every_s=every_s)

    async def all_back(self) -> None:
        """Every frame that was sent came back: identical, in order, none missing."""
        with contextlib.suppress(TimeoutError):
            await until(lambda: len(self.audio) >= len(self.sent) or self.closed is not None)
        back = [int.from_bytes(pcm[:4], "little") for pcm in self.audio]
        assert back == list(range(len(self.sent))), "frames are missing or out of order"
        assert self.audio == self.sent
        assert self.seqs == list(range(len(self.sent)))

    @property
    def longest_gap_s(self) -> float:
        """Between two frames that came, at most."""
        pairs = zip(self.arrived, self.arrived[1:], strict=False)
        return max((after - before for before, after in pairs), default=0.0)

    def of(self, type_: str) -> list[dict[str, Any]]:
        return [message for message in self.messages if message["type"] == type_]

    @property
    def farewell(self) -> str | None:
        """The reason that we were told."""
        said = self.of("session.end")
        return said[0]["reason"] if said else None

    async def ended(self) -> int:
        """Wait for the close; its code."""
        await until(lambda: self.closed is not None)
        assert self.closed is not None
        return self.closed

    async def hang_up(self) -> None:
        await self.say("session.end", reason="hangup-user")
        await self._socket.close()
        await asyncio.wait([self._listening])

    async def vanish(self) -> None:
        """Let go of everything; for whoever ended the call by other means."""
        self._socket.transport.abort()
        await asyncio.wait([self._listening])


@contextlib.asynccontextmanager
async def calling(url: str, call_id: str, **start: object) -> AsyncIterator[Caller]:
    """A call that is up. ``url``: the StandIn listener's, with its path."""
    headers = standin_headers(call_id)
    options: dict[str, Any] = {"compression": None, "ping_interval": None, "proxy": None}
    socket_ = await connect(f"{url}/{call_id}", additional_headers=headers, **options)
    caller = Caller(socket_, call_id)
    try:
        await caller.start(**start)
        yield caller
        await caller.hang_up()
    finally:
        await caller.vanish()


# --- raw sockets ----------------------------------------------------------------------


def where(url: str) -> tuple[str, int]:
    """Host and port of a ws:// URL."""
    host, _, port = url.removeprefix("ws://").partition("/")[0].rpartition(":")
    return host, int(port)


def upgrade_request(url: str, call_id: str, headers: dict[str, str] | None = None) -> bytes:
    """A signed upgrade as bytes."""
    path = "/" + url.removeprefix("ws://").partition("/")[2]
    lines = [
        f"GET {path}/{call_id} HTTP/1.1", "Host: bridge", "Connection: Upgrade",
        "Upgrade: websocket", "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ]  # fmt: skip
    lines += [f"{k}: {v}" for k, v in (headers or standin_headers(call_id)).items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def text_frame(data: bytes, opcode: int = 1) -> bytes:
    """A masked client frame, its mask zeros."""
    size = len(data)
    if size < 126:
        head = struct.pack("!BB", 0x80 | opcode, 0x80 | size)
    elif size < 65536:
        head = struct.pack("!BBH", 0x80 | opcode, 0x80 | 126, size)
    else:
        head = struct.pack("!BBQ", 0x80 | opcode, 0x80 | 127, size)
    return head + bytes(4) + data


class RawCaller:
    """A call over a socket whose every byte a test decides. Nothing is read but the answer."""

    def __init__(self, sock: socket.socket, status: int) -> None:
        self.sock = sock
        self.status = status

    @classmethod
    async def dial(cls, url: str, call_id: str, *, receive_buffer: int = 0) -> RawCaller:
        loop = asyncio.get_running_loop()
        sock = socket.socket()
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.setblocking(False)
        async with asyncio.timeout(PATIENCE_S):
            await loop.sock_connect(sock, where(url))
            await loop.sock_sendall(sock, upgrade_request(url, call_id))
            head = b""
            while b"\r\n\r\n" not in head:
                more = await loop.sock_recv(sock, 4096)
                assert more, head
                head += more
        raw = cls(sock, int(head.split()[1]))
        if raw.status == 101:
            start = {"type": "session.start", "callId": call_id, "recordingStatus": "active",
                     "caller": {"aadId": "u", "tenantId": "t"}}  # fmt: skip
            await raw.send(text_frame(json.dumps(start).encode()))
        return raw

    async def send(self, data: bytes) -> None:
        with contextlib.suppress(ConnectionError):
            await asyncio.get_running_loop().sock_sendall(self.sock, data)

    async def read(self, size: int = 65536) -> bytes:
        """What came; empty at the end of the stream."""
        async with asyncio.timeout(PATIENCE_S):
            try:
                return await asyncio.get_running_loop().sock_recv(self.sock, size)
            except ConnectionError:
                return b""

    def reset(self) -> None:
        """Close so that the peer gets a RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def close(self) -> None:
        self.sock.close()


def audio_message(seq: int, pcm: bytes) -> bytes:
    data = base64.b64encode(pcm).decode()
    message = {"type": "audio.frame", "seq": seq, "timestampMs": 0, "payloadBase64": data}
    return json.dumps(message).encode()


# --- engines --------------------------------------------------------------------------


class Probe:
    """An engine that does what a test wants: ``hear(session, command)`` for every command.

    Args:
        turn_taking: as of any engine.
        hear: what to do on a command; may raise.
        serve: instead of waiting until closed; may raise, end or hang.
    """

    def __init__(
        self,
        turn_taking: engine.TurnTaking = "none",
        hear: Callable[[ProbeSession, engine.EngineCommand], None] | None = None,
        serve: Callable[[ProbeSession], Any] | None = None,
    ) -> None:
        self.hear = hear
        self.serve = serve
        self.sessions: dict[str, ProbeSession] = {}
        self._turn_taking = turn_taking

    @property
    def name(self) -> str:
        return "probe"

    @property
    def turn_taking(self) -> engine.TurnTaking:
        return self._turn_taking

    def describe(self) -> str:
        return "probe"

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    def open(self, call: engine.CallBrief, emit: engine.Emit) -> ProbeSession:
        self.sessions[call.call_id] = ProbeSession(self, call.call_id, emit)
        return self.sessions[call.call_id]

    def warm(self) -> None: ...

    async def prepare(self, texts: Sequence[str]) -> None: ...

    def phrase(self, text: str) -> engine.Phrase | None:
        return None


class ProbeSession:
    """One call of a :class:`Probe`."""

    def __init__(self, probe: Probe, call_id: str, emit: engine.Emit) -> None:
        self.call_id = call_id
        self.emit = emit
        self.commands: list[engine.EngineCommand] = []
        self.closed = asyncio.Event()
        self._probe = probe

    async def run(self) -> None:
        self.emit(engine.EngineReady())
        if self._probe.serve is not None:
            await self._probe.serve(self)
        await self.closed.wait()

    def submit(self, command: engine.EngineCommand) -> None:
        self.commands.append(command)
        if self._probe.hear is not None:
            self._probe.hear(self, command)

    async def close(self) -> None:
        self.closed.set()


# --- the bridge -----------------------------------------------------------------------


class Site:
    """A running bridge, seen from outside and from inside."""

    def __init__(self, up: Running) -> None:
        self.up = up
        self.records: list[CallRecord] = []
        up.switchboard.watch(self.records.append)

    def url(self, dialect: Dialect = "standin") -> str:
        return next(one.urls[0] for one in self.up.listening if dialect in one.dialects)

    def of(self, kind: type[T]) -> list[T]:
        return [record for record in self.records if isinstance(record, kind)]

    async def record(self, kind: type[T], call_id: str = "", count: int = 1) -> list[T]:
        """Wait for so many records of a kind, of one call or of all."""

        def found() -> list[T]:
            ours = self.of(kind)
            return [r for r in ours if call_id in ("", r.call_id)]  # type: ignore[attr-defined]

        await until(lambda: len(found()) >= count)
        return found()

    async def end_of(self, call_id: str) -> CallClosed:
        return (await self.record(CallClosed, call_id))[0]

    async def quiet(self) -> None:
        """Wait until nothing of any call is left but the listeners."""
        board = self.up.switchboard
        await until(lambda: not board.active and not self.up.bridge.open_links)
        free = self.up.config.max_concurrent_calls
        await until(lambda: board.readiness().slots_free == free)


def make_config(tmp_path: Path, **changes: Any) -> Config:
    """Both dialects on free ports, open to all. ``serve`` and ``standin``: dicts of changes."""
    serve = Serve(port=0, close_timeout_ms=1000)
    standin = StandIn(enabled=True, port=0, secret=Secret(STANDIN_SECRET))
    config = Config(
        engine="echo",
        bridge=configuration.Bridge(secret=Secret(BRIDGE_SECRET)),
        authorization=configuration.Authorization(mode="open"),
        journal=JournalFile(path=str(tmp_path / "journal.sqlite3")),
        serve=msgspec.structs.replace(serve, **changes.pop("serve", {})),
        standin=msgspec.structs.replace(standin, **changes.pop("standin", {})),
    )
    return msgspec.structs.replace(config, **changes)


@contextlib.asynccontextmanager
async def bridge(
    tmp_path: Path, voice: engine.Engine | None = None, *, clock: Clock | None = None, **config: Any
) -> AsyncIterator[Site]:
    """A bridge that, when it is left, has ended every call with a reason, also on disk."""
    whole = make_config(tmp_path, **config)
    async with running(whole, clock=clock or SystemClock(), engine=voice) as up:
        site = Site(up)
        yield site
        await site.quiet()
    for row in readers.calls(tmp_path / "journal.sqlite3", limit=10_000):
        assert row.closed_ms is not None, row
        assert row.reason, row
