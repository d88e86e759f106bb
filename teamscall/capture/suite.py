"""Captures as a test suite: which files there are, what is asked of each, how each did.

Owns the verdict on one capture, in the process that replays it. Refuses to know how several
run at once and how a verdict is printed.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from teamscall.calls.settings import CallSettings
from teamscall.capture import diff
from teamscall.capture.expect import Broken, Expectation, broken, facts
from teamscall.capture.expect_sound import broken_in_sound
from teamscall.capture.junit import Case, case_of
from teamscall.capture.measured import measured_again
from teamscall.capture.reader import Capture, read
from teamscall.capture.recording import recording
from teamscall.capture.replay import Replayed, replay
from teamscall.capture.retold import replay_otherwise
from teamscall.capture.update import updated
from teamscall.capture.writer import write
from teamscall.errors import InputError, TeamscallError
from teamscall.text import printable
from teamscall.wire.events import Dialect

SUFFIX = ".tcap"

Result = Literal[
    "same",
    "updated",  # it differed, and what came is what is expected from now on
    "differs",
    "broken",  # an expectation does not hold
    "damaged",  # the same as far as it could be read
    "wrong",  # nothing that can be replayed
]


class Task(msgspec.Struct, frozen=True):
    """One capture and what is to be done with it.

    ``expectation``: judged instead of the bytes. ``settings``: by dialect, instead of the
    recorded ones. ``update``: accept what came.
    """

    path: Path
    name: str
    expectation: Expectation | None = None
    settings: Mapping[Dialect, CallSettings] | None = None
    update: bool = False


class Verdict(msgspec.Struct, frozen=True):
    """How a capture did. ``call_s``: what of the call was replayed; ``took_s``: real time.

    ``admissions``: decisions before the call. ``differing``: how many of these and of the events
    are different; ``unanswered``: what the engine was asked that the
    recording has no answer to (other settings only).
    """

    path: Path
    name: str
    result: Result
    took_s: float = 0.0
    dialect: str = ""
    engine: str = ""
    call_s: float = 0.0
    steps: int = 0
    sent: int = 0
    admissions: int = 0
    differing: int = 0
    unanswered: int = 0
    expected: bool = False  # judged by expectations, not by its bytes
    difference: diff.Difference | None = None
    broken: tuple[Broken, ...] = ()
    damage: str = ""  # where the file could be read no further, and why
    error: str = ""
    hint: str = ""

    @property
    def passed(self) -> bool:
        return self.result in ("same", "updated")

    def summary(self) -> str:
        """One line."""
        if self.error:
            return self.error
        if self.broken:
            first = f"{self.broken[0].key}: {self.broken[0].why}"
            more = len(self.broken) - 1
            return first + (f" (and {more} more)" if more else "")
        if self.difference is not None:
            return f"{diff.place(self.difference)}: {diff.describe(self.difference)}"
        return self.damage

    def lines(self) -> list[str]:
        """All there is to say, safe to print; empty where it passed."""
        out: list[str] = []
        if self.difference is not None and not self.broken:
            out += diff.lines(self.difference)
            if self.differing > 1:
                of = f"{self.steps + self.admissions} events"
                if self.admissions:
                    of += " and decisions before the call"
                out.append(f"({self.differing} of {of} differ)")
        out += [printable(f"{one.key}: {one.why}", 500) for one in self.broken]
        out += [text for text in (self.damage, self.error, self.hint) if text]
        return out

    def case(self) -> Case:
        """As a test case."""
        return case_of(self, errors=("wrong", "damaged"))


def captures_in(places: Iterable[Path]) -> list[tuple[str, Path]]:
    """The captures named, and those in the directories named, each once, with their names: the
    path in its directory, without the extension.

    Raises:
        InputError: a place does not exist, or a directory has no capture.
    """
    found: dict[Path, tuple[str, Path]] = {}
    for place in places:
        shown = printable(str(place))
        if place.is_dir():
            inside = sorted(place.rglob(f"*{SUFFIX}"))
            if not inside:
                raise InputError(
                    f"There is no capture in {shown}.",
                    hint=f"Captures are named *{SUFFIX}; `teamscall serve --capture DIR` "
                    "makes them.",
                )
            for path in inside:
                name = path.relative_to(place).with_suffix("").as_posix()
                found.setdefault(path.resolve(), (name, path))
        elif place.exists():
            found.setdefault(place.resolve(), (place.stem, place))
        else:
            raise InputError(f"{shown} does not exist.")
    return list(found.values())


def judge(task: Task) -> Verdict:
    """Replay one capture and say how it did. Raises nothing on purpose."""
    began = time.perf_counter()
    try:
        verdict = _judged(task)
    except TeamscallError as error:
        verdict = Verdict(task.path, task.name, "wrong", error=error.message, hint=error.hint)
    return msgspec.structs.replace(verdict, took_s=time.perf_counter() - began)


def _judged(task: Task) -> Verdict:
    capture = read(task.path)
    story = recording(capture)
    if task.settings is not None:
        came = replay_otherwise(story, task.settings[story.setup.dialect])
    else:
        came = replay(story)
    stopped = came.stopped or story.stopped
    verdict = _verdict(task, came, stopped, capture)
    if not task.update or came.difference is None:
        return verdict
    if stopped or came.failed or came.difference.kind == "failed":
        return verdict  # of half a call, or of one that fails, nothing is to be expected
    write(task.path, *updated(capture, story, came))
    return msgspec.structs.replace(verdict, result="updated")


def _verdict(task: Task, came: Replayed, damage: str, capture: Capture) -> Verdict:
    failing: Sequence[Broken] = ()
    if task.expectation is not None:
        found = facts(
            ((act.at_s, act.command) for act in came.acts),
            streams=came.setup.turn_taking == "none",
        )
        said = ((act.at_s, act.command) for act in came.acts)
        failing = (
            *broken(task.expectation, found),
            *broken_in_sound(task.expectation, lambda t: measured_again(capture, said, t)),
        )
    result: Result = "same"
    if task.expectation is None and came.difference is not None:
        result = "differs"
    elif failing:
        result = "broken"
    elif damage:
        result = "damaged"
    return Verdict(
        path=task.path,
        name=task.name,
        result=result,
        dialect=came.setup.dialect,
        engine=printable(came.setup.engine_name, 60),
        call_s=came.call_s,
        steps=came.steps,
        sent=came.sent,
        admissions=len(came.admitted.admissions),
        differing=came.differing,
        unanswered=came.unanswered,
        expected=task.expectation is not None,
        difference=came.difference,
        broken=tuple(failing),
        damage=printable(f"{damage}; replayed up to {came.call_s:.3f} s", 300) if damage else "",
    )
