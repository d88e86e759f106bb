"""Everything about one call, and which call an abbreviated id means.

Refuses to know how it is printed.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from teamscall.errors import InputError
from teamscall.journal.history import CallLine, Wanted, filled, lines, lines_of, span
from teamscall.journal.readers import reading
from teamscall.text import printable

MIN_PREFIX = 4  # characters of an abbreviated id
_TOLD = 8  # candidates that an ambiguous one is told with
_LAST = "\U0010ffff"  # no text that begins with a prefix sorts after prefix + this


class _Camel(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """Keys of JSON are in camelCase."""


class DecisionMade(_Camel, frozen=True):
    """One authorization decision."""

    wall_ms: int
    asked_on: str
    authorized: bool
    strategy: str
    reason: str


class TurnTaken(_Camel, frozen=True):
    """One turn of the bot's. It was over at ``wall_ms``."""

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


class Happened(_Camel, frozen=True):
    """A gate or recording change, trouble, a barge-in, or a count of participants."""

    wall_ms: int
    kind: str
    state: str
    detail: str
    turn: int | None
    number: int | None
    ms: float | None
    detected_ms: float | None


class Used(_Camel, frozen=True):
    """What one stage used of a model; ``turn`` 0: in the whole call."""

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


class Audit(_Camel, frozen=True):
    """Somebody asked for something at the operator's door."""

    wall_ms: int
    action: str
    asked_by: str
    result: str
    detail: str


class Words(_Camel, frozen=True):
    """What was said, where it was kept. ``heard``: what of a turn was heard."""

    wall_ms: int
    speaker: str
    turn: int | None
    status: str
    text: str
    heard: str


class Counters(_Camel, frozen=True):
    """What went through an ended call."""

    frames_in: int
    frames_out: int
    dropped_in: int
    gated_in: int
    silence_in: int
    dropped_out: int
    underruns: int
    speculated: int
    thrown_away: int


class Whole(_Camel, frozen=True):
    """One call with all that is known of it; every list is oldest first.

    ``others``: how many more calls had this id.
    """

    call: CallLine
    others: int = 0
    counters: Counters | None = None
    decisions: tuple[DecisionMade, ...] = ()
    turns: tuple[TurnTaken, ...] = ()
    events: tuple[Happened, ...] = ()
    usage: tuple[Used, ...] = ()
    audit: tuple[Audit, ...] = ()
    transcript: tuple[Words, ...] = ()


def whole(path: Path, given: str) -> Whole:
    """The newest call that ``given`` means: a call id, an attempt's, or the beginning of one.

    Raises:
        InputError: no call or several begin so, or there is no journal that can be read.
    """
    with reading(path) as connection:
        call_id, attempt = resolve(connection, given)
        found = sorted(
            lines_of(connection, call_id, attempt), key=lambda one: one.started_ms, reverse=True
        )
        if not found:  # nothing but rows whose call was never told of
            raise _unknown(given)
        line, *others = found
        if not line.call_id:
            return Whole(call=line)
        own = span(connection, line)
        tables: dict[str, tuple[str, type[msgspec.Struct]]] = {
            "decisions": ("decisions", DecisionMade),
            "turns": ("turns", TurnTaken),
            "events": ("events", Happened),
            "usage": ("usage", Used),
            "audit": ("audit", Audit),
            "transcript": ("transcripts", Words),
        }
        lists: dict[str, Any] = {
            name: _structs(own.rows(connection, table, _columns(row)), row)
            for name, (table, row) in tables.items()
        }
        return Whole(
            call=filled(connection, line),
            others=len(others),
            counters=_counters(connection, line),
            **lists,
        )


