"""The journal's writing end: call records into SQLite, from a thread of its own.

Rule 1: ``record`` never blocks and never raises; a full queue costs the record, counted.
Rule 2: a full or failing disk costs records, counted, with one warning; the file is
opened again later and the calls go on meanwhile.
Rule 3: what was said is not even queued: no transcript, no answer, no digit.
"""

from __future__ import annotations

import os
import queue
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec
import platformdirs

from teamscall.calls.records import (
    CallClosed,
    CallOpened,
    CallRecord,
    CarriedOn,
    Decided,
    EngineTrouble,
    GateChanged,
    Interrupted,
    ParticipantsSeen,
    TurnEnded,
)
from teamscall.clock import Clock
from teamscall.errors import InputError
from teamscall.journal import schema
from teamscall.text import printable
from teamscall.wire.events import Caller

FILE_NAME = "journal.sqlite3"

# A call writes a few records per turn: this is minutes of a busy bridge.
QUEUE_RECORDS = 4096
# One commit for what came meanwhile; a commit costs an fsync at most per checkpoint.
BATCH_RECORDS = 256
# A disk that failed is not asked again for this long.
RETRY_S = 5.0
# Old records are looked for this often.
PRUNE_S = 3600.0

# WAL: readers never stop the writer. NORMAL: a power cut may cost the last records, a
# crash of ours none, and the file stays sound in both.
PRAGMAS: tuple[str, ...] = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = NORMAL",
    "PRAGMA busy_timeout = 2000",
)

_MAX_ID = 256  # StandIn's call ids are the longest, 256
_MAX_TEXT = 200
_MAX_COUNT = 1_000_000  # the peer's number; SQLite's integers have an end
_DAY_MS = 86_400_000

_Row = dict[str, str | int | float | None]
_Written = (
    Decided
    | CallOpened
    | CallClosed
    | GateChanged
    | EngineTrouble
    | Interrupted
    | CarriedOn
    | ParticipantsSeen
    | TurnEnded
)
Warn = Callable[[str], None]


def default_path() -> Path:
    """Where the journal is when ``journal.path`` is empty."""
    return Path(platformdirs.user_data_dir("teamscall", appauthor=False)) / FILE_NAME


class Journal:
    """One journal file and its writer.

    Args:
        path: the SQLite file; it and its directory are made if they are not there.
        clock: its wall clock ages records, its monotonic one spaces retries.
        warn: told in one line when records begin to be lost, and when that is over;
            called from the writer's thread too.
        retention_days: older records are removed; 0 keeps all.
        queue_records: how many records may wait for the disk.
    """

    def __init__(
        self,
        path: Path,
        clock: Clock,
        *,
        warn: Warn | None = None,
        retention_days: int = 0,
        queue_records: int = QUEUE_RECORDS,
    ) -> None:
        self._path = path
        self._clock = clock
        self._warn = warn or (lambda _: None)
        self._retention_days = retention_days
        # None ends the writer. One more place, so that it always fits.
        self._queue: queue.Queue[_Written | None] = queue.Queue(queue_records + 1)
        self._queue_records = queue_records
        self._connection: sqlite3.Connection | None = None
        self._retry_at = 0.0
        self._prune_at = 0.0
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

    def record(self, record: CallRecord) -> None:
        """Keep a record. Never blocks, never raises; records of speech are passed over."""
        if not isinstance(record, _Written):
            return
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
        ended = False
        while not ended:
            batch: list[_Written] = []
            taken = self._queue.get()
            while taken is not None and len(batch) < BATCH_RECORDS:
                batch.append(taken)
                if len(batch) == BATCH_RECORDS or self._queue.empty():
                    break
                taken = self._queue.get_nowait()
            ended = taken is None
            if batch:
                self._write(batch)
        self._let_go()

    def _write(self, batch: list[_Written]) -> None:
        connection = self._usable()
        if connection is None:
            self._failed += len(batch)
            return
        try:
            connection.execute("BEGIN IMMEDIATE")
            for record in batch:
                _insert(connection, record)
            connection.execute("COMMIT")
        except (sqlite3.Error, OverflowError) as error:
            self._fail(error)
            self._failed += len(batch)
            return
        if self._failing:
            self._failing = False
            self._warn(f"The journal is written again; call records lost: {self.lost}")
        self._written += len(batch)

    def _usable(self) -> sqlite3.Connection | None:
        if self._connection is None and self._clock.now() < self._retry_at:
            return None
        try:
            self._ready()
        except InputError as error:
            self._fail(error)
        return self._connection

    def _ready(self) -> None:
        """Open the file unless it is open, and remove what is too old."""
        try:
            if self._connection is None:
                self._connection = _connect(self._path)
                schema.migrate(self._connection, self._path)
            if not self._recovered_open_calls:
                _close_interrupted(self._connection)
                self._recovered_open_calls = True
            if self._retention_days and self._clock.now() >= self._prune_at:
                self._prune_at = self._clock.now() + PRUNE_S
                _prune(self._connection, self._clock.wall_ms() - self._retention_days * _DAY_MS)
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


