"""A small HTTP/1.1 server for the requests that a bridge makes of a far side.

Owns the listening socket, and bounds on connections, time and size: one request per
connection. Refuses to know paths, signatures and what is asked for.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Awaitable, Callable, Mapping

import h11
import msgspec

from teamscall.errors import ListenError
from teamscall.text import printable
from teamscall.wire.control import MAX_BODY_BYTES

MAX_HEAD_BYTES = 16 * 1024
REQUEST_TIMEOUT_S = 10.0  # from the connection to the whole request, and to write the answer

# A bridge asks a few times a minute. More than this at once get a 503, and wait nowhere.
MAX_CONNECTIONS = 64

READ_BYTES = 16 * 1024

_REASONS = {200: b"OK", 202: b"Accepted", 204: b"No Content"}


class Request(msgspec.Struct, frozen=True):
    """One whole request. ``headers`` has lower-case names; the last of a name counts."""

    method: str
    target: str  # as it stands on the request line
    headers: Mapping[str, bytes]
    body: bytes
    peer: str = ""  # address, for talk


class Answer(msgspec.Struct, frozen=True):
    """What is answered; ``then`` is called once it has been written (or could not be)."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    then: Callable[[], None] | None = None


class _TooLargeError(Exception):
    pass


class Door:
    """Listens from ``open`` to ``close``; ``answer`` is awaited for each request."""

    def __init__(self, answer: Callable[[Request], Awaitable[Answer]]) -> None:
        self._answer = answer
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.address = ("", 0)

    @property
    def url(self) -> str:
        """The base URL."""
        host, port = self.address
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    async def open(self, host: str, port: int) -> None:
        """Listen; port 0 takes a free one.

        Raises:
            ListenError: the port is taken or not permitted, or the address is not ours.
        """
        try:
            self._server = await asyncio.start_server(self._arrived, host, port)
        except OSError as error:
            raise _explained(error, host, port) from error
        name = self._server.sockets[0].getsockname()
        self.address = (name[0], name[1])

    async def close(self) -> None:
        """Stop listening, and give up on whoever is still there."""
        if self._server is None:
            return
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _arrived(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._serve(reader, writer)
        except asyncio.CancelledError:
            pass  # the door closes: asyncio would log it as if it were a fault
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        http = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD_BYTES)
        peer = writer.get_extra_info("peername") or ("",)
        try:
            if len(self._tasks) > MAX_CONNECTIONS:
                answer = Answer(503, b"too many connections")
            else:
                async with asyncio.timeout(REQUEST_TIMEOUT_S):
                    request = await _read(http, reader, writer, printable(str(peer[0]), 60))
                answer = await self._answer(request)
        except TimeoutError:
            answer = Answer(408, b"too slow")
        except _TooLargeError:
            answer = Answer(413, b"too large")
        except h11.RemoteProtocolError as error:
            answer = Answer(error.error_status_hint, b"malformed")
        except (ConnectionError, asyncio.IncompleteReadError):
            return  # nobody to answer
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                await _write(http, writer, answer)
        except (TimeoutError, ConnectionError):
            writer.transport.abort()
        finally:
            if answer.then is not None:
                answer.then()


async def _read(
    http: h11.Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, peer: str
) -> Request:
    head: h11.Request | None = None
    body = bytearray()
    while True:
        event = http.next_event()
        if event is h11.NEED_DATA:
            if http.they_are_waiting_for_100_continue:
                go_on = h11.InformationalResponse(status_code=100, headers=[])
                writer.write(http.send(go_on) or b"")
            data = await reader.read(READ_BYTES)
            http.receive_data(data)
            if not data and head is None and http.their_state is h11.IDLE:
                raise asyncio.IncompleteReadError(b"", None)
        elif isinstance(event, h11.Request):
            head = event
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > MAX_BODY_BYTES:
                raise _TooLargeError
        elif isinstance(event, h11.EndOfMessage):
            assert head is not None
            return Request(
                head.method.decode("ascii").upper(),
                head.target.decode("latin-1"),
                {name.decode("ascii"): value for name, value in head.headers},
                bytes(body),
                peer,
            )
        else:
            raise asyncio.IncompleteReadError(bytes(body), None)  # it went away


async def _write(http: h11.Connection, writer: asyncio.StreamWriter, answer: Answer) -> None:
    kind = "application/json" if answer.body.startswith(b"{") else "text/plain; charset=utf-8"
    headers = [("Connection", "close"), *answer.headers]
    if answer.status != 204:
        headers += [("Content-Type", kind), ("Content-Length", str(len(answer.body)))]
    if http.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
        writer.transport.abort()
        return
    head = h11.Response(
        status_code=answer.status, headers=headers, reason=_REASONS.get(answer.status, b"")
    )
    out = http.send(head) or b""
    if answer.status != 204:
        out += http.send(h11.Data(data=answer.body)) or b""
    out += http.send(h11.EndOfMessage()) or b""
    writer.write(out)
    await writer.drain()


def _explained(error: OSError, host: str, port: int) -> ListenError:
    where = printable(host)
    other = "Choose another port with --listen HOST:PORT; port 0 takes any free one."
    if error.errno == errno.EADDRINUSE:
        return ListenError(
            f"Port {port} on {where} is already in use.",
            hint=f"Stop what listens there (ss -ltnp 'sport = :{port}'), or choose another port "
            "with --listen HOST:PORT.",
        )
    if error.errno == errno.EACCES:
        return ListenError(f"Listening on port {port} is not permitted.", hint=other)
    if error.errno == errno.EADDRNOTAVAIL:
        return ListenError(
            f"{where} is not an address of this machine.",
            hint="Use 127.0.0.1, 0.0.0.0, or an address that this machine has.",
        )
    why = printable(error.strerror or str(error))
    return ListenError(f"Cannot listen on {where} port {port}: {why}.", hint=other)
