"""The journal: what it keeps, what it never keeps, and what it survives."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from teamscall.calls.records import (
    AudioLevels,
    Audited,
    CallAnswered,
    CallClosed,
    CallCounters,
    CallOpened,
    CallRecord,
    CarriedOn,
    Decided,
    EngineTrouble,
    GateChanged,
    Heard,
    Interrupted,
    OutboundProgress,
    ParticipantsSeen,
    Pressed,
    RecordingSeen,
    Said,
    TurnBegan,
    TurnEnded,
    TurnLatency,
    Usage,
)
from teamscall.clock import ManualClock
from teamscall.errors import InputError
from teamscall.journal import readers, rows, schema, store
from teamscall.journal.store import Journal
from teamscall.wire.events import Caller

ANNA = Caller("u-anna", "t-1", "Anna", "anna@example.org", "", "tc-1")
T0 = 1_700_000_000_000
SPOKEN = "zanzibar-sentinel"


def opened(call_id: str = "call-1", at: int = T0) -> CallOpened:
    return CallOpened(call_id, at, "standin", "inbound", ANNA, "192.0.2.1:5", "offline")


def closed(call_id: str = "call-1", at: int = T0 + 9000) -> CallClosed:
    counters = CallCounters(450, 300, 1, 2, 3, 4, 5, 6, 7)
    return CallClosed(call_id, at, "hangup-user", "caller", 9000, counters, "peer closed")


def decided(call_id: str = "call-1") -> Decided:
    return Decided(
        call_id, T0, "csharp", False, "allowlist", "User not in allowlist", ANNA, "auth_request"
    )


def turn_ended(text: str = SPOKEN) -> TurnEnded:
    latency = TurnLatency(800.0, 1100.5, None, 1400.0, 1420.0)
    return TurnEnded(
        "call-1", T0 + 5000, 2, "answer", "interrupted", text, text, 2000, 900, latency
    )


def wait_for(happened: Callable[[], bool]) -> None:
    for _ in range(1000):
        if happened():
            return
        time.sleep(0.01)
    raise AssertionError("it did not happen in 10 s")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "journal.sqlite3"


@contextlib.contextmanager
def journal_at(
    path: Path, clock: ManualClock | None = None, **settings: Any
) -> Iterator[tuple[Journal, list[str]]]:
    warnings: list[str] = []
    journal = Journal(path, clock or ManualClock(), warn=warnings.append, **settings)
    journal.open()
    try:
        yield journal, warnings
    finally:
        assert journal.close(10)


def keep(path: Path, *records: CallRecord) -> None:
    with journal_at(path) as (journal, warnings):
        for record in records:
            journal.record(record)
    assert warnings == []
    assert journal.lost == 0


# --- what is kept -----------------------------------------------------------------


def test_a_call_is_kept_from_its_decision_to_its_end(path: Path) -> None:
    keep(
        path,
        decided(),
        opened(),
        GateChanged("call-1", T0 + 1, True, "active"),
        ParticipantsSeen("call-1", T0 + 2, 1),
        turn_ended(),
        Interrupted("call-1", T0 + 3, 2, "caller", 900, 41.5),
        CarriedOn("call-1", T0 + 3, 2, "backchannel", 310.0),
        EngineTrouble("call-1", T0 + 4, "hear", "worker restarted", False),
        closed(),
    )
    (call,) = readers.calls(path)
    assert (call.call_id, call.opened_ms, call.closed_ms) == ("call-1", T0, T0 + 9000)
    assert (call.dialect, call.direction, call.engine) == ("standin", "inbound", "offline")
    assert (call.reason, call.ended_by, call.detail) == ("hangup-user", "caller", "peer closed")
    assert (call.frames_in, call.frames_out, call.interruptions) == (450, 300, 7)
    assert (call.user_id, call.display_name) == ("u-anna", "Anna")
    (decision,) = readers.decisions(path)
    assert decision.authorized is False
    assert (decision.strategy, decision.reason) == ("allowlist", "User not in allowlist")
    assert (decision.asked_on, decision.tenant_id) == ("auth_request", "t-1")
    (turn,) = readers.turns(path, call_id="call-1")
    assert (turn.status, turn.said_ms, turn.heard_ms) == ("interrupted", 2000, 900)
    assert (turn.transcript_ms, turn.first_text_ms) == (1100.5, None)
    happened = [(event.kind, event.state, event.number) for event in readers.events(path)]
    assert happened == [
        ("trouble", "hear", 0),
        ("carried-on", "backchannel", None),
        ("barge-in", "caller", 900),
        ("participants", "", 1),
        ("gate", "open", None),
    ]


def test_nothing_that_was_said_reaches_the_disk(path: Path) -> None:
    said: tuple[CallRecord, ...] = (
        opened(),
        decided(),
        GateChanged("call-1", T0, False, None),
        Heard("call-1", T0, 1, SPOKEN, False),
        Heard("call-1", T0, 1, SPOKEN, True),
        TurnBegan("call-1", T0, 1, "answer"),
        Said("call-1", T0, 1, SPOKEN),
        turn_ended(SPOKEN),
        Interrupted("call-1", T0, 1, "caller", 1, 1.0),
        CarriedOn("call-1", T0, 1, "noise", 1.0),
        Pressed("call-1", T0, SPOKEN),
        ParticipantsSeen("call-1", T0, 2),
        EngineTrouble("call-1", T0, "hear", "slow", False),
        RecordingSeen("call-1", T0, "active", 0),
        CallAnswered("call-1", T0),
        AudioLevels("call-1", T0, -20.0, -21.0),
        OutboundProgress("call-1", T0, "out-1", "answered", "user:u-anna", "conversation"),
        Audited("call-1", T0, "speak", "socket", "ok"),
        closed(),
    )
    # All of the records there are, so that a new one has to be thought about here.
    assert {type(record) for record in said} == set(CallRecord.__args__)
    with journal_at(path) as (journal, _):
        for record in said:
            journal.record(record)
        wait_for(lambda: journal.written == 13)
        files = sorted(path.parent.iterdir())
        assert files[0] == path
        assert not any(SPOKEN.encode() in file.read_bytes() for file in files)
    assert journal.written == 13
    assert SPOKEN.encode() not in path.read_bytes()


def test_peer_text_is_stored_printable_and_capped(path: Path) -> None:
    rude = Caller("u\x1b[2J", "t", "Bobby\u202e\n" + "x" * 5000, "", "", "\udcff")
    keep(path, CallOpened("c\x07" + "y" * 5000, T0, "csharp", "inbound", rude))
    (call,) = readers.calls(path)
    assert call.user_id == "u [2J"
    assert call.display_name.startswith("Bobby xxx")
    assert len(call.display_name) == 200
    assert len(call.call_id) == 256
    assert call.call_id.isprintable()


def test_numbers_of_a_peer_cannot_break_a_batch(path: Path) -> None:
    keep(path, ParticipantsSeen("call-1", T0, 10**30), closed())
    assert len(readers.calls(path)) == 1


def test_an_end_without_its_beginning_is_kept(path: Path) -> None:
    keep(path, closed())
    (call,) = readers.calls(path)
    assert (call.opened_ms, call.closed_ms, call.dialect) == (T0, T0 + 9000, "")


def test_a_call_id_may_come_again(path: Path) -> None:
    keep(path, opened(), closed(), opened(at=T0 + 20_000), closed(at=T0 + 29_000), opened("other"))
    found = readers.calls(path, call_id="call-1")
    assert [(call.opened_ms, call.closed_ms) for call in found] == [
        (T0 + 20_000, T0 + 29_000),
        (T0, T0 + 9000),
    ]
    assert len(readers.calls(path, limit=2)) == 2


def test_old_records_go_and_open_calls_stay(path: Path) -> None:
    day = 86_400_000
    clock = ManualClock(wall_ms=T0)
    keep(path, opened(), closed(), decided(), turn_ended(), GateChanged("call-1", T0, True, None))
    with journal_at(path, clock, retention_days=30) as (journal, _):
        assert len(readers.calls(path)) == 1
        journal.record(opened("long"))
        wait_for(lambda: journal.written == 1)
        clock.advance(31 * 86_400)
        journal.record(opened("new", at=T0 + 31 * day))
    assert [call.call_id for call in readers.calls(path)] == ["new", "long"]
    assert readers.decisions(path) == []
    assert readers.turns(path) == []
    assert readers.events(path) == []


# --- the file ---------------------------------------------------------------------


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX")
def test_the_file_is_the_owners_alone(path: Path) -> None:
    before = os.umask(0)
    try:
        with journal_at(path) as (journal, _):
            journal.record(opened())
            wait_for(lambda: journal.written == 1)
            modes = {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
            assert modes == {0o600}
            assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    finally:
        os.umask(before)


def test_readers_read_while_it_is_written(path: Path) -> None:
    with journal_at(path) as (journal, _):
        assert readers.calls(path) == []
        journal.record(opened())
        wait_for(lambda: len(readers.calls(path)) == 1)
        assert readers.calls(path)[0].closed_ms is None


def test_readers_cannot_write(path: Path) -> None:
    keep(path, opened())
    with readers.reading(path) as connection, pytest.raises(sqlite3.OperationalError):
        connection.execute("DELETE FROM calls")


def test_a_journal_that_is_not_there_or_none_is_one_clear_error(path: Path) -> None:
    with pytest.raises(InputError, match="There is no journal"):
        readers.calls(path)
    path.parent.mkdir()
    path.write_text("This is a letter, not a journal. " * 100)
    with pytest.raises(InputError, match="cannot be read"):
        readers.calls(path)
    with pytest.raises(InputError, match="is not a journal"):
        Journal(path, ManualClock()).open()


def test_a_newer_journal_is_refused_untouched(path: Path) -> None:
    keep(path, opened())
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert schema.version_of(connection) == schema.VERSION == 3
        connection.execute("PRAGMA user_version = 99")
    for use in (Journal(path, ManualClock()).open, lambda: readers.calls(path)):
        with pytest.raises(InputError, match="has version 99; this teamscall knows up to 3"):
            use()


def test_closing_twice_or_unopened_is_harmless(path: Path) -> None:
    unopened = Journal(path, ManualClock())
    assert unopened.close()
    with journal_at(path) as (journal, warnings):
        assert journal.close()
        assert journal.close()
        journal.record(opened())
        assert journal.lost == 1
        assert warnings == []
    assert not any(thread.name == "journal" for thread in threading.enumerate())


# --- crashes and disks ------------------------------------------------------------


def test_calls_that_a_crash_left_open_are_closed_as_interrupted(path: Path) -> None:
    keep(path, opened(), turn_ended(), opened("quiet", at=T0 + 7), opened("done"), closed("done"))
    keep(path)
    found = {call.call_id: call for call in readers.calls(path)}
    assert found["call-1"].reason == "interrupted"
    assert found["call-1"].ended_by == "bridge"
    assert (found["call-1"].closed_ms, found["call-1"].duration_ms) == (T0 + 5000, 5000)
    assert (found["quiet"].reason, found["quiet"].closed_ms) == ("interrupted", T0 + 7)
    assert found["done"].reason == "hangup-user"


def test_a_silent_call_is_closed_when_the_bridge_was_last_alive(path: Path) -> None:
    clock = ManualClock(wall_ms=T0)
    journal = Journal(path, clock)
    journal.open()
    journal.record(opened())
    wait_for(lambda: journal.written == 1)
    for _ in range(6):
        clock.advance(60)
        assert journal.ask(lambda connection: 1, 0).result(10) == 1  # the writer looks round
    wait_for(lambda: alive_at(path) == T0 + 360_000)
    journal.close()
    keep(path, opened("later", at=T0 + 400_000))  # of the next run, which dies at once
    keep(path)
    found = {call.call_id: call for call in readers.calls(path)}
    assert (found["call-1"].reason, found["call-1"].duration_ms) == ("interrupted", 360_000)
    assert found["later"].closed_ms == T0 + 400_000


def test_no_sign_of_life_is_written_where_no_call_is_open(path: Path) -> None:
    clock = ManualClock(wall_ms=T0)
    journal = Journal(path, clock)
    journal.open()
    journal.record(opened())
    journal.record(closed())
    clock.advance(60)
    assert journal.ask(lambda connection: 1, 0).result(10) == 1
    journal.close()
    assert alive_at(path) is None


def alive_at(path: Path) -> int | None:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        found = connection.execute("SELECT value FROM switches WHERE name = 'alive'").fetchone()
    return int(found[0]) if found else None


WRITER = """
import sys
from pathlib import Path
from teamscall.calls.records import CallOpened
from teamscall.clock import SystemClock
from teamscall.journal.store import Journal
from teamscall.wire.events import Caller
journal = Journal(Path(sys.argv[1]), SystemClock())
journal.open()
for number in range(10**9):
    journal.record(CallOpened(f"c{number}", number, "csharp", "inbound", Caller("u", "t")))
    if journal.written and number % 1000 == 0:
        print(journal.written, flush=True)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_kill_nine_in_the_middle_of_writing_loses_nothing_committed(path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    ) as writer:
        assert writer.stdout is not None
        promised = int(writer.stdout.readline())
        writer.kill()
    assert writer.returncode == -signal.SIGKILL
    keep(path)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        (count,) = connection.execute("SELECT count(*) FROM calls").fetchone()
        (unended,) = connection.execute(
            "SELECT count(*) FROM calls WHERE reason != 'interrupted'"
        ).fetchone()
    assert count >= promised > 0
    assert unended == 0


