"""Listening sockets: opening them, TLS, and an accept loop that survives full tables.

Refuses to know HTTP, WebSocket and dialects: an accepted socket becomes whatever the
given factory makes of it.
"""

from __future__ import annotations

import abc
import asyncio
import errno
import logging
import os
import socket
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

from teamscall.errors import ListenError

# Enough for a gateway that reconnects every call at once; the kernel clips it to its own
# limit (somaxconn).
BACKLOG = 1024

# A peer that stopped reading was fed 85 s of audio on loopback before a send ever
# blocked; with this it is about 3 s (one trial each).
SEND_BUFFER_BYTES = 16 * 1024

# While descriptors are exhausted there is nothing to do but wait for a call to end.
ACCEPT_BACKOFF_S = 0.5

_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_DEAD = frozenset({errno.EBADF, errno.EINVAL, errno.ENOTSOCK})  # the listening socket itself


class Arrival(asyncio.Protocol, abc.ABC):
    """What an accepted socket becomes: a protocol that can be given up on."""

    handshake: asyncio.Task[None] | None = None  # of TLS, while it lasts

    @abc.abstractmethod
    def evict(self) -> None:
        """Give the socket up at once."""

    @abc.abstractmethod
    def failed(self) -> None:
        """The TLS handshake failed; the protocol never began."""


def tls_context(cert: str, key: str) -> ssl.SSLContext | None:
    """The server's TLS context from PEM files; None when neither is named.

    Raises:
        ListenError: a file is missing, unreadable, no PEM, encrypted, or they do not match.
    """
    if not cert and not key:
        return None
    if not cert:
        raise ListenError(
            "A TLS key is configured without a certificate.", hint="Set tls_cert as well."
        )
    for name, path in (("certificate", cert), ("key", key or cert)):
        try:
            with Path(path).open("rb") as file:
                file.read(1)
        except OSError as error:
            raise ListenError(
                f"The TLS {name} file {path} cannot be read: {error.strerror}.",
                hint="Check the path and that this user may read it.",
            ) from error
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        # An encrypted key would otherwise ask for its password on the terminal.
        context.load_cert_chain(cert, key or None, password=lambda: b"")
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            message = f"The TLS key {key or cert} does not belong to the certificate {cert}."
        else:
            message = f"The TLS certificate {cert} and key {key or cert} cannot be loaded."
        raise ListenError(
            message,
            hint="Both must be PEM, the key not encrypted, and the certificate's own key.",
        ) from error
    return context


def end_writing(transport: asyncio.Transport) -> None:
    """Send what is buffered, then FIN; TLS cannot half-close, so it closes."""
    if transport.is_closing():
        return
    if not transport.can_write_eof():
        transport.close()
        return
    try:
        transport.write_eof()
    except OSError:  # the peer has reset the connection, the loop has not looked yet
        transport.abort()


async def open_sockets(bind: str, port: int) -> list[socket.socket]:
    """Bind and listen on every address that ``bind`` names; all share one port.

    ``port`` 0 takes a free one.

    Raises:
        ListenError: the name does not resolve, the port is taken or not permitted.
    """
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(
            bind or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except OSError as error:
        raise ListenError(
            f"The address {bind} to listen on cannot be resolved.",
            hint="Use an IP address of this machine, localhost, 0.0.0.0 or ::.",
        ) from error
    sockets: list[socket.socket] = []
    try:
        for family, kind, proto, _, name in dict.fromkeys(found):
            address: tuple[object, ...] = name
            sock = socket.socket(family, kind, proto)
            sockets.append(sock)
            if port == 0 and len(sockets) > 1:
                address = (address[0], sockets[0].getsockname()[1], *address[2:])
            if os.name == "posix":
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind(address)
            sock.listen(BACKLOG)
            sock.setblocking(False)
    except OSError as error:
        for sock in sockets:
            sock.close()
        raise _explain(error, bind, port) from error
    return sockets


def _explain(error: OSError, bind: str, port: int) -> ListenError:
    if error.errno == errno.EADDRINUSE:
        return ListenError(
            f"Port {port} on {bind} is already in use.",
            hint=f"Stop what listens there (ss -ltnp 'sport = :{port}') or choose another port.",
        )
    if error.errno == errno.EACCES:
        return ListenError(
            f"Listening on port {port} is not permitted.", hint="Choose a port above 1023."
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return ListenError(
            f"{bind} is not an address of this machine.",
            hint="Use 127.0.0.1, 0.0.0.0, or an address that this machine has.",
        )
    return ListenError(f"Cannot listen on {bind} port {port}: {error.strerror}.")


async def accept_forever(
    sock: socket.socket,
    room: Callable[[], Awaitable[None]],
    arrive: Callable[[str], Arrival],
    tasks: asyncio.TaskGroup,
    tls: Callable[[], ssl.SSLContext | None],
    handshake_s: Callable[[], float],
    log: logging.Logger,
) -> None:
    """Accept until cancelled.

    Each socket waits for ``room()`` and is then given to ``arrive(host:port)``'s protocol.
    ``tls`` and ``handshake_s`` are asked for each one: certificates are renewed.

    asyncio's own accept loop logs up to a hundred times per second and listener while
    descriptors are exhausted (Python 3.11), and re-arms a socket that was closed in the
    meantime. This one waits, and says so once when it begins and once when it is over.
    """
    loop = asyncio.get_running_loop()
    exhausted = False
    while True:
        try:
            conn, peer = await loop.sock_accept(sock)
        except OSError as error:
            if error.errno in _DEAD:
                raise
            if error.errno not in _EXHAUSTED:
                await asyncio.sleep(0)  # that peer hung up while it waited in the queue
                continue
            if not exhausted:
                exhausted = True
                log.error("Not accepting: out of descriptors", extra={"reason": error.strerror})
            await asyncio.sleep(ACCEPT_BACKOFF_S)
            continue
        if exhausted:
            exhausted = False
            log.warning("Accepting again")
        try:
            await room()
        except asyncio.CancelledError:
            conn.close()
            raise
        host, port = peer[0], peer[1]
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            conn.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
            conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError:  # reset before it was looked at
            conn.close()
            continue
        arrival = arrive(address)
        context = tls()
        attach = _attach(conn, arrival, context, handshake_s())
        if context is None:
            await attach  # two turns of the loop: an accept storm takes turns with the calls
        else:
            arrival.handshake = tasks.create_task(attach, name="tls-handshake")
            await asyncio.sleep(0)


async def _attach(
    conn: socket.socket, arrival: Arrival, tls: ssl.SSLContext | None, handshake_s: float
) -> None:
    loop = asyncio.get_running_loop()
    try:
        await loop.connect_accepted_socket(
            lambda: arrival,
            conn,
            ssl=tls,
            ssl_handshake_timeout=handshake_s if tls else None,
        )
    except OSError:  # TLS failed or timed out, or the peer went
        arrival.handshake = None
        arrival.failed()
    except asyncio.CancelledError:
        arrival.handshake = None
        arrival.evict()
        raise
    arrival.handshake = None
