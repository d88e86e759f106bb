"""The history of calls: one line for each that was had, placed in vain, or refused.

Three tables tell of calls: ``calls`` of those that were up, ``decisions`` of callers that
were refused before, ``attempts`` of calls that we placed and that never came up. Newest
first. Keys of JSON are in camelCase. Refuses to know how a line is printed.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import msgspec

from teamscall.journal.figures import STAGE_COLUMNS, Quantiles, by_stage, money
from teamscall.journal.readers import reading
from teamscall.journal.schema import CALLER_COLUMNS

Outcome = Literal[
    "running",
    "completed",
    "failed",  # an engine, the bridge or the connection broke
    "interrupted",  # the bridge was killed
    "refused",
    "ringing",  # a call that we place
    "no-answer",
    "busy",
    "declined",
    "cancelled",
]
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)

_OF_ATTEMPT = (
    "(SELECT outcome FROM attempts a WHERE a.call_id = calls.call_id"
    " AND a.asked_ms <= calls.opened_ms ORDER BY a.asked_ms DESC LIMIT 1)"
)
# A call that nobody ended runs, unless there is nobody left in whom it could.
OUTCOME_SQL = f"""
    CASE
        WHEN closed_ms IS NULL THEN iif(attended(), 'running', 'interrupted')
        WHEN direction = 'outbound'
            AND {_OF_ATTEMPT} IN ('no-answer', 'busy', 'declined', 'cancelled', 'refused', 'failed')
            THEN {_OF_ATTEMPT}
        WHEN reason IN ('no-answer', 'busy', 'declined', 'cancelled', 'interrupted') THEN reason
        WHEN reason IN ('agent-unavailable', 'connection-lost', 'error') THEN 'failed'
        ELSE 'completed'
    END
"""
# A denial in a call's time belongs to that call. The second of two of one attempt counts.
REFUSED_SQL = """
    authorized = 0
    AND NOT EXISTS (SELECT 1 FROM calls c WHERE c.call_id = d.call_id
        AND c.opened_ms <= d.wall_ms AND (c.closed_ms IS NULL OR c.closed_ms >= d.wall_ms))
    AND NOT (asked_on = 'auth_request' AND EXISTS (SELECT 1 FROM decisions later
        WHERE later.call_id = d.call_id AND later.asked_on = 'session_start'
        AND later.authorized = 0 AND later.id > d.id))
"""
IN_VAIN_SQL = """
    NOT EXISTS (SELECT 1 FROM calls c WHERE c.call_id = attempts.call_id AND c.call_id != ''
        AND c.opened_ms >= attempts.asked_ms)
"""
ATTEMPT_OUTCOME_SQL = """
    CASE WHEN ended_ms IS NULL THEN iif(attended(), 'ringing', 'interrupted') ELSE outcome END