def test_a_full_disk_costs_records_and_one_warning_and_recovers(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = ManualClock()
    keep(path)
    sound = store.PRAGMAS
    monkeypatch.setattr(store, "PRAGMAS", (*sound, "PRAGMA max_page_count = 25"))
    with journal_at(path, clock) as (journal, warnings):
        for number in range(400):
            journal.record(opened(f"call-{number}"))
        wait_for(lambda: journal.written + journal.lost == 400)
        assert journal.failing
        assert journal.lost > 0
        assert len(warnings) == 1
        assert "cannot be written: database or disk is full" in warnings[0]
        lost = journal.lost
        journal.record(opened("too soon"))  # not tried again yet
        wait_for(lambda: journal.lost == lost + 1)
        clock.advance(store.RETRY_S)
        journal.record(opened("x" * 200))  # tried, perhaps still full: one warning all the same
        wait_for(lambda: journal.written + journal.lost == 402)
        monkeypatch.setattr(store, "PRAGMAS", sound)
        clock.advance(store.RETRY_S)
        for number in range(300):
            journal.record(opened(f"later-{number}"))
        wait_for(lambda: journal.written + journal.lost == 702)
        clock.advance(store.RETRY_S)
        journal.record(opened("last"))
        wait_for(lambda: journal.written + journal.lost == 703)
        wait_for(lambda: not journal.failing)
    assert readers.calls(path)[0].call_id == "last"
    assert warnings[-1].startswith("The journal is written again; ")
    # What the full disk took is not closed as interrupted by its reopening.
    assert all(call.reason == "" for call in readers.calls(path))


@contextlib.contextmanager
def as_nobody() -> Iterator[None]:
    """Root writes everywhere: be somebody else."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="needs POSIX users")
def test_a_read_only_directory_is_a_warning_and_the_calls_go_on() -> None:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        directory.chmod(0o555)
        clock = ManualClock()
        path = directory / "journal.sqlite3"
        with as_nobody(), journal_at(path, clock) as (journal, warnings):
            journal.record(opened())
            wait_for(lambda: journal.lost == 1)
            assert len(warnings) == 1
            assert "Permission denied" in warnings[0]
        assert not path.exists()
        directory.chmod(0o777)
        with as_nobody(), journal_at(path, clock) as (journal, warnings):
            journal.record(opened())
            wait_for(lambda: journal.written == 1)
        directory.chmod(0o777)


def test_a_directory_that_is_a_file_is_a_warning_until_it_is_none(tmp_path: Path) -> None:
    blocked = tmp_path / "data"
    blocked.write_text("")
    clock = ManualClock()
    with journal_at(blocked / "journal.sqlite3", clock) as (journal, warnings):
        journal.record(opened())
        wait_for(lambda: journal.lost == 1)
        blocked.unlink()
        clock.advance(store.RETRY_S)
        journal.record(opened())
        wait_for(lambda: journal.written == 1)
        assert len(warnings) == 2
        assert warnings[1] == "The journal is written again; call records lost: 1"


def test_a_hanging_disk_fills_a_bounded_queue_and_holds_up_no_exit(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(path)
    hung, go_on = threading.Event(), threading.Event()
    insert = rows.insert

    def hang(connection: sqlite3.Connection, record: rows.Written) -> None:
        hung.set()
        assert go_on.wait(10)
        insert(connection, record)

    monkeypatch.setattr(store, "insert", hang)
    with journal_at(path, queue_records=10) as (journal, warnings):
        journal.record(opened())
        assert hung.wait(10)
        for _ in range(100):
            journal.record(decided())
        assert journal.lost == 90
        assert warnings == ["The journal cannot keep up; call records are lost"]
        assert not journal.close(0.01)
        go_on.set()
        assert journal.close(10)
    assert len(readers.decisions(path)) == 10


def test_what_is_queued_is_written_at_close(path: Path) -> None:
    keep(path, *(opened(f"call-{number}") for number in range(1000)))
    assert len(readers.calls(path, limit=2000)) == 1000


def test_what_was_used_is_kept_by_turn_and_by_call(path: Path) -> None:
    thought = Usage("think", "gpt-6-luna", 900, 100, 40, cost=0.0061, currency="USD")
    heard = Usage("hear", "ear", audio_in_s=1.5)
    turn = msgspec.structs.replace(turn_ended(), usage=(thought,))
    end = msgspec.structs.replace(closed(), usage=(thought, heard))
    keep(path, opened(), turn, end)
    rows = [(row.turn, row.stage, row.input_tokens, row.cost) for row in readers.usage(path)]
    assert rows == [
        (0, "hear", 0, None),
        (0, "think", 900, 0.0061),
        (2, "think", 900, 0.0061),
    ]
    assert readers.usage(path)[0].audio_in_s == 1.5


def test_a_journal_of_the_first_version_is_brought_up_to_date(path: Path) -> None:
    path.parent.mkdir(parents=True)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        for statement in schema.MIGRATIONS[0]:
            connection.execute(statement)
        connection.execute(
            "INSERT INTO calls (call_id, opened_ms, closed_ms, interruptions) VALUES (?, 1, 2, 3)",
            ("old",),
        )
        connection.execute("PRAGMA user_version = 1")
        connection.commit()
    with pytest.raises(InputError, match="version 1"):
        readers.calls(path)
    keep(path, opened(), closed())
    assert [call.call_id for call in readers.calls(path)] == ["call-1", "old"]
    assert readers.calls(path)[1].interruptions == 3
