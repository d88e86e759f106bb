"""A wire tap: a relay in front of a server that keeps what was sent to it.

Owns the copying and the reading of requests and WebSocket messages out of the bytes.
Refuses to know what they mean (:mod:`third_party_shapes`).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import h11
import msgspec
from third_party_rig import LOOPBACK
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol


class Asked(msgspec.Struct, frozen=True):
    """One request. ``body``: of a POST. ``events``: what was sent over an upgraded one."""

    method: str
    target: str
    headers: dict[str, str]  # names in lower case
    body: Any = None
    events: list[Any] = []


class Tap:
    """See the module. ``base_url`` stands for the server's own."""

    def __init__(self, base_url: str, port: int) -> None:
        there, _, path = base_url.removeprefix("http://").partition("/")
        self.upstream = (there.partition(":")[0], int(there.partition(":")[2]))
        self.base_url = f"http://{LOOPBACK}:{port}/{path}"
        self.streams: list[bytearray] = []

    def asked(self) -> list[Asked]:
        """All requests, in the order in which their connections were opened."""
        return [asked for stream in self.streams for asked in _read(bytes(stream))]


@contextlib.asynccontextmanager
async def tapped(base_url: str) -> AsyncIterator[Tap]:
    """A tap that listens."""
    taps: list[Tap] = []
    relays: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        relay = asyncio.current_task()
        assert relay is not None
        relays.add(relay)
        sent = bytearray()
        taps[0].streams.append(sent)
        up_reader, up_writer = await asyncio.open_connection(*taps[0].upstream)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_copy(reader, up_writer, sent))
                group.create_task(_copy(up_reader, writer, bytearray()))
        finally:
            writer.close()
            up_writer.close()
            relays.discard(relay)

    server = await asyncio.start_server(serve, LOOPBACK, 0)
    taps.append(Tap(base_url, server.sockets[0].getsockname()[1]))
    async with server:
        yield taps[0]
        if relays:  # connections that their owner kept open, or that end just now
            await asyncio.wait(relays, timeout=5)


async def _copy(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, kept: bytearray
) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65_536):
            kept += data
            writer.write(data)
            await writer.drain()
    writer.close()


def _read(stream: bytes) -> list[Asked]:
    head = stream.partition(b"\r\n\r\n")[0].lower()
    return _read_socket(stream) if b"upgrade: websocket" in head else _read_posts(stream)


def _read_socket(stream: bytes) -> list[Asked]:
    protocol = ServerProtocol(max_size=None)
    protocol.receive_data(stream[: stream.index(b"\r\n\r\n") + 4])
    request = protocol.events_received()[0]
    assert isinstance(request, Request)
    protocol.send_response(protocol.accept(request))
    protocol.receive_data(stream[stream.index(b"\r\n\r\n") + 4 :])
    events = [
        json.loads(bytes(frame.data))
        for frame in protocol.events_received()
        if isinstance(frame, Frame) and frame.opcode is Opcode.TEXT
    ]
    headers = {name.lower(): value for name, value in request.headers.raw_items()}
    return [Asked("GET", request.path, headers, events=events)]


def _read_posts(stream: bytes) -> list[Asked]:
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(stream)
    found: list[Asked] = []
    while isinstance(request := connection.next_event(), h11.Request):
        body = b""
        while isinstance(data := connection.next_event(), h11.Data):
            body += bytes(data.data)
        headers = {name.decode(): value.decode() for name, value in request.headers}
        target = request.target.decode()
        found.append(Asked(request.method.decode(), target, headers, json.loads(body or b"null")))
        # Its answer went another way: here it is only said that there was one.
        connection.send(h11.Response(status_code=200, headers=[("Content-Length", "0")]))
        connection.send(h11.EndOfMessage())
        if connection.our_state is not h11.DONE or connection.their_state is not h11.DONE:
            break
        connection.start_next_cycle()
    return found
