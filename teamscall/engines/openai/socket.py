"""One Realtime WebSocket that stays up: opened, streamed over, and again when lost.

Owns the socket's life. Its owner is told when a configured session is there (``opened``,
in which it sends again what the last session did not finish) and gets the events. Refuses
to know audio and what the session is for.

Rule 1: nothing is streamed before the session is configured.
Rule 2: the end of the stream is a loss whatever the close code: the service ends an
expired session with 1001, which libraries take for a normal end.
Rule 3: what no retry mends (a refused key, model or session) is fatal and names the
setting; everything else is tried again, at once first, until ``patience_s`` passed
without a session that held.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import Any, Never

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from teamscall.engines.openai.dialling import Dialler, Lost, Purpose
from teamscall.engines.openai.endpoint import Endpoint
from teamscall.engines.openai.messages import ServerEvent, read
from teamscall.engines.requests import request_id
from teamscall.errors import EngineError

__all__ = ["Purpose", "Socket"]

log = logging.getLogger("teamscall.engines.openai")

WRITE_S = 5.0  # a socket that takes nothing for this long is stuck
# A session that lasted this long was good: the next loss is a new one.
HEALTHY_S = 5.0
MAX_OUTBOX_BYTES = 8_000_000  # two minutes of audio: nobody waits for such a backlog
# The first attempt after a loss is immediate; the last repeats.
DELAYS_S = (0.0, 0.2, 0.5, 1.0, 2.0)


class Socket:
    """See the module.

    Args:
        endpoint, url: where; the url is one of ``endpoint.realtime_url``.
        session_update: the message that configures a session.
        purpose: for errors.
        opened: a configured session is there; ``send`` works from inside.
        received: takes every event after ``configured``.
        lost: told why a session was lost, before the next attempt.
        patience_s: see rule 3.
        configured: the event that says that ``session_update`` was taken.
        take: gives a session of this kind that was opened ahead, or None.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        url: str,
        session_update: str,
        purpose: Purpose,
        *,
        opened: Callable[[], None],
        received: Callable[[ServerEvent], None],
        lost: Callable[[str], None] = lambda reason: None,
        patience_s: float = 8.0,
        configured: str = "session.updated",
        take: Callable[[], Awaitable[ClientConnection | None]] | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._dialler = Dialler(endpoint, url, session_update, purpose, configured=configured)
        self._take = take
        self._opened = opened
        self._received = received
        self._lost = lost
        self._patience_s = patience_s
        self._now = now
        self._outbox: deque[str] = deque()
        self._outbox_bytes = 0
        self._news = asyncio.Event()  # for the writer
        self._restart_reason = ""
        self._request = ""  # the vendor's name for the session's upgrade
        self.ready = False
        self.opened_at = 0.0
        self.sessions = 0
        self.unreadable = 0  # messages that were no events

    def send(self, message: str) -> bool:
        """Queue a message; False when there is no session to send it to. Never blocks."""
        if not self.ready:
            return False
        self._outbox.append(message)
        self._outbox_bytes += len(message)
        if self._outbox_bytes > MAX_OUTBOX_BYTES:
            self.restart("it takes no audio")
            return False
        self._news.set()
        return True

    def restart(self, reason: str) -> None:
        """Give this session up and open another."""
        if self.ready:
            self.ready = False
            self._restart_reason = reason
            self._news.set()

    async def run(self) -> None:
        """Keep a session up until cancelled.

        Raises:
            EngineError: not to be mended, or out of patience.
        """
        delays = self._delays()
        good_until = self._now()
        while True:
            try:
                await self._session()
            except Lost as loss:
                self._lost(loss.reason)
                self._note("The socket to OpenAI was lost", loss.reason)
                if self.opened_at > good_until and self._now() - self.opened_at > HEALTHY_S:
                    good_until, delays = self._now(), self._delays()
                wait = max(next(delays), loss.wait_s)
                if self._now() + wait - good_until > self._patience_s:
                    raise self._dialler.error(loss.reason, retryable=True) from None
                await asyncio.sleep(wait)
            except EngineError as error:
                self._note("The socket to OpenAI is given up", error.message)
                raise

    def _note(self, what: str, reason: str) -> None:
        stage = self._dialler.purpose.stage
        extra = {"stage": stage, "reason": reason, "request": self._request}
        log.warning(what, extra=extra)

    # --- one session -----------------------------------------------------------------------

    async def _session(self) -> None:
        """Raises Lost, or EngineError for good."""
        self._request = ""
        connection = await self._open()
        if connection.response is not None:
            self._request = request_id(connection.response.headers)
        try:
            self._outbox.clear()
            self._outbox_bytes = 0
            self._restart_reason = ""
            self.ready = True
            self.opened_at = self._now()
            self.sessions += 1
            self._opened()
            failure = await self._stream(connection)
        finally:
            self.ready = False
            # Bounded by CLOSE_S; a socket that is closed already returns at once.
            await connection.close()
        raise failure

    async def _stream(self, connection: ClientConnection) -> Lost | EngineError:
        """Read and write until one of them cannot; why.

        What is expected is returned and not raised: a task group that fails loses a
        cancellation that comes at the same time (Python 3.11), and a call that is over
        would open session after session.
        """
        async with asyncio.TaskGroup() as group:
            both = [
                group.create_task(_failure_of(self._read(connection)), name="realtime reader"),
                group.create_task(_failure_of(self._write(connection)), name="realtime writer"),
            ]
            done, _ = await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            for task in both:
                task.cancel()
        failures = [task.result() for task in done]
        return next((f for f in failures if isinstance(f, EngineError)), failures[0])

    async def _open(self) -> ClientConnection:
        connection = None
        if self._take is not None and not self.sessions:
            connection = await self._take()
        return connection or await self._dialler.open()

    async def _read(self, connection: ClientConnection) -> Never:
        try:
            while True:
                event = read(await connection.recv())
                if event is None:
                    self.unreadable += 1
                    continue
                if event.type == "error" and event.error is not None:
                    self._dialler.note(event.error)
                    if (fatal := self._dialler.fatal(event.error)) is not None:
                        raise fatal
                if self.ready:
                    self._received(event)
        except ConnectionClosed as closed:
            raise self._dialler.closed(closed) from None

    async def _write(self, connection: ClientConnection) -> Never:
        try:
            while True:
                while self._outbox and not self._restart_reason:
                    message = self._outbox.popleft()
                    self._outbox_bytes -= len(message)
                    async with asyncio.timeout(WRITE_S):
                        await connection.send(message)
                if self._restart_reason:
                    raise Lost(self._restart_reason)
                self._news.clear()
                await self._news.wait()
        except TimeoutError:
            raise Lost("it takes no audio") from None
        except ConnectionClosed as closed:
            raise self._dialler.closed(closed) from None

    def _delays(self) -> Iterator[float]:
        yield DELAYS_S[0]
        for delay in DELAYS_S[1:]:
            # Many calls lose their sockets at once: they must not come back at once.
            yield delay * random.uniform(0.8, 1.2)
        while True:
            yield DELAYS_S[-1]


async def _failure_of(work: Coroutine[Any, Any, Never]) -> Lost | EngineError:
    try:
        await work
    except (Lost, EngineError) as failure:
        return failure
