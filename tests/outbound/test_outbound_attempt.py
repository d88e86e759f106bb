"""The life of one attempt: it ends once, and the far side is told where it may still ring."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from hypothesis import given
from hypothesis import strategies as st

from teamscall.calls.records import CallClosed, CallCounters, EndedBy
from teamscall.outbound.attempt import Change, Life


def closed(reason: str, by: EndedBy = "gateway", detail: str = "") -> CallClosed:
    return CallClosed("c", 0, reason, by, 0, CallCounters(), detail)


def ringing() -> Life:
    life = Life("c")
    life.ask()
    assert life.ringing() == Change("ringing")
    return life


def test_what_was_never_asked_is_never_hung_up() -> None:
    life = Life("c")
    life.wait()
    change = life.cancel("x")
    assert change == Change("ended", "cancelled", "x", hang_up=False)


def test_what_rings_is_hung_up() -> None:
    for change in (ringing().cancel("x"), ringing().fail("x"), ringing().ring_timed_out(1)):
        assert change is not None
        assert change.hang_up


def test_a_far_side_that_says_it_is_over_need_not_be_told() -> None:
    words: tuple[Literal["no-answer", "busy", "declined", "failed"], ...] = (
        "no-answer",
        "busy",
        "declined",
        "failed",
    )
    for word in words:
        change = ringing().word(word, "d")
        assert change == Change("ended", word, "d")
        change = ringing().closed(closed(word))
        assert change == Change("ended", word)


def test_a_refusal_rings_nowhere_and_a_lost_answer_may() -> None:
    refused, lost = Life(), Life()
    for life in (refused, lost):
        life.ask()
    assert refused.not_asked("no", may_ring=False) == Change("ended", "failed", "no")
    assert lost.not_asked("?", may_ring=True) == Change("ended", "failed", "?", hang_up=True)


def test_an_answered_call_ends_as_answered_whatever_is_said_of_it() -> None:
    life = ringing()
    assert life.answered() == Change("answered")
    assert life.word("busy", "") is None
    assert life.ring_timed_out(1) is None
    assert life.cancel("x") is None
    assert life.fail("x") is None
    assert life.closed(closed("connection-lost", detail="1006")) == Change(
        "ended", "answered", "connection-lost: 1006"
    )


STEPS: list[Callable[[Life], Change | None]] = [
    lambda life: life.wait(),
    lambda life: life.ringing(),
    lambda life: life.answered(),
    lambda life: life.word("answered", ""),
    lambda life: life.word("busy", ""),
    lambda life: life.closed(closed("connection-lost")),
    lambda life: life.closed(closed("no-answer", "bridge")),
    lambda life: life.lingered(),
    lambda life: life.ring_timed_out(1),
    lambda life: life.cancel(""),
    lambda life: life.fail(""),
    lambda life: life.not_asked("", may_ring=True),
]


@given(st.lists(st.sampled_from(STEPS), max_size=30), st.booleans())
def test_it_ends_once_and_never_goes_back(
    steps: list[Callable[[Life], Change | None]], asked: bool
) -> None:
    life = Life("c")
    if asked:
        life.ask()
    ends: list[Change] = []
    answered = False
    for step in steps:
        before = life.state
        change = step(life)
        assert change is None or change.state == life.state
        if change is None:
            assert life.state == before
        elif change.state == "ended":
            ends.append(change)
            assert (change.outcome == "answered") is answered
            assert not (change.hang_up and change.outcome == "answered")
        answered = answered or life.state == "answered"
        if before == "ended":
            assert change is None
        if before == "answered":
            assert life.state in ("answered", "ended")
    assert len(ends) <= 1
