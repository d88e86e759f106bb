"""The journal's writing end: call records into SQLite, from a thread of its own.

Rule 1: ``record`` never blocks and never raises; a full queue costs the record, counted.
Rule 2: a full or failing disk costs records, counted, with one warning; the file is
opened again later and the calls go on meanwhile.
Rule 3: what was said is queued only where it is to be kept, and digits never.
"""

from __future__ import annotations

import os
import queue
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

import platformdirs

from teamscall.calls.records import CallRecord
from teamscall.clock import Clock
from teamscall.errors import InputError
from teamscall.journal import schema
from teamscall.journal.rows import Written, insert
from teamscall.journal.spoken import Keep, Words
from teamscall.journal.upkeep import ALIVE, ALIVE_S, Upkeep
from teamscall.text import printable

FILE_NAME = "journal.sqlite3"

# A call writes a few records per turn: this is minutes of a busy bridge.
QUEUE_RECORDS = 4096
# One commit for what came meanwhile; a commit costs an fsync at most per checkpoint.
BATCH_RECORDS = 256
# A disk that failed is not asked again for this long.
RETRY_S = 5.0
# A writer with nothing to write looks this often whether something is to be removed, and
# leaves its sign of life.
IDLE_S = ALIVE_S

# INCREMENTAL: room can be given back without writing the file anew; it has to come first.
# WAL: readers never stop the writer. NORMAL: a power cut may cost the last records, a
# crash of ours none, and the file stays sound in both. Busy: `calls forget` may write the
# whole file anew meanwhile; nobody but this thread waits.
PRAGMAS: tuple[str, ...] = (
    "PRAGMA auto_vacuum = INCREMENTAL",
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = NORMAL",
    "PRAGMA secure_delete = ON",
    "PRAGMA journal_size_limit = 8000000",
    "PRAGMA busy_timeout = 30000",
)

_MB = 1_000_000

T = TypeVar("T")
Warn = Callable[[str], None]


def default_path() -> Path:
    """Where the journal is when ``journal.path`` is empty."""
    return Path(platformdirs.user_data_dir("teamscall", appauthor=False)) / FILE_NAME


class _Job:
    """Something to be done with the connection, and whoever waits for what came of it."""

    def __init__(
        self, do: Callable[[sqlite3.Connection], Any], otherwise: Any, removes: bool
    ) -> None:
        self.do = do
        self.removes = removes
        self.answer: Future[Any] = Future()
        self._otherwise = otherwise

    def give_up(self) -> None:
        """Answer, unless it was answered."""
        if not self.answer.done():
            self.answer.set_result(self._otherwise)


