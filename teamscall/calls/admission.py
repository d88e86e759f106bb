"""What is remembered of a decision on a call: all that it was taken from, and itself.

Owns the form of that. Refuses to know how it is kept, and other people: of a rule's list
there is what is this caller's own and whether it has more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal

import msgspec

from teamscall.policy.authorization import Decision, HookAnswer, Policy, PolicyRequest, RulesFor
from teamscall.policy.rules import DENIED
from teamscall.policy.rules import AskedOn as AskedOn
from teamscall.wire.events import Caller, Dialect

Road = Literal[
    "asked",  # by the rules, the bridge's own state and the hook
    "redeemed",  # by the rules, that state and who was granted before
    "placed",  # by whether we asked for this call
]
# What a hook says may be long; more than this of it is neither told nor taken.
_REASON_CHARS = 1000
_NAMES = 64
Gate = Callable[[], Decision | None]


class Verdict(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was said, without what a hook would have the call be given: the names of these
    settings alone."""

    authorized: bool
    strategy: str = ""
    reason: str = ""
    settings: tuple[str, ...] = ()

    @classmethod
    def of(cls, said: Decision | HookAnswer) -> Verdict:
        """Of what the policy, the bridge or the hook said."""
        strategy = said.strategy if isinstance(said, Decision) else ""
        names = tuple(sorted(said.settings)[:_NAMES])
        return cls(said.authorized, strategy, said.reason[:_REASON_CHARS], names)

    def without_words(self) -> Verdict:
        """Of the policy, as if the hook had not given its reason."""
        if self.strategy != "hook":
            return self
        return msgspec.structs.replace(self, reason=DENIED)


class Admission(msgspec.Struct, frozen=True, omit_defaults=True):
    """One decision on a call that had not begun.

    ``at``: monotonic seconds. ``gates``: what the bridge's own state said, each time that it
    was asked; None: nothing against it. ``hook``: its answer; None where ``has_hook``: there
    was none. ``flooded``: it was not asked, because too many decisions waited for theirs.
    ``granted``: user and tenant of the grant that the call redeemed. ``reloaded``:
    the rules changed meanwhile; these are the new ones, and the rest may be of the old.
    """

    at: float
    call_id: str
    dialect: Dialect
    on: AskedOn
    road: Road
    caller: Caller
    decision: Verdict
    rules: RulesFor = RulesFor()
    gates: tuple[Verdict | None, ...] = ()
    has_hook: bool = False
    hook: Verdict | None = None
    flooded: bool = False
    granted: tuple[str, str] | None = None
    placed: bool = False
    reloaded: bool = False


class Considering:
    """What one decision is taken from, as it comes to be known."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy  # the one that decides; a reload may bring another one
        self.hook: HookAnswer | None = None
        self.flooded = False
        self.granted: Caller | None = None
        self.placed = False
        self._gates: list[Decision | None] = []
        self._reloaded = False

    def asking(self, gate: Gate) -> Gate:
        """The gate, whose answers are remembered."""

        def asked() -> Decision | None:
            answer = gate()
            self._gates.append(answer)
            return answer

        return asked

    def asks(self, policy: Policy) -> None:
        """This policy is about to be asked; what another one's hook said counts no more."""
        self._reloaded = self._reloaded or policy is not self.policy
        self.policy, self.hook = policy, None

    def heard(self, answer: HookAnswer) -> None:
        """The hook's own answer."""
        self.hook = answer

    def admission(
        self, at: float, request: PolicyRequest, road: Road, decision: Decision
    ) -> Admission:
        """All of it."""
        ruled = road != "placed"
        return Admission(
            at=at,
            call_id=request.call_id,
            dialect=request.dialect,
            on=request.on,
            road=road,
            caller=request.caller,
            decision=Verdict.of(decision),
            rules=self.policy.rules_for(request.caller) if ruled else RulesFor(),
            gates=tuple(_verdicts(self._gates)),
            has_hook=road == "asked" and self.policy.has_hook,
            hook=Verdict.of(self.hook) if self.hook else None,
            flooded=self.flooded,
            granted=(who.user_id, who.tenant_id) if (who := self.granted) else None,
            placed=self.placed,
            reloaded=self._reloaded,
        )


def _verdicts(gates: Iterable[Decision | None]) -> Iterable[Verdict | None]:
    return (Verdict.of(gate) if gate else None for gate in gates)
