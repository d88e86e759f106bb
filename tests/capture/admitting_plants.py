"""Regressions of the decisions before a call, each planted by a patch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
import pytest

from teamscall.calls import deciding
from teamscall.calls.admission import Considering
from teamscall.calls.deciding import Deciding
from teamscall.calls.registry import Slots
from teamscall.errors import PolicyError
from teamscall.policy import authorization, rules
from teamscall.policy.authorization import Decision, HookAnswer, Policy, PolicyRequest
from teamscall.wire.events import Caller, Dialect

S = TypeVar("S", bound=msgspec.Struct)


def nothing_against_it() -> Decision | None:
    return None


Plant = Callable[[pytest.MonkeyPatch], None]


def deciding_on(
    change: Callable[[Caller, Any, Dialect], tuple[Caller, Any, Dialect]],
) -> Plant:
    """The rules are asked about something else."""
    real = rules.decide
    return lambda patch: patch.setattr(
        authorization, "decide", lambda caller, book, dialect: real(*change(caller, book, dialect))
    )


def but(struct: S, **changes: Any) -> S:
    return msgspec.structs.replace(struct, **changes)


any_tenant = deciding_on(
    lambda c, book, d: (c, but(book, allowed_tenants=frozenset({rules.fold(c.tenant_id)})), d)
)
no_tenant_is_checked = deciding_on(
    lambda c, book, d: (
        c,
        but(book, allowed_tenants=book.allowed_tenants and frozenset({rules.fold(c.tenant_id)})),
        d,
    )
)
any_telephone = deciding_on(lambda c, book, d: (but(c, phone_number=""), book, d))
disabled_is_open = deciding_on(
    lambda c, book, d: (c, but(book, mode="open") if book.mode == "disabled" else book, d)
)
nobody_may = deciding_on(lambda c, book, d: (c, book, "standin"))
addresses_do_not_count = deciding_on(lambda c, book, d: (but(c, user_principal_name=""), book, d))
an_empty_list_is_no_list = deciding_on(
    lambda c, book, d: (c, book if book.allow_from else but(book, mode="open"), d)
)
anybody_on_the_list = deciding_on(
    lambda c, book, d: (c, but(book, allow_from=book.allow_from | {rules.fold(c.user_id)}), d)
)


def nothing_is_folded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "fold", lambda identifier: identifier)


def every_grant_is_anybodys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deciding, "identity", lambda caller: "")


def only_the_user_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deciding, "identity", lambda caller: rules.fold(caller.user_id))


def no_grant_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deciding, "_NO_REQUEST", Decision(True, "allowlist"))


def decisions_are_not_heeded(monkeypatch: pytest.MonkeyPatch) -> None:
    ask = Deciding.ask

    def lenient(self: Deciding, request: Any, address: Any, gate: Any, then: Any) -> None:
        ask(self, request, address, gate, lambda said: then(but(said, authorized=True)))

    monkeypatch.setattr(Deciding, "ask", lenient)


def a_refused_call_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    redeem = Deciding.redeem

    def lenient(self: Deciding, *given: Any) -> Decision:
        return but(redeem(self, *given), authorized=True)

    monkeypatch.setattr(Deciding, "redeem", lenient)


def a_denied_call_keeps_its_slot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Slots, "give_back", lambda self, call_id: None)


def no_gate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Considering, "asking", lambda self, gate: nothing_against_it)


def the_hook_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Policy, "has_hook", False)


def the_hook_says_yes(monkeypatch: pytest.MonkeyPatch) -> None:
    ask = Policy._ask

    async def yes(self: Policy, request: PolicyRequest) -> HookAnswer:
        return but(await ask(self, request), authorized=True)

    monkeypatch.setattr(Policy, "_ask", yes)


def a_hook_that_fails_grants(monkeypatch: pytest.MonkeyPatch) -> None:
    ask = Policy._ask

    async def yes(self: Policy, request: PolicyRequest) -> HookAnswer:
        try:
            return await ask(self, request)
        except PolicyError:
            return HookAnswer(True)

    monkeypatch.setattr(Policy, "_ask", yes)


def the_hooks_settings_are_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    ask = Policy._ask

    async def without(self: Policy, request: PolicyRequest) -> HookAnswer:
        return but(await ask(self, request), settings={})

    monkeypatch.setattr(Policy, "_ask", without)


def the_gate_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def before(self: Deciding, request: PolicyRequest, gate: Any) -> Decision:
        return self._policy.rules_decide(request.caller, request.dialect)

    monkeypatch.setattr(Deciding, "by_rules", before)


def a_flood_grants(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deciding, "Decision", lambda _, mode, reason: Decision(True, mode))


def a_flood_is_borne(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deciding, "MAX_DECISIONS", 1000)


def anybody_is_called_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deciding, "_NOT_PLACED", deciding.OUTBOUND)


def decisions_leave_no_record(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Deciding, "record", lambda self, request, address, decision: None)


def the_rules_raise(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(*_: object) -> Decision:
        raise KeyError("mode")

    monkeypatch.setattr(authorization, "decide", wrong)
