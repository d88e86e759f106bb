"""One call drawn in a terminal: a lane for each kind of thing, scaled to the width. Pure.

What the caller says has no beginning in the journal: a lane shows the last word before each
answer, and the wait for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from teamscall.journal.whole import Happened, TurnTaken, Whole

LEGEND = (
    ("◆", "the caller's last word"),
    ("·", "the wait"),
    ("█", "the bot"),
    ("▼", "interruption"),
    ("△", "went on"),
    ("━", "open"),
    ("┄", "closed"),
    ("!", "trouble"),
)
_LABEL = 10
_STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 43_200, 86_400)
_TICK_COLUMNS = 8  # the least between two labels of the axis


class Lane(msgspec.Struct, frozen=True):
    """One row: a label, and a text as wide as the picture is."""

    name: str
    cells: str


class Picture(msgspec.Struct, frozen=True):
    """``axis``: ticks, and below them their labels."""

    lanes: tuple[Lane, ...]
    axis: tuple[str, str]


def picture(call: Whole, width: int, now_ms: int) -> Picture:
    """Draw it in ``width`` columns, labels included. A call that runs ends now, one that was
    cut off with the last that is known of it."""
    line = call.call
    begin = line.started_ms
    told = [turn.wall_ms for turn in call.turns] + [event.wall_ms for event in call.events]
    last = max([begin, *told])
    if line.ended_ms is None and line.outcome != "interrupted":
        last = max(last, now_ms)
    end = max(begin + 1000, last if line.ended_ms is None else line.ended_ms)
    columns = max(20, width - _LABEL)

    def at(wall_ms: float) -> int:
        share = (wall_ms - begin) / (end - begin)
        return min(columns - 1, max(0, int(share * columns)))

    lanes = [
        Lane("caller", _caller(call, at, columns)),
        Lane("bot", _bot(call, at, columns)),
        Lane("cut", _marks(call.events, {"barge-in": "▼", "carried-on": "△"}, at, columns)),
        *_states(call.events, at, columns),
        Lane("errors", _marks(call.events, {"trouble": "!"}, at, columns)),
    ]
    lanes = [lane for lane in lanes if lane.name in ("caller", "bot") or lane.cells.strip()]
    return Picture(tuple(lanes), _axis((end - begin) / 1000, columns))


Place = Callable[[float], int]


def heard_between(turn: TurnTaken, events: Iterable[Happened]) -> tuple[int, int]:
    """From when to when the turn was heard, epoch ms. One that was cut was heard until then,
    and over only once it was known why."""
    end = turn.wall_ms
    if turn.status != "completed":
        cut = [e.wall_ms for e in events if e.kind == "barge-in" and e.turn == turn.turn]
        end = min(end, max(cut, default=end))
    return end - turn.heard_ms, end


def _caller(call: Whole, at: Place, columns: int) -> str:
    cells = [" "] * columns
    for turn in call.turns:
        if turn.first_frame_ms is None or turn.kind != "answer":
            continue
        begin, _ = heard_between(turn, call.events)
        word = at(begin - turn.first_frame_ms)
        for column in range(word + 1, at(begin)):
            cells[column] = "·"
        cells[word] = "◆"
    return "".join(cells)


def _bot(call: Whole, at: Place, columns: int) -> str:
    cells = [" "] * columns
    for turn in call.turns:
        if turn.status == "failed":
            cells[at(turn.wall_ms)] = "×"
        elif turn.heard_ms > 0:
            begin, end = heard_between(turn, call.events)
            for column in range(at(begin), at(end) + 1):
                cells[column] = "█"
    return "".join(cells)


def _marks(events: Iterable[Happened], signs: dict[str, str], at: Place, columns: int) -> str:
    cells = [" "] * columns
    for event in events:
        if event.kind in signs:
            cells[at(event.wall_ms)] = signs[event.kind]
    return "".join(cells)


def _states(events: Iterable[Happened], at: Place, columns: int) -> Iterable[Lane]:
    """The recording gate; of a call that has none, the recording status."""
    events = tuple(events)
    for kind, good in (("gate", "open"), ("recording", "active")):
        changes = [event for event in events if event.kind == kind]
        if not changes:
            continue
        cells = [" "] * columns
        for event in changes:  # the later one is drawn over the rest
            sign = "━" if event.state == good else "┄"
            begin = at(event.wall_ms)
            cells[begin:] = sign * (columns - begin)
        yield Lane(kind, "".join(cells))
        return


def _axis(seconds: float, columns: int) -> tuple[str, str]:
    per_column = seconds / columns
    step = next((s for s in _STEPS_S if s / per_column >= _TICK_COLUMNS), _STEPS_S[-1])
    ticks, labels = ["─"] * columns, [" "] * columns
    moment = 0
    while moment <= seconds:
        column = int(moment / per_column)
        label = _clock(moment, step)
        if column + len(label) > columns:
            break
        ticks[column] = "┴"
        labels[column : column + len(label)] = label
        moment += step
    return "".join(ticks), "".join(labels).rstrip()


def _clock(seconds: int, step: int) -> str:
    """``20s`` on a short axis; ``2:00`` and ``1:30h`` on longer ones."""
    if step >= 3600:
        return f"{seconds // 3600}h"
    if step >= 60 and seconds >= 3600:
        return f"{seconds // 3600}:{seconds % 3600 // 60:02}h"
    if seconds >= 60:
        return f"{seconds // 60}:{seconds % 60:02}"
    return f"{seconds}s"
