"""Deciding: what a hook that never answers comes to."""

from __future__ import annotations

import asyncio

import pytest

from teamscall.calls import deciding
from teamscall.calls.admission import Admission
from teamscall.calls.deciding import Deciding
from teamscall.calls.records import CallRecord, Decided
from teamscall.calls.tasks import Tasks
from teamscall.clock import ManualClock
from teamscall.config import Authorization
from teamscall.policy.authorization import Decision, HookAnswer, Policy, PolicyRequest
from teamscall.policy.rules import UNDECIDED
from teamscall.wire.events import Caller

OPEN = Authorization(mode="open")
REQUEST = PolicyRequest("c1", "standin", Caller(), "session_start")


def test_a_hook_that_never_answers_is_a_denial_by_our_own_deadline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever becomes of the policy's own deadline."""
    monkeypatch.setattr(deciding, "DECISION_S", 0.01)
    told: list[CallRecord] = []
    came: list[Decision] = []
    kept: list[Admission] = []

    async def never(request: PolicyRequest) -> HookAnswer:
        await asyncio.Event().wait()
        raise AssertionError

    async def whole() -> None:
        tasks = Tasks()
        desk = Deciding(OPEN, Policy(OPEN, never), ManualClock(), tasks, told.append)
        desk.remember = kept.append
        desk.ask(REQUEST, "", lambda: None, came.append)
        assert came == []
        assert await tasks.wait(10)

    asyncio.run(whole())
    assert came == [Decision(False, "open", UNDECIDED)]
    assert [one.authorized for one in told if isinstance(one, Decided)] == [False]
    assert [(one.hook, one.has_hook) for one in kept] == [(None, True)]
