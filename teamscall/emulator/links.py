"""Sockets as a call sees them: one of its own, or a share of one that carries several.

Owns decoding, encoding, and who gets which message. Refuses to know what a message means.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Literal, Protocol

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from teamscall.wire import csharp, standin
from teamscall.wire.events import Dialect, Dropped, FromGateway, PlaceCall, ToGateway

# Told every text message of a socket as it is on the wire; ``in`` is to the bridge.
Tap = Callable[[Literal["in", "out"], bytes, FromGateway | ToGateway | Dropped], None]
Take = Callable[[ToGateway | Dropped], Awaitable[None]]

# Messages of a call whose task has not begun to listen yet; more is dropped, newest first.
MAX_EARLY = 64

_ABNORMAL_CLOSE = 1006  # what websockets reports when there was no close frame


class Link(Protocol):
    """What carries one call's messages."""

    @property
    def close_code(self) -> int | None:
        """None: it is open, or no close frame came."""
        ...

    @property
    def close_reason(self) -> str: ...

    async def listen(self, take: Take) -> None:
        """Give ``take`` every message until the socket is gone."""
        ...

    async def send(self, event: FromGateway) -> None:
        """Raises: websockets.exceptions.ConnectionClosed."""
        ...

    def abort(self) -> None:
        """Cut the socket as a broken network would."""
        ...

    async def close(self) -> None:
        """The call is over. Bounded (``dial.CLOSE_TIMEOUT_S``)."""
        ...


class SocketLink:
    """A socket of one call's own."""

    def __init__(
        self, socket: ClientConnection, dialect: Dialect, call_id: str, tap: Tap | None = None
    ) -> None:
        self._socket = socket
        self._tap = tap
        self._dialect = standin if dialect == "standin" else csharp
        self._call_id = call_id

    @property
    def close_code(self) -> int | None:
        code = self._socket.close_code
        return None if code == _ABNORMAL_CLOSE else code

    @property
    def close_reason(self) -> str:
        return self._socket.close_reason or ""

    async def listen(self, take: Take) -> None:
        try:
            while True:
                data = await self._socket.recv()
                message: ToGateway | Dropped = (
                    self._dialect.decode_to_gateway(data, call_id=self._call_id)
                    if isinstance(data, str)
                    else Dropped("binary", "a binary frame")
                )
                if self._tap is not None and isinstance(data, str):
                    self._tap("out", data.encode(), message)
                await take(message)
        except ConnectionClosed:
            return

    async def send(self, event: FromGateway) -> None:
        data = self._dialect.encode_from_gateway(event)
        if data is not None:
            if self._tap is not None:
                self._tap("in", data, event)
            await self._socket.send(data, text=True)

    def abort(self) -> None:
        self._socket.transport.abort()

    async def close(self) -> None:
        await self._socket.close()


class NoLink:
    """Nothing is open (yet): what is sent goes nowhere."""

    close_code: int | None = None
    close_reason = ""

    async def listen(self, take: Take) -> None:
        await asyncio.Event().wait()

    async def send(self, event: FromGateway) -> None:
        pass

    def abort(self) -> None:
        pass

    async def close(self) -> None:
        pass


class Trunk:
    """A C# gateway's socket: it carries any number of calls, and asks for new ones.

    ``on_place`` is given each ``initiate_call``; what belongs to no call that is up is
    counted in ``strays``. Unless it is ``lasting``, it goes with its last call.
    """

    def __init__(
        self,
        socket: ClientConnection,
        on_place: Callable[[PlaceCall, Trunk], None],
        *,
        lasting: bool,
        tap: Tap | None = None,
    ) -> None:
        self.link = SocketLink(socket, "csharp", "", tap)
        self._lasting = lasting
        self.strays = 0
        self._on_place = on_place
        self._extensions: dict[str, Extension] = {}
        self.gone = asyncio.Event()

    async def run(self) -> None:
        """Until the socket is gone."""
        try:
            await self.link.listen(self._received)
        finally:
            self.gone.set()

    def extension(self, call_id: str) -> Extension:
        """One call's share."""
        self._extensions[call_id] = extension = Extension(self, call_id)
        return extension

    async def release(self, extension: Extension) -> None:
        """Its call is over."""
        if self._extensions.get(extension.call_id) is extension:
            del self._extensions[extension.call_id]
        if not self._lasting and not self._extensions:
            await self.link.close()

    async def _received(self, message: ToGateway | Dropped) -> None:
        if isinstance(message, PlaceCall):
            self._on_place(message, self)
        elif isinstance(message, Dropped) or message.call_id not in self._extensions:
            self.strays += 1
        else:
            await self._extensions[message.call_id].received(message)


class Extension:
    """One call's share of a trunk."""

    def __init__(self, trunk: Trunk, call_id: str) -> None:
        self.call_id = call_id
        self._trunk = trunk
        self._take: Take | None = None
        self._early: deque[ToGateway] = deque()

    @property
    def close_code(self) -> int | None:
        return self._trunk.link.close_code

    @property
    def close_reason(self) -> str:
        return self._trunk.link.close_reason

    async def received(self, message: ToGateway) -> None:
        if self._take is not None:
            await self._take(message)
        elif len(self._early) < MAX_EARLY:
            self._early.append(message)
        else:
            self._trunk.strays += 1

    async def listen(self, take: Take) -> None:
        while self._early:
            await take(self._early.popleft())
        self._take = take
        await self._trunk.gone.wait()

    async def send(self, event: FromGateway) -> None:
        await self._trunk.link.send(event)

    def abort(self) -> None:
        self._trunk.link.abort()

    async def close(self) -> None:
        await self._trunk.release(self)
