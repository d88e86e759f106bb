"""A call's timeline as shapes: what the SVG and the PNG are both drawn from.

Owns the layout. Pure; a text's width is estimated, so that both cut it at the same letter.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

import msgspec

from teamscall.capture.report.parts import Mark, Picture, Track, Turn
from teamscall.text import ELLIPSIS

MIN_WIDTH, MAX_WIDTH = 480, 16_000
DEFAULT_WIDTH = 1600

Anchor = Literal["start", "middle", "end"]
# What a shape is; ``palette`` says how that looks.
Style = str


class Rect(msgspec.Struct, frozen=True):
    x: float
    y: float
    width: float
    height: float
    style: Style
    title: str = ""


class Line(msgspec.Struct, frozen=True):
    x1: float
    y1: float
    x2: float
    y2: float
    style: Style


class Shape(msgspec.Struct, frozen=True):
    """A closed polygon."""

    points: tuple[tuple[float, float], ...]
    style: Style
    title: str = ""


class Label(msgspec.Struct, frozen=True):
    """``y`` is the baseline; ``cut``: struck through."""

    x: float
    y: float
    text: str
    style: Style
    size: float = 12
    anchor: Anchor = "start"
    cut: bool = False


Item = Rect | Line | Shape | Label


class Scene(msgspec.Struct, frozen=True):
    width: int
    height: int
    title: str
    items: tuple[Item, ...]


# --- the layout, from the top down, in pixels -------------------------------------------

_LEFT, _RIGHT = 84, 20
_TITLE_Y, _NOTE_Y = 26, 44
_MARKS_Y = 62
_CALLER_Y, _WAVE_HEIGHT = 84, 64
_HEARD_Y = _CALLER_Y + _WAVE_HEIGHT + 4
_PARTIAL_Y = _HEARD_Y + 20
_AXIS_Y = _PARTIAL_Y + 18
_BOT_Y = _AXIS_Y + 26
_SAID_Y = _BOT_Y + _WAVE_HEIGHT + 4
_CUT_Y = _SAID_Y + 20
_TURNS_Y = _CUT_Y + 22
_GATE_Y = _TURNS_Y + 28
_FRAMES_Y = _GATE_Y + 18
_LEGEND_Y = _FRAMES_Y + 36
_HEIGHT = _LEGEND_Y + 14

_STEPS_S = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21600)
_TICK_PIXELS = 70
# Of a letter, of its size: a sans serif's letters are narrower on average.
_LETTER = 0.55
STAGE_STYLES = {
    "endpoint": "stage-endpoint",
    "transcript": "stage-transcript",
    "first_text": "stage-first-text",
    "first_audio": "stage-first-audio",
    "first_frame": "stage-first-frame",
}
_STAGE_LABELS = {
    "endpoint": "pause noticed",
    "transcript": "words known",
    "first_text": "first word thought",
    "first_audio": "first sound made",
    "first_frame": "first frame sent",
}


def scene(picture: Picture, width: int = DEFAULT_WIDTH) -> Scene:
    """The whole call in ``width`` pixels.

    Raises:
        ValueError: the width is not between MIN_WIDTH and MAX_WIDTH.
    """
    if not MIN_WIDTH <= width <= MAX_WIDTH:
        raise ValueError(f"a width from {MIN_WIDTH} to {MAX_WIDTH}")
    return Scene(width, _HEIGHT, picture.title, tuple(_Drawing(picture, width).items()))


class _Drawing:
    def __init__(self, picture: Picture, width: int) -> None:
        self._picture = picture
        self._width = width
        self._right = width - _RIGHT
        self._scale = (self._right - _LEFT) / picture.length

    def _x(self, at: float) -> float:
        return round(_LEFT + min(max(at, 0.0), self._picture.length) * self._scale, 2)

    def items(self) -> Iterator[Item]:
        yield Rect(0, 0, self._width, _HEIGHT, "paper")
        yield from self._title()
        yield from self._lanes()
        yield from self._closed()
        yield from self._waves()
        yield from self._axis()
        yield from self._heard()
        yield from self._said()
        yield from self._turns()
        yield from self._states()
        yield from self._losses()
        yield from self._marks()
        yield from self._legend()

    def _title(self) -> Iterator[Item]:
        picture = self._picture
        room = self._width - 40
        yield Label(20, _TITLE_Y, fitted(picture.title, room, 17), "title", 17)
        ended = f", ended: {picture.reason}" if picture.reason else ""
        facts = f"{picture.began}, {picture.length:.1f} s, {picture.dialect}{ended}"
        facts = "; ".join([facts, *picture.notes])
        yield Label(20, _NOTE_Y, fitted(facts, room, 12), "dim", 12)

    def _lanes(self) -> Iterator[Item]:
        for y, text, style in (
            (_MARKS_Y + 13, "events", "dim"),
            (_CALLER_Y + _WAVE_HEIGHT / 2 + 4, "caller", "caller-name"),
            (_HEARD_Y + 14, "heard", "dim"),
            (_PARTIAL_Y + 11, "partials", "dim"),
            (_BOT_Y + _WAVE_HEIGHT / 2 + 4, "bot", "bot-name"),
            (_SAID_Y + 14, "said", "dim"),
            (_TURNS_Y + 14, "turns", "dim"),
            (_GATE_Y + 10, "recording", "dim"),
            (_FRAMES_Y + 10, "frames", "dim"),
        ):
            yield Label(_LEFT - 10, y, text, style, 11.5, "end")

    def _closed(self) -> Iterator[Item]:
        for gate in self._picture.gates:
            if not gate.open:
                x = self._x(gate.start)
                width = max(1.0, self._x(gate.end) - x)
                yield Rect(x, _CALLER_Y, width, _CUT_Y - _CALLER_Y, "closed", gate.label)

    def _waves(self) -> Iterator[Item]:
        for y in (_CALLER_Y, _BOT_Y):
            middle = y + _WAVE_HEIGHT / 2
            yield Line(_LEFT, middle, self._right, middle, "zero")
        for track in self._picture.tracks:
            yield from self._wave(track, _CALLER_Y if track.who == "caller" else _BOT_Y)
        if not self._picture.tracks:
            for span in self._picture.spoken:
                x = self._x(span.start)
                width = max(1.0, self._x(span.end) - x)
                yield Rect(x, _BOT_Y + 22, width, 20, "bot-bar")

    def _wave(self, track: Track, y: float) -> Iterator[Item]:
        middle, half = y + _WAVE_HEIGHT / 2, _WAVE_HEIGHT / 2
        step = self._scale * track.bucket_ms / 1000
        for values, style in ((track.peaks, "peak"), (track.powers, "power")):
            for run in _runs(_columns(values, step)):
                points = [(_LEFT + x, middle - half * value / 255) for x, value in run]
                points += [(_LEFT + x, middle + half * value / 255) for x, value in reversed(run)]
                rounded = tuple((round(px, 2), round(py, 2)) for px, py in points)
                yield Shape(rounded, f"{track.who}-{style}")

    def _axis(self) -> Iterator[Item]:
        yield Line(_LEFT, _AXIS_Y, self._right, _AXIS_Y, "axis")
        step = next((s for s in _STEPS_S if s * self._scale >= _TICK_PIXELS), _STEPS_S[-1])
        count = 0
        while (moment := count * step) <= self._picture.length:
            x = self._x(moment)
            yield Line(x, _AXIS_Y, x, _AXIS_Y + 5, "axis")
            yield Line(x, _CALLER_Y, x, _CALLER_Y + _WAVE_HEIGHT, "grid")
            yield Line(x, _BOT_Y, x, _BOT_Y + _WAVE_HEIGHT, "grid")
            if x + 30 < self._right or not count:
                yield Label(x + 3, _AXIS_Y + 15, clock(moment, step), "figure", 11)
            count += 1

    # --- words --------------------------------------------------------------------------

    def _heard(self) -> Iterator[Item]:
        utterances = self._picture.utterances
        ends = [*(one.start for one in utterances[1:]), self._picture.length]
        for one, end in zip(utterances, ends, strict=False):
            x = self._x(one.start)
            yield Rect(x, _HEARD_Y, max(2.0, self._x(one.end) - x), 18, "heard", one.text)
            style = "words" if one.final else "partial"
            if text := fitted(one.text, self._x(end) - x - 8, 12):
                yield Label(x + 4, _HEARD_Y + 13, text, style, 12)
            partials = [partial for partial in one.partials if partial.at >= one.start]
            stops = [*(partial.at for partial in partials[1:]), max(end, one.end)]
            for partial, stop in zip(partials, stops, strict=False):
                px = self._x(partial.at)
                yield Line(px, _PARTIAL_Y, px, _PARTIAL_Y + 14, "partial-tick")
                if text := fitted(partial.text, self._x(stop) - px - 6, 10):
                    yield Label(px + 3, _PARTIAL_Y + 11, text, "partial", 10)

    def _said(self) -> Iterator[Item]:
        turns = [turn for turn in self._picture.turns if turn.said or turn.audible]
        turns.sort(key=_start)  # a key's answer may wait until another one is heard
        starts = [_start(turn) for turn in turns]
        for turn, end in zip(turns, [*starts[1:], self._picture.length], strict=False):
            x = self._x(_start(turn))
            for span in turn.audible:
                left = self._x(span.start)
                width = max(2.0, self._x(span.end) - left)
                yield Rect(left, _SAID_Y, width, 18, "said", turn.heard)
            room = self._x(max(end, _start(turn))) - x - 8
            if text := fitted(turn.heard, room, 12):
                yield Label(x + 4, _SAID_Y + 13, text, "words", 12)
            if turn.cut and (text := fitted(turn.cut, room, 10)):
                yield Label(x + 4, _CUT_Y + 11, text, "cut", 10, cut=True)

    # --- turns and their waits ----------------------------------------------------------

    def _turns(self) -> Iterator[Item]:
        for turn in self._picture.turns:
            yield from self._wait(turn)
            for span in turn.audible:
                x = self._x(span.start)
                title = f"turn {turn.number}, {turn.kind}, {turn.status}"
                width = max(1.5, self._x(span.end) - x)
                yield Rect(x, _TURNS_Y, width, 18, "turn", title)
            if turn.audible:
                widest = max(turn.audible, key=lambda span: span.end - span.start)
                x = self._x(widest.start)
                room = self._x(widest.end) - x - 6
                figure = "" if turn.measured_ms is None else f", {turn.measured_ms:.0f} ms"
                if text := fitted(f"{turn.number} {turn.kind}{figure}", room, 10.5):
                    yield Label(x + 4, _TURNS_Y + 13, text, "on-turn", 10.5)
                if turn.status != "completed":
                    stop = self._x(turn.audible[-1].end)
                    yield Rect(stop - 1.5, _TURNS_Y - 3, 3, 24, "stop", turn.status)

    def _wait(self, turn: Turn) -> Iterator[Item]:
        if turn.asked is None:
            return
        for stage in turn.stages:
            x = self._x(turn.asked + stage.from_ms / 1000)
            width = self._x(turn.asked + stage.to_ms / 1000) - x
            title = f"{stage.label}: {stage.to_ms:.0f} ms"
            if width > 0:
                yield Rect(x, _TURNS_Y + 4, width, 10, STAGE_STYLES[stage.name], title)

    # --- states, frames, events ---------------------------------------------------------

    def _states(self) -> Iterator[Item]:
        for gate in self._picture.gates:
            x = self._x(gate.start)
            width = max(1.0, self._x(gate.end) - x)
            yield Rect(
                x, _GATE_Y + 3, width, 7, "gate-open" if gate.open else "gate-shut", gate.label
            )
            if not gate.open and (text := fitted(gate.label, width - 4, 9)):
                yield Label(x + 3, _CALLER_Y + 10, text, "dim", 9)

    def _losses(self) -> Iterator[Item]:
        yield Line(_LEFT, _FRAMES_Y + 6, self._right, _FRAMES_Y + 6, "zero")
        for loss in self._picture.losses:
            x = self._x(loss.start)
            width = max(2.5, self._x(loss.end) - x)
            yield Rect(x, _FRAMES_Y + 1, width, 10, f"loss-{loss.kind}", loss.text)

    def _marks(self) -> Iterator[Item]:
        free = 0.0  # up to where labels are
        for mark in self._picture.marks:
            x = self._x(mark.at)
            yield Line(x, _MARKS_Y + 16, x, _SAID_Y, f"mark-line-{_loud(mark)}")
            middle = _MARKS_Y + 12
            triangle = ((x - 5, middle - 5), (x + 5, middle - 5), (x, middle + 4))
            yield Shape(triangle, f"mark-{_loud(mark)}", mark.text)
            width = len(mark.label) * 11 * _LETTER + 8
            left = x + 8 if x + 8 + width < self._width else x - 8 - width
            if left >= free:
                yield Label(left, middle + 3, mark.label, f"mark-word-{_loud(mark)}", 11)
                free = left + width

    def _legend(self) -> Iterator[Item]:
        x = float(_LEFT)
        entries = [
            *((style, _STAGE_LABELS[name]) for name, style in STAGE_STYLES.items()),
            ("loss-late", "late frames"),
            ("loss-lost", "lost frames, stalls"),
            ("closed", "recording closed"),
        ]
        for style, words in entries:
            width = 16 + len(words) * 11 * _LETTER + 18
            if x + width > self._right:
                return
            yield Rect(x, _LEGEND_Y - 9, 11, 10, style)
            yield Label(x + 16, _LEGEND_Y, words, "dim", 11)
            x += width


def fitted(text: str, room: float, size: float) -> str:
    """As much of it as fits into so many pixels; empty where that says nothing."""
    letters = int(room / (size * _LETTER))
    if len(text) <= letters:
        return text
    return text[: letters - 1].rstrip() + ELLIPSIS if letters >= 4 else ""


def clock(seconds: float, step: float = 1.0) -> str:
    """``7.5 s``, ``1:05`` or ``1:02:03``; with tenths where the step is less than a second."""
    tenths = round(seconds * 10) if step < 1 else int(seconds) * 10
    if tenths < 600 and step < 60:
        return f"{tenths / 10:.1f} s" if step < 1 else f"{tenths // 10} s"
    whole = tenths // 10
    rest = f".{tenths % 10}" if step < 1 else ""
    if whole >= 3600:
        return f"{whole // 3600}:{whole % 3600 // 60:02}:{whole % 60:02}{rest}"
    return f"{whole // 60}:{whole % 60:02}{rest}"


def _start(turn: Turn) -> float:
    return turn.audible[0].start if turn.audible else turn.began


def _loud(mark: Mark) -> str:
    if mark.kind in ("barge-in", "trouble", "missing"):
        return "bad"
    return "link" if mark.kind == "link" else "plain"


def _columns(values: Sequence[int], step: float) -> Iterator[tuple[float, int]]:
    """One value for each pixel at most: the greatest in it."""
    per = max(1, round(1 / step)) if step < 1 else 1
    for index in range(0, len(values), per):
        yield index * step, max(values[index : index + per])


def _runs(columns: Iterable[tuple[float, int]]) -> Iterator[list[tuple[float, int]]]:
    """Those next to each other that are no silence."""
    run: list[tuple[float, int]] = []
    for x, value in columns:
        if value:
            run.append((x, value))
        elif run:
            yield run
            run = []
    if run:
        yield run
