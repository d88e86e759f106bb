"""One port, two protocols: plain HTTP through h11, sockets through websockets' sans-I/O half.

Owns bytes on sockets. Refuses to know paths and what a body means.
"""

from __future__ import annotations

import asyncio
import http
import json
import logging
import uuid
from collections.abc import AsyncGenerator, Iterable
from typing import cast
from urllib.parse import parse_qsl

import h11
from websockets.datastructures import Headers
from websockets.frames import Close, Frame, Opcode
from websockets.http11 import Request as UpgradeRequest
from websockets.http11 import Response as UpgradeResponse
from websockets.protocol import OPEN
from websockets.server import ServerProtocol

from teamscall.clock import Clock
from teamscall.testing.failures import Refuse
from teamscall.testing.strict import Wrong
from teamscall.testing.visits import Event, Json, Visit

MAX_HEAD_BYTES = 64 * 1024
MAX_BODY_BYTES = 16 * 1024 * 1024
MAX_MESSAGE_BYTES = 24 * 1024 * 1024  # 15 MiB of audio in base64, and its event
READ_BYTES = 64 * 1024
CLOSE_TIMEOUT_S = 2.0

_quiet = logging.getLogger("teamscall.testing.websocket")
_quiet.setLevel(logging.WARNING)


class Gone(Exception):
    """The peer has left."""


def refusal(failure: Refuse) -> Wrong:
    """A planned refusal as the error that it is answered with."""
    types = {401: "invalid_request_error", 404: "invalid_request_error", 429: "requests"}
    codes = {401: "invalid_api_key", 404: "model_not_found", 429: "rate_limit_exceeded"}
    return Wrong(
        failure.message or f"Refused as planned ({failure.status}).",
        code=failure.code or codes.get(failure.status),
        status=failure.status,
        type_=types.get(failure.status, "server_error"),
    )


class Request:
    """One HTTP request and the writing of its answer."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        conn: h11.Connection,
        visit: Visit,
        clock: Clock,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._conn = conn
        self._clock = clock
        self.visit = visit

    async def start(self, status: int, headers: Iterable[tuple[str, str]]) -> None:
        """Send the status and the headers; a body without a length is chunked."""
        self.visit.status = status
        shown = [*headers, ("x-request-id", self.visit.request_id), ("server", "stand-in")]
        await self._send(h11.Response(status_code=status, headers=shown))

    async def send(self, data: bytes) -> None:
        """Send some of the body."""
        if self.visit.first_byte_at is None:
            self.visit.first_byte_at = self._clock.now()
        await self._send(h11.Data(data=data))

    async def end(self) -> None:
        """The answer is complete."""
        await self._send(h11.EndOfMessage())
        self.visit.ended_at = self._clock.now()

    async def pause(self, seconds: float) -> None:
        """Let time pass; raises Gone as soon as the peer leaves."""
        if seconds <= 0:
            if self._reader.at_eof():
                raise Gone
            return
        try:
            async with asyncio.timeout(seconds):
                await self._left()
        except TimeoutError:
            return

    async def stall(self) -> None:
        """Do nothing until the peer leaves."""
        await self._left()

    def abort(self) -> None:
        """Reset the connection."""
        self._writer.transport.abort()
        raise Gone

    async def json(
        self, status: int, body: object, headers: Iterable[tuple[str, str]] = ()
    ) -> None:
        """A whole answer."""
        data = json.dumps(body).encode()
        length = ("content-length", str(len(data)))
        await self.start(status, [("content-type", "application/json"), length, *headers])
        await self.send(data)
        await self.end()

    async def refuse(self, wrong: Wrong, retry_after_s: float | None = None) -> None:
        """Answer with an error object."""
        headers = [] if retry_after_s is None else [("retry-after", f"{retry_after_s:g}")]
        await self.json(wrong.status, {"error": wrong.body()}, headers)

    async def _left(self) -> None:
        while await self._reader.read(READ_BYTES):
            pass  # a pipelined request is not answered before this one
        raise Gone

    async def _send(self, event: h11.Event) -> None:
        data = self._conn.send(cast(h11.Response, event))
        if data:
            self._writer.write(data)
            await self._writer.drain()


class Socket:
    """One WebSocket that speaks JSON."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        protocol: ServerProtocol,
        visit: Visit,
        clock: Clock,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._protocol = protocol
        self._clock = clock
        self.visit = visit
        self.muted = False  # a planned stall: nothing more is said

    async def messages(self) -> AsyncGenerator[str | bytes]:
        """What the peer sends, until either side closes."""
        parts = bytearray()
        opcode = Opcode.TEXT
        while True:
            for event in self._protocol.events_received():
                frame = cast(Frame, event)
                if frame.opcode is Opcode.CLOSE:
                    self.visit.close_code = Close.parse(frame.data).code
                elif frame.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
                    if frame.opcode is not Opcode.CONT:
                        opcode = frame.opcode
                    parts += frame.data
                    if frame.fin and self._protocol.state is OPEN:
                        data = bytes(parts)
                        parts.clear()
                        yield data.decode(errors="replace") if opcode is Opcode.TEXT else data
            await self.flush()
            try:
                data = await self._reader.read(READ_BYTES)
            except ConnectionError:
                data = b""
            if not data:
                self._protocol.receive_eof()
                await self.flush()
                self.visit.hung_up = self.visit.close_code is None
                self.visit.ended_at = self._clock.now()
                return
            self._protocol.receive_data(data)

    async def send(self, type_: str, **fields: object) -> None:
        """Send one event; it gets an ``event_id``. Nothing is sent on a closed socket."""
        if self.muted or self._protocol.state is not OPEN:
            return
        event: Json = {"type": type_, "event_id": f"event_{uuid.uuid4().hex[:21]}", **fields}
        audio = event.get("delta") if type_.endswith("output_audio.delta") else None
        shown = {**event, "delta": ""} if audio else event
        size = len(audio) * 3 // 4 if audio else 0
        self.visit.sent.append(Event(self._clock.now(), type_, shown, size))
        self._protocol.send_text(json.dumps(event).encode())
        await self.flush()

    async def close(self, code: int, reason: str = "") -> None:
        """Close with this code; 1006 resets the connection. The peer has 2 s to answer."""
        if code == 1006:
            self._writer.transport.abort()
        elif self._protocol.state is OPEN:
            self._protocol.send_close(code, reason.encode()[:123].decode(errors="ignore"))
            asyncio.get_running_loop().call_later(CLOSE_TIMEOUT_S, self._writer.transport.abort)
            await self.flush()

    async def flush(self) -> None:
        """Write what the protocol has to say."""
        for data in self._protocol.data_to_send():
            if self._writer.transport.is_closing():
                return
            if data:
                self._writer.write(data)
            elif self._writer.can_write_eof():
                self._writer.write_eof()
        try:
            await self._writer.drain()
        except ConnectionError:
            return  # the reader ends with it too


