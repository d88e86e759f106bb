"""How a call that is being placed looks: lines, one live line, or JSON lines.

Progress is talk and goes to stderr, the result goes to stdout; with ``--json`` all of it is
the result.
"""

from __future__ import annotations

import abc
import json
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from teamscall.cli import streams
from teamscall.control.following import Picture
from teamscall.control.protocol import Initiated
from teamscall.errors import ExitCode, TeamscallError
from teamscall.text import ELLIPSIS, printable

_WORDS = {
    "requested": "requested",
    "waiting": "waiting for a gateway",
    "ringing": "ringing",
    "answered": "answered",
    "talking": "talking",
    "ended": "ended",
}
_BY = {
    "caller": "the other side",
    "bot": "the bot",
    "bridge": "the bridge",
    "gateway": "the gateway",
    "engine": "a fault of the engine",
    "operator": "the operator",
}
_REFRESH_HZ = 8

Gates = Sequence[tuple[str, str]]
"""The rules that refuse, each with its sentence."""


class View(abc.ABC):
    """What is shown. ``elapsed_s`` counts from the request."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = clock()

    def __enter__(self) -> View:
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the terminal as it was."""

    @property
    def elapsed_s(self) -> float:
        return self._clock() - self._began

    def begin(self, to: str) -> None:
        """The bridge is being asked."""

    @abc.abstractmethod
    def step(self, picture: Picture) -> None:
        """A new state."""

    @abc.abstractmethod
    def note(self, text: str) -> None:
        """Something that the operator should know."""

    @abc.abstractmethod
    def result(self, picture: Picture, code: ExitCode, sentence: str) -> None:
        """The command is about to end."""

    def failed(
        self,
        picture: Picture | None,
        code: ExitCode,
        name: str,
        error: TeamscallError,
        gates: Gates,
    ) -> None:
        """There is no call, or no more is known of it. Whoever catches the error prints it."""


