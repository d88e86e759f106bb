"""Forgetting calls for good, beside a running bridge or without one.

Rule 1: rows go from every table, in short transactions that a running bridge waits for.
Rule 2: then the file is written anew and its log emptied: ``secure_delete`` blanks what it
deletes, and not what was moved within a page, or deleted before it was on.
Rule 3: a running call is never forgotten.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import msgspec

from teamscall.errors import InputError
from teamscall.journal import schema
from teamscall.journal.readers import reading
from teamscall.journal.removal import remove_before, remove_everything_of
from teamscall.journal.whole import resolve
from teamscall.text import printable

# How long the bridge's writer, or a reader, is waited for.
BUSY_S = 10.0


class Forgotten(msgspec.Struct, frozen=True):
    """What went. ``traces``: why copies may be left in unused parts of the file; blank:
    there are none."""

    calls: int
    rows: int
    traces: str = ""


class Doomed(msgspec.Struct, frozen=True):
    """What is to be forgotten: one id, or ``calls`` before a moment."""

    calls: int
    call_id: str = ""
    attempt: str = ""
    before_ms: int = 0


def doomed_call(path: Path, given: str) -> Doomed:
    """The call that ``given`` means, abbreviated or not.

    Raises:
        InputError: no call or several begin so, it is running, or the journal cannot be read.
    """
    with reading(path) as connection:
        call_id, attempt = resolve(connection, given)
        _refuse_running(connection, call_id, attempt)
        (calls,) = connection.execute(
            "SELECT count(*) FROM calls WHERE call_id = ?", (call_id,)
        ).fetchone()
        return Doomed(max(1, calls), call_id, attempt)


def doomed_before(path: Path, before_ms: int) -> Doomed:
    """Every ended call that began before that moment, and every refusal. Raises as
    ``doomed_call``."""
    with reading(path) as connection:
        (calls,) = connection.execute(
            "SELECT count(*) FROM calls WHERE opened_ms < ? AND closed_ms IS NOT NULL",
            (before_ms,),
        ).fetchone()
    return Doomed(calls, before_ms=before_ms)


def forget(path: Path, doomed: Doomed) -> Forgotten:
    """Remove it from the file. Takes as long as writing the whole file anew.

    Raises:
        InputError: the call is running, or the journal cannot be written.
    """
    rows = 0
    with _writing(path) as connection:
        if doomed.before_ms:
            while removed := _remove_before(connection, doomed.before_ms):
                rows += removed
        else:
            with _transaction(connection):
                _refuse_running(connection, doomed.call_id, doomed.attempt)
                rows = remove_everything_of(connection, doomed.call_id, doomed.attempt)
        return Forgotten(doomed.calls, rows, _clean(connection))


def _remove_before(connection: sqlite3.Connection, before_ms: int) -> int:
    with _transaction(connection):
        return remove_before(connection, before_ms)


def _clean(connection: sqlite3.Connection) -> str:
    """Leave no copy anywhere; why there may be one all the same."""
    try:
        connection.execute("VACUUM")
        busy, *_ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    except sqlite3.Error as error:
        return printable(str(error))
    return "somebody is reading the journal" if busy else ""


def _refuse_running(connection: sqlite3.Connection, call_id: str, attempt: str) -> None:
    running = connection.execute(
        "SELECT 1 FROM calls WHERE call_id = ? AND closed_ms IS NULL", (call_id,)
    ).fetchone()
    placing = connection.execute(
        "SELECT 1 FROM attempts WHERE attempt = ? AND ended_ms IS NULL", (attempt,)
    ).fetchone()
    if running or placing:  # a crash leaves such rows too; the next start ends them
        raise InputError(
            f"The call {call_id or attempt} is running.",
            hint="End it first. After a crash of the bridge, start it once: it closes the record.",
        )


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


@contextmanager
def _writing(path: Path) -> Iterator[sqlite3.Connection]:
    try:
        connection = sqlite3.connect(
            f"file:{quote(str(path.absolute()))}?mode=rw",
            uri=True,
            timeout=BUSY_S,
            isolation_level=None,
        )
        try:
            schema.refuse_newer(connection, path)
            schema.refuse_older(connection, path)
            for pragma in ("secure_delete = ON", "auto_vacuum = INCREMENTAL"):
                connection.execute(f"PRAGMA {pragma}").fetchall()
            yield connection
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise InputError(
            f"The journal {path} cannot be written: {printable(str(error))}."
        ) from error
