"""The history: lines of three tables, sums over a period, and queries that stay quick."""

from __future__ import annotations

import functools
import sqlite3
from pathlib import Path

import pytest

from teamscall.calls.records import (
    Audited,
    CallAnswered,
    CallClosed,
    CallCounters,
    CallOpened,
    CallRecord,
    Decided,
    EndedBy,
    EngineTrouble,
    Interrupted,
    OutboundOutcome,
    OutboundProgress,
    RecordingSeen,
    TurnEnded,
    TurnLatency,
    Usage,
)
from teamscall.clock import ManualClock
from teamscall.journal import history, readers, stats, whole
from teamscall.journal.figures import quantiles
from teamscall.journal.history import Wanted, lines
from teamscall.journal.kept import KeptOrder, _keep
from teamscall.journal.store import Journal
from teamscall.wire.events import Caller, Direction

T0 = 1_700_000_000_000
HOUR_MS = 3_600_000
ANNA = Caller("u-anna", "t-1", "Anna", "anna@example.org", "+4930123")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.sqlite3"


def keep(path: Path, *records: CallRecord, orders: tuple[KeptOrder, ...] = ()) -> None:
    journal = Journal(path, ManualClock())
    journal.open()
    for order in orders:
        journal.ask(functools.partial(_keep, order=order), False).result(10)
    for record in records:
        journal.record(record)
    assert journal.close(10)
    assert journal.lost == 0


def opened(name: str, at: int, direction: Direction = "inbound") -> CallOpened:
    return CallOpened(name, at, "standin", direction, ANNA, "192.0.2.1:5", "offline")


def closed(name: str, at: int, reason: str = "hangup", by: EndedBy = "caller") -> CallClosed:
    used = (Usage("think", "m", 10, 0, 5, cost=0.5, currency="USD"),)
    return CallClosed(name, at, reason, by, 9000, CallCounters(turns=2, interruptions=1), "", used)


def answer(name: str, at: int, turn: int, first_frame_ms: float) -> TurnEnded:
    latency = TurnLatency(700.0, 800.0, None, 900.0, first_frame_ms)
    used = (Usage("think", "m", 4, 0, 2, cost=0.2, currency="USD"),)
    return TurnEnded(name, at, turn, "answer", "completed", "", "", 9, 9, latency, used)


def decided(name: str, at: int, authorized: bool, on: str = "session_start") -> Decided:
    reason = "" if authorized else "User not in allowlist"
    return Decided(name, at, "csharp", authorized, "allowlist", reason, ANNA, on)  # type: ignore[arg-type]


def order(attempt: str, at: int, call_id: str = "") -> KeptOrder:
    return KeptOrder(
        attempt, call_id, "phone:+4930999", "notify", "csharp", "", "cli",
        at, at + 9, "ringing", "words",
    )  # fmt: skip


def over(attempt: str, at: int, outcome: OutboundOutcome, call_id: str = "") -> OutboundProgress:
    return OutboundProgress(
        call_id, at, attempt, "ended", "phone:+4930999", "notify", "csharp", outcome, "why"
    )


def test_a_line_says_who_how_and_how_fast(path: Path) -> None:
    keep(
        path,
        decided("c", T0 - 1, True),
        opened("c", T0),
        RecordingSeen("c", T0, "active", 0),
        *(answer("c", T0 + n, n, 1000.0 + n) for n in range(1, 21)),
        EngineTrouble("c", T0 + 5, "hear", "slow", False),
        closed("c", T0 + 9000),
    )
    (line,) = lines(path, Wanted())
    assert (line.outcome, line.reason, line.ended_by) == ("completed", "hangup", "caller")
    assert (line.started_ms, line.ended_ms, line.duration_ms) == (T0, T0 + 9000, 9000)
    assert (line.who.display_name, line.who.phone_number) == ("Anna", "+4930123")
    assert line.decision is not None
    assert (line.decision.authorized, line.decision.strategy) == (True, "allowlist")
    assert (line.turns, line.interruptions, line.errors) == (2, 1, 1)
    assert (line.input_tokens, line.output_tokens, line.cost) == (10, 5, {"USD": 0.5})
    assert sorted(line.latency) == ["endpoint", "firstAudio", "firstFrame", "transcript"]
    first = line.latency["firstFrame"]
    assert (first.p50, first.p95, first.count) == (1010.0, 1019.0, 20)


def test_what_a_crash_cut_off_is_counted_from_what_is_there(path: Path) -> None:
    keep(
        path,
        opened("c", T0),
        answer("c", T0 + 10, 1, 900.0),
        answer("c", T0 + 20, 2, 900.0),
        Interrupted("c", T0 + 20, 2, "caller", 5, 60.0),
    )
    for restarted in (False, True):
        if restarted:
            keep(path)
        (line,) = lines(path, Wanted())
        assert line.outcome == ("interrupted" if restarted else "running")
        assert (line.turns, line.interruptions) == (2, 1)
        assert line.cost == {"USD": 0.4}


