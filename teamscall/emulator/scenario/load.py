"""One script played by many callers at once, and what all of their calls are like together.

Owns who calls when and as whom, the figures over all calls, and the verdict over them.
Refuses to know rules of one call (``run``) and terminals.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence

import msgspec

from teamscall.clock import Clock
from teamscall.emulator.controls import Controls
from teamscall.emulator.happenings import EmulatorEvent
from teamscall.emulator.links import Tap
from teamscall.emulator.plan import Plan
from teamscall.emulator.report import Samples, Spread
from teamscall.emulator.scenario import steps as script
from teamscall.emulator.scenario.baseline import Baseline, worse
from teamscall.emulator.scenario.performance import StepBegan, StepEnded
from teamscall.emulator.scenario.result import VERSION, Played, Verdict
from teamscall.emulator.scenario.run import Speech, play
from teamscall.emulator.scenario.senses import Ears, Witness
from teamscall.emulator.tracks import Tracks
from teamscall.errors import ExitCode, TeamscallError
from teamscall.text import printable

# One process keeps the pace of about this many on a small machine; more is for the operator
# to try: the figures say whether the pacing could be trusted.
MAX_CALLS = 1_000


class Watch(msgspec.Struct, frozen=True):
    """Who is told of what happens in which call (1, 2, ...)."""

    event: Callable[[int, EmulatorEvent], None] = lambda number, event: None
    step: Callable[[int, StepBegan | StepEnded], None] = lambda number, event: None
    over: Callable[[int, CallOf], None] = lambda number, call: None


class CallOf(msgspec.Struct, frozen=True, rename="camel"):
    """One of the calls. ``cause``: why it failed, in few words, for counting; "" if not."""

    number: int
    call_id: str
    cause: str
    played: Played | None = None  # None: there was no call, for ``error``
    error: str = ""


class Figures(msgspec.Struct, frozen=True, rename="camel"):
    """Over all calls, from the sound; a spread without samples was never measured. ``pacing``
    is the worst call's p95 of how late the emulator itself was. ``spoke_on``: barge-ins after
    which the bot did not fall silent; None: there was no barge-in."""

    calls: int
    failed_calls: int
    responses: Spread = Spread()
    barge_ins: Spread = Spread()
    first_sound: Spread = Spread()
    pacing_p95_ms: float | None = None
    gaps: int | None = None
    spoke_on: int | None = None

    def by_name(self) -> dict[str, float | None]:
        """As thresholds and baselines name them; None: never measured."""

        def of(spread: Spread, which: str) -> float | None:
            return float(getattr(spread, which)) if spread.count else None

        return {
            "response_p50_ms": of(self.responses, "p50"),
            "response_p95_ms": of(self.responses, "p95"),
            "response_max_ms": of(self.responses, "max"),
            "barge_in_p95_ms": of(self.barge_ins, "p95"),
            "barge_in_max_ms": of(self.barge_ins, "max"),
            "first_sound_p95_ms": of(self.first_sound, "p95"),
            "pacing_p95_ms": self.pacing_p95_ms,
            "gaps": self.gaps,
            "spoke_on": self.spoke_on,
            "failed_calls": float(self.failed_calls),
        }


class Load(msgspec.Struct, frozen=True, rename="camel"):
    """A run: its calls, its figures and its verdict. ``causes``: failed calls by cause."""

    name: str
    verdict: Verdict
    reason: str
    problems: tuple[str, ...]
    figures: Figures
    causes: dict[str, int]
    calls: tuple[CallOf, ...]
    version: int = VERSION

    @property
    def passed(self) -> bool:
        return self.verdict == "passed"

    @property
    def exit_code(self) -> ExitCode:
        """Of one call, its own where it is that which failed."""
        if self.passed:
            return ExitCode.OK
        if self.verdict == "interrupted":
            return ExitCode.INTERRUPTED
        if len(self.calls) == 1 and (played := self.calls[0].played) and not played.passed:
            return played.exit_code
        return ExitCode.FAILED


async def play_many(
    scenario: script.Scenario,
    plan: Plan,
    *,
    calls: int,
    ramp_s: float,
    clock: Clock,
    speech: Speech,
    ears: Ears | None = None,
    witness: Witness | None = None,
    watch: Watch | None = None,
    controls: Sequence[Controls] = (),
    tracks: Sequence[Tracks] = (),
    hear: Callable[[bytes], None] | None = None,
    tap: Tap | None = None,
    baseline: Baseline | None = None,
    stop: asyncio.Event | None = None,
) -> Load:
    """Play the script in ``calls`` calls, their beginnings spread evenly over ``ramp_s``.

    ``controls`` and ``tracks``: of each call, where given. ``stop``: once it is set, no call
    is placed any more; those that are on are for their controls to end.

    Raises:
        TeamscallError: there is only one call, and it could not be made.
    """
    watch = watch or Watch()
    stop = stop or asyncio.Event()
    together = _Together(calls)
    done: list[CallOf] = []

    async def one(number: int) -> None:
        if await _stopped(stop, ramp_s * (number - 1) / max(1, calls - 1)):
            together.leave()
            return
        own = plan if calls == 1 else _as_another(plan, number)
        call = await _call(number, own)
        done.append(call)
        watch.over(number, call)

    async def _call(number: int, own: Plan) -> CallOf:
        call_id = own.dial.call_id
        try:
            played = await play(
                scenario,
                own.dial,
                clock=clock,
                ears=ears,
                witness=witness,
                plan=own,
                speech=speech,
                on_event=lambda event: watch.event(number, event),
                on_step=lambda event: watch.step(number, event),
                controls=controls[number - 1] if controls else None,
                tracks=tracks[number - 1] if tracks else None,
                hear=hear,
                tap=tap,
                others=together.over if calls > 1 else None,
            )
        except TeamscallError as error:
            if calls == 1:
                raise
            await together.over()
            cause = printable(error.message, 80)
            return CallOf(number, call_id, cause, None, printable(str(error), 300))
        cause = "" if played.passed else _cause(played)
        return CallOf(number, played.report.call_id, cause, played)

    try:
        async with asyncio.TaskGroup() as group:
            for number in range(1, calls + 1):
                group.create_task(one(number))
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
    done.sort(key=lambda call: call.number)
    load = summed_up(scenario, tuple(done), baseline)
    if len(done) < calls:
        reason = f"stopped when {len(done)} of {calls} calls were placed"
        load = msgspec.structs.replace(load, verdict="interrupted", reason=reason)
    return load


async def _stopped(stop: asyncio.Event, seconds: float) -> bool:
    """Wait so long; True as soon as ``stop`` is set."""
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return False
    return True


def summed_up(
    scenario: script.Scenario, calls: tuple[CallOf, ...], baseline: Baseline | None = None
) -> Load:
    """The figures over these calls, and the verdict."""
    figures = figures_of(calls)
    failed = [call for call in calls if call.cause]
    causes = dict(Counter(call.cause for call in failed).most_common())
    problems = broken_thresholds(scenario.thresholds, figures)
    if baseline is not None:
        problems += worse(baseline, figures.by_name())
    verdicts = {call.played.verdict for call in calls if call.played is not None}
    verdict: Verdict = "passed"
    reasons = list(problems[:1])
    allowed = scenario.thresholds.failed_calls
    if failed and allowed is None:
        first = failed[0]
        why = first.error if first.played is None else first.played.reason
        many = f"{len(failed)} of {len(calls)} calls failed, the first: " if len(calls) > 1 else ""
        reasons.insert(0, f"{many}{why}")
    if reasons:
        verdict = "failed"
    if "not-trustworthy" in verdicts:
        verdict = "not-trustworthy"
        which = next(c.played for c in calls if c.played and c.played.verdict == verdict)
        reasons = [which.reason, *(r for r in reasons if which.reason not in r)]
    if "interrupted" in verdicts:
        verdict, reasons = "interrupted", ["stopped before the end"]
    return Load(scenario.name, verdict, "; ".join(reasons), tuple(problems), figures, causes, calls)


def figures_of(calls: Sequence[CallOf]) -> Figures:
    """Over all calls that there were."""
    responses, barge_ins, first = Samples(), Samples(), Samples()
    pacing: list[float] = []
    gaps: int | None = None
    spoke_on: int | None = None
    for played in (call.played for call in calls):
        if played is None:
            continue
        if played.report.sent.lateness.count:
            pacing.append(played.report.sent.lateness.p95)
        if (measures := played.measures) is None:
            continue
        gaps = (gaps or 0) + len(measures.bot.gaps)
        for response in measures.responses:
            responses.add(response.latency_ms / 1000)
        for barge_in in measures.barge_ins:
            stopped = barge_in.stopped_after_ms
            spoke_on = (spoke_on or 0) + (stopped is None)
            if stopped is not None:
                barge_ins.add(stopped / 1000)
        if measures.first_sound_ms is not None:
            first.add(measures.first_sound_ms / 1000)
    return Figures(
        len(calls),
        sum(1 for call in calls if call.cause),
        responses.spread(),
        barge_ins.spread(),
        first.spread(),
        max(pacing, default=None),
        gaps,
        spoke_on,
    )


def broken_thresholds(wanted: script.Thresholds, figures: Figures) -> list[str]:
    """Which of them do not hold; what was never measured does not, nor how fast a bot is
    silent that spoke on."""
    found = figures.by_name()
    ignored = figures.spoke_on or 0
    barge_ins = figures.barge_ins.count + ignored
    out: list[str] = []
    for name in wanted.__struct_fields__:
        limit = getattr(wanted, name)
        if limit is None:
            continue
        value = found[name]
        if value is None:
            out.append(f"{name}: never measured")
        elif value > limit:
            out.append(f"{name}: {value:.0f}, more than {limit:.0f}")
        if name.startswith("barge_in") and ignored:
            out.append(f"{name}: the bot spoke on after {ignored} of {barge_ins} barge-ins")
    return out


class _Together:
    """Nobody measures before the last call is over."""

    def __init__(self, calls: int) -> None:
        self._left = calls
        self._all = asyncio.Event()

    def leave(self) -> None:
        """One call less to wait for."""
        self._left -= 1
        if self._left <= 0:
            self._all.set()

    async def over(self) -> None:
        self.leave()
        await self._all.wait()


def _as_another(plan: Plan, number: int) -> Plan:
    """The same call of somebody else."""
    caller, dial = plan.caller, plan.dial
    user_id = caller.user_id
    if len(user_id) == 36:  # an object id: its last group counts
        user_id = f"{user_id[:-12]}{number:012d}"
    elif user_id:
        user_id = f"{user_id}-{number}"
    call_id = f"{dial.call_id}-{number}" if dial.call_id else ""
    return msgspec.structs.replace(
        plan,
        caller=msgspec.structs.replace(
            caller, user_id=user_id, display_name=f"{caller.display_name} {number}".strip()
        ),
        dial=msgspec.structs.replace(dial, call_id=call_id),
    )


def _cause(played: Played) -> str:
    if played.verdict != "failed":
        return "pacing" if played.verdict == "not-trustworthy" else played.verdict
    broken = next((step for step in played.steps if step.problems), None)
    if broken is None:
        return printable(f"{played.report.outcome}: {played.report.reason}", 80)
    where = f"step {broken.number}" if broken.number else "[expect]"
    return printable(f"{where}: {broken.problems[0].split(':')[0]}", 80)
