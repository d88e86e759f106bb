"""The history as a table, as JSON and as CSV.

In CSV, text that a spreadsheet would take for a formula (it begins with ``=``, ``+``, ``-``
or ``@``) gets a leading apostrophe; a plain phone number stays as it is.
"""

from __future__ import annotations

import csv
import datetime
import itertools
import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any, TextIO, cast

import msgspec
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from teamscall.cli.moments import lasted, local
from teamscall.journal.figures import STAGES
from teamscall.journal.forget import Doomed
from teamscall.journal.history import CallLine, Who
from teamscall.text import printable

VERSION = 1  # of the JSON
PIPE_COLUMNS = 120  # where there is no terminal to ask
_SHORT_ID = 8
_GAP = 2  # columns between columns
_PHONE = re.compile(r"\+[0-9]{1,20}")
_COLOURS = {
    "running": "cyan",
    "ringing": "cyan",
    "completed": "green",
    "refused": "yellow",
    "failed": "red",
    "interrupted": "red",
}


def console() -> Console:
    """stdout, as wide as it is; peer text is never markup."""
    named = os.environ.get("COLUMNS", "").isdecimal()
    width = None if sys.stdout.isatty() or named else PIPE_COLUMNS
    file = None if sys.stdout.isatty() else cast(TextIO, _Trimmed(sys.stdout))
    return Console(file=file, width=width, highlight=False, markup=False, emoji=False)


