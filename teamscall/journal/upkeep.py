"""Keeping the file small: by age and by size, a bounded piece at a time.

Owns when something is to be removed, that no copy of it stays in SQLite's log, and giving the
room back to the disk. The writer asks
for one step between two batches, so that records never wait for long.
"""

from __future__ import annotations

import sqlite3

from teamscall.clock import Clock
from teamscall.journal.removal import remove_before

# Old records are looked for this often, and the size of the file.
AGE_S = 3600.0
SIZE_S = 60.0
# A reader may hold the log; it is emptied this long after.
WIPE_S = 5.0
# Trimming goes on until the file is this much smaller than allowed: not every minute again.
SPARE = 0.05
# Pages of 4 KiB that one step gives back.
_PAGES = 1024
_DAY_MS = 86_400_000
# How exactly it is known until when a call went on that nobody ended.
ALIVE_S = 10.0
ALIVE = "alive"  # among the switches: when the bridge last lived with a call open, in ms
_SIGN_OF_LIFE = """
    INSERT OR REPLACE INTO switches (name, value)
    SELECT ?, ? WHERE EXISTS (SELECT 1 FROM calls WHERE closed_ms IS NULL)
"""


class Upkeep:
    """See the module.

    Attributes:
        retention_days: older records are removed; 0 keeps all.
        max_bytes: of the file; 0 is no limit.
    """

    def __init__(self, clock: Clock, *, retention_days: int, max_bytes: int) -> None:
        self.retention_days = retention_days
        self.max_bytes = max_bytes
        self._clock = clock
        self._age_at = self._size_at = clock.now()
        self._trimming = False
        self._wipe_at: float | None = None
        self._alive_at = clock.now() + ALIVE_S

    def wipe(self) -> None:
        """Words were removed. ``secure_delete`` blanks them in the file; until the log is
        emptied, which SQLite does after a thousand pages, they are still in that."""
        self._wipe_at = self._clock.now()

    def look_now(self) -> None:
        """The limits changed."""
        self._age_at = self._size_at = self._clock.now()

    def step(self, connection: sqlite3.Connection) -> bool:
        """Do one piece, in transactions of its own; whether there is more to do at once.

        Raises:
            sqlite3.Error: the file cannot be written.
        """
        now = self._clock.now()
        if now >= self._alive_at:
            self._alive_at = now + ALIVE_S
            connection.execute(_SIGN_OF_LIFE, (ALIVE, str(self._clock.wall_ms())))
        if self.retention_days and now >= self._age_at:
            before_ms = self._clock.wall_ms() - self.retention_days * _DAY_MS
            if self._remove(connection, before_ms):
                self.wipe()
                return True
            self._age_at = now + AGE_S
        if self.max_bytes and now >= self._size_at:
            if self._shrink(connection):
                return True
            self._size_at = now + SIZE_S
        if self._wipe_at is not None and now >= self._wipe_at:
            self._wipe_at = None if _emptied(connection) else now + WIPE_S
        return False

    def _shrink(self, connection: sqlite3.Connection) -> bool:
        page, pages, free = (
            connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_size", "page_count", "freelist_count")
        )
        goal = self.max_bytes * (1 - SPARE if self._trimming else 1)
        if (pages - free) * page > goal:
            self._trimming = True
            if self._remove(connection, self._some_of_the_oldest(connection)):
                return True
        # Room that was freed is used again; the file must be smaller all the same.
        if pages * page > self.max_bytes and free:
            # It works row by row: unread, it would give back a single page.
            connection.execute(f"PRAGMA incremental_vacuum({_PAGES})").fetchall()
            after = connection.execute("PRAGMA freelist_count").fetchone()[0]
            if after < free:  # a file of old that could not be rewritten gives nothing back
                return True
        if self._trimming:
            self._trimming = False
            # A reader may hold it up; the next one of SQLite's own does it then.
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        return False

    def _some_of_the_oldest(self, connection: sqlite3.Connection) -> int:
        """The moment before which some ended calls began; of any moment without them."""
        found = connection.execute(
            "SELECT max(opened_ms) + 1 FROM (SELECT opened_ms FROM calls"
            " WHERE closed_ms IS NOT NULL ORDER BY opened_ms LIMIT 64)"
        ).fetchone()[0]
        return int(found) if found is not None else self._clock.wall_ms()

    def _remove(self, connection: sqlite3.Connection, before_ms: int) -> int:
        connection.execute("BEGIN IMMEDIATE")
        try:
            removed = remove_before(connection, before_ms)
        except sqlite3.Error:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")
        return removed


def _emptied(connection: sqlite3.Connection) -> bool:
    """Whether the log could be emptied now; a reader is not waited for."""
    patience = connection.execute("PRAGMA busy_timeout").fetchone()[0]
    connection.execute("PRAGMA busy_timeout = 0").fetchall()
    try:
        busy: int = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        return not busy
    finally:
        connection.execute(f"PRAGMA busy_timeout = {patience}").fetchall()