def test_a_call_that_a_killed_bridge_left_is_not_called_running(path: Path) -> None:
    keep(path, opened("c", T0), orders=(order("out-1", T0),))
    lock = path.with_name(path.name + ".lock")
    lock.write_text("99999999\n")  # no process has this number
    assert [line.outcome for line in lines(path, Wanted())] == ["interrupted"] * 2
    assert len(lines(path, Wanted(outcome="interrupted"))) == 2
    assert lines(path, Wanted(outcome="running")) == []
    assert stats.stats(path, 0, T0).outcomes == {"interrupted": 2}
    lock.write_text("1\n")  # one that lives
    assert {line.outcome for line in lines(path, Wanted())} == {"running", "ringing"}


def test_who_was_refused_has_a_line_once(path: Path) -> None:
    keep(
        path,
        decided("no", T0, False, "auth_request"),
        decided("no", T0 + 1, False),
        decided("asked", T0 + 2, False, "auth_request"),
        opened("up", T0 + 3),
        decided("up", T0 + 4, False, "auth_request"),  # in a call: it is that call's
        closed("up", T0 + 9000),
    )
    found = lines(path, Wanted())
    assert [(line.call_id, line.outcome) for line in found] == [
        ("up", "completed"),
        ("asked", "refused"),
        ("no", "refused"),
    ]
    assert found[1].detail == "User not in allowlist"
    assert [line.call_id for line in lines(path, Wanted(outcome="refused"))] == ["asked", "no"]
    assert lines(path, Wanted(outcome="refused", direction="outbound")) == []


def test_calls_out_have_one_line_whether_they_came_up_or_not(path: Path) -> None:
    keep(
        path,
        over("out-1", T0 + 50, "no-answer"),
        opened("c2", T0 + 110, "outbound"),
        CallAnswered("c2", T0 + 120),
        closed("c2", T0 + 9000),
        over("out-2", T0 + 9000, "answered", "c2"),
        opened("c3", T0 + 210, "outbound"),
        closed("c3", T0 + 9000, "hangup", "gateway"),
        over("out-3", T0 + 9000, "busy", "c3"),
        Audited("c2", T0 + 200, "speak", "socket", "ok"),
        orders=(
            order("out-1", T0),
            order("out-2", T0 + 100, "c2"),
            order("out-3", T0 + 200, "c3"),
            order("out-4", T0 + 300),
        ),
    )
    found = [(line.attempt, line.call_id, line.outcome) for line in lines(path, Wanted())]
    assert found == [
        ("out-4", "", "ringing"),
        ("out-3", "c3", "busy"),
        ("out-2", "c2", "completed"),
        ("out-1", "", "no-answer"),
    ]
    assert lines(path, Wanted(direction="inbound")) == []
    (busy,) = lines(path, Wanted(outcome="busy"))
    assert (busy.target, busy.mode, busy.asked_by) == ("phone:+4930999", "notify", "cli")
    (vain,) = lines(path, Wanted(outcome="no-answer"))
    assert (vain.who.phone_number, vain.detail, vain.duration_ms) == ("+4930999", "why", 50)
    for name in ("c2", "out-2"):
        both = whole.whole(path, name)
        assert (both.call.call_id, both.call.attempt) == ("c2", "out-2")
        assert both.call.answered_ms == T0 + 120
        assert [one.action for one in both.audit] == ["speak"]
    assert whole.whole(path, "out-1").call.outcome == "no-answer"


def test_since_limit_and_order(path: Path) -> None:
    keep(
        path,
        *(
            record
            for n in range(10)
            for record in (opened(f"c{n}", T0 + n * 10), closed(f"c{n}", T0 + n * 10 + 5))
        ),
        decided("no", T0 + 55, False),
    )
    newest = [line.call_id for line in lines(path, Wanted(limit=6))]
    assert newest == ["c9", "c8", "c7", "c6", "no", "c5"]
    assert len(lines(path, Wanted(since_ms=T0 + 80))) == 2


def test_a_call_id_that_came_again_keeps_its_rows_apart(path: Path) -> None:
    keep(
        path,
        *(opened("c", T0), answer("c", T0 + 10, 1, 500.0), closed("c", T0 + 100)),
        *(opened("c", T0 + 1000), answer("c", T0 + 1010, 1, 900.0), closed("c", T0 + 1100)),
    )
    newest, oldest = lines(path, Wanted())
    assert newest.latency["firstFrame"].p50 == 900.0
    assert oldest.latency["firstFrame"].p50 == 500.0
    assert oldest.cost == newest.cost == {"USD": 0.5}
    shown = whole.whole(path, "c")
    assert (shown.call.started_ms, shown.others) == (T0 + 1000, 1)
    assert [turn.first_frame_ms for turn in shown.turns] == [900.0]