class Journal:
    """One journal file and its writer.

    Args:
        path: the SQLite file; it and its directory are made if they are not there.
        clock: its wall clock ages records, its monotonic one spaces retries.
        warn: told in one line when records begin to be lost, and when that is over;
            called from the writer's thread too.
        retention_days: older records are removed; 0 keeps all.
        max_mb: the oldest calls are removed when the file is larger; 0 is no limit.
        transcripts: what of the words is kept, see ``spoken``.
        queue_records: how many records may wait for the disk.
    """

    def __init__(
        self,
        path: Path,
        clock: Clock,
        *,
        warn: Warn | None = None,
        retention_days: int = 0,
        max_mb: int = 0,
        transcripts: Keep = "off",
        queue_records: int = QUEUE_RECORDS,
    ) -> None:
        self._path = path
        self._clock = clock
        self._warn = warn or (lambda _: None)
        self._words = Words(transcripts)
        self._upkeep = Upkeep(clock, retention_days=retention_days, max_bytes=max_mb * _MB)
        # None ends the writer. One more place, so that it always fits.
        self._queue: queue.Queue[Written | _Job | None] = queue.Queue(queue_records + 1)
        self._queue_records = queue_records
        self._connection: sqlite3.Connection | None = None
        self._retry_at = 0.0
        self._recovered_open_calls = False
        self._failing = False  # of the disk: the writer's
        self._overflowing = False  # of the queue: the recorder's
        self._overflowed = 0
        self._failed = 0
        self._written = 0
        self._closed = False
        self._writer = threading.Thread(target=self._write_all, name="journal", daemon=True)

    @property
    def path(self) -> Path:
        return self._path

    @property
    def lost(self) -> int:
        """Records that did not reach the disk."""
        return self._overflowed + self._failed

    @property
    def written(self) -> int:
        """Records that did."""
        return self._written

    @property
    def queued(self) -> int:
        """Records that wait for the disk."""
        return self._queue.qsize()

    @property
    def failing(self) -> bool:
        """Whether the disk refuses records now."""
        return self._failing

    def open(self) -> None:
        """Open the file and start the writer. Calls that a crash left open are closed as
        ``interrupted``. A disk that cannot be written now is a warning, not an error.

        Raises:
            InputError: the file is no journal, or a newer teamscall wrote it.
        """
        self._ready()
        self._writer.start()

    def reconfigure(self, *, retention_days: int, max_mb: int, transcripts: Keep) -> None:
        """Other limits from now on. Words are kept of what begins after this."""
        self._words.keep = transcripts
        self._upkeep.retention_days = retention_days
        self._upkeep.max_bytes = max_mb * _MB
        self._upkeep.look_now()

    def record(self, record: CallRecord) -> None:
        """Keep a record. Never blocks, never raises. Of speech only what may be kept."""
        wordless, spoken = self._words.sift(record)
        if isinstance(wordless, Written):
            self._put(wordless)
        if spoken is not None:
            self._put(spoken)

    def _put(self, record: Written) -> None:
        try:
            if self._closed or self._queue.qsize() >= self._queue_records:
                raise queue.Full
            self._queue.put_nowait(record)
        except queue.Full:
            self._overflowed += 1
            if not self._overflowing and not self._closed:
                self._overflowing = True
                self._warn("The journal cannot keep up; call records are lost")
        else:
            self._overflowing = False

    def ask(
        self, do: Callable[[sqlite3.Connection], T], otherwise: T, *, removes: bool = False
    ) -> Future[T]:
        """Do something in the writer's thread, in a transaction, and durably: once the answer
        is there it is on the disk. ``otherwise`` is the answer where that cannot be.
        ``removes``: words are, and no copy of them is to stay."""
        job = _Job(do, otherwise, removes)
        if self._closed or self._queue.qsize() >= self._queue_records:
            job.give_up()
        else:
            self._queue.put_nowait(job)
        return job.answer

    def close(self, deadline_s: float = 2.0) -> bool:
        """Write what is queued and close the file; True if all of that was done in time.

        Idempotent. A writer that hangs on its disk is left behind: it holds up no exit.
        """
        if not self._closed:
            self._closed = True
            self._queue.put_nowait(None)
        if self._writer.ident is None:  # never opened
            return True
        self._writer.join(deadline_s)
        return not self._writer.is_alive()

    # --- the writer's thread ------------------------------------------------------

    def _write_all(self) -> None:
        ended = more = False
        while not ended:
            batch: list[Written | _Job] = []
            try:
                taken = self._queue.get(timeout=0 if more else IDLE_S)
            except queue.Empty:
                more = self._tidy()
                continue
            while taken is not None and len(batch) < BATCH_RECORDS:
                batch.append(taken)
                if len(batch) == BATCH_RECORDS or self._queue.empty():
                    break
                taken = self._queue.get_nowait()
            ended = taken is None
            if batch:
                self._write(batch)
                more = self._tidy()
        self._let_go()

    def _tidy(self) -> bool:
        """Remove a little of what is too old or too much; whether there is more of it."""
        if self._connection is None:
            return False
        try:
            return self._upkeep.step(self._connection)
        except sqlite3.Error as error:
            self._fail(error)
            return False

    def _write(self, batch: list[Written | _Job]) -> None:
        answers: list[tuple[_Job, Any]] = []
        try:
            self._write_in_one(batch, answers)
        finally:
            for job, answer in answers:
                job.answer.set_result(answer)
            for one in batch:
                if isinstance(one, _Job):
                    one.give_up()

    def _write_in_one(self, batch: list[Written | _Job], answers: list[tuple[_Job, Any]]) -> None:
        connection = self._usable()
        if connection is None:
            self._failed += len(batch)
            return
        given: list[tuple[_Job, Any]] = []
        try:
            connection.execute("BEGIN IMMEDIATE")
            for one in batch:
                if isinstance(one, _Job):
                    given.append((one, one.do(connection)))
                else:
                    insert(connection, one)
            connection.execute("COMMIT")
        except (sqlite3.Error, OverflowError) as error:
            self._fail(error)
            self._failed += len(batch)
            return
        answers += given
        if any(job.removes for job, _ in given):
            self._upkeep.wipe()
        if self._failing:
            self._failing = False
            self._warn(f"The journal is written again; call records lost: {self.lost}")
        self._written += len(batch) - len(given)

    def _usable(self) -> sqlite3.Connection | None:
        if self._connection is None and self._clock.now() < self._retry_at:
            return None
        try:
            self._ready()
        except InputError as error:
            self._fail(error)
        return self._connection

    def _ready(self) -> None:
        """Open the file unless it is open."""
        try:
            if self._connection is None:
                self._connection = _connect(self._path)
                schema.migrate(self._connection, self._path)
                self._make_shrinkable(self._connection)
            if not self._recovered_open_calls:
                _close_interrupted(self._connection)
                self._recovered_open_calls = True
        except (OSError, sqlite3.OperationalError) as error:
            self._fail(error)
        except sqlite3.DatabaseError as error:
            self._let_go()
            raise InputError(
                f"{self._path} is not a journal: {printable(str(error))}.",
                hint="Move the file away, or set journal.path.",
            ) from error
        except InputError:
            self._let_go()
            raise

    def _make_shrinkable(self, connection: sqlite3.Connection) -> None:
        """A file of an older version gives no room back before it is written anew, once."""
        if connection.execute("PRAGMA auto_vacuum").fetchone()[0] != 0:
            return
        try:
            connection.execute("VACUUM")
        except sqlite3.OperationalError as error:  # no room for a copy, or it is being read
            why = printable(str(error))
            self._warn(f"The journal {self._path} cannot be made smaller yet: {why}")

    def _fail(self, error: Exception) -> None:
        self._let_go()
        self._retry_at = self._clock.now() + RETRY_S
        if not self._failing:
            self._failing = True
            self._warn(
                f"The journal {self._path} cannot be written: {printable(str(error))}; "
                "call records are lost until it can"
            )

    def _let_go(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.close()  # rolls back what is not committed
            except sqlite3.Error as error:
                self._warn(f"The journal did not close well: {printable(str(error))}")


def _connect(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # SQLite would make it with the umask's mode; its -wal and -shm follow this one's.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        for pragma in PRAGMAS:
            connection.execute(pragma).fetchall()
    except sqlite3.Error:
        connection.close()
        raise
    return connection


# --- upkeep -----------------------------------------------------------------------


def _close_interrupted(connection: sqlite3.Connection) -> None:
    """End the calls that nobody ended, at the last moment that is known of them."""
    connection.execute(
        """
        UPDATE calls SET reason = 'interrupted', ended_by = 'bridge', closed_ms = max(
            opened_ms,
            coalesce(answered_ms, 0),
            coalesce((SELECT CAST(value AS INTEGER) FROM switches WHERE name = ?), 0),
            coalesce((SELECT max(wall_ms) FROM turns
                WHERE turns.call_id = calls.call_id), 0),
            coalesce((SELECT max(wall_ms) FROM events
                WHERE events.call_id = calls.call_id), 0))
        WHERE closed_ms IS NULL
        """,
        (ALIVE,),
    )
    connection.execute(
        "UPDATE calls SET duration_ms = closed_ms - opened_ms"
        " WHERE reason = 'interrupted' AND duration_ms = 0"
    )
