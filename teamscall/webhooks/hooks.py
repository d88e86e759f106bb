"""Every webhook of a bridge: one watcher of records in front of one courier each.

Owns their start, their bounded end and what a reload changes. A hanging receiver holds up
its own queue and nothing else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import msgspec

from teamscall.asking import prepare_url
from teamscall.calls.records import CallRecord
from teamscall.clock import Clock
from teamscall.config import Config, Webhook
from teamscall.webhooks.courier import Courier
from teamscall.webhooks.telling import Telling

# At the end of the process, for what waits in all queues together.
FLUSH_S = 2.0


class HookState(msgspec.Struct, frozen=True):
    """One webhook's counters, for whoever shows them; see ``Courier``."""

    place: str
    waiting: int
    retries: int
    counts: Mapping[str, int]


class Webhooks:
    """See the module. ``run`` in a task of its own; everything on one event loop."""

    def __init__(self, config: Config, clock: Clock) -> None:
        self._clock = clock
        self._telling = Telling(config.journal.transcripts)
        self._couriers: dict[Courier, asyncio.Task[None] | None] = {}
        self._group: asyncio.TaskGroup | None = None
        self._over = asyncio.Event()
        self._stopped = False
        self.reconfigure(config)

    def record(self, record: CallRecord) -> None:
        """Tell whoever wants to know of it. Never blocks."""
        event = self._telling.take(record)
        if event is not None:
            for courier in self._couriers:
                courier.post(event)

    def reconfigure(self, config: Config) -> None:
        """Go on with other webhooks. One whose receiver stays keeps what waits for it; what
        waits for one that is gone is lost, and said so."""
        self._telling.keep = config.journal.transcripts
        if any(webhook.url for webhook in config.webhooks):
            prepare_url()
        known: dict[object, list[Courier]] = {}
        for courier in self._couriers:
            known.setdefault(_receiver(courier.webhook), []).append(courier)
        kept: dict[Courier, asyncio.Task[None] | None] = {}
        for number, webhook in enumerate(config.webhooks):
            place = f"webhooks[{number}]"
            if same := known.get(_receiver(webhook)):
                courier = same.pop(0)
                kept[courier] = self._couriers[courier]
                courier.renew(place, webhook)
            else:
                courier = Courier(place, webhook, self._clock)
                kept[courier] = self._started(courier)
        for courier, task in self._couriers.items():
            if courier not in kept and task is not None:
                task.cancel()
        self._couriers = kept

    async def run(self) -> None:
        """Deliver until ``stop``."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            for courier in self._couriers:
                self._couriers[courier] = self._started(courier)
            await self._over.wait()
            self._group = None
            for task in self._couriers.values():
                if task is not None:
                    task.cancel()

    async def stop(self, flush_s: float = FLUSH_S) -> None:
        """Deliver what waits, for at most ``flush_s``; ``run`` ends. Idempotent."""
        if self._stopped:
            return
        self._stopped = True
        if self._group is not None:
            try:
                async with asyncio.timeout(flush_s):
                    await asyncio.gather(*(courier.flush() for courier in self._couriers))
            except TimeoutError:
                pass  # each courier says what it lost
        self._over.set()

    def states(self) -> tuple[HookState, ...]:
        """Of every webhook, in the order of the configuration."""
        return tuple(
            HookState(one.place, one.waiting, one.retries, one.counts) for one in self._couriers
        )

    def _started(self, courier: Courier) -> asyncio.Task[None] | None:
        if self._group is None:
            return None
        return self._group.create_task(courier.run(), name=courier.place)


def _receiver(webhook: Webhook) -> object:
    return webhook.url, webhook.command
