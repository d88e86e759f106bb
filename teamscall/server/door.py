"""The operator's door: JSON-RPC over WebSocket, on a Unix socket and where wanted on a port.

Owns who may come in, how much each connection may ask, and the end. What is asked and
answered is ``control.methods``' business. Refuses to know calls.

Rules:

1. The socket is its owner's alone; the port wants the token. A browser is never let in:
   whatever sends an ``Origin`` is refused.
2. A socket on which somebody answers is never taken away.
3. Who does not read is cut off; nobody waits for them, least of all a call.
4. A question that was asked is answered to its end, also where the one who asked has gone:
   half of a verb helps nobody.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import http
import logging
import os
import socket
import struct
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from websockets.asyncio.server import Server, ServerConnection, serve, unix_serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from teamscall.calls.tasks import Tasks
from teamscall.config import Config
from teamscall.config.check_control import MIN_TOKEN_CHARS
from teamscall.control.client import NAME_HEADER
from teamscall.control.methods import Methods, Visitor
from teamscall.control.protocol import MAX_REQUEST_BYTES
from teamscall.control.stream import Subscription
from teamscall.control.where import UNIX_SOCKETS, alive, socket_for
from teamscall.errors import InputError, ListenError
from teamscall.server.listener import open_sockets, tls_context
from teamscall.text import printable

log = logging.getLogger("teamscall.control")
# A port scan is not the operator's business, and websockets logs it with tracebacks.
_SILENT = logging.getLogger("teamscall.control.websockets")
_SILENT.setLevel(logging.CRITICAL + 1)

MAX_CONNECTIONS = 64
MAX_ARRIVALS = 128  # with those that have not said yet who they are
BACKLOG = 128  # asyncio accepts as many in one turn
MAX_QUESTIONS = 32  # at once, on one connection
MAX_ANSWERING = 256  # at once, on all of them and those that have gone
OPEN_TIMEOUT_S = 5.0
# A living client reads at once; one that was stopped (Ctrl-Z) finds its events again by
# cursor.
WRITE_S = 20.0
# In the kernel's and our own buffers, on top of the subscription's queue.
WRITE_LIMIT = 65_536
CLOSE_S = 1.0
# Questions that are still being answered when the bridge stops.
FINISH_S = 2.0
# asyncio's words when it cannot accept; they are told once in a while.
_EXHAUSTED = "socket.accept() out of system resource"
TELL_EXHAUSTED_S = 10.0
# While another bridge of this user takes its place at the same moment.
_TURN_S, _TURNS = 0.02, 100


class Door:
    """The door of one bridge. ``start`` and ``stop`` once each, on one event loop."""

    def __init__(self, config: Config, methods: Methods) -> None:
        self._config = config
        self._methods = methods
        self._servers: list[Server] = []
        self._answering = Tasks()
        self._arrived: set[_Link] = set()
        self._visits = 0
        self._refused = 0
        self._identity = (0, 0)
        self._usual: Callable[[asyncio.AbstractEventLoop, dict[str, Any]], object] | None = None
        self._told_exhausted = float("-inf")
        self.path: Path | None = None  # of the socket
        self.url = ""  # of the port

    async def start(self) -> None:
        """Open the socket, and the port if there is to be one.

        Raises:
            ListenError: one of them cannot be opened; nothing is left open then.
        """
        loop = asyncio.get_running_loop()
        self._usual = loop.get_exception_handler()
        loop.set_exception_handler(self._on_trouble)
        try:
            if UNIX_SOCKETS:
                await self._open_socket()
            elif not self._config.control.port:
                log.info("No control socket on this system; set control.port for a port")
            if self._config.control.port:
                await self._open_port()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Close everything: bounded, whoever does not let go. Idempotent."""
        loop = asyncio.get_running_loop()
        if loop.get_exception_handler() == self._on_trouble:
            loop.set_exception_handler(self._usual)
        servers, self._servers = self._servers, []
        path, self.path = self.path, None
        if path is not None:
            _remove(path, self._identity)
        if not servers:
            return
        await self._answering.wait(FINISH_S)
        for server in servers:
            server.close()
        if not await _closed(servers):
            for link in list(self._arrived):
                link.transport.abort()
            if not await _closed(servers):
                log.error("Control connections are left open")

    def describe(self) -> str:
        """Where it is, for people."""
        return " ".join(filter(None, (str(self.path or ""), self.url))) or "nowhere"

    @property
    def visits(self) -> int:
        """Connections that are open."""
        return self._visits

    def _on_trouble(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """asyncio accepts for the door. Without descriptors it fails once for every place in
        the backlog, in one turn, with a traceback each; then it waits for a second by itself."""
        if not str(context.get("message", "")).startswith(_EXHAUSTED):
            if self._usual is not None:
                self._usual(loop, context)
            else:
                loop.default_exception_handler(context)
        elif loop.time() - self._told_exhausted >= TELL_EXHAUSTED_S:
            self._told_exhausted = loop.time()
            log.warning("The control socket does not accept: there are no free descriptors")

    # --- listeners -----------------------------------------------------------

    async def _open_socket(self) -> None:
        try:
            path = socket_for(self._config, os.environ)
            async with _our_turn(path.parent) as alone:
                if alone and not self._config.control.socket:
                    _sweep(path.parent)
                if alive(path):
                    taken, path = path, path.with_name(f"control-{os.getpid()}.sock")
                    log.warning(
                        "Another bridge answers on the control socket: this one has its own",
                        extra={"taken": str(taken), "socket": str(path)},
                    )
                sock = _bound(path)
                found = path.stat()
                self.path, self._identity = path, (found.st_dev, found.st_ino)
                self._servers.append(
                    await unix_serve(
                        self._visited, sock=sock, process_request=self._by_socket, **self._common()
                    )
                )
        except InputError as error:
            raise ListenError(error.message, hint=error.hint) from error
        except OSError as error:
            raise ListenError(
                f"The control socket cannot be opened: {printable(error.strerror or str(error))}.",
                hint="Set control.socket to a path that can be written, or control.enabled = "
                "false.",
            ) from error

    async def _open_port(self) -> None:
        control = self._config.control
        if len(control.token.reveal()) < MIN_TOKEN_CHARS:  # whoever made the configuration
            raise ListenError("The control port has no token.", hint="Set control.token.")
        tls = tls_context(control.tls_cert, control.tls_key)
        for sock in await open_sockets(control.bind, control.port):
            self._servers.append(
                await serve(
                    self._visited,
                    sock=sock,
                    ssl=tls,
                    process_request=self._by_token,
                    **self._common(),
                )
            )
        scheme = "ws" if tls is None else "wss"
        host = f"[{control.bind}]" if ":" in control.bind else control.bind
        self.url = f"{scheme}://{host}:{control.port}"

    def _common(self) -> dict[str, Any]:
        class Link(_Link):
            door = self

        return {
            "create_connection": Link,
            "compression": None,
            "max_size": MAX_REQUEST_BYTES,
            "open_timeout": OPEN_TIMEOUT_S,
            "close_timeout": CLOSE_S,
            "write_limit": WRITE_LIMIT,
            "backlog": BACKLOG,
            "logger": _SILENT,
            "server_header": None,
        }

    # --- who may come in -----------------------------------------------------------

    def arrived(self, link: _Link) -> None:
        """A socket was accepted."""
        self._arrived.add(link)
        if len(self._arrived) > MAX_ARRIVALS:
            link.transport.abort()

    def left(self, link: _Link) -> None:
        """It is gone."""
        self._arrived.discard(link)

    def _by_socket(self, link: ServerConnection, request: Request) -> Response | None:
        if request.headers.get_all("Origin"):
            return self._refuse(link, http.HTTPStatus.FORBIDDEN, "a browser")
        if self._visits >= MAX_CONNECTIONS:
            return self._refuse(link, http.HTTPStatus.SERVICE_UNAVAILABLE, "too many connections")
        return None

    def _by_token(self, link: ServerConnection, request: Request) -> Response | None:
        given = request.headers.get_all("Authorization")
        scheme, _, token = given[0].partition(" ") if len(given) == 1 else ("", "", "")
        right = scheme.lower() == "bearer" and hmac.compare_digest(
            token.encode("utf-8", "surrogateescape"),
            self._config.control.token.reveal().encode("utf-8", "surrogateescape"),
        )
        if not right:
            return self._refuse(link, http.HTTPStatus.UNAUTHORIZED, "no token, or a wrong one")
        return self._by_socket(link, request)

    def _refuse(self, link: ServerConnection, status: http.HTTPStatus, reason: str) -> Response:
        self._refused += 1
        if self._refused % 100 == 1:  # a flood of them must not fill the log
            log.warning(
                "Refused a control connection",
                extra={"reason": reason, "by": _who(link), "count": self._refused},
            )
        return link.respond(status, "Refused.\n")

    # --- visits -----------------------------------------------------------

    async def _visited(self, link: ServerConnection) -> None:
        self._visits += 1
        visit = _Visit(link, self._methods, self._answering)
        try:
            await visit.run()
        finally:
            self._visits -= 1


class _Link(ServerConnection):
    """A connection that the door knows of from its first byte."""

    door: Door

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.door.arrived(self)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.door.left(self)


class _Visit:
    """One open connection: its questions, and its subscriptions' events."""

    def __init__(self, link: ServerConnection, methods: Methods, answering: Tasks) -> None:
        self._link = link
        self._methods = methods
        self._answering = answering
        self._visitor = Visitor(_who(link))
        self._questions = 0
        self._events = Tasks()
        self._sending: dict[str, asyncio.Task[None]] = {}
        self._over = False

    async def run(self) -> None:
        """Until the connection is gone."""
        try:
            async for text in self._link:
                if self._questions >= MAX_QUESTIONS or len(self._answering) >= MAX_ANSWERING:
                    await self._send(self._methods.busy(text))
                    continue
                self._questions += 1
                self._answering.spawn(self._answer(text), "control question")
        except ConnectionClosed:
            pass  # as it may
        finally:
            self._over = True
            self._methods.leave(self._visitor)
            self._attend()
            await self._events.wait(CLOSE_S)

    async def _answer(self, text: str | bytes) -> None:
        try:
            answer = await self._methods.answer(text, self._visitor)
        finally:
            self._questions -= 1
        if self._over:  # see rule 4; a subscription is for nobody
            self._methods.leave(self._visitor)
            return
        await self._send(answer)
        self._attend()

    def _attend(self) -> None:
        """A task for each subscription, and none for those that are over."""
        wanted = self._visitor.subscriptions
        for name in [name for name in self._sending if name not in wanted]:
            self._sending.pop(name).cancel()
        for name, subscription in wanted.items():
            if name not in self._sending and not self._over:
                self._sending[name] = self._events.spawn(self._tell(subscription), name)

    async def _tell(self, subscription: Subscription) -> None:
        while not self._over:
            await self._send(await subscription.message())
            await asyncio.sleep(0)  # thousands may be replayed: the calls' turn comes between

    async def _send(self, text: bytes | None) -> None:
        """Send, or cut off who does not read."""
        if text is None:
            return
        try:
            async with asyncio.timeout(WRITE_S):
                await self._link.send(text, text=True)
        except ConnectionClosed:
            self._over = True
        except TimeoutError:
            self._over = True
            log.warning("Cut off a control connection that does not read", extra={"by": self.by})
            self._link.transport.abort()

    @property
    def by(self) -> str:
        return self._visitor.by


# --- sockets -----------------------------------------------------------------------


async def _closed(servers: list[Server]) -> bool:
    try:
        async with asyncio.timeout(CLOSE_S * 2):
            for server in servers:
                await server.wait_closed()
    except TimeoutError:
        return False
    return True


@contextlib.asynccontextmanager
async def _our_turn(directory: Path) -> AsyncIterator[bool]:
    """Alone with the names in this directory: two bridges that start at once must not both
    find the same dead socket, and one remove the other's new one. Whether we are."""
    import fcntl

    handle = os.open(directory, os.O_RDONLY)
    try:
        alone = False
        for _ in range(_TURNS):
            if alone := _locked(handle, fcntl.LOCK_EX | fcntl.LOCK_NB):
                break
            await asyncio.sleep(_TURN_S)
        yield alone  # whoever holds it for so long is no bridge of ours: go on without
    finally:
        os.close(handle)


def _locked(handle: int, how: int) -> bool:
    import fcntl

    try:
        fcntl.flock(handle, how)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True


def _sweep(directory: Path) -> None:
    """What bridges that were killed have left in our own directory."""
    for path in directory.glob("control-*.sock"):
        if not alive(path):
            with contextlib.suppress(OSError):
                path.unlink()


def _bound(path: Path) -> socket.socket:
    """A socket of this name that only its owner may connect to. It does not listen yet, so
    nobody can before its mode is right."""
    if path.is_socket():
        path.unlink()  # nobody answers on it
    elif path.exists() or path.is_symlink():
        raise FileExistsError(None, f"{path} is there and is no socket")
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind(str(path))
        path.chmod(0o600)
    except OSError:
        sock.close()
        raise
    return sock


def _remove(path: Path, identity: tuple[int, int]) -> None:
    """Ours alone: another bridge may have put its own there."""
    with contextlib.suppress(OSError):
        found = path.stat()
        if (found.st_dev, found.st_ino) == identity:
            path.unlink()


def _who(link: ServerConnection) -> str:
    """For the audit: through what, whose, and what they call themselves."""
    sock = link.transport.get_extra_info("socket")
    if sock is not None and sock.family == getattr(socket, "AF_UNIX", None):
        user = ""
        if sys.platform == "linux":
            peer = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
            user = f" uid:{struct.unpack('3i', peer)[1]}"
        by = f"socket{user}"
    else:
        host, port, *_ = link.remote_address or ("?", 0)
        by = f"port {host}:{port}"
    names = link.request.headers.get_all(NAME_HEADER) if link.request else []
    return f"{by} ({printable(names[0], 40)})" if names else by
