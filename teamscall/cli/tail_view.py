"""How `tail` looks in a pipe: lines for people, or the events as they are for machines.

Owns writing to stdout, and which line gets which columns there. Nothing is wrapped or
coloured here; the live view is ``tail_live``.
"""

from __future__ import annotations

import abc
import json
import sys
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from teamscall.cli import streams
from teamscall.cli.tail_events import Selection
from teamscall.cli.tail_lines import Labels, Line, duration, line_of
from teamscall.errors import OutputLost
from teamscall.text import ELLIPSIS, printable

VERSION = 1
WHO_COLUMNS = 7  # caller…
MAX_NOTE_CHARS = 500


class View(abc.ABC):
    """What is shown, event by event. The lines of all calls, unless ``one_call``.

    Attributes:
        lost: why nothing more can be shown, where it was noticed between two events.
        on_lost: called then.
    """

    screen = False  # draws on a terminal that has to be left as it was
    lost: OutputLost | None = None
    on_lost: Callable[[], None] = staticmethod(lambda: None)

    def __init__(self, wanted: Selection, *, one_call: bool = False) -> None:
        self.wanted = wanted
        self.one_call = one_call

    @property
    def hears(self) -> Selection:
        """What it has to be given."""
        return self.wanted

    def __enter__(self) -> View:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def counts(self, event: Mapping[str, Any]) -> bool:
        """Whether an event becomes a line that stays."""
        return event in self.wanted

    @abc.abstractmethod
    def event(self, event: Mapping[str, Any]) -> None:
        """Raises: OutputLost."""

    def cut_off(self) -> None:
        """The bridge went away: how it goes on is not known."""

    def note(self, text: str) -> None:
        """About the tail itself, not about a call: on stderr."""
        print(printable(text, MAX_NOTE_CHARS), file=sys.stderr, flush=True)


class JsonView(View):
    """The events, one object per line."""

    def event(self, event: Mapping[str, Any]) -> None:
        if event in self.wanted:
            print(json_line(event), flush=True)


class PlainView(View):
    """One line per event, whole however long it is."""

    def __init__(self, wanted: Selection, *, one_call: bool = False) -> None:
        super().__init__(wanted, one_call=one_call)
        self._labels = Labels()

    def event(self, event: Mapping[str, Any]) -> None:
        if event in self.wanted and (line := line_of(event)) is not None:
            print(self._plain(line), flush=True)

    def _plain(self, line: Line) -> str:
        parts = [f"{moment(line.at_ms):%Y-%m-%d %H:%M:%S}"]
        if not self.one_call:
            label = self._labels(line.call_id)
            parts.append(label + " " * (self._labels.width - len(label)))
        parts.append(f"{who(line):<{WHO_COLUMNS}} {line.text}")
        if line.latency_ms is not None:
            parts.append(f"({duration(line.latency_ms)})")
        return "  ".join(parts)


def choose_view(wanted: Selection, *, one_call: bool, goes_on: bool, json_lines: bool) -> View:
    """JSON, live on a terminal that is nobody's CI, or plain lines.

    ``goes_on``: more will come than what is remembered.
    """
    if json_lines:
        return JsonView(wanted, one_call=one_call)
    if not streams.live(sys.stdout):
        return PlainView(wanted, one_call=one_call)
    from teamscall.cli.tail_live import LiveView

    return LiveView(wanted, one_call=one_call, goes_on=goes_on)


def who(line: Line) -> str:
    """Of whom it is, with an ellipsis where more comes."""
    return f"{line.who}{ELLIPSIS if line.partial else ''}"


def moment(wall_ms: int) -> datetime:
    """Local time; now, where none can be made of it."""
    try:
        if wall_ms > 0:
            return datetime.fromtimestamp(wall_ms / 1000)
    except (OverflowError, OSError, ValueError):
        pass  # a number of a bridge whose clock is nobody's
    return datetime.fromtimestamp(time.time())


def json_line(event: Mapping[str, Any]) -> str:
    """An event as one line of JSON in which nothing is left that a terminal would obey."""
    line = json.dumps({"version": VERSION, **event}, ensure_ascii=False)
    if line.isprintable():
        return line
    # What is not printable is inside of strings: JSON's own blanks are spaces here.
    return "".join(char if char.isprintable() else _escaped(char) for char in line)


def _escaped(char: str) -> str:
    # json leaves DEL as it is: in JSON it is allowed.
    return "\\u007f" if char == "\x7f" else json.dumps(char)[1:-1]
