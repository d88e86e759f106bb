"""Retention: by age and by size, in bounded pieces; and files of older versions."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from teamscall.calls.records import (
    Audited,
    CallClosed,
    CallCounters,
    CallOpened,
    CallRecord,
    Decided,
    EngineTrouble,
)
from teamscall.clock import ManualClock
from teamscall.errors import InputError
from teamscall.journal import history, readers, removal, schema, upkeep
from teamscall.journal.kept import Kept, KeptOrder
from teamscall.journal.store import Journal
from teamscall.wire.events import Caller

T0 = 1_700_000_000_000
DAY_MS = 86_400_000
CALLER = Caller("u" * 60, "t" * 60, "n" * 60)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.sqlite3"


def wait_for(happened: Callable[[], bool]) -> None:
    for _ in range(1000):
        if happened():
            return
        time.sleep(0.01)
    raise AssertionError("it did not happen in 10 s")


@contextlib.contextmanager
def journal_at(path: Path, clock: ManualClock, max_mb: int = 0, days: int = 0) -> Iterator[Journal]:
    warnings: list[str] = []
    journal = Journal(
        path,
        clock,
        warn=warnings.append,
        max_mb=max_mb,
        retention_days=days,
        queue_records=100_000,
    )
    journal.open()
    try:
        yield journal
        assert warnings == []
        assert journal.lost == 0
    finally:
        assert journal.close(30)


def call(number: int, at: int, troubles: int = 20) -> Iterator[CallRecord]:
    call_id = f"call-{number:06}"
    yield Decided(call_id, at, "csharp", True, "open", "", CALLER, "session_start")
    yield CallOpened(call_id, at, "csharp", "inbound", CALLER)
    for _ in range(troubles):
        yield EngineTrouble(call_id, at + 1, "hear", "x" * 200, False)
    yield Audited(call_id, at + 1, "speak", "socket", "ok", "y" * 100)
    yield CallClosed(call_id, at + 2, "hangup", "caller", 2, CallCounters())


def count(path: Path, table: str, where: str = "1") -> int:
    with readers.reading(path) as connection:
        found = connection.execute(f"SELECT count(*) FROM {table} WHERE {where}")
        return int(found.fetchone()[0])


def test_a_file_that_grew_too_large_loses_its_oldest_calls_and_shrinks(path: Path) -> None:
    clock = ManualClock(wall_ms=T0)
    with journal_at(path, clock) as journal:
        journal.record(CallOpened("running", T0 - 5000, "csharp", "inbound", CALLER))
        journal.record(Decided("nobody", T0 - 9, "csharp", False, "x", "", CALLER, "auth_request"))
        for number in range(600):
            for record in call(number, T0 + number * 1000):
                journal.record(record)
        wait_for(lambda: journal.written == 2 + 600 * 24)
        assert path.stat().st_size > 3_000_000
        journal.reconfigure(retention_days=0, max_mb=1, transcripts="off")
        journal.record(Audited("", T0, "reload", "socket", "ok"))
        wait_for(lambda: 0 < path.stat().st_size < 1_000_000)
        left = [row.call_id for row in readers.calls(path, limit=1000)]
        assert "running" in left
        assert "call-000599" in left
        kept = sorted(name for name in left if name != "running")
        # The oldest went, and no other: what is left has no gap.
        assert kept == [f"call-{number:06}" for number in range(600 - len(kept), 600)]
        assert 50 < len(kept) < 500
        for table in ("events", "decisions", "audit"):
            orphans = f"call_id NOT IN ('', {', '.join(repr(name) for name in left)})"
            assert count(path, table, orphans) == 0
        assert count(path, "events") == 20 * len(kept)


def test_refused_callers_alone_cannot_fill_the_disk(path: Path) -> None:
    clock = ManualClock(wall_ms=T0 + DAY_MS)
    with journal_at(path, clock) as journal:
        for number in range(6000):
            call_id = f"refused-{number:06}"
            journal.record(
                Decided(call_id, T0 + number, "csharp", False, "x", "", CALLER, "auth_request")
            )
        wait_for(lambda: journal.written == 6000)
        assert path.stat().st_size + path.with_name(f"{path.name}-wal").stat().st_size > 2_000_000
        journal.reconfigure(retention_days=0, max_mb=1, transcripts="off")
        journal.record(Audited("", T0 + DAY_MS, "reload", "socket", "ok"))
        wait_for(lambda: 0 < path.stat().st_size < 1_000_000)
        left = [line.call_id for line in history.lines(path, history.Wanted(limit=9000))]
        assert left == [f"refused-{number:06}" for number in range(5999, 5999 - len(left), -1)]


def test_one_step_is_bounded(path: Path) -> None:
    clock = ManualClock(wall_ms=T0 + 400 * DAY_MS)
    with journal_at(path, clock) as journal:
        for number in range(500):
            for record in call(number, T0 + number):
                journal.record(record)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        steps = upkeep.Upkeep(clock, retention_days=30, max_bytes=0)
        before = connection.total_changes
        largest = 0
        while steps.step(connection):
            largest = max(largest, connection.total_changes - before)
            before = connection.total_changes
        # One call more than the limit, and as much again that belongs to no call.
        assert 0 < largest < removal.CHUNK_ROWS + 100
        assert connection.execute("SELECT count(*) FROM calls").fetchone() == (0,)
        assert not steps.step(connection)
        clock.advance(upkeep.AGE_S)
        connection.execute("INSERT INTO calls (call_id, opened_ms, closed_ms) VALUES ('a', 1, 2)")
        assert steps.step(connection)


def test_what_is_under_way_outlives_its_age(path: Path) -> None:
    clock = ManualClock(wall_ms=T0)

    def order(attempt: str) -> KeptOrder:
        return KeptOrder(
            attempt, "", "user:x", "notify", "csharp", "", "cli", T0, T0 + 9, "ringing", "words"
        )

    async def place() -> None:
        kept = Kept(journal)
        for attempt in ("out-open", "out-told", "out-untold"):
            assert await kept.keep(order(attempt))
        assert await kept.settle("out-told", "busy", "", T0 + 5, tell=False)
        assert await kept.settle("out-untold", "busy", "", T0 + 5, tell=True)

    with journal_at(path, clock, days=1) as journal:
        asyncio.run(place())
        journal.record(CallOpened("long", T0, "csharp", "inbound", CALLER))
        journal.record(EngineTrouble("long", T0, "hear", "slow", False))
        clock.advance(3 * 86_400)
        journal.record(EngineTrouble("long", T0 + 3 * DAY_MS, "hear", "slow", False))
        wait_for(lambda: count(path, "attempts") == 2)
    assert count(path, "attempts", "attempt = 'out-told'") == 0
    assert count(path, "events", "call_id = 'long'") == 2


def test_a_message_that_was_told_leaves_no_copy_beside_a_running_bridge(path: Path) -> None:
    clock = ManualClock(wall_ms=T0)

    def left(*words: str) -> list[str]:
        content = b"".join(file.read_bytes() for file in path.parent.iterdir())
        return [word for word in words if word.encode() in content]

    async def place(attempt: str, message: str, *, tell: bool) -> Kept:
        kept = Kept(journal)
        order = KeptOrder(
            attempt, "", "user:x", "notify", "csharp", "", "cli", T0, T0 + 9, "ringing", message
        )
        assert await kept.keep(order)
        assert left(message) == [message]
        assert await kept.settle(attempt, "busy", "", T0 + 5, tell=tell)
        return kept

    async def tell() -> None:
        kept = await place("out-1", "numbat", tell=True)
        assert left("numbat") == ["numbat"]
        assert await kept.told("out-1")

    with journal_at(path, clock) as journal:
        asyncio.run(place("out-0", "bandicoot", tell=False))
        wait_for(lambda: not left("bandicoot"))
        asyncio.run(tell())
        wait_for(lambda: not left("numbat"))
        # Who reads the journal is not waited for: it is tried again.
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM attempts").fetchall()
            asyncio.run(place("out-2", "wallaby", tell=False))
            journal.record(CallOpened("a", T0, "csharp", "inbound", CALLER))
            wait_for(lambda: journal.queued == 0)
            assert left("wallaby") == ["wallaby"]
        clock.advance(upkeep.WIPE_S)
        journal.record(CallOpened("b", T0, "csharp", "inbound", CALLER))
        wait_for(lambda: not left("wallaby"))
        assert journal.lost == 0


def test_a_call_id_that_came_again_loses_only_its_old_call(path: Path) -> None:
    clock = ManualClock(wall_ms=T0 + DAY_MS)
    with journal_at(path, clock) as journal:
        for record in (*call(1, T0, 3), *call(1, T0 + DAY_MS, 5)):
            journal.record(record)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        assert removal.remove_before(connection, T0 + 500) == 3 + 3
        assert removal.remove_before(connection, T0 + 500) == 0
    assert count(path, "calls") == 1
    assert count(path, "events") == 5
    assert count(path, "decisions") == 1


def test_a_journal_of_the_second_version_is_brought_up_to_date_and_can_shrink(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        for version in schema.MIGRATIONS[:2]:
            for statement in version:
                connection.execute(statement)
        connection.execute(
            "INSERT INTO calls (call_id, opened_ms, closed_ms, direction, reason, turns)"
            " VALUES ('old', ?, ?, 'inbound', 'hangup', 4), ('cut', ?, NULL, 'inbound', '', 0)",
            (T0, T0 + 1000, T0),
        )
        connection.execute(
            "INSERT INTO decisions (call_id, wall_ms, dialect, asked_on, authorized, strategy,"
            " reason, address) VALUES ('no', ?, 'csharp', 'auth_request', 0, 's', 'r', '')",
            (T0 + 1,),
        )
        connection.execute("PRAGMA user_version = 2")
        connection.commit()
        assert connection.execute("PRAGMA auto_vacuum").fetchone() == (0,)
    with pytest.raises(InputError, match="has version 2; this teamscall reads version 3"):
        history.lines(path, history.Wanted())
    with journal_at(path, ManualClock(wall_ms=T0)):
        pass
    found = {line.call_id: line for line in history.lines(path, history.Wanted())}
    assert {name: line.outcome for name, line in found.items()} == {
        "no": "refused",
        "old": "completed",
        "cut": "interrupted",
    }
    assert found["old"].turns == 4
    with readers.reading(path) as connection:
        assert connection.execute("PRAGMA auto_vacuum").fetchone() == (2,)
