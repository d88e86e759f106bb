"""What is told and remembered while a call runs: live events, warnings, what was ignored.

Owns the bounds on what is remembered. Refuses to know what the events mean.
"""

from __future__ import annotations

from teamscall.emulator.happenings import EmulatorEvent, OnEvent, Warned
from teamscall.text import printable

MAX_WARNINGS = 50


class Diary:
    """One call's. ``began`` is the monotonic second at which the dial began."""

    def __init__(self, began: float, on_event: OnEvent) -> None:
        self._began = began
        self._on_event = on_event
        self.warnings: list[str] = []
        self.ignored: dict[str, int] = {}

    def ms(self, now: float) -> int:
        """Milliseconds since the dial began."""
        return round((now - self._began) * 1000)

    def tell(self, event: EmulatorEvent) -> None:
        self._on_event(event)

    def ignore(self, cause: str, detail: str, now: float) -> None:
        """Count a message that is not acted on; warn the first time."""
        self.ignored[cause] = self.ignored.get(cause, 0) + 1
        if self.ignored[cause] == 1:
            self.warn(f"ignored from the bridge: {cause} ({printable(detail)})", now)

    def warn(self, text: str, now: float) -> None:
        """Tell the operator; the same words are told once."""
        if text in self.warnings or len(self.warnings) >= MAX_WARNINGS:
            return
        self.warnings.append(text)
        self.tell(Warned(self.ms(now), text))
