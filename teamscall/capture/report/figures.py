"""The few numbers that calls are compared by. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import msgspec

from teamscall.capture.report.parts import Picture

# From the onset in the sound to the bridge's flush: its detection, and the doubt whether it is
# a "mhm". Sounds are placed a little later than they came.
EARLY_S = 0.1
LATE_S = 1.0


class Figures(msgspec.Struct, frozen=True):
    """Of one call; None: there is nothing to measure. ``told``: what the bridge believed,
    ``measured``: what is in the sound. Milliseconds."""

    turns: int
    cut: int
    told_ms: float | None
    told_worst_ms: float | None
    measured_ms: float | None
    measured_worst_ms: float | None
    barge_ins: int
    stopped_after_ms: float | None
    first_sound_ms: float | None
    late: int
    lost: int
    dry: int
    trouble: int


def figures(picture: Picture) -> Figures:
    """Count and take the middle."""
    told = [turn.stages[-1].to_ms for turn in picture.turns if turn.stages]
    measures = picture.measures
    measured = [one.latency_ms for one in measures.responses] if measures else []
    stopped: list[float] = []
    if measures is not None:
        stopped = [ms for one in measures.barge_ins if (ms := one.stopped_after_ms) is not None]
    counts = dict.fromkeys(("late", "lost", "dry"), 0)
    for loss in picture.losses:
        if loss.kind in counts:
            counts[loss.kind] += loss.count
    return Figures(
        turns=len(picture.turns),
        cut=sum(1 for turn in picture.turns if turn.status == "interrupted"),
        told_ms=_median(told),
        told_worst_ms=max(told, default=None),
        measured_ms=_median(measured),
        measured_worst_ms=max(measured, default=None),
        barge_ins=sum(1 for mark in picture.marks if mark.kind == "barge-in"),
        stopped_after_ms=_median(stopped),
        first_sound_ms=measures.first_sound_ms if measures else None,
        late=counts["late"],
        lost=counts["lost"],
        dry=counts["dry"],
        trouble=sum(1 for mark in picture.marks if mark.kind == "trouble"),
    )


def inaudible(picture: Picture) -> tuple[float, ...]:
    """When the bridge stopped the bot for a caller who began in a pause of its speech, or with
    its first sound: the bot's turn was cut, and nobody can hear that it was."""
    if picture.measures is None:
        return ()
    heard = [one.onset_ms / 1000 for one in picture.measures.barge_ins]
    return tuple(
        at for at in picture.stopped if not any(-EARLY_S < at - onset < LATE_S for onset in heard)
    )


def _median(values: Sequence[float]) -> float | None:
    return statistics.median(values) if values else None
