"""Numbers over many values: quantiles, and sums of money by currency."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import msgspec

STAGES = ("endpoint", "transcript", "firstText", "firstAudio", "firstFrame")
STAGE_COLUMNS = "endpoint_ms, transcript_ms, first_text_ms, first_audio_ms, first_frame_ms"


class Quantiles(msgspec.Struct, frozen=True, rename="camel"):
    """The median and the 95th percentile of ``count`` values, each a value that occurred."""

    p50: float
    p95: float
    count: int


def quantiles(values: Iterable[float]) -> Quantiles | None:
    """By nearest rank; None of nothing."""
    ordered = sorted(values)
    if not ordered:
        return None
    return Quantiles(rank(ordered, 0.5), rank(ordered, 0.95), len(ordered))


def rank(ordered: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of all does not exceed."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def by_stage(rows: Iterable[Sequence[float | None]]) -> dict[str, Quantiles]:
    """Quantiles of each latency stage that occurred, from rows of ``STAGE_COLUMNS``."""
    columns: list[list[float]] = [[] for _ in STAGES]
    for row in rows:
        for column, value in zip(columns, row, strict=True):
            if value is not None:
                column.append(value)
    found = {stage: quantiles(column) for stage, column in zip(STAGES, columns, strict=True)}
    return {stage: value for stage, value in found.items() if value is not None}


def money(rows: Iterable[tuple[str, float]]) -> dict[str, float]:
    """Costs by currency, rounded to a millionth."""
    sums: dict[str, float] = {}
    for currency, cost in rows:
        sums[currency] = sums.get(currency, 0.0) + cost
    return {currency: round(cost, 6) for currency, cost in sums.items()}
