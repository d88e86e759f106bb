"""Transcripts: what reaches the file, decided at the moment in which it was said."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from teamscall.calls.records import (
    CallClosed,
    CallCounters,
    CallOpened,
    CallRecord,
    GateChanged,
    Heard,
    Pressed,
    RecordingSeen,
    TurnBegan,
    TurnEnded,
    TurnKind,
    TurnLatency,
)
from teamscall.clock import ManualClock
from teamscall.journal.spoken import Keep
from teamscall.journal.store import Journal
from teamscall.wire.events import Caller

T0 = 1_700_000_000_000
C = "call-1"


def opened(call_id: str = C) -> CallOpened:
    return CallOpened(call_id, T0, "standin", "inbound", Caller("u", "t"))


def closed(call_id: str = C) -> CallClosed:
    return CallClosed(call_id, T0 + 9, "hangup", "caller", 9, CallCounters())


def heard(text: str, utterance: int) -> Heard:
    return Heard(C, T0, utterance, text, True)


def began(turn: int, kind: TurnKind = "answer") -> TurnBegan:
    return TurnBegan(C, T0, turn, kind)


def ended(turn: int, text: str, kind: TurnKind = "answer", said_ms: int = 900) -> TurnEnded:
    part = text[: len(text) // 2]
    return TurnEnded(C, T0, turn, kind, "interrupted", text, part, said_ms, 400, TurnLatency())


@contextlib.contextmanager
def kept(path: Path, keep: Keep, *records: CallRecord) -> Iterator[str]:
    """Every byte of the files while the journal is open, as text."""
    journal = Journal(path, ManualClock(), transcripts=keep)
    journal.open()
    try:
        for record in records:
            journal.record(record)
        journal.ask(lambda _: True, False).result(10)
        files = sorted(path.parent.glob(f"{path.name}*"))
        assert len(files) == 3  # with -wal and -shm
        yield "".join(file.read_bytes().decode("latin-1") for file in files)
        assert journal.lost == 0
    finally:
        assert journal.close(10)


def rows(path: Path) -> list[tuple[object, ...]]:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        names = "speaker, turn, status, text, heard"
        return connection.execute(f"SELECT {names} FROM transcripts ORDER BY id").fetchall()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.sqlite3"


TALK: tuple[CallRecord, ...] = (
    opened(),
    RecordingSeen(C, T0, "active", 0),
    GateChanged(C, T0, True, "active"),
    Heard(C, T0, 1, "partial-xanadu", False),
    heard("caller-zanzibar", 1),
    began(1),
    ended(1, "bot-timbuktu"),
    Pressed(C, T0, "9"),
    began(2, "digit"),
    ended(2, "pressed-nine", "digit"),
    began(3),
    ended(3, "thought-unsaid", said_ms=0),
    closed(),
)


def test_off_not_a_word_reaches_the_files(path: Path) -> None:
    with kept(path, "off", *TALK) as found:
        assert C in found
        for word in ("zanzibar", "timbuktu", "xanadu", "nine", "unsaid"):
            assert word not in found
    assert rows(path) == []
    assert b"zanzibar" not in path.read_bytes()


@pytest.mark.parametrize("keep", ["on", "when-recorded"])
def test_what_was_said_is_kept_and_digits_and_thoughts_are_not(path: Path, keep: Keep) -> None:
    with kept(path, keep, *TALK) as found:
        assert "caller-zanzibar" in found
        for word in ("xanadu", "nine", "unsaid"):
            assert word not in found
    assert rows(path) == [
        ("caller", None, "", "caller-zanzibar", ""),
        ("bot", 1, "interrupted", "bot-timbuktu", "bot-ti"),
    ]


def test_when_recorded_only_while_the_status_is_active(path: Path) -> None:
    talk: tuple[CallRecord, ...] = (
        opened(),
        RecordingSeen(C, T0, "inactive", 0),
        began(1, "greeting"),
        heard("before", 1),
        ended(1, "greeting-before", "greeting"),
        began(2),
        # Utterance 2 has begun, its words come later.
        RecordingSeen(C, T0, "active", 2),
        heard("straddling", 2),
        ended(2, "bot-straddling"),
        heard("caller-within", 3),
        began(3),
        ended(3, "bot-within"),
        began(4),
        RecordingSeen(C, T0, "unknown", 3),
        ended(4, "bot-cut-by-the-end"),
        heard("caller-after", 4),
        began(5),
        RecordingSeen(C, T0, "active", 4),
        heard("caller-of-before", 4),
        ended(5, "bot-of-before"),
        heard("caller-again", 5),
    )
    with kept(path, "when-recorded", *talk) as found:
        for word in ("before", "straddling", "after", "cut-by"):
            assert word not in found
    assert [row[3] for row in rows(path)] == ["caller-within", "bot-within", "caller-again"]


def test_when_recorded_keeps_nothing_of_a_call_without_a_status(path: Path) -> None:
    with kept(path, "when-recorded", opened(), heard("secret", 1), began(1), ended(1, "secret")):
        pass
    assert rows(path) == []


def test_on_needs_an_open_gate_and_no_status(path: Path) -> None:
    talk: tuple[CallRecord, ...] = (
        opened(),
        heard("no-gate", 1),
        GateChanged(C, T0, False, "inactive"),
        began(1),
        heard("closed", 2),
        ended(1, "bot-closed"),
        began(2),
        GateChanged(C, T0, True, "active"),
        ended(2, "bot-straddling"),
        heard("open", 3),
    )
    with kept(path, "on", *talk):
        pass
    assert [row[3] for row in rows(path)] == ["no-gate", "open"]


def test_a_call_that_was_not_seen_opening_or_is_over_keeps_nothing(path: Path) -> None:
    with kept(
        path, "on", heard("early", 1), opened(), closed(), heard("late", 2), ended(9, "late")
    ):
        pass
    assert rows(path) == []


def test_another_mode_counts_for_what_begins_after_it(path: Path) -> None:
    journal = Journal(path, ManualClock(), transcripts="off")
    journal.open()
    journal.record(opened())
    journal.record(began(1))
    journal.reconfigure(retention_days=0, max_mb=0, transcripts="on")
    journal.record(ended(1, "begun-before"))
    journal.record(heard("heard-after", 1))
    journal.record(began(2))
    journal.reconfigure(retention_days=0, max_mb=0, transcripts="off")
    journal.record(ended(2, "ended-after"))
    journal.record(heard("off-again", 2))
    assert journal.close(10)
    assert [row[3] for row in rows(path)] == ["heard-after"]


def test_words_are_printable_and_capped(path: Path) -> None:
    with kept(path, "on", opened(), heard("a\x1b[2Jb\u202e" + "x" * 50_000, 1)):
        pass
    ((_, _, _, text, _),) = rows(path)
    assert isinstance(text, str)
    assert text.startswith("a [2Jb x")
    assert text.isprintable()
    assert len(text) == 20_000
