"""The line of one call to the service: the session that is up, and the one after it.

Owns which socket is the call's, its renewal before the service's time limit, and the
order in which events leave. Refuses to know what is said on it.

Rule 1: nothing is emitted before the first session is there.
Rule 2: a session is renewed while the old one still works: in a pause, or at the last
moment anyway.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from teamscall.engines.base import (
    AnswerAudio,
    AnswerDone,
    AnswerText,
    Emit,
    EngineDegraded,
    EngineEvent,
)
from teamscall.engines.openai import messages
from teamscall.engines.openai.messages import ServerEvent
from teamscall.engines.openai.socket import Socket
from teamscall.errors import EngineError

log = logging.getLogger("teamscall.engines.openai")

MAX_POSTS = 5_000  # a cached phrase is some hundreds; more is a call that is not run
# Before the service ends the session: when another is opened, and when it is taken even in
# the middle of something. Of a short life, parts of it.
LEAD_S, LAST_S = 60.0, 15.0
LEAD_PART, LAST_PART = 0.5, 0.75
LONGEST_S = 58 * 60.0  # of a service that does not say; OpenAI's limit is an hour
RETRY_S = 30.0  # after a renewal that failed
POLL_S = 0.1  # a pause to renew in comes without an event
FAR_FUTURE = float("inf")
RENEWED = "renewed"  # why a session is over that was not lost

OpenSocket = Callable[
    [Callable[[], None], Callable[[ServerEvent], None], Callable[[str], None]], Socket
]


class Owner(Protocol):
    """Who is told what happens on a link."""

    def link_opened(self, link: Link) -> None: ...
    def link_received(self, link: Link, event: ServerEvent) -> None: ...
    def link_lost(self, link: Link, reason: str) -> None: ...


class Link:
    """One socket of a voice session, and by when it must be another."""

    def __init__(
        self,
        open_socket: OpenSocket,
        *,
        now: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._socket = open_socket(self._opened, self._received, self._lost)
        self._now = now
        self._wall = wall
        self.owner: Owner | None = None
        self.lead_at = self.last_at = FAR_FUTURE  # by when it should, and must, be renewed

    @property
    def ready(self) -> bool:
        return self._socket.ready

    @property
    def opened_at(self) -> float:
        return self._socket.opened_at

    def send(self, message: str) -> bool:
        return self._socket.send(message)

    def restart(self, reason: str) -> None:
        self._socket.restart(reason)

    async def run(self) -> None:
        """Keep the session up until cancelled.

        Raises:
            EngineError: not to be mended.
        """
        await self._socket.run()

    def _opened(self) -> None:
        self.lead_at = self.last_at = FAR_FUTURE
        self._socket.send(messages.ASK_SESSION)
        if self.owner is not None:
            self.owner.link_opened(self)

    def _received(self, event: ServerEvent) -> None:
        session = event.session if event.type == "session.updated" else None
        if session is not None and session.expires_at is not None:
            left, now = session.expires_at - self._wall(), self._now()
            self.lead_at = now + max(left - LEAD_S, left * LEAD_PART)
            self.last_at = now + max(left - LAST_S, left * LAST_PART)
        if self.owner is not None:
            self.owner.link_received(self, event)

    def _lost(self, reason: str) -> None:
        if self.owner is not None:
            self.owner.link_lost(self, reason)


class Line:
    """See the module.

    Args:
        open_link: makes a link; ``Line`` runs it.
        opened: a session is there; ``send`` works from inside.
        received: takes its events.
        lost: told why a session that was there is over, which may be ``RENEWED``.
        renew_after_s: after which it is renewed in a pause.
    """

    def __init__(
        self,
        emit: Emit,
        open_link: Callable[[], Link],
        *,
        opened: Callable[[], None],
        received: Callable[[ServerEvent], None],
        lost: Callable[[str], None],
        renew_after_s: float,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._emit = emit
        self._link = open_link()
        self._next: Link | None = None
        self._open_link = open_link
        self._opened = opened
        self._received = received
        self._lost = lost
        self._renew_after_s = renew_after_s
        self._now = now
        self._tasks: dict[Link, asyncio.Task[None]] = {}
        self._group: asyncio.TaskGroup | None = None
        self._posts: deque[EngineEvent] = deque(maxlen=MAX_POSTS)
        self._renew_not_before = 0.0
        self.wake = asyncio.Event()
        self.sessions = 0  # that were this call's
        self.renewals = 0

    # --- for those who talk on it ----------------------------------------------------------

    @property
    def ready(self) -> bool:
        return self.sessions > 0 and self._link.ready

    def send(self, message: str) -> bool:
        """Queue a message; False when there is no session. Never blocks."""
        return self.ready and self._link.send(message)

    def restart(self, reason: str) -> None:
        """Give the session up and open another."""
        self._link.restart(reason)

    def tell(self, event: EngineEvent) -> None:
        """Emit now, after what was posted; from inside ``run`` only."""
        self.drain()
        self._emit(event)

    def post(self, event: EngineEvent) -> None:
        """Emit from inside ``run``, soon and in order."""
        self._posts.append(event)
        self.wake.set()

    def unpost(self, turn: int) -> bool:
        """Drop what was posted of a turn; whether its ``AnswerDone`` was among it."""
        mine = [
            event
            for event in self._posts
            if isinstance(event, AnswerText | AnswerAudio | AnswerDone) and event.turn == turn
        ]
        for event in mine:
            self._posts.remove(event)
        return any(isinstance(event, AnswerDone) for event in mine)

    def drain(self) -> None:
        """Emit what was posted."""
        while self.sessions and self._posts:
            self._emit(self._posts.popleft())

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Start a task that ends with the line."""
        assert self._group is not None, "the line does not run"
        return self._group.create_task(work, name=name)

    # --- its life --------------------------------------------------------------------------

    async def run(self) -> None:
        """Keep a session up until cancelled.

        Raises:
            BaseExceptionGroup: of an EngineError, when there is none to be had, or of
                what a spawned task raised.
        """
        async with asyncio.TaskGroup() as group:
            self._group = group
            self._begin(self._link)
            await asyncio.Event().wait()

    def _begin(self, link: Link) -> None:
        link.owner = self
        assert self._group is not None
        self._tasks[link] = self._group.create_task(self._keep(link), name="voice session")

    async def _keep(self, link: Link) -> None:
        try:
            await link.run()
        except EngineError as error:
            if link is self._link:
                raise
            self._next = None
            self._renew_not_before = self._now() + RETRY_S
            log.warning("A session could not be renewed", extra={"reason": error.message})
            self.post(EngineDegraded("session", "a session could not be renewed yet"))
        finally:
            del self._tasks[link]

    def link_opened(self, link: Link) -> None:
        if link is self._link:
            self.sessions += 1
            self._opened()
        self.wake.set()

    def link_received(self, link: Link, event: ServerEvent) -> None:
        if link is not self._link:
            return
        if event.type == "session.updated":
            self.wake.set()  # it may end sooner than thought
        self._received(event)

    def link_lost(self, link: Link, reason: str) -> None:
        if link is self._link and self.sessions:
            self._lost(reason)

    # --- renewal ---------------------------------------------------------------------------

    @property
    def _renew_at(self) -> float:
        if not self.ready:
            return FAR_FUTURE
        due = min(self._link.opened_at + self._renew_after_s, self._link.lead_at)
        return max(due, self._renew_not_before)

    @property
    def _last_at(self) -> float:
        if self._link.last_at < FAR_FUTURE:
            return self._link.last_at
        return self._link.opened_at + max(LONGEST_S, self._renew_after_s + LEAD_S)

    def deadline(self) -> float:
        """When ``tick`` is due."""
        if self._next is None:
            return self._renew_at
        return self._now() + POLL_S if self._next.ready else FAR_FUTURE

    def tick(self, *, idle: bool) -> None:
        """Renew the session when it is time, and ``idle``, or high time."""
        now = self._now()
        if self._next is None and self._renew_at <= now:
            self._next = self._open_link()
            self._begin(self._next)
        link = self._next
        if link is None or not link.ready or not (idle or self._last_at <= now):
            return
        old, self._link, self._next = self._link, link, None
        old.owner = None
        self._tasks[old].cancel()
        self.renewals += 1
        self.sessions += 1
        self._lost(RENEWED)
        self._opened()
