"""An ear on a socket that is told what the service says: no network, no clock."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable
from typing import Any, cast

from engines_rig import run

from teamscall.engines.base import EngineEvent, Hear, Transcript
from teamscall.engines.openai.messages import ServerEvent, read
from teamscall.engines.openai.socket import Socket
from teamscall.engines.openai.transcription import TranscriptionEar

SPEECH = b"\x01\x01" * 320
QUIET = bytes(640)
_ITEM = "conversation.item.input_audio_transcription"


class FakeSocket:
    """Up from the beginning. ``sent``: per session, what was sent."""

    def __init__(
        self,
        opened: Callable[[], None],
        received: Callable[[ServerEvent], None],
        lost: Callable[[str], None],
    ) -> None:
        self._opened, self._received, self._lost = opened, received, lost
        self.ready = False
        self.sessions = 0
        self.sent: list[list[dict[str, Any]]] = []
        self.restarts: list[str] = []

    def open(self) -> None:
        self.ready = True
        self.sessions += 1
        self.sent.append([])
        self._opened()

    def drop(self, reason: str = "closed with 1006") -> None:
        self.ready = False
        self._lost(reason)

    def send(self, message: str) -> bool:
        if self.ready:
            self.sent[-1].append(json.loads(message))
        return self.ready

    def restart(self, reason: str) -> None:
        self.restarts.append(reason)
        self.drop(reason)

    async def run(self) -> None:
        await asyncio.Event().wait()

    # --- what the service says -------------------------------------------------------------

    def says(self, type_: str, **fields: object) -> None:
        event = read(json.dumps({"type": type_, **fields}))
        assert event is not None
        self._received(event)

    def hears(self, item: str, text: str, **fields: object) -> None:
        self.says(f"{_ITEM}.completed", item_id=item, transcript=text, **fields)

    def commits(self, item: str) -> None:
        self.says("input_audio_buffer.committed", item_id=item)

    # --- what it was sent ------------------------------------------------------------------

    def kinds(self, session: int = -1) -> list[str]:
        """The types that were sent, without repetitions of the same."""
        types = [event["type"].removeprefix("input_audio_buffer.") for event in self.sent[session]]
        return [t for i, t in enumerate(types) if i == 0 or types[i - 1] != t]

    def audio(self, session: int = -1) -> bytes:
        """24 kHz."""
        return b"".join(
            base64.b64decode(event["audio"])
            for event in self.sent[session]
            if event["type"] == "input_audio_buffer.append"
        )

    def ms(self, session: int = -1) -> int:
        return len(self.audio(session)) // 48


class Bench:
    """``make``: makes the ear, given what opens its socket, its emit and its clock."""

    socket: FakeSocket

    def __init__(self, make: Callable[..., TranscriptionEar]) -> None:
        self.events: list[EngineEvent] = []
        self.time = 0.0

        def open_socket(*callbacks: Any) -> Socket:
            self.socket = FakeSocket(*callbacks)
            return cast(Socket, self.socket)

        self.ear = make(
            open_socket,
            self.events.append,
            is_speech=lambda frame: any(frame),
            model="gpt-live-transcribe",
            now=lambda: self.time,
        )

    async def hear(self, frame: bytes, count: int) -> None:
        for _ in range(count):
            self.time += 0.02
            self.ear.submit(Hear(frame))
        await self.settle()

    async def settle(self) -> None:
        for _ in range(8):
            await asyncio.sleep(0)

    @property
    def finals(self) -> list[tuple[int, str]]:
        return [(e.utterance, e.text) for e in self.events if isinstance(e, Transcript) and e.final]

    @property
    def settled(self) -> list[str]:
        return [e.text for e in self.events if isinstance(e, Transcript) and e.settled]


def bench(make: Callable[..., TranscriptionEar], check: Callable[[Bench], Awaitable[None]]) -> None:
    """Run one check with an ear whose socket is up."""

    async def whole() -> None:
        table = Bench(make)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(table.ear.run())
            await table.settle()
            table.socket.open()
            await table.settle()
            await check(table)
            await table.ear.close()
            task.cancel()

    run(whole)
