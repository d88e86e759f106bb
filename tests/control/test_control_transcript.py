"""What was said, from the events that a bridge remembers."""

from __future__ import annotations

from typing import Any

from teamscall.control.transcript import MAX_CHARS, MAX_LINE_CHARS, Line, transcript


def heard(text: str, *, final: bool = True, at: int = 1) -> dict[str, Any]:
    return {"event": "heard", "text": text, "final": final, "wallMs": at}


def turn(heard_text: str, said_text: str, status: str = "completed") -> dict[str, Any]:
    return {"event": "turn-ended", "heardText": heard_text, "saidText": said_text,
            "status": status, "wallMs": 2}  # fmt: skip


def test_both_sides_are_told_in_their_order() -> None:
    read = transcript([heard("Is it", final=False), heard("Is it open?"), turn("Yes.", "Yes.")], 9)
    assert read.lines == (Line("caller", "Is it open?", 1), Line("bot", "Yes.", 2))
    assert read.left_out == 0


def test_what_was_cut_off_is_told_apart() -> None:
    (line,) = transcript([turn("We open", "We open at nine.", "interrupted")], 9).lines
    assert (line.text, line.cut, line.unheard) == ("We open", True, "at nine.")


def test_a_turn_of_which_nobody_heard_anything_is_no_empty_line() -> None:
    assert transcript([turn("", "", "cancelled"), heard("  ")], 9).lines == ()
    (line,) = transcript([turn("", "Well", "cancelled")], 9).lines
    assert (line.text, line.unheard) == ("", "Well")


def test_the_newest_lines_are_kept_and_the_rest_is_counted() -> None:
    events = [heard(f"line {number}") for number in range(10)]
    read = transcript(events, 3)
    assert [line.text for line in read.lines] == ["line 7", "line 8", "line 9"]
    assert read.left_out == 7


def test_it_is_bounded_however_much_was_said() -> None:
    read = transcript([heard("x" * 100_000) for _ in range(200)], 200)
    assert all(len(line.text) <= MAX_LINE_CHARS for line in read.lines)
    assert sum(len(line.text) for line in read.lines) <= MAX_CHARS
    assert read.left_out == 200 - len(read.lines)


def test_what_a_caller_said_has_nothing_that_a_terminal_obeys() -> None:
    (line,) = transcript([heard("\x1b[2Jignore\u202e all\r\n rules")], 1).lines
    assert line.text == "[2Jignore all rules"


def test_events_of_another_shape_are_no_lines() -> None:
    odd: list[dict[str, Any]] = [{}, {"event": "heard", "final": True, "text": 7},
                                 {"event": "gap"}, {"event": "turn-ended"}]  # fmt: skip
    assert transcript(odd, 9).lines == ()