class _Trimmed:
    """A pipe whose lines have no blanks at their ends; tables pad their last column."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        # The console writes whole lines.
        return self._stream.write(re.sub(r" +(?=\n|$)", "", text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def outcome_style(outcome: str) -> str:
    return _COLOURS.get(outcome, "yellow")


# --- words --------------------------------------------------------------------------------


def who_words(who: Who, target: str = "") -> str:
    """The other party in one name."""
    return (
        who.display_name
        or who.user_principal_name
        or who.phone_number
        or who.user_id
        or target
        or "unknown"
    )


def cost_words(cost: Mapping[str, float]) -> str:
    """``0.0061 USD``, one for each currency."""
    return ", ".join(f"{amount:.4g} {currency}".strip() for currency, amount in cost.items())


def in_words(doomed: Doomed) -> str:
    """What is to be forgotten."""
    if doomed.before_ms:
        number = "1 call" if doomed.calls == 1 else f"{doomed.calls} calls"
        return f"{number} from before {local(doomed.before_ms)}"
    name = doomed.call_id or doomed.attempt
    return f"the call {name}" if doomed.calls == 1 else f"{doomed.calls} calls of the id {name}"


# --- the list -----------------------------------------------------------------------------


def print_list(lines: Sequence[CallLine], now_ms: int) -> None:
    """One row for each call, as many columns as there is room for."""
    if not lines:
        print("No calls.", file=sys.stderr)
        return
    out = console()
    wide, wider = out.width >= 100, out.width >= 120
    columns = ["ID", "STARTED", "", "WHO", "OUTCOME", ">LASTED", ">TURNS"]
    columns += [">CUT"] * wide + [">P50 MS"] + [">P95 MS", ">ERR"] * wider + ["ENDED"] * wide
    short = short_ids([line.call_id or line.attempt for line in lines])
    rows = [_row(line, short, now_ms) for line in lines]
    widths = {
        name: max([cell_len(name.strip(">")), *(cell_len(row[name].plain) for row in rows)])
        for name in columns
    }
    # What is too wide is a name first, then a reason.
    for name, least in (("WHO", 8), ("ENDED", 8), ("ID", 4)):
        over = sum(widths.values()) + _GAP * (len(columns) - 1) - out.width
        if over > 0 and name in widths:
            widths[name] = max(least, widths[name] - over)
    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="dim")
    for name in columns:
        table.add_column(
            name.strip(">"),
            justify="right" if name.startswith(">") else "left",
            no_wrap=name != "ID",
            overflow="fold" if name == "ID" else "ellipsis",
            width=widths[name],
        )
    for row in rows:
        table.add_row(*(row[name] for name in columns))
    out.print(table)


def _row(line: CallLine, short: Mapping[str, str], now_ms: int) -> dict[str, Text]:
    answer = line.latency.get("firstFrame")
    ended = f"{line.reason} by {line.ended_by}" if line.ended_by else line.reason
    up = line.outcome not in ("refused", "ringing") and not (line.attempt and not line.turns)
    return {
        "ID": Text(short[line.call_id or line.attempt]),
        "STARTED": Text(_when(line.started_ms, now_ms)),
        "": Text("out" if line.direction == "outbound" else "in", style="dim"),
        "WHO": Text(who_words(line.who, line.target)),
        "OUTCOME": Text(line.outcome, style=outcome_style(line.outcome)),
        ">LASTED": Text(_lasted(line, now_ms)),
        ">TURNS": Text(str(line.turns) if up else ""),
        ">CUT": Text(str(line.interruptions or "")),
        ">P50 MS": Text(f"{answer.p50:.0f}" if answer else ""),
        ">P95 MS": Text(f"{answer.p95:.0f}" if answer else ""),
        ">ERR": Text(str(line.errors or ""), style="red"),
        "ENDED": Text(line.detail if line.outcome == "refused" else ended),
    }


def short_ids(ids: Sequence[str]) -> dict[str, str]:
    """Each id, abbreviated as far as it stays the only one."""
    ordered = sorted(set(ids))
    needed = dict.fromkeys(ordered, _SHORT_ID)
    for one, other in itertools.pairwise(ordered):
        pairs = zip(one, other, strict=False)
        common = 1 + sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))
        needed[one] = max(needed[one], common)
        needed[other] = max(needed[other], common)
    return {one: one[: needed[one]] for one in ordered}


def _when(wall_ms: int, now_ms: int) -> str:
    same_year = local(wall_ms, "%Y") == local(now_ms, "%Y")
    return local(wall_ms, "%d %b %H:%M" if same_year else "%Y-%m-%d")


def _lasted(line: CallLine, now_ms: int) -> str:
    cut_off = line.outcome == "interrupted" and line.ended_ms is None
    if line.outcome == "refused" or cut_off:
        return ""
    if line.ended_ms is None:
        return lasted(now_ms - line.started_ms)
    return lasted(line.duration_ms or line.ended_ms - line.started_ms)


# --- for machines -------------------------------------------------------------------------


def print_json(*parts: Mapping[str, Any] | msgspec.Struct) -> None:
    """One object, with its version first."""
    whole: dict[str, Any] = {"version": VERSION}
    for part in parts:
        whole |= msgspec.to_builtins(part)
    print(json.dumps(whole, ensure_ascii=False))


def print_csv(lines: Sequence[CallLine]) -> None:
    """RFC 4180, with a header row. Times are ISO 8601 in UTC."""
    writer = csv.writer(sys.stdout, lineterminator="\r\n")
    head = list(_csv_row(CallLine(call_id="", outcome="", direction="", dialect="", who=Who(),
                                  started_ms=0)))  # fmt: skip
    writer.writerow(head)
    for line in lines:
        writer.writerow([_cell(value) for value in _csv_row(line).values()])


def _csv_row(line: CallLine) -> dict[str, object]:
    decision = line.decision
    row: dict[str, object] = {
        "callId": line.call_id,
        "started": _iso(line.started_ms),
        "answered": _iso(line.answered_ms),
        "ended": _iso(line.ended_ms),
        "durationMs": line.duration_ms,
        "outcome": line.outcome,
        "direction": line.direction,
        "dialect": line.dialect,
        **msgspec.to_builtins(line.who),
        "authorized": "" if decision is None else str(decision.authorized).lower(),
        "strategy": "" if decision is None else decision.strategy,
        "decisionReason": "" if decision is None else decision.reason,
        "reason": line.reason,
        "endedBy": line.ended_by,
        "detail": line.detail,
        "engine": line.engine,
        "address": line.address,
        "attempt": line.attempt,
        "target": line.target,
        "mode": line.mode,
        "askedBy": line.asked_by,
        "turns": line.turns,
        "interruptions": line.interruptions,
        "carriedOn": line.carried_on,
        "errors": line.errors,
        "inputTokens": line.input_tokens,
        "outputTokens": line.output_tokens,
        "cost": ";".join(f"{amount:.6f}" for amount in line.cost.values()),
        "currency": ";".join(line.cost),
    }
    for stage in STAGES:
        found = line.latency.get(stage)
        row[f"{stage}P50Ms"] = "" if found is None else round(found.p50, 1)
        row[f"{stage}P95Ms"] = "" if found is None else round(found.p95, 1)
    return row


def _iso(wall_ms: int | None) -> str:
    if wall_ms is None:
        return ""
    try:
        moment = datetime.datetime.fromtimestamp(wall_ms / 1000, datetime.UTC)
    except (ValueError, OverflowError, OSError):
        return str(wall_ms)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _cell(value: object) -> object:
    """See the module."""
    if not isinstance(value, str):
        return value
    text = printable(value, 1000)
    return f"'{text}" if text[:1] in ("=", "+", "-", "@") and not _PHONE.fullmatch(text) else text
