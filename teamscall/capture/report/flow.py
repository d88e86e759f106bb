"""How the frames of a call flowed: when the bot was heard, and which frames had trouble.

Owns lateness and gaps as the capture's clock saw them. Fed record by record; pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from teamscall.capture.report.parts import Loss, LossKind, Stretch, Who
from teamscall.wire.events import FRAME_MS

FRAME_S = FRAME_MS / 1000
# A caller's frame is late from here on, against the fastest of the second around it: three
# frames of jitter are what bridges are made to bear.
LATE_S = 0.06
# The delay of the fastest frames drifts with the clocks: it is forgotten at this rate.
DRIFT_S_PER_FRAME = 0.0001
# Silence of the bot's longer than this is a pause of its own, and no frame that is late.
DRY_S = 1.0
# Troubles nearer to each other than this are one.
JOIN_S = 0.5
# More numbers than this are missing at once: the gateway began to count anew.
MOST_LOST = 500


class Heard(msgspec.Struct, frozen=True):
    """A stretch of the bot's sound, and the turn that it is of (0: none is known)."""

    turn: int
    span: Stretch


class Trouble(msgspec.Struct, frozen=True):
    """One frame's, or one message's; ``note`` where its kind alone does not say it."""

    start: float
    end: float
    kind: LossKind
    who: Who
    count: int = 1
    ms: float = 0.0
    note: str = ""


class BotFlow:
    """When what the bridge sent is played: one frame after the other, until a flush."""

    def __init__(self) -> None:
        self._spans: list[tuple[int, float, float]] = []
        self._cursor = 0.0
        self._stopped = False
        self.first: dict[int, float] = {}  # when the first frame of a turn was sent
        self.troubles: list[Trouble] = []

    def frame(self, at: float, turn: int, seconds: float = FRAME_S) -> None:
        """One was sent for ``turn``."""
        self.first.setdefault(turn, at)
        gap = at - self._cursor
        new = not self._spans or gap > FRAME_S or self._spans[-1][0] != turn
        start = max(at, self._cursor) if new else self._cursor
        if (
            self._spans
            and self._spans[-1][0] == turn
            and FRAME_S < gap < DRY_S
            and not self._stopped
        ):
            self.troubles.append(Trouble(self._cursor, at, "dry", "bot", ms=gap * 1000))
        if new:
            self._spans.append((turn, start, start + seconds))
        else:
            self._spans[-1] = (turn, self._spans[-1][1], self._cursor + seconds)
        self._cursor = start + seconds
        self._stopped = False

    def stopped(self) -> None:
        """The pause before the next frame was meant."""
        self._stopped = True

    def flush(self, at: float) -> None:
        """Nothing that has not been played by now ever is."""
        while self._spans and self._spans[-1][1] >= at:
            self._spans.pop()
        if self._spans:
            turn, start, end = self._spans[-1]
            self._spans[-1] = (turn, start, min(end, at))
        self._cursor = min(self._cursor, at)
        self.stopped()
        # What was not there because it was flushed was not late.
        while self.troubles and self.troubles[-1].end > at:
            self.troubles.pop()

    def heard(self) -> tuple[Heard, ...]:
        return tuple(
            Heard(turn, Stretch(round(start, 6), round(end, 6))) for turn, start, end in self._spans
        )


class CallerFlow:
    """Lateness and holes of what the gateway sent, one speaker's frames."""

    def __init__(self) -> None:
        self._spoken = 0.0
        self._least = 0.0
        self._last: int | None = None
        self.troubles: list[Trouble] = []

    def frame(self, at: float, seconds: float, seq: int) -> None:
        """One came: so many seconds of sound, with this number."""
        missing = 0 if self._last is None else seq - self._last - 1
        if 0 < missing <= MOST_LOST:
            self._spoken += missing * seconds
            self.troubles.append(Trouble(at, at, "lost", "caller", missing))
        offset = at - self._spoken
        if self._last is None or offset > self._least + DRY_S:
            self._least = offset  # the first, or the gateway was silent for a while
        self._least = min(self._least + DRIFT_S_PER_FRAME, offset)
        late = offset - self._least
        if late > LATE_S:
            self.troubles.append(Trouble(at, at, "late", "caller", ms=late * 1000))
        self._last = seq
        self._spoken += seconds


def losses(troubles: Iterable[Trouble]) -> tuple[Loss, ...]:
    """Those of one kind that are near to each other, as one; in the order of time."""
    groups: list[list[Trouble]] = []
    latest: dict[tuple[LossKind, Who], list[Trouble]] = {}
    for one in sorted(troubles, key=lambda one: (one.start, one.kind, one.note)):
        group = latest.get((one.kind, one.who))
        if group is None or one.start - group[-1].end >= JOIN_S:
            group = latest[one.kind, one.who] = []
            groups.append(group)
        group.append(one)
    return tuple(_loss(group) for group in groups)


def _loss(group: Sequence[Trouble]) -> Loss:
    first = group[0]
    count = sum(one.count for one in group)
    worst = max(one.ms for one in group)
    frames = "1 frame" if count == 1 else f"{count} frames"
    match first.kind:
        case "late":
            text = f"{frames} came late, up to {worst:.0f} ms"
        case "lost":
            text = f"{frames} never came"
        case "dry":
            text = (
                f"a stall: nothing to play for {worst:.0f} ms, as the next frame was sent too late"
            )
            if count > 1:
                text = f"{count} stalls: nothing to play for up to {worst:.0f} ms"
        case _:
            notes = dict.fromkeys(one.note for one in group)
            text = "; ".join(list(notes)[:4]) + ("; …" if len(notes) > 4 else "")
    return Loss(first.start, group[-1].end, first.kind, first.who, count, text)
