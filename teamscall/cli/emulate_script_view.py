"""How a scripted run looks: a line per step on stderr, the verdict and its table on stdout.

Owns printing. Refuses to know what a step means.
"""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Mapping
from typing import Any

import msgspec

from teamscall.cli.emulate_words import summary, words
from teamscall.emulator import happenings as seen
from teamscall.emulator.report import Spread
from teamscall.emulator.scenario.load import CallOf, Load
from teamscall.emulator.scenario.performance import StepBegan, StepEnded
from teamscall.emulator.scenario.result import VERSION, step_lines
from teamscall.errors import ExitCode, TeamscallError
from teamscall.text import printable

_INDENT = 17  # of what continues a step's line
_MAX_CALLS_SHOWN = 20


class ScriptView:
    """Says nothing but the result: ``--quiet``."""

    many = False

    def note(self, text: str) -> None:
        pass

    def warn(self, text: str) -> None:
        pass

    def event(self, number: int, event: seen.EmulatorEvent) -> None:
        pass

    def step(self, number: int, event: StepBegan | StepEnded) -> None:
        pass

    def over(self, number: int, call: CallOf) -> None:
        pass

    def error(self, error: TeamscallError) -> None:
        """What prevented the run."""
        _err(f"teamscall: {error.message}")
        if error.hint:
            _err(f"  {error.hint}")

    def interrupted(self) -> None:
        """Stopped before there was a verdict."""

    def result(self, load: Load, files: Mapping[str, str]) -> None:
        """Print the verdict.

        Raises:
            OutputLost: there is nowhere to print to any more.
        """
        for line in result_lines(load, files):
            print(line)


class PlainView(ScriptView):
    """Lines on stderr as it goes on: of one call its steps and events, of many their ends."""

    def note(self, text: str) -> None:
        _err(text)

    def warn(self, text: str) -> None:
        _err(f"warning: {text}")

    def event(self, number: int, event: seen.EmulatorEvent) -> None:
        text = words(event)
        if not self.many and text:
            _err(f"{event.at_ms / 1000:8.3f}  {text}")
        elif self.many and isinstance(event, seen.Started | seen.Ended):
            _err(f"call {number}  {text}")

    def step(self, number: int, event: StepBegan | StepEnded) -> None:
        if self.many:
            return
        if isinstance(event, StepBegan):
            _err(f"    step {event.number}  {printable(event.what, 120)}")
        elif event.state == "failed":
            _err(f"    step {event.number}  failed: {event.why}")
        else:
            judged = event.what.startswith("expect ")
            state = "judged after the call" if judged else event.state
            _err(f"    step {event.number}  {state}")

    def over(self, number: int, call: CallOf) -> None:
        if not self.many:
            return
        if call.played is None:
            _err(f"call {number}  failed: {call.error}")
        else:
            _err(f"call {number}  {call.played.headline()}")


