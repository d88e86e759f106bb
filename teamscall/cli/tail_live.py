"""How `tail` looks on a terminal: lines that stay, and below them what is being said now.

Owns colours, wrapping and when something is drawn. Lines are never dropped, redraws are:
whatever comes between two of them is written at once.
"""

from __future__ import annotations

import asyncio
import collections
import sys
from collections.abc import Callable, Mapping
from typing import Any

from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from teamscall.calls import records
from teamscall.cli.meters import METER_FLOOR_DBFS, filled
from teamscall.cli.tail_events import LEVELS, Selection
from teamscall.cli.tail_lines import Labels, Line, Tone, duration, legible, line_of
from teamscall.cli.tail_view import WHO_COLUMNS, View, moment, who
from teamscall.control.told import record_of
from teamscall.errors import OutputLost
from teamscall.text import ELLIPSIS

DRAW_S = 0.1
# Lines that wait for the next drawing; with more, reading the bridge waits for it.
MAX_WAITING = 1000
# Of what forms, as much as could be seen of it.
FORMING_CHARS = 2000
LATENCY_COLUMNS = 9
MIN_TEXT_COLUMNS = 24
MAX_METER_COLUMNS = 24

_TONES: dict[Tone, str] = {
    "caller": "cyan",
    "bot": "green",
    "cut": "dim strike",
    "fact": "dim",
    "good": "bold",
    "bad": "yellow",
}
_WHO = {"caller": "bold cyan", "bot": "bold green", "call": "dim", "engine": "bold yellow"}
_CALLS = ("magenta", "blue", "yellow", "bright_cyan", "bright_green", "bright_red")


class _Now:
    """What is being said in one call."""

    def __init__(self) -> None:
        self.caller = ""
        self.bot = ""
        self.turn = 0
        self.levels: records.AudioLevels | None = None

    @property
    def rests(self) -> bool:
        return not (self.caller or self.bot or self.levels)


class _Drawn:
    """Is drawn as it is at that moment; ``get_renderable`` is asked by a refresh alone."""

    def __init__(self, draw: Callable[[], RenderableType]) -> None:
        self._draw = draw

    def __rich__(self) -> RenderableType:
        return self._draw()


