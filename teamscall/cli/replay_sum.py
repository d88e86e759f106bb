"""What the verdicts on captures have in common, however they were replayed: their sum."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from rich.console import Console

from teamscall.capture.junit import Judged
from teamscall.cli import calls_view

V = TypeVar("V", bound=Judged)


def print_sum(
    out: Console, verdicts: Sequence[Judged], words: Mapping[Any, str], *, left: int
) -> None:
    """One line: how many of each result. Nothing for one verdict, which has said it."""
    if len(verdicts) == 1 and not left:
        return
    counts = Counter(verdict.result for verdict in verdicts)
    told = [f"{counts[word]} {text}" for word, text in words.items() if counts[word]]
    if left:
        told.append(f"{left} left out")
    out.print(", ".join(told), soft_wrap=True)


def print_json(
    verdicts: Sequence[V],
    words: Mapping[Any, str],
    as_json: Callable[[V], dict[str, Any]],
    *,
    left: int,
) -> None:
    """One object. ``words`` has every result there is."""
    counts = Counter(verdict.result for verdict in verdicts)
    calls_view.print_json(
        {
            "passed": all(verdict.passed for verdict in verdicts) and not left,
            "results": {word: counts[word] for word in words},
            "leftOut": left,
            "captures": [as_json(verdict) for verdict in verdicts],
        }
    )
