"""The line of one call to the Live API: the session that is up, and another when it is over.

Owns when a session is replaced. Each session is a socket of its own, because it is started
with what was said until then. Refuses to know what is said on it.

Rule: a session that is lost, or expires soon, is replaced at once; sessions that do not
hold are replaced ever later, until there were too many in a row.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

from teamscall.engines.openai import live_messages
from teamscall.engines.openai.messages import ServerEvent
from teamscall.engines.openai.socket import Socket
from teamscall.errors import EngineError

HEALTHY_S = 5.0  # a session that lasted this long was good
DELAYS_S = (0.0, 0.2, 1.0, 2.0)  # after sessions in a row that were not
# Before the service ends a session: when it is replaced in a pause, and when in any case.
LEAD_S, LAST_S = 120.0, 15.0
LEAD_PART, LAST_PART = 0.5, 0.75  # of a short life
FAR_FUTURE = float("inf")
RENEWED = "renewed"


class OpenSocket(Protocol):
    """What makes a socket. ``first``: it may be one that was opened ahead."""

    def __call__(
        self,
        start: str,
        first: bool,
        opened: Callable[[], None],
        received: Callable[[ServerEvent], None],
        lost: Callable[[str], None],
    ) -> Socket: ...


class LiveLine:
    """See the module.

    Args:
        open_socket: makes a socket, given its first message and who is told.
        start: the first message of a new session.
        opened, received, lost: told what happens; ``send`` works from inside ``opened``.
    """

    def __init__(
        self,
        open_socket: OpenSocket,
        start: Callable[[], str],
        *,
        opened: Callable[[], None],
        received: Callable[[ServerEvent], None],
        lost: Callable[[str], None],
        now: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._open_socket = open_socket
        self._start = start
        self._opened = opened
        self._received = received
        self._lost = lost
        self._now = now
        self._wall = wall
        self._socket: Socket | None = None
        self._over = asyncio.Event()
        self._reason = ""  # why it is over
        self.sessions = 0
        self._lead_at = self._last_at = FAR_FUTURE

    @property
    def ready(self) -> bool:
        return self._socket is not None and self._socket.ready

    def send(self, message: str) -> bool:
        """Queue a message; False when there is no session. Never blocks."""
        return self._socket is not None and self._socket.send(message)

    def replace(self, reason: str) -> None:
        """This session is over: begin another."""
        if self.ready:
            self._is_over(reason)

    def deadline(self, *, idle: bool) -> float:
        """When ``tick`` is due."""
        return self._lead_at if idle else self._last_at

    def tick(self, *, idle: bool) -> None:
        """Replace a session that expires soon: in a pause, or when it is high time."""
        if self.deadline(idle=idle) <= self._now():
            self.replace(RENEWED)

    async def run(self) -> None:
        """Keep a session up until cancelled.

        Raises:
            EngineError: there is none to be had.
        """
        in_a_row = 0
        while True:
            reason, lasted_s = await self._session()
            self._lost(reason)
            in_a_row = 0 if lasted_s >= HEALTHY_S or reason == RENEWED else in_a_row + 1
            if in_a_row >= len(DELAYS_S):
                raise EngineError(
                    f"the live session does not hold: {reason}.", stage="session", retryable=True
                )
            await asyncio.sleep(DELAYS_S[in_a_row])

    async def _session(self) -> tuple[str, float]:
        """One session, from before it is opened; why it is over and how long it lasted."""
        self._over.clear()
        socket = self._socket = self._open_socket(
            self._start(),
            self.sessions == 0,
            self._socket_opened,
            self._socket_received,
            self._socket_lost,
        )
        try:
            async with asyncio.TaskGroup() as group:
                running = group.create_task(socket.run(), name="live session")
                await self._over.wait()
                running.cancel()
        except BaseExceptionGroup as failures:
            for failure in failures.exceptions:
                if not isinstance(failure, EngineError):
                    raise failure from None
            if not self._over.is_set():
                raise failures.exceptions[0] from None
            # Else the session had been there: another is tried.
        finally:
            self._socket = None
            self._lead_at = self._last_at = FAR_FUTURE
        return self._reason, self._now() - socket.opened_at

    def _socket_opened(self) -> None:
        self.sessions += 1
        self.send(live_messages.ASK_SESSION)
        self._opened()

    def _socket_received(self, event: ServerEvent) -> None:
        if self._over.is_set():
            return
        if event.session is not None and event.session.expires_at is not None:
            left, now = event.session.expires_at - self._wall(), self._now()
            self._lead_at = now + max(left - LEAD_S, left * LEAD_PART)
            self._last_at = now + max(left - LAST_S, left * LAST_PART)
        self._received(event)

    def _socket_lost(self, reason: str) -> None:
        # Until it is opened, the socket itself tries again.
        if self._socket is not None and self._socket.sessions:
            self._is_over(reason)

    def _is_over(self, reason: str) -> None:
        if not self._over.is_set():
            self._reason = reason
            self._over.set()
