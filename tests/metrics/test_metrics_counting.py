"""What records and readings become: families, bounded labels, two bridges, the dashboard."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterable
from typing import Any

import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_open
from prometheus_client.parser import text_string_to_metric_families as parse_plain

from teamscall.calls import records
from teamscall.calls.lateness import BOUNDS_S
from teamscall.calls.records import CallCounters, CallRecord, TurnLatency
from teamscall.metrics.exposing import Metrics
from teamscall.metrics.readings import (
    JournalReading,
    OutboundReading,
    Readings,
    WebhookReading,
)
from teamscall.wire.events import Caller

NOON = 1_795_348_800_000
WHOLE = Readings(
    calls=(("inbound", "csharp", "live"),),
    counters=(CallCounters(frames_in=7, dropped_out=2),),
    slots=5,
    slots_free=4,
    sockets={"csharp": 1},
    drops={"bad-audio": 3},
    refusals={"wrong-path": 2},
    late=(5, 1, *(0,) * (len(BOUNDS_S) - 1)),
    late_total_s=0.006,
    journal=JournalReading(9, 1, True, 4),
    outbound=OutboundReading(1, False),
    webhooks=(WebhookReading("webhooks[0]", 2, 1, {"delivered": 8}),),
    control=3,
)


def opened(call_id: str = "c", **more: Any) -> CallRecord:
    return records.CallOpened(
        call_id,
        NOON,
        "csharp",
        more.get("direction", "inbound"),
        Caller(display_name="Ann"),
        "",
        "e",
    )


def closed(call_id: str = "c", reason: str = "hangup-user", **more: Any) -> CallRecord:
    counters = more.pop("counters", CallCounters(frames_in=100, gated_in=5))
    return records.CallClosed(call_id, NOON, reason, "caller", 61_000, counters, **more)


def turn(kind: records.TurnKind = "answer", **latency: float) -> CallRecord:
    return records.TurnEnded(
        "c", NOON, 1, kind, "completed", "said", "heard", 1, 1, TurnLatency(**latency)
    )


USED = records.Usage("think", "m-1", 10, 4, 3, 2, 1, 1.5, 2.5, 40, 0.25, "EUR")
ONE_OF_EACH: list[CallRecord] = [
    opened(),
    records.Decided("c", NOON, "csharp", True, "open", "", Caller(), "auth_request"),
    records.GateChanged("c", NOON, True, "active"),
    records.CallAnswered("c", NOON),
    turn(first_audio_ms=420.0, endpoint_ms=300.0),
    records.Interrupted("c", NOON, 1, "caller", 100, 80.0, "speech"),
    records.CarriedOn("c", NOON, 1, "noise", 300.0),
    records.EngineTrouble("c", NOON, "hear", "503", False),
    records.OutboundProgress(
        "c", NOON, "out-1", "ended", "user:u", "notify", "csharp", "no-answer"
    ),
    records.Audited("c", NOON, "teamscall.speak", "socket", "ok"),
    closed(usage=(USED,)),
]


def families(metrics: Metrics, accept: str = "") -> dict[str, Metric]:
    text, _ = asyncio.run(metrics.text(accept))
    parse = parse_open if "openmetrics" in accept else parse_plain
    return {family.name: family for family in parse(text.decode())}


def value(found: dict[str, Metric], sample: str, **labels: str) -> float:
    (one,) = [
        s.value
        for family in found.values()
        for s in family.samples
        if s.name == sample and s.labels == labels
    ]
    return float(one)


def full(read: Readings = WHOLE, given: Iterable[CallRecord] = ONE_OF_EACH) -> Metrics:
    metrics = Metrics("1.2.3", engine="echo", models=["m-1"], read=lambda: read)
    for record in given:
        metrics.record(record)
    return metrics


@pytest.mark.parametrize("accept", ["", "application/openmetrics-text;version=1.0.0,*/*;q=0.1"])
def test_what_goes_on_is_counted_and_parsed_by_the_librarys_own_parser(accept: str) -> None:
    found = families(full(), accept)
    who = {"direction": "inbound", "dialect": "csharp"}
    assert value(found, "teamscall_calls_started_total", **who) == 1
    ended = who | {"reason": "hangup-user", "ended_by": "caller"}
    assert value(found, "teamscall_calls_ended_total", **ended) == 1
    assert value(found, "teamscall_calls_active", **who, phase="live") == 1
    assert value(found, "teamscall_call_duration_seconds_sum", direction="inbound") == 61
    assert value(found, "teamscall_frames_received_total") == 107
    gate = {"direction": "in", "cause": "gate"}
    assert value(found, "teamscall_frames_dropped_total", **gate) == 5
    slow = {"direction": "out", "cause": "slow-peer"}
    assert value(found, "teamscall_frames_dropped_total", **slow) == 2
    stage = {"stage": "first_audio"}
    assert value(found, "teamscall_turn_latency_seconds_sum", **stage) == 0.42
    assert value(found, "teamscall_barge_in_seconds_count") == 1
    assert value(found, "teamscall_pacing_lateness_seconds_count") == 6
    assert value(found, "teamscall_pacing_lateness_seconds_bucket", le="0.001") == 5
    assert value(found, "teamscall_messages_dropped_total", cause="bad-audio") == 3
    assert value(found, "teamscall_requests_refused_total", reason="wrong-path") == 2
    used = {"model": "m-1", "stage": "think"}
    assert value(found, "teamscall_model_tokens_total", **used, kind="input") == 10
    assert value(found, "teamscall_model_cost_total", **used, currency="EUR") == 0.25
    failed = {"dialect": "csharp", "outcome": "no-answer"}
    assert value(found, "teamscall_outbound_attempts_total", **failed) == 1
    done = {"webhook": "webhooks[0]", "result": "delivered"}
    assert value(found, "teamscall_webhook_events_total", **done) == 8
    assert value(found, "teamscall_journal_failing") == 1
    assert value(found, "teamscall_outbound_on") == 0
    assert value(found, "teamscall_control_connections") == 3


def test_a_greeting_answers_nobody_and_has_no_latency() -> None:
    found = families(full(given=[opened(), turn("greeting", first_audio_ms=2.0)]))
    assert value(found, "teamscall_turn_latency_seconds_count", stage="first_audio") == 0


def test_two_bridges_in_one_process_have_nothing_in_common() -> None:
    one, other = full(), full(Readings(), [])
    assert value(families(one), "teamscall_calls_answered_total") == 1
    assert value(families(other), "teamscall_calls_answered_total") == 0


HOSTILE = ['x"} 1\nteamscall_calls_active 9', "\x1b[2J", "é" * 5000, "Hangup-User", "a-b", ""]


def test_series_that_can_be_named_beforehand_begin_at_0() -> None:
    """Of a series that is born at 1, ``increase`` sees nothing."""
    first = families(full(Readings(), []))
    for name, labels in (
        ("teamscall_outbound_attempts_total", {"dialect": "csharp", "outcome": "declined"}),
        ("teamscall_engine_errors_total", {"stage": "think", "fatal": "true"}),
        ("teamscall_control_requests_total", {"action": "reload", "result": "error"}),
        ("teamscall_interruptions_total", {"by": "caller", "why": "words"}),
    ):
        assert value(first, name, **labels) == 0


def test_no_peer_can_make_a_time_series() -> None:
    metrics = full()
    before = len(asyncio.run(full().text())[0].splitlines())
    for number in range(3000):
        text = HOSTILE[number % len(HOSTILE)] + str(number)
        usage = (records.Usage(text, text, input_tokens=1, cost=1.0, currency="USD"),)
        metrics.record(opened(text))
        metrics.record(closed(text, reason=text, usage=usage))
        metrics.record(closed(f"never opened {text}", reason=text))
        caller = Caller(user_id=text, display_name=text)
        metrics.record(
            records.Decided(text, NOON, "csharp", False, text, text, caller, "session_start", text)
        )
        metrics.record(records.EngineTrouble(text, NOON, text, text, True))
        metrics.record(records.Audited(text, NOON, text, text, text, text))
    found = asyncio.run(metrics.text())[0]
    # Each of these adds at most one series of each metric, and a histogram's buckets.
    assert len(found.splitlines()) - before < 40
    assert b"2J" not in found
    assert "é".encode() not in found
    series = [s.labels for f in parse_plain(found.decode()) for s in f.samples]
    assert sum(labels.get("reason") == "other" for labels in series) == 2
    assert any(labels.get("model") == "other" for labels in series)


def test_counters_by_words_of_our_own_are_bounded_too() -> None:
    refusals = {f"reason-{'abcdefghij'[n % 10]}{n}": 1 for n in range(500)} | {"not a word\n": 2}
    found = families(full(Readings(refusals=refusals)))
    samples = found["teamscall_requests_refused"].samples
    assert len(samples) == 49
    assert sum(sample.value for sample in samples) == 502


def test_a_call_that_ends_during_a_scrape_is_counted_once() -> None:
    running = {"c": CallCounters(frames_in=40)}
    metrics = Metrics("1", read=lambda: Readings(counters=tuple(running.values())))
    metrics.record(opened())
    seen: list[float] = []

    class EndsTheCall:
        """In the thread that renders, after the loop was asked and before its answer is used."""

        def collect(self) -> Iterable[Metric]:
            if running.pop("c", None):
                metrics.record(closed(counters=CallCounters(frames_in=40)))
            return ()

    first = EndsTheCall()
    metrics.registry._collector_to_names = {  # collectors are asked in this order
        first: [], **metrics.registry._collector_to_names,
    }  # fmt: skip

    async def scrape_twice() -> None:
        for accept in ("", "application/openmetrics-text"):
            text = (await metrics.text(accept))[0].decode()
            found = re.search(r"^teamscall_frames_received_total (\S+)$", text, re.MULTILINE)
            assert found is not None
            seen.append(float(found[1]))

    asyncio.run(scrape_twice())
    assert not running
    assert seen == [40.0, 40.0]


def test_it_is_rendered_beside_the_loop_and_not_too_often() -> None:
    threads: list[int] = []

    class Looks:
        def collect(self) -> Iterable[Metric]:
            threads.append(threading.get_ident())
            return ()

    metrics = Metrics("1")
    metrics.registry.register(Looks())
    threads.clear()  # registering asks too

    async def many() -> list[bytes]:
        return [text for text, _ in await asyncio.gather(*(metrics.text() for _ in range(50)))]

    assert len(set(asyncio.run(many()))) == 1
    assert len(threads) < 10
    assert threading.get_ident() not in threads


def test_a_reload_lets_more_models_be_labels() -> None:
    metrics = full()
    metrics.allow_models(["m-2"])
    for model in ("m-1", "m-2", "m-3"):
        usage = (records.Usage("think", model, input_tokens=1),)
        metrics.record(closed(usage=usage))
    samples = families(metrics)["teamscall_model_tokens"].samples
    models = {s.labels["model"] for s in samples if s.labels["kind"] == "input"}
    assert models == {"m-1", "m-2", "other"}


# --- the dashboard -----------------------------------------------------------------------


def printed() -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "teamscall", "metrics", "dashboard"],
        capture_output=True, check=True, timeout=60,
    )  # fmt: skip
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_the_dashboard_uses_only_metrics_and_labels_that_exist() -> None:
    labels: dict[str, set[str]] = {}
    for family in families(full()).values():
        for sample in family.samples:
            labels.setdefault(sample.name, set()).update(sample.labels)
    from_prometheus = {"instance", "job"}
    panels = printed()["panels"]
    targets = [target["expr"] for panel in panels for target in panel.get("targets", ())]
    assert len(targets) > 40
    used: set[str] = set()
    for expr in targets:
        (name,) = set(re.findall(r"\b(?:teamscall|process)_[a-z_]+", expr))
        assert name in labels, expr
        used.add(name)
        grouped = {word for by in re.findall(r"by \(([^)]*)\)", expr) for word in by.split(", ")}
        chosen = set(re.findall(r"(\w+)=~?\"", expr))
        assert grouped | chosen <= labels[name] | from_prometheus, expr
    legends = [target["legendFormat"] for panel in panels for target in panel.get("targets", ())]
    for expr, legend in zip(targets, legends, strict=True):
        for word in re.findall(r"{{(\w+)}}", legend):
            assert word in re.findall(r"\w+", expr), legend


def test_every_family_of_ours_is_on_the_dashboard() -> None:
    text = json.dumps(printed())
    ours = [name for name in families(full()) if name.startswith("teamscall_")]
    assert [name for name in ours if not re.search(rf"{name}(_total|_bucket)?\b", text)] == []
