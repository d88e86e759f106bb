"""The bot's turns: what was said, when it was heard, and how long it was waited for. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from teamscall.audio.measures import Measures
from teamscall.calls.records import TurnLatency
from teamscall.capture.records import Did, Record
from teamscall.capture.report.flow import Heard
from teamscall.capture.report.parts import Stage, Stretch, Turn
from teamscall.text import harmless, printable
from teamscall.wire.events import FRAME_MS

MAX_WORDS = 8000  # characters of one turn
# What the caller waits for, by the field of ``TurnLatency``.
STAGES = (
    ("endpoint", "pause noticed"),
    ("transcript", "words known"),
    ("first_text", "first word thought"),
    ("first_audio", "first sound made"),
    ("first_frame", "first frame sent"),
)
# A response in the sound belongs to the turn whose first sound is this near to it.
SAME_S = 0.6


class Turns:
    """Fed with the records that are about them, in order.

    Args:
        frames: how many of each turn were sent, where that is known.
    """

    def __init__(self, frames: Mapping[int, int]) -> None:
        self._found: dict[int, _Turn] = {}
        self._latest = 0
        self._left = dict(frames)
        self._given: set[int] = set()  # those of which the engine gave sound
        self._queue: list[int] = []  # those that sound, in their order

    def gave(self, number: object) -> None:
        """The engine gave sound of this turn."""
        if isinstance(number, int) and number not in self._given:
            self._given.add(number)
            self._line_up(number)

    def sent(self) -> int:
        """A frame was sent: the turn that it is of. They leave one after the other, in the
        order their sound came in, which need not be the order they began in."""
        waiting = [number for number in self._queue if self._left.get(number, 1) > 0]
        number = next(iter(waiting or self._queue), self._latest)
        if number in self._left:
            self._left[number] -= 1
        return number

    def _line_up(self, number: int) -> None:
        turn = self._found.get(number)
        # Speech of an answer that was thought of ahead is kept until its turn begins.
        if turn is not None and turn.ended is None and number not in self._queue:
            self._queue.append(number)

    def tell(self, at: float, name: str, fields: Mapping[str, Any]) -> None:
        number = fields.get("turn")
        if not isinstance(number, int):
            return
        turn = self._found.get(number)
        if turn is None:
            turn = self._found[number] = _Turn(number, at, printable(str(fields.get("kind", ""))))
        match name:
            case "TurnBegan":
                self._latest = number
                if number in self._given or turn.kind == "filler":
                    self._line_up(number)
            case "Said":
                if sum(map(len, turn.said)) < MAX_WORDS:
                    turn.said.append(harmless(str(fields.get("delta", "")), MAX_WORDS))
            case "TurnEnded":
                turn.ended = at
                turn.end = fields
                if number in self._queue:
                    self._queue.remove(number)
            case _:
                pass

    def told(
        self, heard: Sequence[Heard], first: Mapping[int, float], length: float
    ) -> tuple[Turn, ...]:
        """In the order they began. ``first``: when the first frame of each was sent."""
        spans: dict[int, list[Stretch]] = {}
        for one in heard:
            spans.setdefault(one.turn, []).append(one.span)
        return tuple(
            turn.told(_joined(spans.get(turn.number, ())), first.get(turn.number))
            for turn in self._found.values()
        )


class _Turn:
    def __init__(self, number: int, began: float, kind: str) -> None:
        self.number = number
        self.began = began
        self.kind = kind
        self.said: list[str] = []
        self.ended: float | None = None
        self.end: Mapping[str, Any] = {}

    def told(self, audible: tuple[Stretch, ...], first: float | None) -> Turn:
        end = self.end
        said = printable(str(end.get("said_text") or "".join(self.said)), MAX_WORDS)
        status = printable(str(end.get("status", "")), 40) or "not over"
        heard = printable(str(end.get("heard_text", "")), MAX_WORDS)
        if self.ended is None:
            heard = said
        cut = ""
        if status != "completed" and self.ended is not None:
            cut = said[len(heard) :].strip() if said.startswith(heard) else ""
        latency = _latency(end.get("latency"))
        asked = None
        # A goodbye or a key's answer was not waited for after a last word.
        if self.kind == "answer" and first is not None and latency.first_frame_ms is not None:
            asked = round(max(0.0, first - latency.first_frame_ms / 1000), 6)
        return Turn(
            number=self.number,
            kind=self.kind,
            status=status,
            began=self.began,
            ended=self.ended,
            audible=audible,
            said=said,
            heard=heard,
            cut=cut,
            said_ms=_number(end.get("said_ms")),
            heard_ms=_number(end.get("heard_ms")),
            asked=asked,
            first_frame=first,
            stages=stages(latency) if asked is not None else (),
        )


def stages(latency: TurnLatency) -> tuple[Stage, ...]:
    """The wait in its parts, in the order they ended in: an answer may be thought before the
    pause is long enough."""
    found = sorted(
        (
            (float(ms), order, name, label)
            for order, (name, label) in enumerate(STAGES)
            if (ms := getattr(latency, f"{name}_ms")) is not None and 0 <= ms < 1e7
        ),
        key=lambda one: one[:2],
    )
    out: list[Stage] = []
    before = 0.0
    for ms, _, name, label in found:
        out.append(Stage(name, label, before, ms))
        before = ms
    return tuple(out)


def with_measured(turns: Sequence[Turn], measures: Measures | None) -> tuple[Turn, ...]:
    """Beside what the program believed, the wait as it is in the sound."""
    if measures is None:
        return tuple(turns)
    out: list[Turn] = []
    free = list(measures.responses)
    for turn in turns:
        found = None
        if turn.audible and turn.asked is not None:
            start = turn.audible[0].start
            near = [one for one in free if abs(one.answered_ms / 1000 - start) < SAME_S]
            found = min(near, key=lambda one: abs(one.answered_ms / 1000 - start), default=None)
        if found is None:
            out.append(turn)
            continue
        free.remove(found)
        out.append(
            msgspec.structs.replace(
                turn,
                measured_ms=round(found.latency_ms, 1),
                measured_from=round(found.asked_ms / 1000, 6),
            )
        )
    return tuple(out)


def frames_of(records: Iterable[Record]) -> dict[int, int]:
    """How many frames were sent of each turn that is over; nothing is said of a turn that
    went on after it was stopped: some of its frames may have been sent twice."""
    found: dict[int, int] = {}
    for record in records:
        if isinstance(record, Did) and record.name in ("TurnEnded", "CarriedOn"):
            number, said = record.fields.get("turn"), record.fields.get("said_ms")
            if not isinstance(number, int):
                continue
            if record.name == "CarriedOn":
                found[number] = -1
            elif isinstance(said, int | float) and 0 <= said < 1e9:
                found.setdefault(number, math.ceil(said / FRAME_MS))
    return {number: count for number, count in found.items() if count >= 0}


def _joined(spans: Iterable[Stretch]) -> tuple[Stretch, ...]:
    out: list[Stretch] = []
    for span in spans:
        if out and span.start - out[-1].end < 0.001:
            out[-1] = Stretch(out[-1].start, span.end)
        else:
            out.append(span)
    return tuple(out)


def _latency(value: object) -> TurnLatency:
    try:
        return msgspec.convert(value or {}, TurnLatency)
    except msgspec.ValidationError:  # of a version that measured otherwise
        return TurnLatency()


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
