"""What came of a script that was played: one versioned, JSON-able struct, and its verdict.

Owns the verdict over steps and call, the exit code, and the verdict in words. Refuses to know
colours and terminals.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from teamscall.audio.measures import Measures
from teamscall.emulator.report import Report
from teamscall.emulator.scenario.performance import State
from teamscall.errors import ExitCode
from teamscall.text import printable

VERSION = 1

# A frame this late has missed its slot: what a busy emulator measures is its own lateness.
TRUSTED_PACING_MS = 20.0

Verdict = Literal["passed", "failed", "not-trustworthy", "interrupted"]


class StepResult(msgspec.Struct, frozen=True, rename="camel"):
    """One step, or the ``[expect]`` table as the last one (number 0). Times since the session
    start. ``state``: ``done``, an expectation ``held``, ``failed``, or ``skipped``."""

    number: int
    line: int
    what: str
    state: State
    at_ms: int
    took_ms: int
    problems: tuple[str, ...] = ()
    measured: tuple[str, ...] = ()
    note: str = ""


class Played(msgspec.Struct, frozen=True, rename="camel"):
    """See the module. ``reason``: why it did not pass; printable."""

    name: str
    verdict: Verdict
    reason: str
    steps: tuple[StepResult, ...]
    measures: Measures | None
    report: Report
    call_failed: bool = False  # refused, lost, ...: and nothing in the script expected that
    version: int = VERSION

    @property
    def passed(self) -> bool:
        return self.verdict == "passed"

    @property
    def exit_code(self) -> ExitCode:
        """Of a call that itself went wrong, the call's."""
        if self.passed:
            return ExitCode.OK
        if self.verdict == "interrupted":
            return ExitCode.INTERRUPTED
        if self.verdict == "failed" and self.call_failed:
            return ExitCode(self.report.exit_code)
        return ExitCode.FAILED

    def lines(self) -> list[str]:
        """The verdict, and one line per step with what was measured."""
        return [f"{self.name}: {self.headline()}", *step_lines(self.steps)]

    def headline(self) -> str:
        """The verdict in one line."""
        words = {"passed": "passed", "failed": "failed", "interrupted": "interrupted"}
        head = words.get(self.verdict, "not trustworthy")
        return f"{head}: {self.reason}" if self.reason else head


_MARKS = {"done": "·", "held": "✓", "failed": "✗", "skipped": "-"}


def step_lines(steps: tuple[StepResult, ...]) -> list[str]:
    """A table without a terminal's width: what went wrong is on lines of its own."""
    lines: list[str] = []
    for step in steps:
        number = f"{step.number:3}" if step.number else "   "
        when = "        -" if step.state == "skipped" else f"{step.at_ms / 1000:7.2f} s"
        found = f": {'; '.join(step.measured)}" if step.measured else ""
        what = printable(step.what, 120)
        lines.append(f"{_MARKS[step.state]} {number} {when}  {what}{found}")
        lines += [f"{'':17}{problem}" for problem in step.problems]
    return lines


def pacing_trouble(report: Report) -> str:
    """Why the figures of this call cannot be trusted; "" where they can."""
    late = report.sent.lateness.p95
    if report.sent.skipped_ms:
        return f"the emulator stood still for {report.sent.skipped_ms} ms"
    if late > TRUSTED_PACING_MS:
        return (
            f"the emulator's own frames were {late:.0f} ms late (p95), "
            f"more than {TRUSTED_PACING_MS:g} ms: this machine is too busy"
        )
    return ""
