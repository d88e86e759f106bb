"""Sums over a period of the history.

Refuses to know how they are printed. What began in the period counts.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from teamscall.journal import history
from teamscall.journal.figures import STAGE_COLUMNS, Quantiles, by_stage, money, quantiles
from teamscall.journal.readers import reading

SLICES = 48  # of the period, for a trend
_TOLD = 10  # models, and causes of trouble


class _Camel(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """Keys of JSON are in camelCase."""


class Slice(_Camel, frozen=True):
    """One of ``SLICES`` equal parts of the period, from ``from_ms`` on."""

    from_ms: int
    calls: int
    first_frame_p50_ms: float | None


class ModelUse(_Camel, frozen=True):
    """What one model was used for."""

    stage: str
    model: str
    input_tokens: int
    output_tokens: int
    audio_in_s: float
    audio_out_s: float
    characters: int
    cost: dict[str, float]


class Trouble(_Camel, frozen=True):
    """How often one stage of an engine was in trouble, with the newest detail of it."""

    stage: str
    count: int
    calls: int
    latest: str


class Stats(_Camel, frozen=True):
    """See the module. Times are epoch milliseconds; ``hours``: calls by local hour of day.

    ``calls`` counts all lines of the history, ``outcomes`` tells them apart. ``duration_ms``
    is of calls that were up and have ended.
    """

    since_ms: int
    until_ms: int
    calls: int
    outcomes: dict[str, int]
    directions: dict[str, int]
    dialects: dict[str, int]
    reasons: dict[str, int]
    hours: tuple[int, ...]
    trend: tuple[Slice, ...]
    duration_ms: Quantiles | None
    total_ms: int
    turns: int
    interruptions: int
    carried_on: int
    latency: dict[str, Quantiles]
    errors: tuple[Trouble, ...]
    models: tuple[ModelUse, ...]
    cost: dict[str, float]


def stats(path: Path, since_ms: int, now_ms: int) -> Stats:
    """Sums of what began since then, until ``now_ms``.

    Raises:
        InputError: there is no journal at ``path``, or none that can be read.
    """
    with reading(path) as connection:
        return _stats(connection, since_ms, now_ms)


# Every line of the history: when, and what is counted of it.
_LINES = f"""
    SELECT opened_ms AS at, {history.OUTCOME_SQL} AS outcome, direction, dialect, reason
        FROM calls WHERE opened_ms >= :since
    UNION ALL
    SELECT wall_ms, 'refused', 'inbound', dialect, reason
        FROM decisions d WHERE {history.REFUSED_SQL} AND wall_ms >= :since
    UNION ALL
    SELECT asked_ms, {history.ATTEMPT_OUTCOME_SQL}, 'outbound', via, ''
        FROM attempts WHERE {history.IN_VAIN_SQL} AND asked_ms >= :since
