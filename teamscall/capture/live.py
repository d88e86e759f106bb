"""The verdict on a recorded call that was played again to a live bridge.

Owns what counts as passed. Refuses to know how it was played.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from teamscall.capture.expect import Broken, Expectation, broken
from teamscall.capture.expect_sound import broken_in_sound
from teamscall.capture.junit import Case, case_of
from teamscall.capture.live_play import Played
from teamscall.capture.live_sides import Point, Side, facts_of, points, side
from teamscall.capture.measured import measured
from teamscall.capture.reader import Capture
from teamscall.errors import CaptureError, ExitCode, InputError, TeamscallError
from teamscall.text import printable

Result = Literal[
    "played",  # to its end, and the bot spoke where it spoke
    "differs",
    "broken",  # an expectation does not hold
    "interrupted",
    "wrong",  # it could not be played
]
# What only the bridge that runs the call knows: it cannot be asked of another one.
INSIDE = (
    "heard",
    "not_heard",
    "said",
    "not_said",
    "latency_under_ms",
    "end_reason",
    "ended_by",
    "turns",
    "interruptions",
)


class LiveVerdict(msgspec.Struct, frozen=True):
    """How it went. ``recorded`` and ``now`` are None where it could not be played."""

    path: Path
    name: str
    result: Result
    took_s: float = 0.0
    dialect: str = ""
    against: str = ""
    played: Played | None = None
    recorded: Side | None = None
    now: Side | None = None
    points: tuple[Point, ...] = ()
    broken: tuple[Broken, ...] = ()
    expected: bool = False
    error: str = ""
    hint: str = ""
    code: int = 0  # the exit code of the error

    @property
    def passed(self) -> bool:
        return self.result == "played"

    def summary(self) -> str:
        """One line."""
        if self.error:
            return self.error
        if self.broken:
            return f"{self.broken[0].key}: {self.broken[0].why}"
        if self.result == "interrupted":
            return "interrupted"
        return next((point.text for point in self.points if point.fails), "")

    def lines(self) -> list[str]:
        """All that is to be said of it, safe to print: what fails (``-``), what is different."""
        out = [f"- {printable(f'{one.key}: {one.why}', 500)}" for one in self.broken]
        for point in self.points:
            fails = point.fails and not self.expected
            out.append(f"{'-' if fails else '~'} {printable(point.text, 500)}")
        out += [text for text in (self.error, self.hint) if text]
        return out

    def case(self) -> Case:
        """As a test case."""
        return case_of(self, errors=("wrong", "interrupted"))


def check_askable(expectation: Expectation, name: str) -> None:
    """Refuse what a bridge that is not ours cannot be asked.

    Raises:
        InputError: it has such keys.
    """
    nothing = Expectation()
    asked = [key for key in INSIDE if getattr(expectation, key) != getattr(nothing, key)]
    if asked:
        raise InputError(
            f"{printable(name)} asks for {', '.join(asked)}, which only the bridge itself knows.",
            hint="Leave them out with --against, or replay with --engine.",
        )


def not_played(path: Path, name: str, error: TeamscallError, took_s: float = 0.0) -> LiveVerdict:
    """Nothing came of it. A file that cannot be played is the command line's fault."""
    unusable = isinstance(error, CaptureError)
    return LiveVerdict(
        path,
        name,
        "wrong",
        took_s=took_s,
        error=error.message,
        hint=error.hint,
        code=int(ExitCode.USAGE if unusable else error.exit_code),
    )


def turned_away(
    capture: Capture, name: str, played: Played, *, against: str, took_s: float
) -> LiveVerdict:
    """The bridge took no call, so that there is nothing to compare."""
    interrupted = played.outcome == "interrupted"
    point = Point("ended", f"no call came of it: {played.reason}", True)
    return LiveVerdict(
        path=capture.path,
        name=name,
        result="interrupted" if interrupted else "differs",
        took_s=took_s,
        dialect=capture.header.dialect,
        against=against,
        played=played,
        points=() if interrupted else (point,),
    )


def verdict(
    capture: Capture,
    name: str,
    played: Played,
    now: Capture,
    *,
    against: str,
    took_s: float,
    speed: float = 1.0,
    expectation: Expectation | None = None,
) -> LiveVerdict:
    """Judge a run by its own capture, ``now``.

    Raises:
        CaptureError: a capture has decisions that cannot be read.
    """
    old, new = side(capture), side(now)
    found = list(points(old, new, speed=speed))
    if played.outcome in ("lost", "refused"):
        found.insert(0, Point("ended", f"{played.outcome}: {played.reason}", True))
    elif played.outcome == "ended-by-bot" and not old.bot_hung_up and not new.bot_hung_up:
        found.insert(0, Point("ended", f"the bridge {played.reason}", True))
    failing: tuple[Broken, ...] = ()
    if expectation is not None:
        failing = (
            *broken(expectation, facts_of(now)),
            *broken_in_sound(expectation, lambda thresholds: measured(now, thresholds)),
        )
    result: Result = "played"
    if played.outcome == "interrupted":
        result = "interrupted"
    elif failing:
        result = "broken"
    elif played.outcome in ("lost", "refused") or (
        expectation is None and any(point.fails for point in found)
    ):
        result = "differs"
    return LiveVerdict(
        path=capture.path,
        name=name,
        result=result,
        took_s=took_s,
        dialect=capture.header.dialect,
        against=against,
        played=played,
        recorded=old,
        now=new,
        points=tuple(found),
        broken=tuple(failing),
        expected=expectation is not None,
    )