# --- rows -------------------------------------------------------------------------


def _insert(connection: sqlite3.Connection, record: _Written) -> None:
    match record:
        case CallClosed():
            _close_call(connection, record)
            _put_usage(connection, record, 0)
        case CallOpened():
            _put(connection, "calls", _opened(record) | _caller(record.caller))
        case Decided():
            _put(connection, "decisions", _decided(record) | _caller(record.caller))
        case TurnEnded():
            _put(connection, "turns", _turn(record))
            _put_usage(connection, record, record.turn)
        case _:
            _put(connection, "events", _event(record))


def _put(connection: sqlite3.Connection, table: str, row: _Row) -> None:
    # Names come from this module alone; values are parameters.
    names, marks = ", ".join(row), ", ".join("?" * len(row))
    connection.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", tuple(row.values()))


def _put_usage(connection: sqlite3.Connection, record: TurnEnded | CallClosed, turn: int) -> None:
    for usage in record.usage:
        row: _Row = {"call_id": _id(record.call_id), "wall_ms": record.wall_ms, "turn": turn}
        row |= msgspec.structs.asdict(usage)
        _put(connection, "usage", row | {"model": _text(usage.model)})


def _opened(record: CallOpened) -> _Row:
    return {
        "call_id": _id(record.call_id),
        "opened_ms": record.wall_ms,
        "dialect": record.dialect,
        "direction": record.direction,
        "engine": _text(record.engine),
        "address": _text(record.address),
    }


def _decided(record: Decided) -> _Row:
    return {
        "call_id": _id(record.call_id),
        "wall_ms": record.wall_ms,
        "dialect": record.dialect,
        "asked_on": record.on,
        "authorized": int(record.authorized),
        "strategy": _text(record.strategy),
        "reason": _text(record.reason),
        "address": _text(record.address),
    }


def _turn(record: TurnEnded) -> _Row:
    latency = record.latency
    return {
        "call_id": _id(record.call_id),
        "wall_ms": record.wall_ms,
        "turn": record.turn,
        "kind": record.kind,
        "status": record.status,
        "said_ms": int(record.said_ms),
        "heard_ms": int(record.heard_ms),
        "endpoint_ms": latency.endpoint_ms,
        "transcript_ms": latency.transcript_ms,
        "first_text_ms": latency.first_text_ms,
        "first_audio_ms": latency.first_audio_ms,
        "first_frame_ms": latency.first_frame_ms,
    }


