"""How captures did: diffs, a table and a sum for people, one object for machines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from teamscall.capture import diff
from teamscall.capture.suite import Result, Verdict
from teamscall.cli import calls_view, replay_sum
from teamscall.text import printable

_COLOURS = {
    "same": "green",
    "updated": "cyan",
    "differs": "red",
    "broken": "red",
    "damaged": "yellow",
    "wrong": "yellow",
}
_WORDS: dict[Result, str] = {
    "same": "the same",
    "updated": "updated",
    "differs": "different",
    "broken": "not as expected",
    "damaged": "damaged",
    "wrong": "not replayed",
}
_LEAST_WHERE = 24  # columns


def print_verdicts(verdicts: Sequence[Verdict], *, left: int = 0) -> None:
    """What differs first, then the table, the sum last, where the eye is."""
    out = calls_view.console()
    for verdict in verdicts:
        if not verdict.passed:
            _print_lines(out, verdict)
    if len(verdicts) > 1:
        out.print(_table(verdicts, out.width))
    for verdict in verdicts if len(verdicts) == 1 else ():
        _print_one(out, verdict)
    replay_sum.print_sum(out, verdicts, _WORDS, left=left)


def _print_lines(out: Console, verdict: Verdict) -> None:
    out.print(Text(printable(str(verdict.path), 500), style="bold"), soft_wrap=True)
    styles = {"-": "red", "+": "green", "@": "cyan"}
    for line in verdict.lines():
        out.print(Text(f"  {line}", style=styles.get(line[:1], "")), soft_wrap=True)
    out.print()


def _print_one(out: Console, verdict: Verdict) -> None:
    if verdict.result == "wrong":
        return  # all has been said
    what = "as expected" if verdict.expected and verdict.passed else _WORDS[verdict.result]
    parts = [
        f"{verdict.steps} events",
        f"{verdict.sent} messages sent",
        f"{verdict.call_s:.1f} s of call in {verdict.took_s:.2f} s",
    ]
    if verdict.admissions:
        s = "s" * (verdict.admissions != 1)
        parts.insert(0, f"{verdict.admissions} decision{s} before the call")
    if verdict.unanswered:
        parts.append(f"{verdict.unanswered} questions that the recording has no answer to")
    name = printable(str(verdict.path), 500)
    line = Text(f"{name}: ")
    line.append(what, style=_COLOURS[verdict.result])
    line.append(f" ({', '.join(parts)})")
    out.print(line, soft_wrap=True)


def _table(verdicts: Sequence[Verdict], width: int) -> Table:
    rows = [
        {
            "CAPTURE": Text(printable(verdict.name, 80)),
            "RESULT": Text(verdict.result, style=_COLOURS[verdict.result]),
            ">CALL": Text(f"{verdict.call_s:.1f} s" if verdict.steps else ""),
            ">EVENTS": Text(str(verdict.steps or "")),
            ">SENT": Text(str(verdict.sent or "")),
            ">TOOK": Text(f"{verdict.took_s * 1000:.0f} ms"),
            "WHERE": Text(verdict.summary() if not verdict.passed else ""),
        }
        for verdict in verdicts
    ]
    columns = list(rows[0])
    if not any(row["WHERE"].plain for row in rows):
        columns.remove("WHERE")
    elif width < 100:  # the diffs above say it in full
        columns = [name for name in columns if name not in (">SENT", ">EVENTS")]
    widths = {
        name: max([cell_len(name.strip(">")), *(cell_len(row[name].plain) for row in rows)])
        for name in columns
    }
    for name, least in (("WHERE", _LEAST_WHERE), ("CAPTURE", 12)):
        over = sum(widths.values()) + 2 * (len(columns) - 1) - width
        if over > 0 and name in widths:
            widths[name] = max(least, widths[name] - over)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for name in columns:
        table.add_column(
            name.strip(">"),
            justify="right" if name.startswith(">") else "left",
            no_wrap=True,
            overflow="ellipsis",
            width=widths[name],
        )
    for row in rows:
        table.add_row(*(row[name] for name in columns))
    return table


# --- for machines -------------------------------------------------------------------------


def print_json(verdicts: Sequence[Verdict], *, left: int = 0) -> None:
    """One object."""
    replay_sum.print_json(verdicts, _WORDS, _as_json, left=left)


def _as_json(verdict: Verdict) -> dict[str, Any]:
    difference = verdict.difference
    return {
        "capture": verdict.name,
        "file": printable(str(verdict.path), 4096),
        "result": verdict.result,
        "dialect": verdict.dialect,
        "engine": verdict.engine,
        "callSeconds": round(verdict.call_s, 3),
        "tookSeconds": round(verdict.took_s, 3),
        "events": verdict.steps,
        "sent": verdict.sent,
        "admissions": verdict.admissions,
        "differing": verdict.differing,
        "unanswered": verdict.unanswered,
        "difference": _difference(difference) if difference is not None else None,
        "broken": [msgspec.to_builtins(one) for one in verdict.broken],
        "damage": verdict.damage,
        "error": verdict.error,
    }


def _difference(difference: diff.Difference) -> dict[str, Any]:
    expected, came = difference.expected, difference.came
    return {
        "kind": difference.kind,
        "atSeconds": round(difference.at_s, 6),
        "event": difference.step,
        "turn": difference.turn,
        "what": diff.describe(difference),
        "expected": diff.shown(expected) if expected else None,
        "came": diff.shown(came) if came else None,
        "shiftedMs": None if difference.shifted_s is None else round(difference.shifted_s * 1000),
        "fields": [msgspec.to_builtins(field) for field in difference.fields],
        "diff": diff.lines(difference),
    }
