"""What is opened ahead of a call: sessions of the Realtime API, and HTTP connections.

Owns how many there are and for how long. Refuses to know what they are for. A failure here
costs the head start, never a call: the call opens its own and tells what is wrong.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from websockets.asyncio.client import ClientConnection
from websockets.protocol import State

from teamscall.engines.home import Home
from teamscall.engines.openai.dialling import Dialler, Lost
from teamscall.errors import EngineError

if TYPE_CHECKING:
    from openai import AsyncOpenAI

log = logging.getLogger("teamscall.engines.openai")

# More calls than this do not ring within the second that a handshake takes.
MOST = 4
KEEP_S = 60.0  # longer than a phone rings
HTTP_S = 5.0
HTTP_AGAIN_S = 30.0  # a connection that was used a moment ago is warm


class _Ahead:
    """One session on its way to a call."""

    def __init__(self) -> None:
        self.opened: asyncio.Future[ClientConnection | None] = (
            asyncio.get_running_loop().create_future()
        )
        self.promised = False  # a call waits for it
        self.handed = asyncio.Event()

    @property
    def usable(self) -> bool:
        """Whether it is there, or will perhaps be."""
        if not self.opened.done():
            return True
        connection = self.opened.result()
        return connection is not None and connection.state is State.OPEN


class WarmSessions:
    """Sessions of one kind, opened ahead: at most ``most``, each for ``keep_s``."""

    def __init__(
        self, dialler: Dialler, home: Home, *, most: int = MOST, keep_s: float | None = None
    ) -> None:
        self._dialler = dialler
        self._home = home
        self._most = most
        self._keep_s = KEEP_S if keep_s is None else keep_s
        self._ahead: list[_Ahead] = []

    def __len__(self) -> int:
        return len(self._ahead)

    def ask(self) -> None:
        """Open one more, unless there are enough. Never blocks, never raises."""
        if len(self._ahead) >= self._most:
            return
        ahead = _Ahead()
        if self._home.spawn(self._open_and_keep(ahead), name="warm session"):
            self._ahead.append(ahead)

    async def take(self) -> ClientConnection | None:
        """A configured session, waiting for one that is being opened; None: there is none.
        Whoever takes it closes it."""
        ahead = next((one for one in self._ahead if one.usable and not one.promised), None)
        if ahead is None:
            return None
        ahead.promised = True
        try:
            # Shielded: it is not this call's alone, if this call ends meanwhile.
            connection = await asyncio.shield(ahead.opened)
        except asyncio.CancelledError:
            ahead.promised = False
            raise
        if connection is None or not ahead.usable:
            return None
        ahead.handed.set()
        return connection

    async def _open_and_keep(self, ahead: _Ahead) -> None:
        connection = None
        try:
            try:
                connection = await self._dialler.open()
            except (Lost, EngineError) as error:
                reason = error.reason if isinstance(error, Lost) else error.message
                log.debug("Nothing opened ahead", extra={"reason": reason})
            ahead.opened.set_result(connection)
            if connection is not None:
                async with asyncio.timeout(self._keep_s):
                    await ahead.handed.wait()
        except TimeoutError:
            log.debug("A session opened ahead was not wanted")
        finally:
            self._ahead.remove(ahead)
            if not ahead.opened.done():
                ahead.opened.set_result(None)
            if connection is not None and not ahead.handed.is_set():
                await connection.close()  # bounded by its close_timeout


class WarmHttp:
    """One HTTP client's connection to its service, opened ahead by asking for its models."""

    def __init__(self, home: Home, *, now: Callable[[], float] = time.monotonic) -> None:
        self._home = home
        self._now = now
        self._asked_at = -HTTP_AGAIN_S

    def ask(self, client: AsyncOpenAI) -> None:
        """Never blocks, never raises."""
        if self._now() - self._asked_at >= HTTP_AGAIN_S:
            self._asked_at = self._now()
            self._home.spawn(self._get(client), name="warm HTTP")

    async def _get(self, client: AsyncOpenAI) -> None:
        import httpx2
        import openai

        try:
            once = client.with_options(timeout=HTTP_S, max_retries=0)
            await once.get("/models", cast_to=httpx2.Response)
        except openai.OpenAIError as error:
            # Any answer at all has opened the connection.
            log.debug("Not warmed over HTTP", extra={"reason": type(error).__name__})
