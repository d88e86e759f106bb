"""How calls leave the journal: whole, with everything that is known of them.

A running call never does, nor an order that is under way or of which somebody is still to
be told. Refuses to know when and why. The connection's transaction is the caller's.
"""

from __future__ import annotations

import sqlite3

from teamscall.journal import schema

# One transaction removes about this many rows: some 50 ms of a slow disk.
CHUNK_ROWS = 2000
_CALLS_AT_ONCE = 64

_OTHERS = tuple((table, column) for table, column in schema.TIMED if table != "calls")
_RUNNING = "SELECT call_id FROM calls WHERE closed_ms IS NULL"
_SETTLED = "ended_ms IS NOT NULL AND tell != 1"  # of an attempt


def remove_before(connection: sqlite3.Connection, before_ms: int, rows: int = CHUNK_ROWS) -> int:
    """Remove what began before that moment, oldest first, until about ``rows`` are gone.

    Returns how many rows went; 0 when nothing is left to remove.
    """
    removed = 0
    query = (
        "SELECT id FROM calls WHERE opened_ms < ? AND closed_ms IS NOT NULL"
        " ORDER BY opened_ms LIMIT ?"
    )
    for (row_id,) in connection.execute(query, (before_ms, _CALLS_AT_ONCE)).fetchall():
        removed += remove_ended(connection, row_id)
        if removed >= rows:
            break
    oldest = connection.execute(
        "SELECT opened_ms FROM calls WHERE closed_ms IS NOT NULL ORDER BY opened_ms LIMIT 1"
    ).fetchone()
    # What belongs to a call goes with it. What is older than all calls belongs to none.
    until_ms = before_ms if oldest is None else min(before_ms, oldest[0])
    for table, column in _OTHERS:
        settled = f" AND {_SETTLED}" if table == "attempts" else ""
        removed += connection.execute(
            f"DELETE FROM {table} WHERE rowid IN (SELECT rowid FROM {table} WHERE {column} < ?"
            f" AND call_id NOT IN ({_RUNNING}){settled} ORDER BY {column} LIMIT ?)",
            (until_ms, rows),
        ).rowcount
    return removed


def remove_ended(connection: sqlite3.Connection, row_id: int) -> int:
    """Remove one ended call; how many rows went. Another one of its id stays as it is."""
    call_id, closed_ms = connection.execute(
        "SELECT call_id, closed_ms FROM calls WHERE id = ?", (row_id,)
    ).fetchone()
    alone = connection.execute(
        "SELECT count(*) = 1 FROM calls WHERE call_id = ?", (call_id,)
    ).fetchone()[0]
    removed = connection.execute("DELETE FROM calls WHERE id = ?", (row_id,)).rowcount
    for table, column in _OTHERS:
        settled = f" AND {_SETTLED}" if table == "attempts" else ""
        known = "" if alone else f" AND {column} <= {int(closed_ms)}"
        removed += connection.execute(
            f"DELETE FROM {table} WHERE call_id = ?{known}{settled}", (call_id,)
        ).rowcount
    return removed


def remove_everything_of(connection: sqlite3.Connection, call_id: str, attempt: str) -> int:
    """Remove every row of an id, and of an attempt; either may be blank."""
    removed = 0
    for table, _ in schema.TIMED if call_id else ():
        removed += connection.execute(f"DELETE FROM {table} WHERE call_id = ?", (call_id,)).rowcount
    if attempt:
        removed += connection.execute("DELETE FROM attempts WHERE attempt = ?", (attempt,)).rowcount
    return removed