class JsonView(ScriptView):
    """One JSON object per line on stdout: events as they come, the result last."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet

    def warn(self, text: str) -> None:
        if not self._quiet:
            _err(f"warning: {text}")

    def event(self, number: int, event: seen.EmulatorEvent) -> None:
        if not isinstance(event, seen.Levels):
            self._put(number, event)

    def step(self, number: int, event: StepBegan | StepEnded) -> None:
        self._put(number, event)

    def over(self, number: int, call: CallOf) -> None:
        if self.many and call.played is None:
            self._print({"event": "call-failed", "call": number, "error": call.error})

    def error(self, error: TeamscallError) -> None:
        if not self._quiet:
            super().error(error)
        self._no_result("failed", error.message, error.hint, int(error.exit_code))

    def interrupted(self) -> None:
        self._no_result("interrupted", "stopped before the end", "", int(ExitCode.INTERRUPTED))

    def _no_result(self, verdict: str, reason: str, hint: str, code: int) -> None:
        self._print(
            {
                "event": "result",
                "passed": False,
                "exitCode": code,
                "verdict": verdict,
                "reason": reason,
                "hint": hint,
                "calls": [],
            }
        )

    def result(self, load: Load, files: Mapping[str, str]) -> None:
        body = _camel(msgspec.to_builtins(load))
        self._print(
            {
                "event": "result",
                "passed": load.passed,
                "exitCode": int(load.exit_code),
                **body,
                "files": dict(files),
            }
        )

    def _put(self, number: int, event: seen.EmulatorEvent | StepBegan | StepEnded) -> None:
        body = _camel(msgspec.to_builtins(event))
        self._print({"event": body.pop("event"), "call": number, **body})

    def _print(self, body: dict[str, Any]) -> None:
        body.pop("version", None)
        sys.stdout.write(msgspec.json.encode({"version": VERSION, **body}).decode() + "\n")
        sys.stdout.flush()


def choose_view(*, json_lines: bool, quiet: bool) -> ScriptView:
    """JSON, nothing, or plain lines."""
    if json_lines:
        return JsonView(quiet=quiet)
    return ScriptView() if quiet else PlainView()


def result_lines(load: Load, files: Mapping[str, str]) -> list[str]:
    """The whole verdict in words."""
    head = {"passed": "passed", "failed": "failed", "interrupted": "interrupted"}
    verdict = head.get(load.verdict, "not trustworthy")
    lines = [f"{load.name}: {verdict}"]
    if load.reason:
        lines += _wrapped(load.reason, "  ", 2)
    lines.append("")
    if len(load.calls) == 1:
        lines += _one(load.calls[0])
    else:
        lines += _many(load)
    for problem in load.problems:
        lines.append(f"✗ {problem}")
    lines += [f"wrote     {printable(name)}" for name in files.values()]
    return lines


def _one(call: CallOf) -> list[str]:
    played = call.played
    if played is None:
        return [call.error]
    lines: list[str] = []
    for line in step_lines(played.steps):
        lines += _wrapped(line, "", _INDENT)
    return [*lines, "", *summary(played.report, {})]


def _many(load: Load) -> list[str]:
    figures = load.figures
    lines = [
        f"calls        {figures.calls}, {figures.failed_calls} failed",
        f"answers      {_spread(figures.responses)}",
        f"barge-ins    {_spread(figures.barge_ins)}{_spoke_on(figures.spoke_on)}",
        f"first sound  {_spread(figures.first_sound)}",
        f"gaps         {'never measured' if figures.gaps is None else figures.gaps}",
    ]
    late = figures.pacing_p95_ms
    pace = "never measured" if late is None else f"p95 {late:.1f} ms late in the worst call"
    lines.append(f"pacing       {pace}")
    for cause, count in load.causes.items():
        lines += _wrapped(f"{count:4} failed   {cause}", "", 14)
    failed = [call for call in load.calls if call.cause]
    for call in failed[:_MAX_CALLS_SHOWN]:
        why = call.error if call.played is None else call.played.headline()
        which = f" ({printable(call.call_id, 40)})" if call.call_id else ""
        lines += _wrapped(f"call {call.number}{which}: {why}", "  ", 4)
    if len(failed) > _MAX_CALLS_SHOWN:
        lines.append(f"  and {len(failed) - _MAX_CALLS_SHOWN} more")
    return lines


def _spoke_on(count: int | None) -> str:
    return f"; after {count} more the bot spoke on" if count else ""


def _spread(spread: Spread) -> str:
    if not spread.count:
        return "never measured"
    return f"{spread.count}, p50 {spread.p50:.0f}, p95 {spread.p95:.0f}, max {spread.max:.0f} ms"


def _wrapped(text: str, first: str, indent: int) -> list[str]:
    """To the terminal's width; as it is where stdout is none."""
    if not sys.stdout.isatty():
        return [first + text]
    return textwrap.wrap(
        text,
        max(40, shutil.get_terminal_size().columns),
        initial_indent=first,
        subsequent_indent=" " * indent,
        drop_whitespace=True,
        replace_whitespace=False,
    )


def _camel(body: Any) -> Any:
    """Every key of a struct in camel case; values and keys that are data stay."""
    if isinstance(body, dict):
        return {_camel_name(key): _camel(value) for key, value in body.items()}
    if isinstance(body, list | tuple):
        return [_camel(one) for one in body]
    return body


def _camel_name(key: str) -> str:
    first, *rest = key.split("_")
    return first + "".join(part.capitalize() for part in rest) if first.isidentifier() else key


def _err(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
