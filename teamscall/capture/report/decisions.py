"""The records of a call as a list to be read: what it was given, and what it decided.

Owns which are left out, because there is one for every frame. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from teamscall.capture import codec
from teamscall.capture.records import Frame, Step
from teamscall.capture.report.parts import Decision
from teamscall.text import kebab, printable

MAX_DECISIONS = 20_000
MAX_TEXT = 400
_LONG = 240  # characters of one value
# One for every frame of audio, or for every tick of a timer; or known from what comes of it.
_NOT_LISTED = frozenset(
    {"Open", "TimePassed", "MessageSeen", "AnswerAudio", "AnswerText", "EngineUsage"}
)
_NOT_SHOWN = frozenset({"type", "call_id", "callId", "wall_ms"})


class Decisions:
    """Collects them, up to a bound; pieces of one answer become one."""

    def __init__(self) -> None:
        self._found: list[Decision] = []
        self._left = 0
        self._said = 0
        self._turn: object = None

    def add(
        self,
        at: float,
        leg: Literal["gateway", "engine", "call"],
        way: Literal["in", "out"],
        name: str,
        text: str,
    ) -> None:
        self._said = 0
        if len(self._found) >= MAX_DECISIONS:
            self._left += 1
            return
        shown = printable(text, MAX_TEXT)
        self._found.append(Decision(at, leg, way, printable(name, 60), shown))

    def message(self, at: float, frame: Frame, kind: str) -> None:
        """A message of or to the gateway that is no audio."""
        try:
            body = msgspec.json.decode(frame.text)
        except (msgspec.DecodeError, ValueError, RecursionError):
            body = frame.text.decode("utf-8", "replace") or "(not kept)"
        text = _fields(body) if isinstance(body, Mapping) else printable(str(body), MAX_TEXT)
        left = f" ({frame.elided} bytes left out)" if frame.elided else ""
        self.add(at, "gateway", frame.way, kind, text + left)

    def event(self, at: float, step: Step) -> None:
        """What the conversation was given, other than by a message."""
        event = step.event
        if event is None or event.name in _NOT_LISTED or step.source == "gateway":
            return
        leg: Literal["engine", "call"] = "engine" if step.source == "engine" else "call"
        self.add(at, leg, "in", kebab(event.name), _fields(event.fields))

    def did(self, at: float, name: str, fields: Mapping[str, Any]) -> None:
        """What it returned."""
        if codec.is_wire_message(name):
            return  # the message itself is listed
        if name == "Said":
            self._more_said(at, fields)
            return
        leg: Literal["engine", "call"] = "engine" if codec.is_engine_command(name) else "call"
        self.add(at, leg, "out", kebab(name), _fields(fields))

    def _more_said(self, at: float, fields: Mapping[str, Any]) -> None:
        turn, delta = fields.get("turn"), str(fields.get("delta", ""))
        if self._said and self._turn == turn:
            last = self._found[-1]
            text = printable(f"{last.text.removesuffix('…')}{delta}", MAX_TEXT)
            self._found[-1] = msgspec.structs.replace(last, text=text)
        else:
            self.add(at, "call", "out", "said", f"turn={turn} delta={delta}")
            self._said, self._turn = int(self._left == 0), turn

    def told(self) -> tuple[Decision, ...]:
        return tuple(self._found)

    @property
    def more(self) -> str:
        return f"Left out, of decisions: {self._left}" if self._left else ""


def _fields(fields: Mapping[str, Any]) -> str:
    """``name=value`` of each that says something."""
    out = []
    for name, value in fields.items():
        if name in _NOT_SHOWN or value in ("", None, (), []):
            continue
        out.append(f"{printable(str(name), 40)}={_value(value)}")
        if len(out) >= 40:
            break
    return " ".join(out)


def _value(value: object) -> str:
    if isinstance(value, bytes):
        return f"<{len(value)} bytes>"
    if isinstance(value, Mapping):
        return "{" + _fields(value) + "}"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return f"[{', '.join(_value(one) for one in value[:8])}{', …' if len(value) > 8 else ''}]"
    text = str(value)
    return text if len(text) <= _LONG else f"<{len(text)} characters>"
