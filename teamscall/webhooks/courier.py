"""One webhook's events on their way: a bounded queue, one delivery at a time, in order.

Rule 1: ``post`` never blocks; a full queue costs its oldest event, counted.
Rule 2: what may succeed later is tried again, later and later, up to ``attempts`` times;
the events behind it wait, so that a receiver sees them in their order.
Rule 3: a receiver that says 410 is sent nothing more until ``renew``.
"""

from __future__ import annotations

import asyncio
import collections
import logging
import random

from teamscall.clock import Clock
from teamscall.config import Webhook
from teamscall.webhooks.delivery import Tried, deliver
from teamscall.webhooks.messages import Event, encode

log = logging.getLogger("teamscall.webhooks")

# Minutes of a busy bridge; an event is about 2 kB.
QUEUE_EVENTS = 1000
# Between two tries of one event: this, then twice as long each time, up to the last.
FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 60.0
# What may become of an event: see Courier.counts.
RESULTS = ("delivered", "failed", "refused", "dropped", "disabled", "lost")
# Receivers that failed together are not asked together: a wait is so much shorter at most.
_JITTER = 0.5


class Courier:
    """One webhook. ``run`` until it is cancelled; ``post`` from the same event loop.

    Attributes:
        counts: events by what became of them: ``delivered``, ``failed`` after every try,
            ``refused`` by a final status, ``dropped`` from a full queue, ``disabled`` since
            the receiver said 410, ``lost`` at the end of the process.
        retries: tries beyond each event's first.
    """

    def __init__(
        self,
        place: str,
        webhook: Webhook,
        clock: Clock,
        *,
        queue_events: int = QUEUE_EVENTS,
        first_wait_s: float = FIRST_WAIT_S,
    ) -> None:
        self.place = place  # webhooks[0]
        self.webhook = webhook
        self.counts: collections.Counter[str] = collections.Counter(dict.fromkeys(RESULTS, 0))
        self.retries = 0
        self._clock = clock
        self._queue: collections.deque[Event] = collections.deque()
        self._queue_events = queue_events
        self._first_wait_s = first_wait_s
        self._news = asyncio.Event()  # something is in the queue
        self._idle = asyncio.Event()  # nothing is, or on its way
        self._idle.set()
        self._stopping = asyncio.Event()
        self._disabled = False
        self._overflowing = False
        self._failing = False

    @property
    def waiting(self) -> int:
        """Events in the queue; one may be on its way besides."""
        return len(self._queue)

    def post(self, event: Event) -> None:
        """Send it, unless this webhook wants other events."""
        wanted = self.webhook.events
        if wanted and event.type not in wanted:
            return
        if self._disabled or self._stopping.is_set():
            self.counts["disabled" if self._disabled else "lost"] += 1
            return
        if len(self._queue) >= self._queue_events:
            self._queue.popleft()
            self.counts["dropped"] += 1
            if not self._overflowing:
                self._overflowing = True
                self._warn("The queue of a webhook is full; its oldest events are dropped")
        self._queue.append(event if self.webhook.transcripts else event.quiet)
        self._idle.clear()
        self._news.set()

    def renew(self, place: str, webhook: Webhook) -> None:
        """The configuration was read again: go on with this, also after a 410."""
        self.place = place
        self.webhook = webhook
        self._disabled = False

    async def run(self) -> None:
        """Deliver until cancelled; what is undelivered then is lost, and counted."""
        on_its_way = False
        try:
            while True:
                await self._news.wait()
                event = self._queue.popleft()
                on_its_way = True
                await self._see_to(event)
                on_its_way = False
                if not self._queue:
                    self._overflowing = False
                    self._news.clear()
                    self._idle.set()
        finally:
            if lost := len(self._queue) + on_its_way:
                self.counts["lost"] += lost
                self._warn("Events were not delivered", lost=lost)
                self._queue.clear()

    async def flush(self) -> None:
        """Take no more events; return when those that wait were delivered, or failed. An
        event is now tried once."""
        self._stopping.set()
        await self._idle.wait()

    # --- one event ------------------------------------------------------------------

    async def _see_to(self, event: Event) -> None:
        try:
            await self._deliver(event)
        except Exception as error:  # a bug with one event must not hold up the others
            self.counts["failed"] += 1
            log.error("A webhook's event failed", exc_info=error, extra={"webhook": self.place})

    async def _deliver(self, event: Event) -> None:
        body = encode(event.event_id, event.type, event.wall_ms, event.data)
        tries = 0
        while True:
            tries += 1
            tried = await self._try(event.event_id, body)
            if tried.result != "again":
                break
            if not self._failing:
                self._failing = True
                self._warn("A webhook fails", detail=tried.detail)
            if tries >= self.webhook.attempts or self._stopping.is_set():
                break
            await self._wait(tries, tried.retry_after_s)
            self.retries += 1
        self._settle(tried, tries)

    async def _try(self, event_id: str, body: bytes) -> Tried:
        webhook = self.webhook  # it may be another one by the next try
        return await deliver(
            event_id,
            body,
            url=webhook.url,
            command=webhook.command,
            secret=webhook.secret,
            timeout_s=webhook.timeout_ms / 1000,
            clock=self._clock,
        )

    async def _wait(self, tries: int, at_least_s: float) -> None:
        wait_s = min(self._first_wait_s * 2 ** (tries - 1), LONGEST_WAIT_S)
        wait_s *= 1 - random.random() * _JITTER
        try:
            async with asyncio.timeout(max(wait_s, at_least_s)):
                await self._stopping.wait()
        except TimeoutError:
            return

    def _settle(self, tried: Tried, tries: int) -> None:
        match tried.result:
            case "taken":
                self.counts["delivered"] += 1
                if self._failing:
                    self._failing = False
                    log.info("A webhook works again", extra={"webhook": self.place})
            case "again":
                self.counts["failed"] += 1
                self._warn("An event was given up", detail=tried.detail, tries=tries)
            case "refused":
                self.counts["refused"] += 1
                if not self._failing:
                    self._failing = True
                    self._warn("A webhook refused an event", detail=tried.detail)
            case "gone":
                self._disabled = True
                self.counts["disabled"] += 1 + len(self._queue)
                self._queue.clear()
                self._warn("A webhook wants nothing more: disabled until the next reload")

    def _warn(self, message: str, **fields: object) -> None:
        # The URL is not logged: some carry a token in their path.
        log.warning(message, extra={"webhook": self.place, **fields})
