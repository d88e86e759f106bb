"""What is read when somebody asks: the bridge's own counters as metric families.

Refuses to know where the readings come from.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)

from teamscall.calls.lateness import BOUNDS_S
from teamscall.calls.records import CallCounters
from teamscall.metrics.counting import Counts, added
from teamscall.metrics.labels import bounded
from teamscall.metrics.readings import (
    CaptureReading,
    JournalReading,
    OutboundReading,
    Readings,
    WebhookReading,
)

_DIALECTS = ("csharp", "standin")
# (direction, cause, field) of the frames that went no further.
_DROPPED = (
    ("in", "order", "dropped_in"),  # malformed, twice, too late or too early
    ("in", "gate", "gated_in"),  # the recording gate
    ("out", "slow-peer", "dropped_out"),
)


class Scrape:
    """The collector of one bridge. ``about``: version, engine and the like."""

    def __init__(
        self, counts: Counts, read: Callable[[], Readings], about: Mapping[str, str]
    ) -> None:
        self._counts = counts
        self._read = read
        self._about = dict(about)
        self._seen = Readings()
        self._ended = counts.ended

    def look(self) -> None:
        """Read now what ``collect`` will tell, which may be in another thread."""
        # Together: a call that ends in between would be counted twice, or not at all.
        self._seen, self._ended = self._read(), self._counts.ended

    def describe(self) -> Iterable[Metric]:
        """For the registry: every family, of a bridge that has everything and did nothing."""
        whole = Readings(
            journal=JournalReading(0, 0, False, 0),
            outbound=OutboundReading(0, True),
            webhooks=(WebhookReading("webhooks[0]", 0, 0, {}),),
            control=0,
            capture=CaptureReading(0, 0, 0, 0),
        )
        return self._families(whole)

    def collect(self) -> Iterable[Metric]:
        return self._families(self._seen)

    def _families(self, now: Readings) -> Iterator[Metric]:
        yield InfoMetricFamily("teamscall_build", "What runs here.", self._about)
        yield from _calls(now)
        yield from self._frames(now)
        yield _lateness(now)
        yield from _server(now)
        if now.journal is not None:
            yield from _journal(now.journal)
        if now.outbound is not None:
            yield _gauge("outbound_ringing", "Calls that ring.", now.outbound.ringing)
            yield _gauge(
                "outbound_on", "1 unless an operator turned placing calls off.",
                now.outbound.switched_on,
            )  # fmt: skip
        if now.webhooks:
            yield from _webhooks(now.webhooks)
        if now.control is not None:
            yield _gauge("control_connections", "Open connections of operators.", now.control)
        if now.capture is not None:
            yield from _captures(now.capture)

    def _frames(self, now: Readings) -> Iterator[Metric]:
        """Of calls that are over and of those that are not."""
        total = self._ended
        for counters in now.counters:
            total = added(total, counters)
        plain = (
            ("frames_received", "Audio frames from gateways.", "frames_in"),
            ("frames_sent", "Audio frames to gateways.", "frames_out"),
            ("frames_silence", "Frames of silence put in for a gap.", "silence_in"),
            ("underruns", "The bot fell silent because its engine was late.", "underruns"),
            ("answers_speculated", "Answers begun before the caller had finished.", "speculated"),
            ("answers_thrown_away", "Those of them that were thrown away unheard.", "thrown_away"),
        )
        for name, help_, field in plain:
            yield _counter(name, help_, {(): getattr(total, field)})
        yield _counter("frames_dropped", "Audio frames that went no further.", _dropped(total),
                       "direction", "cause")  # fmt: skip


def _dropped(total: CallCounters) -> dict[tuple[str, ...], float]:
    return {(way, cause): getattr(total, field) for way, cause, field in _DROPPED}


def _calls(now: Readings) -> Iterator[Metric]:
    active = Counter(now.calls)
    for direction in ("inbound", "outbound"):
        for dialect in _DIALECTS:
            active.setdefault((direction, dialect, "live"), 0)
    yield _gauges("calls_active", "Calls that are up, or ringing with a leg.", active,
                  "direction", "dialect", "phase")  # fmt: skip
    yield _gauge("call_slots", "Most calls at once.", now.slots)
    yield _gauge("call_slots_free", "Calls that could come now.", now.slots_free)
    yield _gauge("draining", "1 while no new calls are taken.", now.draining)


def _lateness(now: Readings) -> Metric:
    """Cumulative, as Prometheus has it."""
    counts = now.late or (0,) * (len(BOUNDS_S) + 1)
    buckets: list[tuple[str, float]] = []
    so_far = 0
    for bound, count in zip((*map(str, BOUNDS_S), "+Inf"), counts, strict=True):
        so_far += count
        buckets.append((bound, so_far))
    return HistogramMetricFamily(
        "teamscall_pacing_lateness_seconds",
        "How long after its deadline a frame left that had to wait for it.",
        buckets=buckets,
        sum_value=now.late_total_s,
    )


def _server(now: Readings) -> Iterator[Metric]:
    sockets = {(dialect,): now.sockets.get(dialect, 0) for dialect in _DIALECTS}
    yield _gauges("sockets_open", "Open WebSockets of gateways.", sockets, "dialect")
    yield _counter("messages_dropped", "Messages that could not be used.", _by(now.drops), "cause")
    yield _counter("requests_refused", "Requests that were refused.", _by(now.refusals), "reason")
    yield _counter(
        "event_loop_stalls", "The event loop was blocked for longer than is audible.",
        {(): now.stalls},
    )  # fmt: skip
    yield _gauge("event_loop_longest_stall_seconds", "The longest of them.", now.longest_stall_s)


def _journal(journal: JournalReading) -> Iterator[Metric]:
    yield _counter("journal_written", "Records on disk.", {(): journal.written})
    yield _counter("journal_lost", "Records that did not reach the disk.", {(): journal.lost})
    yield _gauge("journal_failing", "1 while the disk refuses records.", journal.failing)
    yield _gauge("journal_queue", "Records that wait for the disk.", journal.queued)


def _captures(capture: CaptureReading) -> Iterator[Metric]:
    yield _counter("capture_files", "Calls that were captured.", {(): capture.files})
    yield _counter("capture_failed", "Captures that the disk ended.", {(): capture.failed})
    yield _counter("capture_records", "Records in captures.", {(): capture.records})
    yield _counter("capture_dropped", "Records that were left out of them.",
                   {(): capture.dropped})  # fmt: skip


def _webhooks(webhooks: tuple[WebhookReading, ...]) -> Iterator[Metric]:
    results = {
        (one.place, result): count for one in webhooks for result, count in one.results.items()
    }
    yield _counter("webhook_events", "Events by what became of them.", results,
                   "webhook", "result")  # fmt: skip
    yield _counter("webhook_retries", "Tries beyond an event's first.",
                   {(one.place,): one.retries for one in webhooks}, "webhook")  # fmt: skip
    yield _gauges("webhook_queue", "Events that wait.",
                  {(one.place,): one.queued for one in webhooks}, "webhook")  # fmt: skip


def _by(counts: Mapping[str, int]) -> dict[tuple[str, ...], float]:
    return {(name,): count for name, count in bounded(counts).items()}


def _gauge(name: str, help_: str, value: float) -> Metric:
    return _gauges(name, help_, {(): value})


def _gauges(name: str, help_: str, values: Mapping[Any, float], *names: str) -> Metric:
    family = GaugeMetricFamily(f"teamscall_{name}", help_, labels=names)
    for labels, value in values.items():
        family.add_metric(labels, float(value))
    return family


def _counter(name: str, help_: str, values: Mapping[Any, float], *names: str) -> Metric:
    family = CounterMetricFamily(f"teamscall_{name}", help_, labels=names)
    for labels, value in values.items():
        family.add_metric(labels, float(value))
    return family