def _event(
    record: GateChanged | EngineTrouble | Interrupted | CarriedOn | ParticipantsSeen,
) -> _Row:
    row: _Row = {"call_id": _id(record.call_id), "wall_ms": record.wall_ms}
    match record:
        case GateChanged():
            state = "open" if record.open else "closed"
            row |= {"kind": "gate", "state": state, "detail": record.status or ""}
        case EngineTrouble():
            row |= {
                "kind": "trouble",
                "state": _text(record.stage),
                "detail": _text(record.detail),
                "number": int(record.fatal),
            }
        case Interrupted():
            row |= {
                "kind": "barge-in",
                "state": record.by,
                "turn": record.turn,
                "number": int(record.heard_ms),
                "ms": record.onset_to_flush_ms,
                "detail": record.why,
                "detected_ms": record.onset_to_detected_ms,
            }
        case CarriedOn():
            row |= {
                "kind": "carried-on",
                "state": record.why,
                "turn": record.turn,
                "ms": record.stopped_ms,
            }
        case ParticipantsSeen():
            row |= {"kind": "participants", "number": min(record.count, _MAX_COUNT)}
    return row


def _close_call(connection: sqlite3.Connection, record: CallClosed) -> None:
    counters = record.counters
    row: _Row = {
        "closed_ms": record.wall_ms,
        "reason": _text(record.reason),
        "ended_by": record.ended_by,
        "detail": _text(record.detail),
        "duration_ms": int(record.duration_ms),
        "frames_in": counters.frames_in,
        "frames_out": counters.frames_out,
        "dropped_in": counters.dropped_in,
        "gated_in": counters.gated_in,
        "silence_in": counters.silence_in,
        "dropped_out": counters.dropped_out,
        "underruns": counters.underruns,
        "turns": counters.turns,
        "interruptions": counters.interruptions,
        "carried_on": counters.carried_on,
        "speculated": counters.speculated,
        "thrown_away": counters.thrown_away,
    }
    call_id = _id(record.call_id)
    settings = ", ".join(f"{name} = ?" for name in row)
    changed = connection.execute(
        f"UPDATE calls SET {settings} WHERE id ="
        " (SELECT max(id) FROM calls WHERE call_id = ? AND closed_ms IS NULL)",
        (*row.values(), call_id),
    )
    if changed.rowcount == 0:  # its opening was lost: the end is worth keeping all the same
        opened: _Row = {"call_id": call_id, "opened_ms": record.wall_ms - int(record.duration_ms)}
        _put(connection, "calls", opened | row)


def _caller(caller: Caller) -> _Row:
    return {
        "user_id": _id(caller.user_id),
        "tenant_id": _id(caller.tenant_id),
        "display_name": _text(caller.display_name),
        "user_principal_name": _id(caller.user_principal_name),
        "phone_number": _text(caller.phone_number),
        "teams_call_id": _id(caller.teams_call_id),
    }


def _id(text: str) -> str:
    return printable(text, _MAX_ID)


def _text(text: str) -> str:
    return printable(text, _MAX_TEXT)


# --- upkeep -----------------------------------------------------------------------


def _close_interrupted(connection: sqlite3.Connection) -> None:
    """End the calls that nobody ended, at the last moment that is known of them."""
    connection.execute(
        """
        UPDATE calls SET reason = 'interrupted', ended_by = 'bridge', closed_ms = max(
            opened_ms,
            coalesce((SELECT max(wall_ms) FROM turns
                WHERE turns.call_id = calls.call_id), 0),
            coalesce((SELECT max(wall_ms) FROM events
                WHERE events.call_id = calls.call_id), 0))
        WHERE closed_ms IS NULL
        """
    )
    connection.execute(
        "UPDATE calls SET duration_ms = closed_ms - opened_ms"
        " WHERE reason = 'interrupted' AND duration_ms = 0"
    )


def _prune(connection: sqlite3.Connection, before_ms: int) -> None:
    for table, column in schema.TIMED:
        # A call that is still open is kept however old it is.
        still_open = " AND closed_ms IS NOT NULL" if table == "calls" else ""
        connection.execute(f"DELETE FROM {table} WHERE {column} < ?{still_open}", (before_ms,))
