"""What happened at an instant of a call. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from teamscall.capture.report.parts import Mark, MarkKind
from teamscall.text import printable

MAX_MARKS = 3000
MAX_LABEL = 24
MAX_TEXT = 200


class Marks:
    """Collects them, up to a bound."""

    def __init__(self) -> None:
        self._found: list[Mark] = []
        self._left = 0

    def add(self, at: float, kind: MarkKind, label: str, text: str) -> None:
        if len(self._found) >= MAX_MARKS:
            self._left += 1
            return
        mark = Mark(max(0.0, at), kind, printable(label, MAX_LABEL), printable(text, MAX_TEXT))
        self._found.append(mark)

    def tell(self, at: float, name: str, fields: Mapping[str, Any]) -> None:
        """A record of the call that is one."""
        turn = fields.get("turn", "?")
        match name:
            case "Interrupted":
                text = (
                    f"turn {turn} cut by {fields.get('by', '?')} ({fields.get('why', '?')}), "
                    f"flushed {_ms(fields.get('onset_to_flush_ms'))} after the onset, "
                    f"{_ms(fields.get('heard_ms'))} of it heard"
                )
                self.add(at, "barge-in", "barge-in", text)
            case "CarriedOn":
                text = (
                    f"turn {turn} goes on after {_ms(fields.get('stopped_ms'))}: "
                    f"it was a {fields.get('why', '?')}"
                )
                self.add(at, "carried-on", "carried on", text)
            case "EngineTrouble":
                fatal = ", fatal" if fields.get("fatal") else ""
                text = f"engine trouble: {fields.get('stage', '?')}{fatal}: {fields.get('detail')}"
                self.add(at, "trouble", "trouble", text)
            case _:
                raise ValueError(name)

    def told(self) -> tuple[Mark, ...]:
        return tuple(sorted(self._found, key=lambda mark: mark.at))

    @property
    def more(self) -> str:
        return f"Left out, of events: {self._left}" if self._left else ""


def _ms(value: object) -> str:
    return f"{value:.0f} ms" if isinstance(value, int | float) else "some time"