def test_sums_over_a_period(path: Path) -> None:
    keep(
        path,
        *(opened("old", T0 - HOUR_MS), closed("old", T0 - HOUR_MS + 5)),
        *(opened("a", T0), answer("a", T0 + 10, 1, 500.0), closed("a", T0 + 9000)),
        *(opened("b", T0 + 10), answer("b", T0 + 20, 1, 700.0)),
        EngineTrouble("b", T0 + 30, "think", "first", False),
        EngineTrouble("b", T0 + 31, "think", "latest", True),
        closed("b", T0 + 9000, "agent-unavailable", "engine"),
        decided("no", T0 + 20, False),
        over("out-1", T0 + 50, "busy"),
        orders=(order("out-1", T0 + 40),),
    )
    found = stats.stats(path, T0, T0 + HOUR_MS)
    assert found.calls == 4
    assert found.outcomes == {"busy": 1, "completed": 1, "failed": 1, "refused": 1}
    assert found.directions == {"inbound": 3, "outbound": 1}
    assert found.dialects == {"csharp": 2, "standin": 2}
    assert found.reasons == {"agent-unavailable": 1, "hangup": 1}
    assert sum(found.hours) == sum(part.calls for part in found.trend) == 4
    assert found.trend[0].first_frame_p50_ms == 500.0
    assert found.latency["firstFrame"].count == 2
    assert found.duration_ms is not None
    assert (found.duration_ms.count, found.total_ms) == (2, 18_000)
    assert (found.turns, found.interruptions) == (4, 2)
    assert [(one.stage, one.count, one.calls, one.latest) for one in found.errors] == [
        ("think", 2, 1, "latest")
    ]
    assert found.cost == {"USD": 1.0}
    everything = stats.stats(path, 0, T0 + HOUR_MS)
    assert (everything.calls, everything.since_ms) == (5, T0 - HOUR_MS)


def test_sums_of_nothing(path: Path) -> None:
    keep(path)
    found = stats.stats(path, 0, T0)
    assert (found.calls, found.latency, found.duration_ms, found.cost) == (0, {}, None, {})


@pytest.mark.parametrize(
    ("count", "p50", "p95"), [(1, 1, 1), (2, 1, 2), (20, 10, 19), (100, 50, 95), (101, 51, 96)]
)
def test_quantiles_are_values_that_occurred(count: int, p50: float, p95: float) -> None:
    found = quantiles(range(count, 0, -1))
    assert found is not None
    assert (found.p50, found.p95, found.count) == (p50, p95, count)


class TestQueriesOfALongHistory:
    """What is listed by time or by id comes from an index, and nothing is sorted."""

    def plans(self, path: Path, do: object) -> list[str]:
        keep(path, opened("c", T0), closed("c", T0 + 1))
        seen: list[str] = []
        with readers.reading(path) as connection:
            connection.set_trace_callback(seen.append)
            do(connection)  # type: ignore[operator]
            connection.set_trace_callback(None)
            return [
                # Of a row of its own (the attempts of one call), a sort is of a few.
                f"{'within: ' if step[1] else ''}{step[3]} <- {query}"
                for query in seen
                for step in self._explain(connection, query)
            ]

    def _explain(self, connection: sqlite3.Connection, query: str) -> list[tuple[object, ...]]:
        return connection.execute(f"EXPLAIN QUERY PLAN {query}").fetchall()

    @pytest.mark.parametrize("since_ms", [0, T0])
    def test_the_list(self, path: Path, since_ms: int) -> None:
        wanted = Wanted(since_ms=since_ms, limit=20)

        def listed(connection: sqlite3.Connection) -> None:
            for line in [
                *history._up(connection, wanted),
                *history._refused(connection, wanted),
                *history._in_vain(connection, wanted),
            ]:
                history.filled(connection, line)

        plans = self.plans(path, listed)
        assert len(plans) > 8
        wrong = [step for step in plans if "SCAN" in step.split(" <- ")[0] and "INDEX" not in step]
        assert [step for step in wrong if "CONSTANT ROW" not in step] == []
        by_time = [step for step in plans if "opened_ms >=" in step or "authorized = 0" in step]
        assert not [step for step in by_time if step.startswith("USE TEMP B-TREE")]
        assert any("decisions_denied" in step for step in plans)

    def test_an_abbreviated_id(self, path: Path) -> None:
        plans = self.plans(path, lambda connection: whole.resolve(connection, "c"))
        assert plans
        assert not [step for step in plans if step.startswith("SCAN")]