"""
_LOCAL_HOUR = "CAST(strftime('%H', at / 1000, 'unixepoch', 'localtime') AS INTEGER)"


def _stats(connection: sqlite3.Connection, since_ms: int, now_ms: int) -> Stats:
    since = {"since": since_ms}
    # Counted once, and summed up in every direction from here.
    counted = connection.execute(
        f"SELECT outcome, direction, dialect, reason, {_LOCAL_HOUR}, count(*), min(at), max(at)"
        f" FROM ({_LINES}) GROUP BY 1, 2, 3, 4, 5",
        since,
    ).fetchall()
    first = min((row[6] for row in counted), default=now_ms)
    until = max(now_ms, max((row[7] for row in counted), default=0))
    begin = since_ms or first
    durations = [
        row[0]
        for row in connection.execute(
            "SELECT duration_ms FROM calls WHERE opened_ms >= :since AND closed_ms IS NOT NULL",
            since,
        )
    ]
    turns, interruptions, carried_on = connection.execute(
        "SELECT coalesce(sum(turns), 0), coalesce(sum(interruptions), 0),"
        " coalesce(sum(carried_on), 0) FROM calls WHERE opened_ms >= :since",
        since,
    ).fetchone()
    answers = connection.execute(
        f"SELECT wall_ms, {STAGE_COLUMNS} FROM turns WHERE wall_ms >= :since AND kind = 'answer'",
        since,
    ).fetchall()
    models = _models(connection, since)
    hours = _summed(counted, 4)
    return Stats(
        since_ms=begin,
        until_ms=until,
        calls=sum(row[5] for row in counted),
        outcomes=_summed(counted, 0),
        directions=_summed(counted, 1),
        dialects=_summed(counted, 2),
        reasons=_summed([row for row in counted if row[0] not in ("refused", "running")], 3),
        hours=tuple(hours.get(hour, 0) for hour in range(24)),
        trend=_trend(connection, answers, begin, until),
        duration_ms=quantiles(durations),
        total_ms=sum(durations),
        turns=turns,
        interruptions=interruptions,
        carried_on=carried_on,
        latency=by_stage(row[1:] for row in answers),
        errors=_errors(connection, since),
        models=models,
        cost=money((name, cost) for one in models for name, cost in one.cost.items()),
    )


def _summed(counted: Iterable[Sequence[Any]], column: int) -> dict[Any, int]:
    """How many of each value there are, most first; blanks are left out."""
    sums: dict[Any, int] = {}
    for row in counted:
        if row[column] != "":
            sums[row[column]] = sums.get(row[column], 0) + row[5]
    return dict(sorted(sums.items(), key=lambda item: (-item[1], str(item[0]))))


def _trend(
    connection: sqlite3.Connection, answers: Sequence[Sequence[Any]], begin: int, until: int
) -> tuple[Slice, ...]:
    width = max(1, -(-(until + 1 - begin) // SLICES))
    calls = dict(
        connection.execute(
            f"SELECT min(:last, (at - :begin) / :width), count(*) FROM ({_LINES}) GROUP BY 1",
            {"since": begin, "begin": begin, "width": width, "last": SLICES - 1},
        ).fetchall()
    )
    first_frames: dict[int, list[float]] = {}
    for wall_ms, *stages in answers:
        if stages[-1] is not None:
            number = min(SLICES - 1, max(0, (wall_ms - begin) // width))
            first_frames.setdefault(number, []).append(stages[-1])
    slices = []
    for number in range(SLICES):
        found = quantiles(first_frames.get(number, ()))
        p50 = None if found is None else found.p50
        count = calls.get(number, 0)
        slices.append(Slice(from_ms=begin + number * width, calls=count, first_frame_p50_ms=p50))
    return tuple(slices)


def _errors(connection: sqlite3.Connection, since: dict[str, int]) -> tuple[Trouble, ...]:
    # Of the columns beside max(), SQLite takes those of the row that has it.
    rows = connection.execute(
        "SELECT state, count(*), count(DISTINCT call_id), detail, max(id) FROM events"
        " WHERE kind = 'trouble' AND wall_ms >= :since GROUP BY state ORDER BY 2 DESC",
        since,
    )
    return tuple(
        Trouble(stage=stage, count=count, calls=calls, latest=detail)
        for stage, count, calls, detail, _ in rows.fetchmany(_TOLD)
    )


def _models(connection: sqlite3.Connection, since: dict[str, int]) -> tuple[ModelUse, ...]:
    # A call's own sum where it came to that; what its turns used where it was cut off.
    rows = connection.execute(
        "SELECT stage, model, currency, sum(input_tokens), sum(output_tokens), sum(audio_in_s),"
        " sum(audio_out_s), sum(characters), sum(cost) FROM usage u WHERE wall_ms >= :since"
        " AND (turn = 0 OR NOT EXISTS (SELECT 1 FROM usage whole"
        " WHERE whole.call_id = u.call_id AND whole.turn = 0))"
        " GROUP BY stage, model, currency ORDER BY stage, model",
        since,
    )
    return tuple(
        ModelUse(
            stage=stage,
            model=model,
            input_tokens=given,
            output_tokens=made,
            audio_in_s=round(heard, 3),
            audio_out_s=round(spoken, 3),
            characters=characters,
            cost={} if cost is None else {currency: round(cost, 6)},
        )
        for stage, model, currency, given, made, heard, spoken, characters, cost in rows
    )