def resolve(connection: sqlite3.Connection, given: str) -> tuple[str, str]:
    """The call id and the attempt that ``given`` means; one of them may be blank.

    Raises:
        InputError: no call or several begin so.
    """
    if not given.strip():
        raise InputError("No call is named.", hint="`teamscall calls` lists them.")
    try:
        given.encode()
    except UnicodeEncodeError:  # bytes of a command line that are no text
        raise _unknown(given) from None
    ids: set[str] = set()
    for table in ("calls", "decisions", "attempts"):
        ids |= _beginning(connection, table, "call_id", given)
    attempts = _beginning(connection, "attempts", "attempt", given)
    if given in ids or given in attempts:
        ids, attempts = ids & {given}, attempts & {given}
    elif len(given) < MIN_PREFIX:
        raise InputError(
            f"{printable(given)} is no call's whole id.",
            hint=f"Abbreviated, an id needs {MIN_PREFIX} characters.",
        )
    known = {attempt: _call_of(connection, attempt) for attempt in attempts}
    # A call that we placed may be meant by both its ids at once.
    meant = ids | {known[attempt] or attempt for attempt in attempts}
    if not meant:
        raise _unknown(given)
    if len(meant) > 1:
        several = ", ".join(sorted(meant)[:_TOLD])
        raise InputError(
            f"Several calls begin with {printable(given)}: {several}.", hint="Give more of the id."
        )
    call_id = (ids | {one for one in known.values() if one} or {""}).pop()
    if attempts:
        return call_id, attempts.pop()
    return call_id, _attempt_of(connection, call_id)


def ids_beginning(path: Path, given: str, limit: int = 50) -> list[str]:
    """Newest ids that begin so, for a shell's completion. Raises as ``whole``."""
    if not given:  # a long history is not sorted for that
        newest = lines(path, Wanted(limit=limit))
        return list(dict.fromkeys(one.call_id or one.attempt for one in newest))
    begins = "WHERE {0} >= :first AND {0} < :last"
    with reading(path) as connection:
        rows = connection.execute(
            f"""
            SELECT name, max(at) FROM (
                SELECT call_id AS name, opened_ms AS at FROM calls {begins.format("call_id")}
                UNION ALL
                SELECT call_id, wall_ms FROM decisions {begins.format("call_id")}
                UNION ALL
                SELECT attempt, asked_ms FROM attempts {begins.format("attempt")}
            ) GROUP BY name ORDER BY 2 DESC LIMIT :limit
            """,
            {"first": given, "last": given + _LAST, "limit": limit},
        )
        return [name for name, _ in rows]


def _unknown(given: str) -> InputError:
    return InputError(
        f"The journal knows no call {printable(given)}.", hint="`teamscall calls` lists them."
    )


def _beginning(connection: sqlite3.Connection, table: str, column: str, given: str) -> set[str]:
    rows = connection.execute(
        f"SELECT DISTINCT {column} FROM {table} WHERE {column} >= ? AND {column} < ? LIMIT ?",
        (given, given + _LAST, _TOLD + 1),
    )
    return {row[0] for row in rows if row[0]}


def _call_of(connection: sqlite3.Connection, attempt: str) -> str:
    found = connection.execute("SELECT call_id FROM attempts WHERE attempt = ?", (attempt,))
    return str(found.fetchone()[0])


def _attempt_of(connection: sqlite3.Connection, call_id: str) -> str:
    found = connection.execute("SELECT attempt FROM attempts WHERE call_id = ?", (call_id,))
    return str((found.fetchone() or ("",))[0])


def _counters(connection: sqlite3.Connection, line: CallLine) -> Counters | None:
    row = connection.execute(
        f"SELECT {_columns(Counters)} FROM calls WHERE call_id = ? AND opened_ms = ?"
        " AND closed_ms IS NOT NULL AND reason != 'interrupted'",
        (line.call_id, line.started_ms),
    ).fetchone()
    return None if row is None else _structs([row], Counters)[0]


def _columns(row: type[msgspec.Struct]) -> str:
    return ", ".join(row.__struct_fields__)


def _structs(rows: Sequence[Sequence[Any]], kind: type[Any]) -> tuple[Any, ...]:
    # strict=False: SQLite has no booleans.
    names: tuple[str, ...] = kind.__struct_encode_fields__
    return tuple(
        msgspec.convert(dict(zip(names, row, strict=True)), kind, strict=False) for row in rows
    )
