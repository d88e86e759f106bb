"""Deciding on a call: rules, then the bridge's own state, then the hook.

Owns the order of those three, the bound on hooks under way, and the one record that every
decision leaves; of calls that have not begun also what it was taken from, where somebody
wants to know. Refuses to know what follows from a decision.

Rules:

1. Each decision is told exactly once, and one that fails or comes too late is a denial.
2. Rules and hook that change while a hook is asked are asked as well: nothing is granted
   that those in force would not grant.
3. What the rules refuse costs no slot and no hook.
4. A call that begins is decided on once more: by the rules, and it must be who was granted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from teamscall.calls.admission import Admission, Considering, Gate, Road
from teamscall.calls.records import CallRecord, Decided
from teamscall.calls.tasks import Tasks
from teamscall.clock import Clock
from teamscall.config import Authorization
from teamscall.policy.authorization import Decision, Policy, PolicyRequest
from teamscall.policy.rules import UNDECIDED, fold
from teamscall.wire.events import Caller

# Decisions that wait on a hook at the same time; more is a flood, and is denied.
MAX_DECISIONS = 64
# The policy keeps its own deadline (at most 1.9 s); this one holds if it does not. A
# gateway gives up 2 s after its auth_request.
DECISION_S = 1.95

OUTBOUND = Decision(True, "outbound")
_NOT_PLACED = Decision(False, "outbound", "No such call was placed")
_NO_REQUEST = Decision(False, "validation-failed", "No authorization request")
_OTHER_IDENTITY = Decision(False, "validation-failed", "Identity differs from the authorized one")

Then = Callable[[Decision], None]


class Deciding:
    """See the module."""

    def __init__(
        self,
        settings: Authorization,
        policy: Policy,
        clock: Clock,
        tasks: Tasks,
        tell: Callable[[CallRecord], None],
    ) -> None:
        self._mode = settings.mode
        self._policy = policy
        self._clock = clock
        self._tasks = tasks
        self._tell = tell
        self._under_way = 0
        self.remember: Callable[[Admission], None] | None = None

    def reconfigure(self, settings: Authorization, policy: Policy) -> None:
        """Decide by these from now on, also what is being decided."""
        self._mode = settings.mode
        self._policy = policy

    def ask(self, request: PolicyRequest, address: str, gate: Gate, then: Then) -> None:
        """Decide, at once where no hook has to be asked, and tell ``then`` exactly once.

        ``gate`` says why the bridge cannot take the call, None when it can. It is asked
        before and, because things change meanwhile, after a hook.
        """
        seen = Considering(self._policy)
        gate = seen.asking(gate)
        decision = self.by_rules(request, gate)
        if not decision.authorized or not self._policy.has_hook:
            self._told(request, address, seen, decision, then)
        elif self._under_way >= MAX_DECISIONS:
            seen.flooded = True
            self._told(request, address, seen, Decision(False, self._mode, UNDECIDED), then)
        else:
            self._under_way += 1
            work = self._ask_hook(request, address, gate, seen, then)
            self._tasks.spawn(work, f"decide {request.call_id}")

    def by_rules(self, request: PolicyRequest, gate: Gate) -> Decision:
        """The decision without the hook; tells nobody."""
        decision = self._policy.rules_decide(request.caller, request.dialect)
        return (gate() or decision) if decision.authorized else decision

    def redeem(
        self, request: PolicyRequest, address: str, gate: Gate, granted: Caller | None
    ) -> Decision:
        """The second decision, when a call begins that ``granted`` was granted; None: nobody
        was. The hook has answered for this very identity a moment ago; the rules are free."""
        seen = Considering(self._policy)
        decision = self.by_rules(request, seen.asking(gate))
        if decision.authorized and granted is None:
            decision = _NO_REQUEST
        elif decision.authorized and granted and identity(granted) != identity(request.caller):
            decision = _OTHER_IDENTITY
        seen.granted = granted
        self._keep(request, seen, "redeemed", decision)
        self.record(request, address, decision)
        return decision

    def of_placed(
        self, request: PolicyRequest, address: str, gate: Gate, *, placed: bool
    ) -> Decision:
        """On an outbound leg; ``placed``: we asked for it."""
        seen = Considering(self._policy)
        decision = seen.asking(gate)() or (OUTBOUND if placed else _NOT_PLACED)
        seen.placed = placed
        self._keep(request, seen, "placed", decision)
        self.record(request, address, decision)
        return decision

    async def _ask_hook(
        self, request: PolicyRequest, address: str, gate: Gate, seen: Considering, then: Then
    ) -> None:
        decision = Decision(False, self._mode, UNDECIDED)
        policy = None
        try:
            async with asyncio.timeout(DECISION_S):
                while policy is not self._policy:
                    policy = self._policy
                    seen.asks(policy)
                    answer = await policy.authorize(request, seen.heard)
                    if not answer.authorized:
                        break
            decision = answer
        except TimeoutError:
            pass  # the denial above
        finally:
            self._under_way -= 1
            if decision.authorized:
                decision = gate() or decision
            self._told(request, address, seen, decision, then)

    def _told(
        self,
        request: PolicyRequest,
        address: str,
        seen: Considering,
        decision: Decision,
        then: Then,
    ) -> None:
        self._keep(request, seen, "asked", decision)
        self.record(request, address, decision)
        then(decision)

    def _keep(
        self, request: PolicyRequest, seen: Considering, road: Road, decision: Decision
    ) -> None:
        if self.remember is not None:
            self.remember(seen.admission(self._clock.now(), request, road, decision))

    def record(self, request: PolicyRequest, address: str, decision: Decision) -> None:
        """Leave the record of a decision."""
        self._tell(
            Decided(
                call_id=request.call_id,
                wall_ms=self._clock.wall_ms(),
                dialect=request.dialect,
                authorized=decision.authorized,
                strategy=decision.strategy,
                reason=decision.reason,
                caller=request.caller,
                on=request.on,
                address=address,
            )
        )


def identity(caller: Caller) -> tuple[str, str]:
    """Who it is, as policy compares it."""
    return fold(caller.user_id), fold(caller.tenant_id)
