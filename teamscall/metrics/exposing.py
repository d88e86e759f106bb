"""The metrics of one bridge: its registry, and the text that Prometheus reads.

Several bridges in one process have nothing in common: each has a registry of its own.
"""

from __future__ import annotations

import asyncio
import platform
from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics

from teamscall.calls.records import CallRecord
from teamscall.metrics.counting import Counts
from teamscall.metrics.readings import Readings
from teamscall.metrics.scraping import Scrape

# Whoever asks more often costs no more than this.
FRESH_S = 0.2

_OPENMETRICS = "application/openmetrics-text"
_Render = Callable[[CollectorRegistry], tuple[bytes, str]]


class Metrics:
    """See the module.

    Args:
        version: of teamscall.
        engine: the one that answers, by name.
        models: the model names that may be labels.
        read: asked at every scrape, on the event loop.
    """

    def __init__(
        self,
        version: str,
        *,
        engine: str = "",
        models: Iterable[str] = (),
        read: Callable[[], Readings] = Readings,
    ) -> None:
        self.registry = CollectorRegistry()
        self._counts = Counts(self.registry, models)
        about = {"version": version, "engine": engine, "python": platform.python_version()}
        self._scrape = Scrape(self._counts, read, about)
        self.registry.register(self._scrape)
        ProcessCollector(registry=self.registry)
        self._one_at_a_time = asyncio.Lock()
        self._made: dict[_Render, tuple[float, tuple[bytes, str]]] = {}

    def record(self, record: CallRecord) -> None:
        """Count a record. As a watcher; never raises for what a peer sent."""
        self._counts.record(record)

    def allow_models(self, models: Iterable[str]) -> None:
        """The configuration was read again: these may be labels from now on, too."""
        self._counts.allow(models)

    async def text(self, accept: str = "") -> tuple[bytes, str]:
        """The text and its content type; OpenMetrics where the ``Accept`` header has it.

        Made beside the event loop: a thousand series take some 15 ms. What is asked for again
        within ``FRESH_S`` is the same.
        """
        # Not the library's own choice: that one puts what the peer wrote into our header.
        parts = (part.split(";")[0].strip() for part in accept.split(","))
        render = _openmetrics if _OPENMETRICS in parts else _plain
        async with self._one_at_a_time:
            now = asyncio.get_running_loop().time()
            made = self._made.get(render)
            if made is None or now - made[0] >= FRESH_S:
                self._scrape.look()  # what the loop owns is read on the loop
                made = now, await asyncio.to_thread(render, self.registry)
                self._made[render] = made
            return made[1]


def _plain(registry: CollectorRegistry) -> tuple[bytes, str]:
    return generate_latest(registry), CONTENT_TYPE_PLAIN_0_0_4


def _openmetrics(registry: CollectorRegistry) -> tuple[bytes, str]:
    text: bytes = openmetrics.generate_latest(registry)  # type: ignore[no-untyped-call]
    return text, openmetrics.CONTENT_TYPE_LATEST