class LiveView(View):
    """For a terminal on stdout. Entered inside a running event loop.

    Args:
        goes_on: more will come, so what forms is shown below the lines.
        console: another one than stdout's, for tests.
    """

    screen = True

    def __init__(
        self,
        wanted: Selection,
        *,
        one_call: bool = False,
        goes_on: bool = True,
        console: Console | None = None,
    ) -> None:
        super().__init__(wanted, one_call=one_call)
        self._forms = goes_on and (wanted.talk or wanted.levels)
        self._hears = wanted.plus("call-closed") if self._forms else wanted
        if self._forms and wanted.talk:
            self._hears = self._hears.plus("partials", "turns")
        self._console = console or Console(file=sys.stdout, highlight=False)
        self._labels = Labels()
        self._waiting: collections.deque[Line | str] = collections.deque()
        self._now: dict[str, _Now] = {}
        self._day = moment(0).date()
        self._timer: asyncio.TimerHandle | None = None
        # No thread of its own, and stderr stays what it is.
        self._live = Live(
            _Drawn(self._forming),  # what is printed above it has it drawn anew
            console=self._console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    @property
    def hears(self) -> Selection:
        return self._hears

    def __enter__(self) -> LiveView:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._now.clear()
        try:
            if self.lost is None:
                self.draw()
        finally:
            self._live.stop()

    def counts(self, event: Mapping[str, Any]) -> bool:
        return self._stays(event)

    def _stays(self, event: Mapping[str, Any]) -> bool:
        if event not in self.wanted or event.get("event") in (LEVELS, "said", "turn-began"):
            return False
        return not (event.get("event") == "heard" and not event.get("final"))

    def event(self, event: Mapping[str, Any]) -> None:
        if self._forms:
            self._follow(event)
        if self._stays(event) and (line := line_of(event)) is not None:
            self._waiting.append(line)
        if len(self._waiting) >= MAX_WAITING:
            self.draw()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(DRAW_S, self._ring)

    def cut_off(self) -> None:
        self._now.clear()

    def note(self, text: str) -> None:
        if sys.stderr.isatty():  # the same terminal: above what forms
            self._waiting.append(legible(text, 500))
            self.draw()
        else:
            super().note(text)

    # --- what forms -----------------------------------------------------------

    def _follow(self, event: Mapping[str, Any]) -> None:
        record = record_of(event)
        if record is None:
            return
        now = self._now.setdefault(record.call_id, _Now())
        match record:
            case records.Heard():
                now.caller = "" if record.final else legible(record.text, FORMING_CHARS)
            case records.TurnBegan():
                now.turn, now.bot = record.turn, ""
            case records.Said():
                if record.turn != now.turn:
                    now.turn, now.bot = record.turn, ""
                now.bot = (now.bot + record.delta)[-FORMING_CHARS:]
            case records.TurnEnded():
                if record.turn == now.turn:
                    now.bot = ""
            case records.AudioLevels():
                now.levels = record
        closed = isinstance(record, records.CallClosed)
        # Whoever changed last is shown first: taken out, and put in at the end.
        del self._now[record.call_id]
        if not closed and not now.rests:
            self._now[record.call_id] = now

    def _forming(self) -> RenderableType:
        """The newest of it where there is no room for all; calls in a steady order."""
        room = max(2, self._console.height // 2)
        rows: dict[str, list[Text]] = {}
        count = 0
        for call_id in reversed(self._now):
            rows[call_id] = self._rows_of(call_id, self._now[call_id])
            count += len(rows[call_id])
            if count >= room:
                break
        ordered = sorted(rows, key=self._labels.order)
        shown = [row for call_id in ordered for row in rows[call_id]][:room]
        if left := len(self._now) - len(rows):
            shown.append(Text(f"{' ' * 10}{ELLIPSIS} and {left} more", "dim"))
        for row in shown:
            row.no_wrap, row.overflow = True, "ellipsis"
        return Group(*shown)

    def _rows_of(self, call_id: str, now: _Now) -> list[Text]:
        rows = [] if now.levels is None else [self._meters(call_id, now.levels)]
        for name, text in (("caller", now.caller), ("bot", now.bot)):
            if text:
                rows.append(self._partial(call_id, name, text, self._console.width - 1))
        return rows

    def _partial(self, call_id: str, name: str, text: str, width: int) -> Text:
        row = Text.assemble(
            " " * 10,
            self._label(call_id),
            (f"{name}{ELLIPSIS:<{WHO_COLUMNS + 1 - len(name)}}", _WHO[name]),
        )
        room = max(8, width - row.cell_len)
        row.append(_end_of(legible(text, FORMING_CHARS), room), f"{_TONES[name]} dim")  # type: ignore[index]
        return row

    def _meters(self, call_id: str, levels: records.AudioLevels) -> Text:
        row = Text.assemble(" " * 10, self._label(call_id))
        room = self._console.width - 1 - row.cell_len - len("caller  -99 dB  bot  -99 dB")
        columns = max(4, min(room // 2, MAX_METER_COLUMNS))
        for name, dbfs in (("caller", levels.caller_dbfs), ("  bot", levels.bot_dbfs)):
            full = filled(dbfs, columns) if dbfs is not None else 0
            row.append(f"{name} ", "dim")
            row.append("█" * full, _TONES["caller" if name == "caller" else "bot"])
            row.append("·" * (columns - full), "dim")
            row.append(f"{_decibels(dbfs):>7}", "dim")
        return row

    # --- lines that stay -----------------------------------------------------------

    def _ring(self) -> None:
        self._timer = None
        try:
            self.draw()
        except OutputLost as error:  # raised by whoever is told: here it would go nowhere
            self.lost = error
            self.on_lost()

    def draw(self) -> None:
        """Write what waits, and what forms below it.

        Raises:
            OutputLost: the terminal is gone.
        """
        if not self._waiting:
            self._live.refresh()
            return
        lines: list[Text] = []
        while self._waiting:
            one = self._waiting.popleft()
            lines += [Text(one, "dim")] if isinstance(one, str) else self._rows(one)
        # One write, with what forms drawn once.
        self._console.print(Group(*lines))

    def _label(self, call_id: str) -> Text:
        if self.one_call:
            return Text()
        label, colour = self._labels(call_id), _CALLS[self._labels.order(call_id) % len(_CALLS)]
        return Text(f"{label:<{self._labels.width}}  ", colour)

    def _rows(self, line: Line) -> list[Text]:
        at = moment(line.at_ms)
        rows: list[Text] = []
        if at.date() != self._day:
            self._day = at.date()
            rows.append(Text(f"{at:%Y-%m-%d}", "dim"))
        head = Text.assemble(
            (f"{at:%H:%M:%S}  ", "dim"),
            self._label(line.call_id),
            (f"{who(line):<{WHO_COLUMNS}} ", _WHO[line.who]),
        )
        body = Text(" ").join(Text(piece.text, _TONES[piece.tone]) for piece in line.pieces)
        latency = "" if line.latency_ms is None else duration(line.latency_ms)
        width, left = self._console.width, head.cell_len
        right = LATENCY_COLUMNS if line.who == "bot" else 0
        if width - left - right < MIN_TEXT_COLUMNS:  # a narrow window
            rows.append(head)
            head, left, right = Text("  "), 2, 0
            if latency:
                body.append(f" ({latency})", "dim")
        room = max(8, width - left - right)
        for number, part in enumerate(body.wrap(self._console, room, overflow="fold")):
            part.rstrip()
            row = Text.assemble(" " * left if number else head, part)
            if number == 0 and right and latency:
                row.append(" " * max(1, width - row.cell_len - len(latency)) + latency, "dim")
            rows.append(row)
        for row in rows:
            row.no_wrap, row.overflow = True, "crop"
        return rows


def _decibels(dbfs: float | None) -> str:
    if dbfs is None:
        return "closed"  # the recording gate
    return "quiet" if dbfs < METER_FLOOR_DBFS else f"{dbfs:.0f} dB"


def _end_of(text: str, columns: int) -> str:
    """The end of a text that is too long for a line: its newest words."""
    if cell_len(text) <= columns:
        return text
    end = text[-columns:]
    while end and cell_len(end) >= columns:
        end = end[1:]
    return ELLIPSIS + end
