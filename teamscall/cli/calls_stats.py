"""Sums of a period on a terminal or in a pipe: tables and sparklines."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from rich.console import Console
from rich.table import Table
from rich.text import Text

from teamscall.cli.calls_show import STAGE_WORDS
from teamscall.cli.calls_view import console, cost_words, outcome_style
from teamscall.cli.moments import lasted, local
from teamscall.cli.tail_lines import duration
from teamscall.cli.wording import DIALECTS
from teamscall.journal.figures import STAGES
from teamscall.journal.stats import Stats

T = TypeVar("T")
_BARS = "▁▂▃▄▅▆▇█"
_TREND = 24  # cells at 80 columns; twice that fits at 120


def print_stats(stats: Stats) -> None:
    """All of it; what did not occur is left out."""
    out = console()
    out.print(
        Text.assemble(
            (str(stats.calls), "bold"),
            f" calls from {local(stats.since_ms)} to {local(stats.until_ms)}",
        )
    )
    if not stats.calls:
        return
    facts = Table.grid(padding=(0, 2, 0, 0))
    facts.add_column(no_wrap=True)
    facts.add_column(overflow="fold")
    for label, value in _facts(stats, out.width):
        facts.add_row(Text(label, style="dim"), value)
    out.print(facts)
    if stats.latency:
        _print_latency(out, stats)
    _print_rows(
        out,
        ("TROUBLE", ">COUNT", ">CALLS", "LATEST"),
        ((one.stage, str(one.count), str(one.calls), one.latest) for one in stats.errors),
    )
    _print_rows(
        out,
        ("USED", "MODEL", ">TOKENS IN", ">OUT", ">AUDIO IN", ">OUT", ">COST"),
        (
            (
                one.stage,
                one.model,
                str(one.input_tokens),
                str(one.output_tokens),
                f"{one.audio_in_s:.0f} s",
                f"{one.audio_out_s:.0f} s",
                cost_words(one.cost),
            )
            for one in stats.models
        ),
    )


def _facts(stats: Stats, width: int) -> Iterable[tuple[str, Text]]:
    outcomes = Text(", ").join(
        Text.assemble((name, outcome_style(name)), f" {count}")
        for name, count in stats.outcomes.items()
    )
    yield "outcome", outcomes
    yield "direction", Text(_counts(stats.directions))
    yield "through", Text(_counts({DIALECTS.get(k, k): n for k, n in stats.dialects.items()}))
    if stats.reasons:
        yield "ended", Text(_counts(stats.reasons))
    if (length := stats.duration_ms) is not None:
        total = lasted(stats.total_ms)
        words = f"p50 {lasted(length.p50)}, p95 {lasted(length.p95)}, {total} in all"
        yield "lasted", Text(words)
    yield (
        "turns",
        Text(f"{stats.turns}, {stats.interruptions} interrupted, {stats.carried_on} carried on"),
    )
    if stats.cost:
        yield "cost", Text(cost_words(stats.cost))
    cells = _TREND * (2 if width >= 100 else 1)
    calls = _merged([one.calls for one in stats.trend], cells, sum)
    each = duration((stats.until_ms - stats.since_ms) / len(calls))
    yield "calls", Text.assemble((spark(calls), "cyan"), f"  at most {max(calls)} in {each}")
    firsts = _merged([one.first_frame_p50_ms for one in stats.trend], cells, _largest)
    known = [value for value in firsts if value is not None]
    if known:
        words = f"  p50 {min(known):.0f} to {max(known):.0f} ms"
        yield "first frame", Text.assemble((spark(firsts), "green"), words)
    busiest = max(range(24), key=lambda hour: stats.hours[hour])
    words = f"  0 to 23 h, most at {busiest} h"
    yield "by hour", Text.assemble((spark(stats.hours), "cyan"), words)


def _print_latency(out: Console, stats: Stats) -> None:
    rows = []
    for stage in STAGES:
        if (found := stats.latency.get(stage)) is not None:
            rows.append(
                (STAGE_WORDS[stage], f"{found.p50:.0f}", f"{found.p95:.0f}", str(found.count))
            )
    _print_rows(out, ("ANSWERS, MS FROM THE LAST WORD", ">P50", ">P95", ">COUNT"), rows)


def _print_rows(out: Console, names: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for name in names:
        if name.startswith(">"):
            table.add_column(name[1:], justify="right", overflow="fold")
        else:
            table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    if table.row_count:
        out.print()
        out.print(table)


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())


def _merged(values: Sequence[T], cells: int, merge: Callable[[Sequence[T]], T]) -> list[T]:
    each = max(1, len(values) // cells)
    return [merge(values[at : at + each]) for at in range(0, len(values), each)]


def _largest(values: Sequence[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)


def spark(values: Sequence[float | None]) -> str:
    """One bar for each value, from nothing to the largest; a blank where there is none."""
    most = max((value for value in values if value is not None), default=0) or 1
    cells = []
    for value in values:
        if not value:
            cells.append(" " if value is None else _BARS[0])
        else:
            cells.append(_BARS[min(len(_BARS) - 1, int(value / most * len(_BARS)))])
    return "".join(cells)
