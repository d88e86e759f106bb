"""Whole calls: a phone on a real socket, a bridge, and the stand-in for OpenAI."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from engines_openai_rig import Cloud
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from teamscall.audio.wav import read_wav
from teamscall.calls import records
from teamscall.config import (
    Authorization,
    Bridge,
    Config,
    Filler,
    Idle,
    JournalFile,
    OpenAI,
    Realtime,
    Secret,
    Serve,
    StandIn,
    Streaming,
)
from teamscall.server.run import Running, running
from teamscall.testing import Event, Visit
from teamscall.wire import csharp, standin
from teamscall.wire import events as wire
from teamscall.wire.signature import sign_v1

T = TypeVar("T")
SECRET = "0123456789abcdef0123456789abcdef"
CALLER = wire.Caller(user_id="caller-1", tenant_id="tenant-1", display_name="Ada Lovelace")
GOLDEN = Path(__file__).parent.parent / "golden"
SPEECH = read_wav(GOLDEN / "speech_caller.wav")
FRAME_S, SILENCE = 0.02, bytes(640)
PATIENCE_S = 20.0  # generous: two cores shared by many; nothing is asserted about it
ECHO_DELAY_FRAMES, ECHO_GAIN = 8, 0.25  # 160 ms, -12 dB


def config(there: Cloud, mode: str, detection: str = "server", **changes: Any) -> Config:
    """A bridge whose calls are spoken by this stand-in, and that says nothing unasked."""
    fields: dict[str, Any] = {
        "engine": "openai",
        "mode": mode,
        "openai": OpenAI(base_url=there.fake.base_url, api_key=Secret(there.fake.api_key)),
        "realtime": Realtime(turn_detection=detection),  # type: ignore[arg-type]
        "streaming": Streaming(silence_duration_ms=300),
        "filler": Filler(after_ms=0),
        "idle": Idle(reprompt_after_ms=0, hangup_after_ms=0),
        "serve": Serve(port=0),
        "bridge": Bridge(secret=Secret(SECRET)),
        "standin": StandIn(enabled=True, port=0, secret=Secret(SECRET)),
        "authorization": Authorization(mode="open"),
        "journal": JournalFile(enabled=False),
    }
    return Config(**fields | changes)


async def until(what: Callable[[], object], seconds: float = PATIENCE_S) -> None:
    async with asyncio.timeout(seconds):
        while not what():  # noqa: ASYNC110  (what is waited for has no event)
            await asyncio.sleep(0.005)


class Phone:
    """A caller behind a gateway, who hears what the far side would play and no more.

    Sends a frame every 20 ms: what is to be said, else silence; with ``echo``, also what is
    played, quieter and later, as a loudspeaker and a microphone bring it back.

    Attributes:
        came: the moment and the frame of everything that arrived.
        played: the moment and the frame of everything that was heard.
        flushed: the moments at which the bridge had the far side forget what it held.
    """

    def __init__(
        self, url: str, call_id: str, dialect: wire.Dialect, *, echo: bool = False
    ) -> None:
        self.call_id = call_id
        self.dialect = dialect
        self._codec = standin if dialect == "standin" else csharp
        self.echo = echo
        self.came: list[tuple[float, wire.AudioOut]] = []
        self.played: list[tuple[float, bytes]] = []
        self.flushed: list[float] = []
        self.answers: list[wire.AuthAnswer] = []
        self.hung_up: str | None = None
        self._url = url
        self._queue: deque[bytes] = deque()
        self._buffer: deque[bytes] = deque()  # of the far side
        self._past: deque[bytes] = deque([SILENCE] * ECHO_DELAY_FRAMES)
        self._seq = 0
        self._socket: ClientConnection | None = None
        self._listening: asyncio.Task[None] | None = None
        self._began: list[tuple[int, asyncio.Future[float]]] = []

    # --- the line --------------------------------------------------------------------------

    async def dial(self) -> None:
        url, headers = self._url, {"X-Bridge-Secret": SECRET}
        if self.dialect == "standin":
            url, stamp = f"{url}/{self.call_id}", str(time.time_ns() // 1_000_000)
            signed = sign_v1(SECRET.encode(), stamp, self.call_id)
            headers = {"X-StandIn-Timestamp": stamp, "X-StandIn-Signature": signed}
        socket = await connect(
            url, additional_headers=headers, compression=None, proxy=None, ping_interval=None
        )
        self._socket = socket
        self._listening = asyncio.get_running_loop().create_task(self._listen(socket))

    async def ask(self) -> None:
        """A C# gateway asks whether this caller may call."""
        if self.dialect == "standin":
            return
        await self.send(wire.AuthRequested(self.call_id, "c", CALLER))
        await until(lambda: self.answers)

    async def start(self, direction: wire.Direction = "inbound") -> None:
        started = wire.CallStarted(self.call_id, CALLER, direction, recording="active")
        await self.send(started)

    async def drop(self) -> None:
        """The socket breaks; what the far side holds is played on."""
        assert self._socket is not None
        assert self._listening is not None
        self._socket.transport.abort()
        await asyncio.wait([self._listening])
        self._socket = None

    async def resume(self) -> None:
        await self.dial()
        last = self.came[-1][1].seq if self.came else -1
        await self.send(wire.CallResumed(self.call_id, last))

    async def send(self, event: wire.FromGateway) -> None:
        data = self._codec.encode_from_gateway(event)
        if self._socket is not None and data is not None:
            with contextlib.suppress(ConnectionClosed):
                await self._socket.send(data, text=True)

    async def _listen(self, socket: ClientConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            while True:
                data = await socket.recv()
                assert isinstance(data, str)
                event = self._codec.decode_to_gateway(data, call_id=self.call_id)
                now = time.monotonic()
                if isinstance(event, wire.AudioOut):
                    self.came.append((now, event))
                    self._buffer.append(event.pcm)
                elif isinstance(event, wire.Flush):
                    self.flushed.append(now)
                    self._buffer.clear()
                elif isinstance(event, wire.AuthAnswer):
                    self.answers.append(event)
                elif isinstance(event, wire.HangUp):
                    self.hung_up = event.reason

    async def live(self) -> None:
        """Send and play on the clock until cancelled."""
        began, ticks = time.monotonic(), 0
        while True:
            await asyncio.sleep(max(0.0, began + ticks * FRAME_S - time.monotonic()))
            ticks += 1
            now = time.monotonic()
            mine = self._queue.popleft() if self._queue else SILENCE
            theirs = self._buffer.popleft() if self._buffer else SILENCE
            if theirs is not SILENCE:
                self.played.append((now, theirs))
            self._past.append(theirs)
            late = self._past.popleft()
            if self.echo:
                mine = _mixed(mine, late)
            await self.send(wire.AudioIn(self.call_id, self._seq, mine))
            self._seq += 1

    async def close(self) -> None:
        if self._socket is not None:
            await self._socket.close()
        if self._listening is not None:
            await asyncio.wait([self._listening])

    # --- the caller ------------------------------------------------------------------------

    async def say(self, pcm: bytes) -> float:
        """Speak to the end; the moment at which the first frame had been spoken."""
        frames = [pcm[i : i + 640].ljust(640, b"\0") for i in range(0, len(pcm), 640)]
        self._queue.extend(frames)
        first = self._seq
        await until(lambda: self._seq > first)
        began = time.monotonic()
        await until(lambda: not self._queue)
        return began

    async def press(self, digit: str) -> None:
        await self.send(wire.DigitPressed(self.call_id, digit))

    @property
    def hears(self) -> bool:
        return bool(self._buffer)

    def heard_ms(self, since: float = 0.0) -> int:
        return 20 * sum(at >= since for at, _ in self.played)


def _mixed(mine: bytes, late: bytes) -> bytes:
    samples = np.frombuffer(mine, "<i2") + ECHO_GAIN * np.frombuffer(late, "<i2")
    return np.clip(samples, -32768, 32767).astype("<i2").tobytes()


class Site:
    """A bridge with one call on it, seen from everywhere."""

    def __init__(self, up: Running, there: Cloud, phone: Phone) -> None:
        self.up = up
        self.there = there
        self.phone = phone
        self.records: list[tuple[float, records.CallRecord]] = []
        up.switchboard.watch(lambda record: self.records.append((time.monotonic(), record)))

    def all(self, kind: type[T]) -> list[T]:
        return [record for _, record in self.records if isinstance(record, kind)]

    async def record(self, kind: type[T], count: int = 1) -> T:
        """Wait for the so-manieth record of a kind."""
        await until(lambda: len(self.all(kind)) >= count)
        return self.all(kind)[count - 1]

    @property
    def heard(self) -> list[str]:
        """The words of the caller, for the record."""
        return [record.text for record in self.all(records.Heard) if record.final]

    def turns(self, kind: str = "answer") -> list[records.TurnEnded]:
        return [turn for turn in self.all(records.TurnEnded) if turn.kind == kind]

    async def turn(self, count: int = 1, kind: str = "answer") -> records.TurnEnded:
        """Wait for the so-manieth turn of a kind to be over."""
        await until(lambda: len(self.turns(kind)) >= count)
        return self.turns(kind)[count - 1]

    async def speaking(self, kind: str = "answer", count: int = 1) -> None:
        """Wait until the caller hears the so-manieth turn of a kind, and a bit of it."""

        def begun() -> bool:
            return sum(turn.kind == kind for turn in self.all(records.TurnBegan)) >= count

        await until(begun)
        await until(lambda: self.phone.hears)

    # --- the service's own log -------------------------------------------------------------

    @property
    def sockets(self) -> list[Visit]:
        """Of the call: not the one that read fixed phrases before it."""
        visits = self.there.fake.visits("/realtime") + self.there.fake.visits("/live/sessions")
        return [v for v in visits if any(e.audio_bytes for e in list(v.events))]

    def sent_us(self, type_: str) -> list[Event]:
        return [e for visit in self.sockets for e in list(visit.sent) if e.type == type_]

    def got(self, type_: str) -> list[Event]:
        return [e for visit in self.sockets for e in list(visit.events) if e.type == type_]


@contextlib.asynccontextmanager
async def site(
    there: Cloud,
    settings: Config,
    dialect: wire.Dialect = "standin",
    *,
    echo: bool = False,
    start: bool = True,
) -> AsyncIterator[Site]:
    """A bridge and a phone that has called; the call is over at the end."""
    async with running(settings) as up:
        url = next(one.urls[0] for one in up.listening if dialect in one.dialects)
        phone = Phone(url, "call-1", dialect, echo=echo)
        seen = Site(up, there, phone)
        await phone.dial()
        living = asyncio.get_running_loop().create_task(phone.live())
        try:
            if start:
                await phone.ask()
                await phone.start()
                await seen.record(records.CallOpened)
            yield seen
            if not seen.all(records.CallClosed):
                await phone.send(wire.CallEnded("call-1", "hangup-user"))
            await seen.record(records.CallClosed)
        finally:
            living.cancel()
            await asyncio.wait([living])
            await phone.close()
