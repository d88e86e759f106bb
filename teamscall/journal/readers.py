"""The journal's reading end: its own read-only connections, beside a running bridge or not.

Rows come newest first. Every text in them is printable already.
"""

from __future__ import annotations

import functools
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

import msgspec

from teamscall.errors import InputError
from teamscall.journal import schema
from teamscall.text import printable

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_T = TypeVar("_T", bound=msgspec.Struct)

# How long a reader waits for a writer that checkpoints.
_BUSY_S = 2.0


class CallRow(msgspec.Struct, frozen=True):
    """One call. ``closed_ms`` is None while it runs."""

    call_id: str
    opened_ms: int
    closed_ms: int | None
    dialect: str
    direction: str
    engine: str
    address: str
    reason: str
    ended_by: str
    detail: str
    duration_ms: int
    frames_in: int
    frames_out: int
    dropped_in: int
    gated_in: int
    silence_in: int
    dropped_out: int
    underruns: int
    turns: int
    interruptions: int
    carried_on: int
    speculated: int
    thrown_away: int
    user_id: str
    tenant_id: str
    display_name: str
    user_principal_name: str
    phone_number: str
    teams_call_id: str


class DecisionRow(msgspec.Struct, frozen=True):
    """One authorization decision."""

    call_id: str
    wall_ms: int
    dialect: str
    asked_on: str
    authorized: bool
    strategy: str
    reason: str
    address: str
    user_id: str
    tenant_id: str
    display_name: str
    user_principal_name: str
    phone_number: str
    teams_call_id: str


class TurnRow(msgspec.Struct, frozen=True):
    """One turn: how it went and how fast, not what was said."""

    call_id: str
    wall_ms: int
    turn: int
    kind: str
    status: str
    said_ms: int
    heard_ms: int
    endpoint_ms: float | None
    transcript_ms: float | None
    first_text_ms: float | None
    first_audio_ms: float | None
    first_frame_ms: float | None


class EventRow(msgspec.Struct, frozen=True):
    """A gate or recording change, engine trouble, a barge-in, or a count of participants."""

    call_id: str
    wall_ms: int
    kind: str
    state: str
    detail: str
    turn: int | None
    number: int | None
    ms: float | None
    detected_ms: float | None


class UsageRow(msgspec.Struct, frozen=True):
    """What one stage used of a model in one turn; ``turn`` 0: in the whole call."""

    call_id: str
    wall_ms: int
    turn: int
    stage: str
    model: str
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    audio_input_tokens: int
    audio_output_tokens: int
    audio_in_s: float
    audio_out_s: float
    characters: int
    cost: float | None
    currency: str


def calls(path: Path, *, call_id: str = "", limit: int = 100) -> list[CallRow]:
    """The newest calls, or those of one id.

    Raises:
        InputError: there is no journal at ``path``, or none that can be read.
    """
    return _rows(path, "calls", CallRow, call_id, limit)


def decisions(path: Path, *, call_id: str = "", limit: int = 100) -> list[DecisionRow]:
    """The newest authorization decisions, or those of one call. Raises as ``calls``."""
    return _rows(path, "decisions", DecisionRow, call_id, limit)


def turns(path: Path, *, call_id: str = "", limit: int = 100) -> list[TurnRow]:
    """The newest turns, or those of one call. Raises as ``calls``."""
    return _rows(path, "turns", TurnRow, call_id, limit)


def events(path: Path, *, call_id: str = "", limit: int = 100) -> list[EventRow]:
    """The newest events, or those of one call. Raises as ``calls``."""
    return _rows(path, "events", EventRow, call_id, limit)


def usage(path: Path, *, call_id: str = "", limit: int = 100) -> list[UsageRow]:
    """The newest counts of what models were used for, or those of one call. Raises as
    ``calls``."""
    return _rows(path, "usage", UsageRow, call_id, limit)


def _rows(path: Path, table: str, row: type[_T], call_id: str, limit: int) -> list[_T]:
    names = row.__struct_fields__
    where, given = ("WHERE call_id = ?", (call_id,)) if call_id else ("", ())
    query = f"SELECT {', '.join(names)} FROM {table} {where} ORDER BY id DESC LIMIT ?"
    with reading(path) as connection:
        found = connection.execute(query, (*given, limit)).fetchall()
    # strict=False: SQLite has no booleans.
    return [
        msgspec.convert(dict(zip(names, values, strict=True)), row, strict=False)
        for values in found
    ]


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """A read-only connection to a journal of this version. Its SQL has ``attended()``.

    Raises:
        InputError: there is none at ``path``, or none that can be read.
    """
    if not path.is_file():
        raise InputError(
            f"There is no journal at {printable(str(path), 300)}.",
            hint="It is made when the bridge runs; --journal names another file.",
        )
    try:
        connection = sqlite3.connect(_uri(path), uri=True, timeout=_BUSY_S)
        try:
            schema.refuse_newer(connection, path)
            schema.refuse_older(connection, path)
            connection.create_function("attended", 0, functools.cache(lambda: attended(path)))
            yield connection
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise InputError(f"The journal {path} cannot be read: {printable(str(error))}.") from error


def _uri(path: Path) -> str:
    # Reading a WAL file wants a -shm file beside it. Where none can be made, nobody writes.
    log = path.with_name(path.name + "-wal")
    still = not log.exists() and not os.access(path.absolute().parent, os.W_OK)
    return f"file:{quote(str(path.absolute()))}?mode=ro{'&immutable=1' if still else ''}"


def attended(path: Path) -> bool:
    """Whether a bridge may be writing this journal now; False only where that is certain.

    A bridge that was killed leaves calls that nobody ended; it left go of its lock as well.
    """
    lock = path.with_name(f"{path.name}.lock")  # see server.lock
    try:
        if fcntl is None or _lives(lock.read_text("ascii").strip()):
            return True
        # The number may be of another container: the lock is certain. A bridge that starts
        # in these microseconds would be refused, so it is tried last.
        with lock.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except (OSError, ValueError):
        return True
    return False


def _lives(number: str) -> bool:
    try:
        os.kill(int(number), 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
