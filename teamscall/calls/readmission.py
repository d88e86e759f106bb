"""A remembered decision taken again, by the code that decides on calls, from what it was
taken from then.

Owns what stands in for the bridge's own state and for the hook. Refuses to compare.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterator

import msgspec

from teamscall.calls.admission import Admission, Gate, Verdict
from teamscall.calls.deciding import MAX_DECISIONS, Deciding
from teamscall.calls.records import CallRecord, Decided
from teamscall.calls.tasks import Tasks
from teamscall.clock import ManualClock
from teamscall.errors import PolicyError
from teamscall.policy.authorization import Decision, HookAnswer, Policy, PolicyRequest
from teamscall.wire.events import Caller

# A hook's answer is there at once; this only bounds a bug.
_DEADLINE_S = 10.0


class Again(msgspec.Struct, frozen=True):
    """The decision that this version takes, what it leaves of it in the records, and what it
    remembers; of both of these there should be one."""

    decision: Verdict
    records: tuple[Verdict, ...]
    remembered: tuple[Admission, ...]


def taken_again(admission: Admission) -> Again:
    """Take it.

    Must not be called where an event loop runs.
    """
    request = PolicyRequest(admission.call_id, admission.dialect, admission.caller, admission.on)
    settings = admission.rules.settings(admission.caller)
    policy = Policy(settings, _hook(admission) if admission.has_hook else None)
    told: list[Verdict] = []
    kept: list[Admission] = []
    tasks = Tasks()

    def tell(record: CallRecord) -> None:
        if isinstance(record, Decided) and record.call_id == admission.call_id:
            told.append(Verdict(record.authorized, record.strategy, record.reason))

    deciding = Deciding(settings, policy, ManualClock(admission.at), tasks, tell)
    deciding.remember = kept.append
    gate = _gate(admission)
    if admission.road == "placed":
        decision = deciding.of_placed(request, "", gate, placed=admission.placed)
    elif admission.road == "redeemed":
        who = admission.granted
        granted = None if who is None else Caller(user_id=who[0], tenant_id=who[1])
        decision = deciding.redeem(request, "", gate, granted)
    else:
        decision = _asked(deciding, tasks, request, gate, admission)
    remembered = tuple(one for one in kept if one.call_id == admission.call_id)
    return Again(Verdict.of(decision), tuple(told), remembered)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """What went wrong then is no news now."""
    log = logging.getLogger("teamscall.policy")
    before, log.disabled = log.disabled, True
    try:
        yield
    finally:
        log.disabled = before


def _asked(
    deciding: Deciding, tasks: Tasks, request: PolicyRequest, gate: Gate, admission: Admission
) -> Decision:
    answers: list[Decision] = []

    async def with_a_loop() -> None:
        # Others come first, and their hooks are asked only once this loop goes on.
        for number in range(MAX_DECISIONS * admission.flooded):
            other = msgspec.structs.replace(request, call_id=f"{request.call_id} {number}")
            deciding.ask(other, "", lambda: None, lambda decision: None)
        deciding.ask(request, "", gate, answers.append)
        await tasks.wait(_DEADLINE_S)

    if admission.has_hook:
        with _silence():
            asyncio.run(with_a_loop())
    else:
        deciding.ask(request, "", gate, answers.append)
    (decision,) = answers
    return decision


def _gate(admission: Admission) -> Gate:
    """Says what it said, in order; asked once more, the last of it again."""
    left = [_decision(gate) if gate else None for gate in admission.gates]

    def gate() -> Decision | None:
        return left.pop(0) if len(left) > 1 else (left[0] if left else None)

    return gate


def _hook(admission: Admission) -> Callable[[PolicyRequest], Awaitable[HookAnswer]]:
    async def hook(request: PolicyRequest) -> HookAnswer:
        said = admission.hook
        if said is None:
            raise PolicyError("it had no answer then")
        return HookAnswer(said.authorized, said.reason, dict.fromkeys(said.settings))

    return hook


def _decision(verdict: Verdict) -> Decision:
    return Decision(verdict.authorized, verdict.strategy, verdict.reason)
