"""Counters and histograms that the calls' records move: one watcher, one registry.

Rule 1: ``record`` is called per record, never per frame, and costs a lookup and an increment.
Rule 2: no label has a value from a peer: see ``labels``.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from typing import Any, get_args

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.metrics_core import Metric

from teamscall.calls import records
from teamscall.metrics import labels
from teamscall.wire.events import Dialect, Direction

# Seconds. A turn under half a second feels like talking, one over two like waiting.
TURN_BUCKETS_S = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.65, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0)
# From the onset of the caller's voice until the far side is told to be silent.
FLUSH_BUCKETS_S = (0.02, 0.04, 0.06, 0.08, 0.1, 0.15, 0.2, 0.3, 0.5, 0.8, 1.2, 2.0)
CALL_BUCKETS_S = (1, 5, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600)

_STAGES = ("endpoint", "transcript", "first_text", "first_audio", "first_frame")
_UNKNOWN = ("unknown", "unknown")


class Counts:
    """See the module. ``models``: the model names that may be labels."""

    def __init__(self, registry: CollectorRegistry, models: Iterable[str] = ()) -> None:
        self._models = labels.models(models)
        self.ended = records.CallCounters()  # of all calls that are over, summed
        self._open: dict[str, tuple[str, str]] = {}  # direction and dialect by call

        def counter(name: str, help_: str, *names: str) -> Counter:
            return Counter(f"teamscall_{name}", help_, names, registry=None)

        def histogram(name: str, help_: str, buckets: Iterable[float], *names: str) -> Histogram:
            return Histogram(
                f"teamscall_{name}", help_, names, registry=None, buckets=tuple(buckets)
            )

        self._started = counter("calls_started", "Calls that came up.", "direction", "dialect")
        self._ended = counter(
            "calls_ended", "Calls that are over, by why and by whom.",
            "direction", "dialect", "reason", "ended_by",
        )  # fmt: skip
        self._answered = counter("calls_answered", "Placed calls that somebody answered.")
        self._duration = histogram(
            "call_duration_seconds", "How long calls were.", CALL_BUCKETS_S, "direction"
        )
        self._decisions = counter(
            "decisions", "Authorization decisions.", "dialect", "asked_on", "strategy", "authorized"
        )
        self._turns = counter("turns", "Turns of the bot that are over.", "kind", "status")
        self._latency = histogram(
            "turn_latency_seconds",
            "From the caller's last voiced frame to a stage of the answer.",
            TURN_BUCKETS_S, "stage",
        )  # fmt: skip
        self._interruptions = counter(
            "interruptions", "Turns that were interrupted, by whom and how it was known.",
            "by", "why",
        )  # fmt: skip
        self._flush = histogram(
            "barge_in_seconds", "From the onset of the caller's voice to the flush of the bot's.",
            FLUSH_BUCKETS_S,
        )  # fmt: skip
        self._carried_on = counter(
            "carried_on", "Interruptions that were none: the turn went on.", "why"
        )
        self._gate = counter("gate_changes", "The recording gate opened or closed.", "state")
        self._trouble = counter(
            "engine_errors", "Engines that degraded or failed.", "stage", "fatal"
        )
        self._tokens = counter(
            "model_tokens", "Tokens used, as the vendor counts them.", "model", "stage", "kind"
        )
        self._audio = counter(
            "model_audio_seconds", "Audio given to and made by models.",
            "model", "stage", "direction",
        )  # fmt: skip
        self._characters = counter(
            "model_characters", "Characters given to be spoken.", "model", "stage"
        )
        self._cost = counter(
            "model_cost", "Cost of models that have a price.", "model", "stage", "currency"
        )
        self._attempts = counter(
            "outbound_attempts", "Attempts to place a call that are over.", "dialect", "outcome"
        )
        self._audited = counter("control_requests", "What operators asked for.", "action", "result")
        self._metrics = [
            value for value in vars(self).values() if isinstance(value, (Counter, Histogram))
        ]
        self._begin()
        registry.register(self)

    def _begin(self) -> None:
        """Every series that can be named beforehand, at 0. A panel then shows that nothing
        happened, and ``increase`` sees the first time that something does."""
        for stage in _STAGES:
            self._latency.labels(stage)
        for direction, dialect in itertools.product(get_args(Direction), get_args(Dialect)):
            self._started.labels(direction, dialect)
        for why in get_args(records.InterruptedWhy):
            if why != "order":
                self._interruptions.labels("caller", why)
        for by in get_args(records.InterruptedBy):
            if by != "caller":
                self._interruptions.labels(by, "order")
        for why in get_args(records.CarriedOnWhy):
            self._carried_on.labels(why)
        for state in ("open", "closed"):
            self._gate.labels(state)
        for stage, fatal in itertools.product(sorted(labels.STAGES), (True, False)):
            self._trouble.labels(stage, _word(fatal))
        outcomes = get_args(records.OutboundOutcome)
        for dialect, outcome in itertools.product((*get_args(Dialect), "none"), outcomes):
            self._attempts.labels(dialect, outcome)
        for action, result in itertools.product(sorted(_ACTIONS), ("ok", "error")):
            self._audited.labels(action, result)

    def allow(self, models: Iterable[str]) -> None:
        """Let further model names be labels; those that were stay, as their series do."""
        more = labels.models(models)
        if len(self._models | more) <= 2 * labels.MAX_VALUES:
            self._models |= more

    def collect(self) -> Iterable[Metric]:
        """For the registry. Without the times at which series began: they double the series."""
        for metric in self._metrics:
            for family in metric.collect():
                family.samples = [s for s in family.samples if not s.name.endswith("_created")]
                yield family

    def describe(self) -> Iterable[Metric]:
        """For the registry: the names, before anything happened."""
        return [family for metric in self._metrics for family in metric.describe()]

    def record(self, record: records.CallRecord) -> None:
        """Count what this record tells, if anything."""
        reaction = _REACTIONS.get(type(record))
        if reaction is not None:
            reaction(self, record)

    # --- by record ------------------------------------------------------------------

    def _on_opened(self, record: records.CallOpened) -> None:
        who = (record.direction, record.dialect)
        self._open[record.call_id] = who
        self._started.labels(*who).inc()

    def _on_closed(self, record: records.CallClosed) -> None:
        who = self._open.pop(record.call_id, _UNKNOWN)
        reason = labels.closed(record.reason, labels.END_REASONS)
        self._ended.labels(*who, reason, record.ended_by).inc()
        self._duration.labels(who[0]).observe(record.duration_ms / 1000)
        self.ended = added(self.ended, record.counters)
        for used in record.usage:
            self._use(used)

    def _use(self, used: records.Usage) -> None:
        model = labels.closed(used.model, self._models)
        stage = labels.closed(used.stage, labels.STAGES)
        for kind in ("input", "cached", "output", "audio_input", "audio_output"):
            if (tokens := getattr(used, f"{kind}_tokens")) > 0:
                self._tokens.labels(model, stage, kind).inc(tokens)
        for direction, seconds in (("in", used.audio_in_s), ("out", used.audio_out_s)):
            if seconds > 0:
                self._audio.labels(model, stage, direction).inc(seconds)
        if used.characters > 0:
            self._characters.labels(model, stage).inc(used.characters)
        if used.cost is not None and used.cost > 0:
            self._cost.labels(model, stage, used.currency).inc(used.cost)

    def _on_decided(self, record: records.Decided) -> None:
        strategy = labels.closed(record.strategy, labels.STRATEGIES)
        granted = _word(record.authorized)
        self._decisions.labels(record.dialect, record.on, strategy, granted).inc()

    def _on_turn(self, record: records.TurnEnded) -> None:
        self._turns.labels(record.kind, record.status).inc()
        if record.kind != "answer":
            return  # nobody said anything before a greeting: its times are from its beginning
        for stage in _STAGES:
            if (late_ms := getattr(record.latency, f"{stage}_ms")) is not None:
                self._latency.labels(stage).observe(late_ms / 1000)

    def _on_interrupted(self, record: records.Interrupted) -> None:
        self._interruptions.labels(record.by, record.why).inc()
        if record.why != "order":
            self._flush.observe(record.onset_to_flush_ms / 1000)

    def _on_progress(self, record: records.OutboundProgress) -> None:
        if record.state == "ended":
            dialect = record.dialect or "none"
            self._attempts.labels(dialect, record.outcome or labels.OTHER).inc()

    def _on_audited(self, record: records.Audited) -> None:
        action = labels.closed(record.action.rpartition(".")[2], _ACTIONS)
        self._audited.labels(action, "ok" if record.result == "ok" else "error").inc()

    def _on_answered(self, record: records.CallAnswered) -> None:
        self._answered.inc()

    def _on_carried_on(self, record: records.CarriedOn) -> None:
        self._carried_on.labels(record.why).inc()

    def _on_gate(self, record: records.GateChanged) -> None:
        self._gate.labels("open" if record.open else "closed").inc()

    def _on_trouble(self, record: records.EngineTrouble) -> None:
        stage = labels.closed(record.stage, labels.STAGES)
        self._trouble.labels(stage, _word(record.fatal)).inc()


def added(one: records.CallCounters, other: records.CallCounters) -> records.CallCounters:
    """Both together."""
    names = records.CallCounters.__struct_fields__
    return records.CallCounters(
        **{name: getattr(one, name) + getattr(other, name) for name in names}
    )


def _word(value: bool) -> str:
    return "true" if value else "false"


_ACTIONS = frozenset(
    {"initiate", "speak", "end", "reload", "drain", "outbound", "forget", "cancel"}
)
_REACTIONS: dict[type, Callable[[Counts, Any], None]] = {
    records.CallOpened: Counts._on_opened,
    records.CallClosed: Counts._on_closed,
    records.CallAnswered: Counts._on_answered,
    records.Decided: Counts._on_decided,
    records.TurnEnded: Counts._on_turn,
    records.Interrupted: Counts._on_interrupted,
    records.CarriedOn: Counts._on_carried_on,
    records.GateChanged: Counts._on_gate,
    records.EngineTrouble: Counts._on_trouble,
    records.OutboundProgress: Counts._on_progress,
    records.Audited: Counts._on_audited,
}
