"""A remembered decision taken again, by the lines and the code that decide on calls, from what
it was taken from then.

Owns what stands in for the socket, the bridge's own state and the hook, and what has to follow
from a decision. Refuses to compare with what was decided then.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import cast

import msgspec

from teamscall.calls.admission import Admission, Verdict
from teamscall.calls.bookings import Grant, Placed
from teamscall.calls.csharp_line import CSharpLine
from teamscall.calls.deciding import MAX_DECISIONS
from teamscall.calls.desk import Desk
from teamscall.calls.records import CallRecord, Decided
from teamscall.calls.standin_line import StandInLine
from teamscall.clock import ManualClock
from teamscall.config import Config
from teamscall.engines.base import Engine
from teamscall.errors import PolicyError
from teamscall.policy.authorization import Decision, HookAnswer, Policy, PolicyRequest
from teamscall.policy.rules import UNDECIDED
from teamscall.wire import events as wire

# A hook's answer is there at once; this only bounds a bug.
_DEADLINE_S = 10.0
_ALWAYS = float("inf")


class Again(msgspec.Struct, frozen=True):
    """The decision that this version takes, what it leaves of it in the records, and what it
    remembers; of both of these there should be one. ``followed``: what the line then did,
    ``due``: what has to follow from such a decision. ``asks_hook``: it would ask the hook, which
    was not asked then: nobody knows its answer."""

    decision: Verdict
    records: tuple[Verdict, ...]
    remembered: tuple[Admission, ...]
    followed: tuple[str, ...]
    due: tuple[str, ...]
    asks_hook: bool = False


def taken_again(admission: Admission) -> Again:
    """Have a line asked once more.

    Must not be called where an event loop runs.
    """
    settings = admission.rules.settings(admission.caller)
    asked: list[str] = []
    policy = Policy(settings, _hook(admission, asked) if admission.has_hook else None)
    desk = _Desk(admission, Config(authorization=settings), policy)
    link = _Link(admission.dialect)
    with _silence():
        asyncio.run(_ask(admission, desk, link))
    found = [one.decision for one in desk.remembered] or desk.records
    decision = found[0] if found else Verdict(False, "undecided")
    return Again(
        decision,
        tuple(desk.records),
        tuple(desk.remembered),
        (*link.said, *desk.followed()),
        _due(admission, decision),
        admission.call_id in asked and not _hook_was_asked(admission),
    )


def _hook_was_asked(admission: Admission) -> bool:
    """Whether it answered, or was to and failed."""
    failed = admission.decision.reason == UNDECIDED and not admission.flooded
    return admission.hook is not None or failed


async def _ask(admission: Admission, desk: _Desk, link: _Link) -> None:
    call_id, caller = admission.call_id, admission.caller
    # Others come first, and their hooks are asked only once this loop goes on.
    for number in range(MAX_DECISIONS * admission.flooded):
        other = PolicyRequest(f"{call_id} {number}", admission.dialect, caller, admission.on)
        desk.deciding.ask(other, "", lambda: None, lambda decision: None)
    if admission.granted is not None:
        user, tenant = admission.granted
        desk.bookings.ask(call_id, "")
        grant = Grant(wire.Caller(user_id=user, tenant_id=tenant), _ALWAYS)
        desk.bookings.decided(call_id, grant)
    if admission.placed:
        desk.bookings.place(call_id, Placed("", notify=False, until=_ALWAYS))
    direction: wire.Direction = "outbound" if admission.road == "placed" else "inbound"
    if admission.dialect == "standin":
        desk.bookings.reserve(call_id, "")
        line: StandInLine | CSharpLine = StandInLine(desk, link, call_id)
    else:
        line = CSharpLine(desk, link)
    if admission.on == "auth_request":
        line.received(wire.AuthRequested(call_id, "", caller))
    else:
        line.received(wire.CallStarted(call_id, caller, direction))
    await desk.tasks.wait(_DEADLINE_S)


def _due(admission: Admission, decision: Verdict) -> tuple[str, ...]:
    held = f"slots: {int(decision.authorized)}"
    if admission.on == "auth_request":
        granted = ("granted",) if decision.authorized else ()
        return (f"answered: {_words(decision)}", *granted, held)
    if decision.authorized:
        return (" ".join(("begun", *decision.settings)), held)
    return ("hung up: not-allowed", held)


def _words(said: Verdict | wire.AuthAnswer) -> str:
    word = "granted" if said.authorized else "refused"
    return f"{word} {said.strategy} {said.reason}".rstrip()


class _Desk(Desk):
    """Has no engine and no state but what was remembered; starts nothing."""

    def __init__(self, admission: Admission, config: Config, policy: Policy) -> None:
        # Nothing that uses the engine is left.
        super().__init__(config, cast("Engine", None), policy, ManualClock(admission.at))
        self.records: list[Verdict] = []
        self.remembered: list[Admission] = []
        self._call_id = admission.call_id
        self._gates = [_decision(gate) if gate else None for gate in admission.gates]
        self._begun: list[str] = []
        self.deciding.remember = self._remember

    def _remember(self, admission: Admission) -> None:
        if admission.call_id == self._call_id:
            self.remembered.append(admission)

    def tell(self, record: CallRecord) -> None:
        if isinstance(record, Decided) and record.call_id == self._call_id:
            self.records.append(Verdict(record.authorized, record.strategy, record.reason))

    def warm(self) -> None:
        """There is nothing to warm."""

    def inbound_gate(self) -> Decision | None:
        """What it said, in order; asked once more, the last of it again."""
        gates = self._gates
        return gates.pop(0) if len(gates) > 1 else (gates[0] if gates else None)

    _drain_gate = inbound_gate

    def start(
        self,
        link: object,
        event: wire.CallStarted,
        recording: object,
        placed: object = None,
        settings: Mapping[str, object] | None = None,
    ) -> None:
        """A call would begin."""
        self._begun.append(" ".join(("begun", *sorted(settings or ()))))

    def followed(self) -> Iterator[str]:
        """What is left of it."""
        yield from self._begun
        yield from ("granted",) if self.bookings.redeem(self._call_id) else ()
        yield f"slots: {self.slots.held}"


class _Link:
    """A socket that nobody is behind."""

    address = ""
    lead_ms = 0
    dropped_out = 0

    def __init__(self, dialect: wire.Dialect) -> None:
        self.dialect = dialect
        self.said: list[str] = []

    def send(self, message: wire.ToGateway) -> None:
        if isinstance(message, wire.AuthAnswer):
            self.said.append(f"answered: {_words(message)}")
        elif isinstance(message, wire.HangUp):
            self.said.append(f"hung up: {message.reason}")

    def close(self, code: int, reason: str) -> None:
        """It has been told why."""


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """What went wrong then is no news now."""
    logs = [logging.getLogger(f"teamscall.{room}") for room in ("policy", "calls")]
    before = [log.disabled for log in logs]
    for log in logs:
        log.disabled = True
    try:
        yield
    finally:
        for log, was in zip(logs, before, strict=True):
            log.disabled = was


def _hook(
    admission: Admission, asked: list[str]
) -> Callable[[PolicyRequest], Awaitable[HookAnswer]]:
    async def hook(request: PolicyRequest) -> HookAnswer:
        asked.append(request.call_id)
        said = admission.hook
        if said is None:
            raise PolicyError("it had no answer then")
        return HookAnswer(said.authorized, said.reason, dict.fromkeys(said.settings))

    return hook


def _decision(verdict: Verdict) -> Decision:
    return Decision(verdict.authorized, verdict.strategy, verdict.reason)
