"""Runs checks: all at once, each under its own timeout, all of them under one.

Owns the order (``after``), the deadlines and which checks are meant. Refuses to know what
they look at and how results are shown.

Rules:

1. One fault gives one failed check: what rests on it is skipped and names it.
2. No check ends the run: what it raises is its own finding.
3. Everything ends by the total's deadline, whatever hangs.
"""

from __future__ import annotations

import asyncio
import difflib
import time
from collections.abc import Callable, Sequence

import msgspec

from teamscall.doctor.checks import GROUPS, Check, Finding, Site, Status, failed, skipped
from teamscall.doctor.shared import Shared
from teamscall.errors import InputError
from teamscall.text import printable

# What was started for the checks may take this long to stop.
_STOP_S = 5.0


class Outcome(msgspec.Struct, frozen=True):
    """One check and what came of it."""

    check: Check
    finding: Finding
    took_ms: float = 0.0


# Told when a check begins (None) and when it is over.
OnProgress = Callable[[Check, Outcome | None], None]


def select(
    checks: Sequence[Check], only: Sequence[str] = (), skip: Sequence[str] = ()
) -> tuple[Check, ...]:
    """The checks that ids and groups name, in their order; ``only`` empty: all.

    Raises:
        InputError: a name is neither.
    """
    wanted, unwanted = _ids(checks, only), _ids(checks, skip)
    return tuple(
        check for check in checks if (not only or check.id in wanted) and check.id not in unwanted
    )


def find(checks: Sequence[Check], name: str) -> Check:
    """The check with this id, in whatever case.

    Raises:
        InputError: there is none.
    """
    for check in checks:
        if check.id == name.upper():
            return check
    raise _unknown(checks, name)


async def examine(
    checks: Sequence[Check],
    site: Site,
    *,
    total_s: float,
    on_progress: OnProgress = lambda check, outcome: None,
) -> tuple[Outcome, ...]:
    """Run the checks and give their outcomes, in the order of ``checks``."""
    run = _Run(checks, msgspec.structs.replace(site, shared=Shared()), on_progress)
    return await run.all(total_s)


def worst(outcomes: Sequence[Outcome]) -> dict[Status, int]:
    """How many came to each status."""
    counts: dict[Status, int] = {"ok": 0, "warning": 0, "failed": 0, "skipped": 0}
    for outcome in outcomes:
        counts[outcome.finding.status] += 1
    return counts


class _Run:
    def __init__(self, checks: Sequence[Check], site: Site, on_progress: OnProgress) -> None:
        self._checks = checks
        self._site = site
        self._tell = on_progress
        self._done = {check.id: asyncio.Event() for check in checks}
        self._outcomes: dict[str, Outcome] = {}
        self._begun: set[str] = set()
        self._causes: dict[str, str] = {}  # of what is in the way: the check that failed

    async def all(self, total_s: float) -> tuple[Outcome, ...]:
        shared = self._site.shared
        async with asyncio.TaskGroup() as outer:
            shared.open(outer, total_s)
            await self._every(total_s)
            await shared.close(_STOP_S)
        return tuple(self._outcomes[check.id] for check in self._checks)

    async def _every(self, total_s: float) -> None:
        try:
            async with asyncio.timeout(total_s), asyncio.TaskGroup() as group:
                for check in self._checks:
                    group.create_task(self._one(check), name=check.id)
        except TimeoutError:
            for check in self._checks:
                if check.id not in self._outcomes:
                    self._cut(check, total_s)

    def _cut(self, check: Check, total_s: float) -> None:
        """The end of the whole run: only what was under way is to blame."""
        if check.id in self._begun:
            self._causes[check.id] = check.id
            self._end(check, failed(f"Not done after {total_s:g} s.", _SLOW), 0.0)
            return
        cause = next((self._causes[name] for name in check.after if name in self._causes), "")
        if cause:
            self._causes[check.id] = cause
        why = f"{cause} is in the way." if cause else f"{total_s:g} s were over before its turn."
        self._end(check, skipped(why), 0.0)

    async def _one(self, check: Check) -> None:
        for name in check.after:
            if name in self._done:
                await self._done[name].wait()
        cause = next((self._causes[name] for name in check.after if name in self._causes), "")
        if cause:
            self._causes[check.id] = cause
            self._end(check, skipped(f"{cause} is in the way."), 0.0)
            return
        self._begun.add(check.id)
        self._tell(check, None)
        began = time.monotonic()
        finding = await self._found(check)
        if finding.status == "failed":
            self._causes[check.id] = check.id
        self._end(check, finding, (time.monotonic() - began) * 1000)

    async def _found(self, check: Check) -> Finding:
        try:
            async with asyncio.timeout(check.timeout_s) as limit:
                return await check.run(self._site)
        except TimeoutError as error:
            if not limit.expired():
                return _own_fault(error)
            return failed(f"Not done after {check.timeout_s:g} s.", _SLOW)
        except Exception as error:  # noqa: BLE001 - rule 2
            return _own_fault(error)

    def _end(self, check: Check, finding: Finding, took_ms: float) -> None:
        outcome = Outcome(check, finding, round(took_ms, 1))
        self._outcomes[check.id] = outcome
        self._done[check.id].set()
        self._tell(check, outcome)


_SLOW = "Run it again with --only and this id; if it stays so, something in its way hangs."


def _own_fault(error: Exception) -> Finding:
    # An exception's text may hold what a peer said, or a secret: only its kind is told.
    return failed(
        f"The check itself failed ({printable(type(error).__name__, 60)}).",
        "This is a fault of teamscall: report it with the version and this id.",
    )


def _ids(checks: Sequence[Check], names: Sequence[str]) -> set[str]:
    found: set[str] = set()
    for name in (part.strip() for text in names for part in text.split(",") if part.strip()):
        if name.lower() in GROUPS:
            found |= {check.id for check in checks if check.group == name.lower()}
        else:
            found.add(find(checks, name).id)
    return found


def _unknown(checks: Sequence[Check], name: str) -> InputError:
    known = [*GROUPS, *(check.id for check in checks)]
    close = difflib.get_close_matches(name.upper(), known, n=1, cutoff=0.6)
    close = close or difflib.get_close_matches(name.lower(), list(GROUPS), n=1, cutoff=0.6)
    meant = f" Did you mean {close[0]}?" if close else ""
    return InputError(
        f"There is no check or group {printable(name, 60)}.{meant}",
        hint="`teamscall doctor --list` lists them.",
    )