"""
_FOREVER_MS = 2**62


class _Camel(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """Keys of JSON are in camelCase."""


class Who(_Camel, frozen=True):
    """The other party, as the far side names them; printable."""

    user_id: str = ""
    tenant_id: str = ""
    display_name: str = ""
    user_principal_name: str = ""
    phone_number: str = ""


class Decision(_Camel, frozen=True):
    """What the policy said, and by which rule."""

    authorized: bool
    strategy: str
    reason: str
    asked_on: str
    wall_ms: int


class CallLine(_Camel, frozen=True):
    """One call in short. Times are epoch milliseconds.

    ``latency``: of its answers, by stage, from the caller's last word on. ``errors``: how
    often an engine degraded or failed. ``cost`` by currency, of what has a price.
    """

    call_id: str
    outcome: str
    direction: str
    dialect: str
    who: Who
    started_ms: int
    answered_ms: int | None = None
    ended_ms: int | None = None
    duration_ms: int = 0
    reason: str = ""
    ended_by: str = ""
    detail: str = ""
    decision: Decision | None = None
    engine: str = ""
    address: str = ""
    attempt: str = ""  # of a call that we placed
    target: str = ""
    mode: str = ""
    asked_by: str = ""
    turns: int = 0
    interruptions: int = 0
    carried_on: int = 0
    errors: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: dict[str, float] = {}
    latency: dict[str, Quantiles] = {}


class Wanted(msgspec.Struct, frozen=True):
    """Which lines. ``since_ms``: that began then or later; blank fields: all."""

    since_ms: int = 0
    limit: int = 100
    direction: str = ""
    outcome: str = ""


class Span(msgspec.Struct, frozen=True):
    """What belongs to one call: its id, and the time until which rows are its own. An id
    may come again after its call has ended."""

    call_id: str
    after_ms: int
    until_ms: int

    def rows(
        self, connection: sqlite3.Connection, table: str, columns: str, where: str = "1"
    ) -> list[Any]:
        """Its rows of a table that has ``wall_ms``, oldest first."""
        return connection.execute(
            f"SELECT {columns} FROM {table} WHERE call_id = ? AND wall_ms > ? AND wall_ms <= ?"
            f" AND {where} ORDER BY id",
            (self.call_id, self.after_ms, self.until_ms),
        ).fetchall()


def lines(path: Path, wanted: Wanted) -> list[CallLine]:
    """The newest calls, at most ``wanted.limit``.

    Raises:
        InputError: there is no journal at ``path``, or none that can be read.
    """
    with reading(path) as connection:
        found = [
            *_up(connection, wanted),
            *_refused(connection, wanted),
            *_in_vain(connection, wanted),
        ]
        found.sort(key=lambda one: one.started_ms, reverse=True)
        return [filled(connection, one) for one in found[: wanted.limit]]


def lines_of(connection: sqlite3.Connection, call_id: str, attempt: str) -> Iterator[CallLine]:
    """Every line of one id, of whichever kind; not filled."""
    everything = Wanted(limit=1000)
    if call_id:
        yield from _up(connection, everything, "call_id = ?", (call_id,))
        yield from _refused(connection, everything, "call_id = ?", (call_id,))
        yield from _in_vain(connection, everything, "call_id = ?", (call_id,))
    if attempt:
        yield from _in_vain(connection, everything, "attempt = ?", (attempt,))


def _up(
    connection: sqlite3.Connection, wanted: Wanted, more: str = "1", given: Sequence[Any] = ()
) -> Iterator[CallLine]:
    names = (
        "call_id", "direction", "dialect", "opened_ms", "answered_ms", "closed_ms", "duration_ms",
        "reason", "ended_by", "detail", "engine", "address", "turns", "interruptions", "carried_on",
    )  # fmt: skip
    where, values = ["opened_ms >= ?", more], [wanted.since_ms, *given]
    if wanted.direction:
        where.append("direction = ?")
        values.append(wanted.direction)
    if wanted.outcome:
        where.append(f"{OUTCOME_SQL} = ?")
        values.append(wanted.outcome)
    query = (
        f"SELECT {', '.join(names)}, {OUTCOME_SQL}, {CALLER_COLUMNS} FROM calls"
        f" WHERE {' AND '.join(where)} ORDER BY opened_ms DESC, id DESC LIMIT ?"
    )
    for row in connection.execute(query, (*values, wanted.limit)).fetchall():
        of = dict(zip(names, row, strict=False))
        of["started_ms"], of["ended_ms"] = of.pop("opened_ms"), of.pop("closed_ms")
        yield CallLine(outcome=row[len(names)], who=Who(**_who(row[len(names) + 1 :])), **of)


def _refused(
    connection: sqlite3.Connection, wanted: Wanted, more: str = "1", given: Sequence[Any] = ()
) -> Iterator[CallLine]:
    if wanted.direction == "outbound" or wanted.outcome not in ("", "refused"):
        return
    query = (
        "SELECT call_id, wall_ms, dialect, asked_on, strategy, reason, address,"
        f" {CALLER_COLUMNS} FROM decisions d WHERE {REFUSED_SQL} AND wall_ms >= ? AND {more}"
        " ORDER BY wall_ms DESC LIMIT ?"
    )
    for row in connection.execute(query, (wanted.since_ms, *given, wanted.limit)).fetchall():
        call_id, wall_ms, dialect, asked_on, strategy, reason, address, *who = row
        yield CallLine(
            call_id=call_id,
            outcome="refused",
            direction="inbound",
            dialect=dialect,
            who=Who(**_who(who)),
            started_ms=wall_ms,
            ended_ms=wall_ms,
            reason="refused",
            ended_by="bridge",
            detail=reason,
            address=address,
            decision=Decision(
                authorized=False,
                strategy=strategy,
                reason=reason,
                asked_on=asked_on,
                wall_ms=wall_ms,
            ),
        )


def _in_vain(
    connection: sqlite3.Connection, wanted: Wanted, more: str = "1", given: Sequence[Any] = ()
) -> Iterator[CallLine]:
    if wanted.direction == "inbound":
        return
    where, values = [IN_VAIN_SQL, "asked_ms >= ?", more], [wanted.since_ms, *given]
    if wanted.outcome:
        where.append(f"{ATTEMPT_OUTCOME_SQL} = ?")
        values.append(wanted.outcome)
    query = (
        f"SELECT call_id, attempt, target, mode, via, asked_by, asked_ms, answered_ms, ended_ms,"
        f" detail, {ATTEMPT_OUTCOME_SQL} FROM attempts WHERE {' AND '.join(where)}"
        " ORDER BY asked_ms DESC LIMIT ?"
    )
    for row in connection.execute(query, (*values, wanted.limit)).fetchall():
        call_id, attempt, target, mode, via, asked_by, asked, answered, ended, detail, outcome = row
        over = ended is not None
        yield CallLine(
            call_id=call_id,
            outcome=outcome,
            direction="outbound",
            dialect=via,
            who=_target(target),
            started_ms=asked,
            answered_ms=answered,
            ended_ms=ended,
            duration_ms=ended - asked if over else 0,
            reason=outcome if over else "",
            ended_by="",
            detail=detail,
            attempt=attempt,
            target=target,
            mode=mode,
            asked_by=asked_by,
        )


def _who(row: Sequence[str]) -> dict[str, str]:
    return dict(zip(Who.__struct_fields__, row, strict=False))


def _target(target: str) -> Who:
    kind, _, name = target.partition(":")
    return Who(phone_number=name) if kind == "phone" else Who(user_id=name)


def span(connection: sqlite3.Connection, line: CallLine) -> Span:
    """What belongs to the call of this line."""
    before, after = connection.execute(
        "SELECT (SELECT max(closed_ms) FROM calls WHERE call_id = :id AND opened_ms < :at),"
        " (SELECT min(opened_ms) FROM calls WHERE call_id = :id AND opened_ms > :at)",
        {"id": line.call_id, "at": line.started_ms},
    ).fetchone()
    until = line.ended_ms if after is not None and line.ended_ms is not None else _FOREVER_MS
    return Span(line.call_id, before or -1, until)


def filled(connection: sqlite3.Connection, line: CallLine) -> CallLine:
    """The line with what its other tables say."""
    if not line.call_id or line.outcome == "refused":
        return line
    own = span(connection, line)
    changes: dict[str, Any] = {}
    decisions = own.rows(connection, "decisions", "authorized, strategy, reason, asked_on, wall_ms")
    if decisions:
        authorized, *rest = decisions[-1]
        named = ("strategy", "reason", "asked_on", "wall_ms")
        changes["decision"] = Decision(
            authorized=bool(authorized), **dict(zip(named, rest, strict=True))
        )
    if line.direction == "outbound" and not line.attempt:
        found = connection.execute(
            "SELECT attempt, target, mode, asked_by FROM attempts WHERE call_id = ?"
            " AND asked_ms <= ? ORDER BY asked_ms DESC LIMIT 1",
            (line.call_id, line.started_ms),
        ).fetchone()
        if found is not None:
            changes |= dict(zip(("attempt", "target", "mode", "asked_by"), found, strict=True))
            if line.who == Who():
                changes["who"] = _target(found[1])
    if line.outcome in ("running", "interrupted"):  # nobody counted them
        changes["turns"] = len(own.rows(connection, "turns", "id"))
        changes["interruptions"] = len(own.rows(connection, "events", "id", "kind = 'barge-in'"))
        changes["carried_on"] = len(own.rows(connection, "events", "id", "kind = 'carried-on'"))
    changes["errors"] = len(own.rows(connection, "events", "id", "kind = 'trouble'"))
    used = own.rows(connection, "usage", "turn, input_tokens, output_tokens, currency, cost")
    if any(row[0] == 0 for row in used):
        used = [row for row in used if row[0] == 0]  # the call's sum, over its turns and the rest
    changes["input_tokens"] = sum(row[1] for row in used)
    changes["output_tokens"] = sum(row[2] for row in used)
    changes["cost"] = money((row[3], row[4]) for row in used if row[4] is not None)
    answers = own.rows(connection, "turns", STAGE_COLUMNS, "kind = 'answer'")
    changes["latency"] = by_stage(answers)
    return msgspec.structs.replace(line, **changes)
