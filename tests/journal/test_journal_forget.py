"""Forgetting: not a byte is left, beside a running bridge or without one."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Iterator
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
    Heard,
    TurnBegan,
    TurnEnded,
    TurnLatency,
    Usage,
)
from teamscall.clock import ManualClock
from teamscall.errors import InputError
from teamscall.journal import forget, history, readers, schema
from teamscall.journal.kept import Kept, KeptOrder
from teamscall.journal.store import Journal
from teamscall.wire.events import Caller

T0 = 1_700_000_000_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.sqlite3"


def call(name: str, at: int, word: str = "", ends: bool = True) -> Iterator[CallRecord]:
    who = Caller(f"user-of-{name}", "t", f"Name of {name}")
    word = word or f"words of {name}"
    yield Decided(name, at, "csharp", True, "open", "", who, "session_start")
    yield CallOpened(name, at, "csharp", "outbound", who)
    for turn in range(1, 4):
        yield Heard(name, at + 1, turn, word, True)
        yield TurnBegan(name, at + 1, turn, "answer")
        yield TurnEnded(
            name, at + 2, turn, "answer", "completed", word, word, 9, 9, TurnLatency(1.0),
            (Usage("think", f"model-of-{name}"),),
        )  # fmt: skip
    yield EngineTrouble(name, at + 2, "hear", f"trouble of {name}", False)
    yield Audited(name, at + 2, "speak", "socket", "ok", f"audit of {name}")
    if ends:
        yield CallClosed(name, at + 3, "hangup", "caller", 3, CallCounters())


@contextlib.contextmanager
def bridge(path: Path, *records: CallRecord) -> Iterator[Journal]:
    """The writer of a running bridge, with these on the disk."""
    warnings: list[str] = []
    journal = Journal(path, ManualClock(), transcripts="on", warn=warnings.append)
    journal.open()
    try:
        for record in records:
            journal.record(record)
        assert journal.ask(lambda _: True, False).result(10)
        yield journal
        assert warnings == []
        assert journal.lost == 0
    finally:
        assert journal.close(10)


def traces(path: Path, *words: str) -> list[str]:
    """Which words are anywhere in the file, its log or its index."""
    content = b"".join(file.read_bytes() for file in path.parent.iterdir())
    return [word for word in words if word.encode() in content]


WORDS = ("secret-id", "user-of-secret", "zanzibar", "trouble of secret", "audit of secret")


def place(journal: Journal, attempt: str, call_id: str, message: str, *, ended: bool) -> None:
    async def run() -> None:
        kept = Kept(journal)
        order = KeptOrder(
            attempt, call_id, "user:callee-9", "notify", "csharp", "", "cli",
            T0, T0 + 9, "ringing", message,
        )  # fmt: skip
        assert await kept.keep(order)
        if ended:
            assert await kept.settle(attempt, "busy", "", T0 + 5, tell=True)

    asyncio.run(run())


@pytest.mark.parametrize("beside", [True, False])
def test_nothing_of_a_forgotten_call_is_left_anywhere(path: Path, beside: bool) -> None:
    records = [
        *(record for number in range(40) for record in call(f"other-{number}", T0 + number)),
        *call("secret-id", T0 + 7, "zanzibar"),
        *(record for number in range(40, 90) for record in call(f"other-{number}", T0 + number)),
    ]
    with contextlib.ExitStack() as stack:
        journal = stack.enter_context(bridge(path, *records))
        place(journal, "out-0123456789ab", "secret-id", "zanzibar message", ended=True)
        if not beside:
            stack.close()
        assert traces(path, *WORDS) == list(WORDS)
        with readers.reading(path) as connection:  # every table knows something of it
            for table, _ in schema.TIMED:
                query = f"SELECT count(*) FROM {table} WHERE call_id = 'secret-id'"
                assert connection.execute(query).fetchone()[0] > 0, table
        done = forget.forget(path, forget.doomed_call(path, "secr"))
        assert (done.calls, done.traces) == (1, "")
        assert done.rows == 1 + 1 + 3 + 1 + 3 + 1 + 1 + 6
        assert traces(path, *WORDS, "out-0123456789ab", "callee-9") == []
        assert len(history.lines(path, history.Wanted(limit=1000))) == 90
        if beside:  # and the bridge goes on as if nothing had been
            for record in call("after", T0 + 99):
                journal.record(record)
            assert journal.ask(lambda _: True, False).result(10)
    assert traces(path, *WORDS) == []
    assert bool(readers.calls(path, call_id="after")) is beside


def test_all_before_a_moment(path: Path) -> None:
    old = Decided("refused-old", T0 - 9, "csharp", False, "x", "", Caller("u", "t"), "auth_request")
    records = [
        old,
        *(record for number in range(200) for record in call(f"old-{number}", T0 + number)),
        *call("running", T0, ends=False),
        *call("new", T0 + 5000),
    ]
    with bridge(path, *records):
        doomed = forget.doomed_before(path, T0 + 1000)
        assert doomed.calls == 200
        done = forget.forget(path, doomed)
        assert (done.calls, done.traces) == (200, "")
        assert traces(path, "old-", "words of old", "refused-old") == []
        left = [line.call_id for line in history.lines(path, history.Wanted())]
        assert left == ["new", "running"]
        assert len(readers.turns(path, call_id="running")) == 3


def test_a_running_call_is_not_forgotten(path: Path) -> None:
    with bridge(path, *call("running", T0, ends=False)) as journal:
        with pytest.raises(InputError, match="The call running is running"):
            forget.doomed_call(path, "runn")
        # Nor is one that began to run after it was asked for.
        with pytest.raises(InputError, match="is running"):
            forget.forget(path, forget.Doomed(1, "running"))
        place(journal, "out-feed", "", "words", ended=False)
        with pytest.raises(InputError, match="The call out-feed is running"):
            forget.doomed_call(path, "out-feed")
    assert len(readers.turns(path, call_id="running")) == 3


def test_an_abbreviated_id_must_be_the_only_one(path: Path) -> None:
    with bridge(path, *call("abcd-1", T0), *call("abcd-2", T0), *call("abcd", T0)):
        with pytest.raises(InputError, match=r"begin with abcd-: abcd-1, abcd-2\."):
            forget.doomed_call(path, "abcd-")
        with pytest.raises(InputError, match="no call's whole id"):
            forget.doomed_call(path, "abc")
        with pytest.raises(InputError, match="knows no call zzzz"):
            forget.doomed_call(path, "zzzz")
        with pytest.raises(InputError, match="No call is named"):
            forget.doomed_call(path, " ")
        assert forget.doomed_call(path, "abcd").call_id == "abcd"  # in full it is none other
        assert forget.doomed_call(path, "abcd-1").call_id == "abcd-1"


def test_a_reader_that_holds_the_log_is_told_of(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forget, "BUSY_S", 0.05)
    with bridge(path, *call("secret-id", T0), *call("other", T0)):
        with readers.reading(path) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT * FROM calls").fetchone()
            done = forget.forget(path, forget.doomed_call(path, "secret-id"))
            assert done.traces == "somebody is reading the journal"
        assert forget.forget(path, forget.Doomed(1, "secret-id")).traces == ""
        assert traces(path, "secret-id") == []


def test_a_journal_that_is_locked_is_a_clear_error(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forget, "BUSY_S", 0.05)
    with bridge(path, *call("secret-id", T0)):
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(InputError, match="cannot be written: database is locked"):
                forget.forget(path, forget.doomed_call(path, "secret-id"))
        assert readers.calls(path, call_id="secret-id")