class PlainView(View):
    """One line per state on stderr, the outcome on stdout."""

    def step(self, picture: Picture) -> None:
        self.note(state_line(picture, self.elapsed_s))

    def note(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    def result(self, picture: Picture, code: ExitCode, sentence: str) -> None:
        print(sentence, flush=True)

    def failed(
        self,
        picture: Picture | None,
        code: ExitCode,
        name: str,
        error: TeamscallError,
        gates: Gates,
    ) -> None:
        for gate, detail in gates:
            if not error.message.startswith(detail.rstrip(ELLIPSIS)):
                self.note(f"  - {gate}: {detail}")


class LiveView(PlainView):
    """The same on a terminal, under it one line that moves."""

    def __init__(self) -> None:
        super().__init__()
        self._console = Console(stderr=True, highlight=False)
        self._line = "asking the bridge"
        self._live = Live(
            get_renderable=self._now,
            console=self._console,
            refresh_per_second=_REFRESH_HZ,
            transient=True,
        )

    def __enter__(self) -> View:
        self._live.__enter__()
        return self

    def __exit__(self, *stop: object) -> None:
        self._live.__exit__(None, None, None)

    def begin(self, to: str) -> None:
        self._line = f"asking the bridge to ring {printable(to, 80)}"

    def step(self, picture: Picture) -> None:
        self._line = f"{_WORDS[picture.state]}  {picture.target}"
        super().step(picture)

    def note(self, text: str) -> None:
        self._console.print(Text(text), soft_wrap=True)

    def result(self, picture: Picture, code: ExitCode, sentence: str) -> None:
        self._live.stop()  # before the last line, where both streams are one terminal
        style = "bold green" if code is ExitCode.OK else "bold red"
        Console(highlight=False).print(Text(sentence, style=style))

    def failed(
        self,
        picture: Picture | None,
        code: ExitCode,
        name: str,
        error: TeamscallError,
        gates: Gates,
    ) -> None:
        self._live.stop()
        super().failed(picture, code, name, error, gates)

    def _now(self) -> Text:
        moving = "◐◓◑◒"[int(self.elapsed_s * 4) % 4]
        return Text(
            f"{moving} {self.elapsed_s:6.1f} s  {self._line}", no_wrap=True, overflow="ellipsis"
        )


class JsonView(View):
    """One object per state on stdout; the last one has the outcome and the exit code."""

    def __init__(self) -> None:
        super().__init__()
        self._asked_ms = time.time_ns() // 1_000_000  # until the bridge tells a time

    def step(self, picture: Picture) -> None:
        if not picture.over:  # the end is in the result
            _put(self._line(picture))

    def note(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    def result(self, picture: Picture, code: ExitCode, sentence: str) -> None:
        last = self._line(picture)
        last |= {
            "outcome": picture.outcome or ("answered" if picture.answered else None),
            "reason": picture.reason,
            "endedBy": picture.ended_by,
            "durationMs": picture.duration_ms,
            "messageHeard": picture.heard,
            "summary": sentence,
            "exitCode": int(code),
        }
        _put(last)

    def failed(
        self,
        picture: Picture | None,
        code: ExitCode,
        name: str,
        error: TeamscallError,
        gates: Gates,
    ) -> None:
        if picture is not None:
            last = self._line(picture)
        else:
            elapsed = round(self.elapsed_s * 1000)
            last = {"version": 1, "state": None, "elapsedMs": elapsed, "attempt": "", "callId": ""}
        outcome = "failed" if name == "far-side-failed" else None  # else it is not known
        last |= {
            "outcome": "refused" if code is ExitCode.REFUSED else outcome,
            "reason": name,
            "summary": str(error),
            "gates": [{"gate": gate, "detail": detail} for gate, detail in gates],
            "exitCode": int(code),
        }
        _put(last)

    def _line(self, picture: Picture) -> dict[str, Any]:
        return {
            "version": 1,
            "state": picture.state,
            "wallMs": picture.wall_ms or self._asked_ms,
            "elapsedMs": round(self.elapsed_s * 1000),
            "attempt": picture.attempt,
            "callId": picture.call_id,
            "target": picture.target,
            "mode": picture.mode,
            "via": picture.via or None,
            "outcome": picture.outcome,
            "detail": picture.detail,
        }


def choose_view(json_lines: bool) -> View:
    """The one that fits the terminal."""
    if json_lines:
        return JsonView()
    return LiveView() if streams.live(sys.stderr) else PlainView()


# --- words ----------------------------------------------------------------------------------


def state_line(picture: Picture, elapsed_s: float) -> str:
    """``   0.1 s  requested  user:…``, ``   0.2 s  ringing    call c-1``."""
    words = [f"{elapsed_s:6.1f} s", f"{_WORDS[picture.state]:<9}"]
    # One of both: an object id and a call's id are wider than a terminal.
    if picture.state in ("ringing", "answered") and picture.call_id:
        words.append(f"call {printable(picture.call_id, 80)}")
    elif picture.state in ("requested", "ringing", "waiting"):
        words.append(picture.target)
    if picture.state == "ended" and picture.outcome:
        words.append(picture.reason or picture.outcome)
    return "  ".join(words).rstrip()


def sentence_of(picture: Picture, code: ExitCode) -> str:
    """What came of it, for people."""
    if not picture.over:
        end = f"teamscall end {printable(picture.call_id or picture.attempt, 80)}"
        now = "Answered" if picture.answered else "Being placed"
        return f"{now}: the call goes on. End it with: {end}"
    detail = picture.detail
    if picture.outcome == "no-answer":
        return detail or "Nobody answered."
    if picture.outcome in ("busy", "declined", "cancelled", "failed", "refused"):
        said = {
            "busy": "The line is busy",
            "declined": "The call was declined",
            "cancelled": "The call was stopped before anybody answered",
            "failed": "The call failed",
            "refused": "The call was refused",
        }[picture.outcome]
        return f"{said}: {detail}" if detail else f"{said}."
    return _over(picture, code)


def _over(picture: Picture, code: ExitCode) -> str:
    """Of a call that was answered."""
    took = _span((picture.duration_ms or 0) / 1000)
    by = _BY.get(picture.ended_by, "")
    end = f"{picture.reason or 'ended'}, by {by}" if by else picture.reason or "ended"
    if picture.heard is not None:
        heard = "was heard to its end" if picture.heard else "was not heard to its end"
        return f"Answered; the message {heard}. The call took {took} ({end})."
    if code is not ExitCode.OK:
        why = f": {picture.detail}" if picture.detail else "."
        return f"Answered, but an error ended the call after {took} ({end}){why}"
    return f"Answered, and over after {took} ({end})."


def _span(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


# --- the dry run --------------------------------------------------------------------------


def print_gates(weighed: Initiated, *, json_lines: bool) -> None:
    """Each rule, and whether it would pass."""
    if json_lines:
        _put(
            {
                "version": 1,
                "wouldPlace": weighed.would_place,
                "target": weighed.target,
                "mode": weighed.mode,
                "via": weighed.via,
                "gates": [
                    {"gate": gate.gate, "passed": gate.passed, "detail": gate.detail}
                    for gate in weighed.gates
                ],
            }
        )
        return
    rows = [
        (gate.gate, "passes" if gate.passed else "REFUSES", printable(gate.detail, 500))
        for gate in weighed.gates
    ]
    if sys.stdout.isatty():
        table = Table.grid(padding=(0, 2))
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        for gate, word, detail in rows:
            style = "green" if word == "passes" else "bold red"
            table.add_row(Text(gate), Text(word, style=style), Text(detail))
        Console(highlight=False).print(table)
    else:
        for gate, word, detail in rows:
            print(f"{gate:<16}{word:<9}{detail}")
    via = {"csharp": "a C# gateway", "standin": "StandIn", None: "nothing"}[weighed.via]
    target = printable(weighed.target)
    if weighed.would_place:
        print(f"{target} would be rung through {via} ({weighed.mode}).")
    else:
        print(f"{target} would not be rung.")


def _put(line: dict[str, Any]) -> None:
    print(json.dumps(line, ensure_ascii=False), flush=True)
