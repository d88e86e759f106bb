"""What a conversation remembers is what was heard."""

from __future__ import annotations

from teamscall.engines.memory import BEFORE, MAX_CHARS, MAX_LINES, Memory
from teamscall.engines.parts import Line


def test_remembers_both_sides_in_order() -> None:
    memory = Memory()
    memory.heard(1, "hello")
    memory.said(1, "Hi. ")
    memory.said(1, "How are you?")
    assert memory.lines() == (Line("caller", "hello"), Line("bot", "Hi. How are you?"))


def test_a_truncated_answer_holds_what_was_heard_and_no_more() -> None:
    memory = Memory()
    memory.said(1, "One two three four.")
    memory.truncate(1, "One two")
    memory.said(1, "five")
    assert memory.lines() == (Line("bot", "One two"),)


def test_an_answer_of_which_nothing_was_heard_was_never_said() -> None:
    memory = Memory()
    memory.heard(1, "hello")
    memory.truncate(1, "")
    memory.said(1, "Hi!")
    assert memory.lines() == (Line("caller", "hello"),)


def test_truncating_an_older_turn_leaves_the_newer_one() -> None:
    memory = Memory()
    memory.said(1, "first answer")
    memory.said(2, "second answer")
    memory.truncate(1, "first")
    assert [line.text for line in memory.lines()] == ["first", "second answer"]


def test_a_turn_that_is_taken_back_never_was() -> None:
    memory = Memory((Line("bot", "Welcome."),))
    memory.heard(1, "I would")
    memory.said(1, "Yes?")
    memory.forget(1)
    memory.truncate(1, "Ye")
    assert memory.lines() == (Line("bot", "Welcome."),)
    memory.heard(1, "I would like tea")
    memory.truncate(1, "Sure")
    assert [line.text for line in memory.lines()] == ["Welcome.", "I would like tea", "Sure"]
    assert memory.turns() == (BEFORE, 1, 1)


def test_is_bounded_and_forgets_the_oldest() -> None:
    memory = Memory()
    for turn in range(MAX_LINES + 50):
        memory.heard(turn, f"line {turn}")
    assert len(memory.lines()) == MAX_LINES
    assert memory.forgotten == 50
    memory.said(999, "x" * (MAX_CHARS + 1))
    assert len(memory.lines()) == 1
