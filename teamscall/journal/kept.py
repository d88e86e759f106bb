"""What has to outlive this process: the calls being placed, who is to be told, one switch.

``Kept`` asks the journal's writer and waits for the disk; without a journal, or with a disk
that fails, it says that nothing was kept and the call goes on.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec

from teamscall.calls.records import CallMode
from teamscall.journal.store import Journal
from teamscall.wire.events import Dialect

T = TypeVar("T")
_OUTBOUND = "outbound"


class KeptOrder(msgspec.Struct, frozen=True):
    """A call that is being placed, with all that is needed to go on after a restart."""

    attempt: str
    call_id: str  # blank until the far side named it
    target: str
    mode: CallMode
    via: Dialect
    tenant: str
    asked_by: str
    asked_ms: int
    ring_until_ms: int
    state: str
    message: str


class Undelivered(msgspec.Struct, frozen=True):
    """A message that nobody heard, and about which somebody is to be told."""

    attempt: str
    call_id: str
    target: str
    mode: CallMode
    asked_by: str
    asked_ms: int
    ended_ms: int
    outcome: str
    detail: str
    message: str


class Placed(msgspec.Struct, frozen=True):
    """That a call was placed, for the caps."""

    target: str
    asked_ms: int


class Kept:
    """See the module. ``journal``: None keeps nothing."""

    def __init__(self, journal: Journal | None) -> None:
        self._journal = journal

    async def keep(self, order: KeptOrder) -> bool:
        """Keep an order, new or changed; whether it is on the disk."""
        return await self._ask(lambda c: _keep(c, order), otherwise=False)

    async def settle(
        self, attempt: str, outcome: str, detail: str, ended_ms: int, *, tell: bool
    ) -> bool:
        """The order is over. ``tell``: somebody is to be told of its message, which is kept
        until then and removed otherwise."""
        row = (outcome, detail, ended_ms, int(tell), tell, attempt)
        return await self._ask(lambda c: _settle(c, row), otherwise=False, removes=not tell)

    async def unfinished(self) -> list[KeptOrder]:
        """Orders that were under way when the last process ended."""
        return await self._ask(_unfinished, otherwise=[])

    async def placed_since(self, wall_ms: int) -> list[Placed]:
        """What was placed since, oldest first. What a gate refused is not there."""
        return await self._ask(lambda c: _placed_since(c, wall_ms), otherwise=[])

    async def to_tell(self) -> list[Undelivered]:
        """Of what somebody is still to be told."""
        return await self._ask(_to_tell, otherwise=[])

    async def told(self, attempt: str) -> bool:
        """Somebody was told: never again. The message is removed."""
        statement = "UPDATE attempts SET tell = 2, message = '' WHERE attempt = ?"
        row = (attempt,)
        return await self._ask(lambda c: _done(c, statement, row), otherwise=False, removes=True)

    async def outbound_is_on(self) -> bool | None:
        """The operator's switch; on unless it was turned off. None: the disk does not say."""
        if self._journal is None:
            return True
        on: bool | None = await self._ask(_switch, otherwise=None)
        return True if on is None and await asyncio.to_thread(_absent, self._journal.path) else on

    async def switch_outbound(self, on: bool) -> bool:
        """Turn it; whether that is on the disk."""
        statement = "INSERT OR REPLACE INTO switches (name, value) VALUES (?, ?)"
        row = (_OUTBOUND, "on" if on else "off")
        return await self._ask(lambda c: _done(c, statement, row), otherwise=False)

    async def _ask(
        self, do: Callable[[sqlite3.Connection], T], *, otherwise: T, removes: bool = False
    ) -> T:
        if self._journal is None:
            return otherwise
        # Shielded: the writer does it whether or not anybody waits any longer.
        answer = self._journal.ask(do, otherwise, removes=removes)
        return await asyncio.shield(asyncio.wrap_future(answer))


def _absent(path: Path) -> bool:
    """Whether no journal was ever there: nothing can have been turned off in it."""
    try:
        return not path.exists()
    except OSError:
        return False


def _done(connection: sqlite3.Connection, statement: str, row: tuple[object, ...]) -> bool:
    connection.execute(statement, row)
    return True


def _keep(connection: sqlite3.Connection, order: KeptOrder) -> bool:
    row = msgspec.structs.asdict(order)
    names, marks = ", ".join(row), ", ".join("?" * len(row))
    changed = ", ".join(f"{name} = excluded.{name}" for name in row)
    return _done(
        connection,
        f"INSERT INTO attempts ({names}) VALUES ({marks})"
        f" ON CONFLICT (attempt) DO UPDATE SET {changed}",
        tuple(row.values()),
    )


def _settle(connection: sqlite3.Connection, row: tuple[object, ...]) -> bool:
    return _done(
        connection,
        "UPDATE attempts SET state = 'ended', outcome = ?, detail = ?, ended_ms = ?, tell = ?,"
        " message = CASE WHEN ? THEN message ELSE '' END WHERE attempt = ? AND tell = 0",
        row,
    )


def _unfinished(connection: sqlite3.Connection) -> list[KeptOrder]:
    names = ", ".join(KeptOrder.__struct_fields__)
    query = f"SELECT {names} FROM attempts WHERE ended_ms IS NULL ORDER BY asked_ms"
    return [KeptOrder(*row) for row in connection.execute(query)]


def _placed_since(connection: sqlite3.Connection, wall_ms: int) -> list[Placed]:
    query = "SELECT target, asked_ms FROM attempts WHERE asked_ms >= ? ORDER BY asked_ms"
    return [Placed(*row) for row in connection.execute(query, (wall_ms,))]


def _to_tell(connection: sqlite3.Connection) -> list[Undelivered]:
    names = ", ".join(Undelivered.__struct_fields__)
    query = f"SELECT {names} FROM attempts WHERE tell = 1 ORDER BY ended_ms"
    return [Undelivered(*row) for row in connection.execute(query)]


def _switch(connection: sqlite3.Connection) -> bool | None:
    found = connection.execute("SELECT value FROM switches WHERE name = ?", (_OUTBOUND,)).fetchone()
    return found is None or found[0] == "on"