class Connection:
    """One accepted connection: a series of requests, the last of which may be an upgrade."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, clock: Clock
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._clock = clock
        self._conn = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD_BYTES)

    async def next(self) -> Request | UpgradeAsked | None:
        """The next request; None when the peer has no more.

        Raises:
            h11.RemoteProtocolError: what came is no HTTP.
        """
        if self._conn.our_state is h11.DONE and self._conn.their_state is h11.DONE:
            self._conn.start_next_cycle()
        if self._conn.our_state is not h11.IDLE:
            return None
        try:
            head = await self._reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            return None
        lines = head.lower().split(b"\r\n")
        if any(line.startswith(b"upgrade:") and b"websocket" in line for line in lines):
            return self._upgrade(head)
        self._conn.receive_data(head)
        request = self._conn.next_event()
        if not isinstance(request, h11.Request):
            return None
        headers = {k.decode("latin-1"): v.decode("latin-1") for k, v in request.headers}
        visit = self._visit(request.method.decode(), request.target.decode("latin-1"), headers)
        return Request(self._reader, self._writer, self._conn, visit, self._clock)

    async def body(self) -> bytes:
        """The rest of the current request.

        Raises:
            Wrong: it is too large.
        """
        body = bytearray()
        while True:
            event = self._conn.next_event()
            if event is h11.NEED_DATA:
                if self._conn.they_are_waiting_for_100_continue:
                    self._writer.write(
                        self._conn.send(h11.InformationalResponse(status_code=100, headers=[]))
                    )
                self._conn.receive_data(await self._reader.read(READ_BYTES))
            elif isinstance(event, h11.Data):
                body += event.data
                if len(body) > MAX_BODY_BYTES:
                    raise Wrong("The request is too large.", status=413)
            else:
                return bytes(body)

    def _upgrade(self, head: bytes) -> UpgradeAsked | None:
        protocol = ServerProtocol(max_size=MAX_MESSAGE_BYTES, logger=_quiet)
        protocol.receive_data(head)
        asked = next(iter(protocol.events_received()), None)
        if not isinstance(asked, UpgradeRequest):
            return None
        headers = {name.lower(): value for name, value in asked.headers.raw_items()}
        visit = self._visit("WS", asked.path, headers)
        return UpgradeAsked(self._reader, self._writer, protocol, asked, visit, self._clock)

    def _visit(self, method: str, target: str, headers: dict[str, str]) -> Visit:
        path, _, query = target.partition("?")
        return Visit(
            self._clock.now(),
            method,
            path,
            dict(parse_qsl(query, keep_blank_values=True)),
            headers,
            request_id=f"req_{uuid.uuid4().hex}",
        )


class UpgradeAsked:
    """A request for a WebSocket, to be accepted or refused."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        protocol: ServerProtocol,
        asked: UpgradeRequest,
        visit: Visit,
        clock: Clock,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._protocol = protocol
        self._asked = asked
        self._clock = clock
        self.visit = visit

    async def accept(self) -> Socket:
        """Answer 101 (or 400, when the handshake is wrong: the socket is closed then)."""
        response = self._protocol.accept(self._asked)
        response.headers["x-request-id"] = self.visit.request_id
        self.visit.status = response.status_code
        self._protocol.send_response(response)
        socket = Socket(self._reader, self._writer, self._protocol, self.visit, self._clock)
        await socket.flush()
        return socket

    async def refuse(self, wrong: Wrong, retry_after_s: float | None = None) -> None:
        """Answer with an HTTP error and close."""
        body = json.dumps({"error": wrong.body()}).encode()
        headers = Headers(
            {
                "content-type": "application/json",
                "content-length": str(len(body)),
                "connection": "close",
                "x-request-id": self.visit.request_id,
            }
        )
        if retry_after_s is not None:
            headers["retry-after"] = f"{retry_after_s:g}"
        self.visit.status = wrong.status
        phrase = http.HTTPStatus(wrong.status).phrase
        self._protocol.send_response(UpgradeResponse(wrong.status, phrase, headers, body))
        await Socket(self._reader, self._writer, self._protocol, self.visit, self._clock).flush()

    def abort(self) -> None:
        """Reset the connection without an answer."""
        self._writer.transport.abort()

    async def stall(self) -> None:
        """Never answer; return when the peer leaves."""
        while await self._reader.read(READ_BYTES):
            pass
