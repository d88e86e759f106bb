"""How a difference is put into words."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from teamscall.capture import diff
from teamscall.capture.diff import Difference, Moment
from teamscall.text import harmless


def did(name: str, at_s: float = 1.0, **fields: Any) -> Moment:
    return Moment(at_s, "did", name, json.dumps(fields).encode())


def event(name: str, at_s: float = 1.0) -> Moment:
    return Moment(at_s, "given", name)


def changed(expected: Moment | None, came: Moment | None, **changes: Any) -> Difference:
    both = expected is not None and came is not None
    alike = expected is not None and came is not None and expected.name == came.name
    facts: dict[str, Any] = {
        "kind": "changed" if both else "missing" if expected else "extra",
        "at_s": 1.0,
        "step": 7,
        "turn": 2,
        "expected": expected,
        "came": came,
        "fields": diff.fields_that_differ(expected, came) if alike and expected and came else (),
        "shifted_s": None,
        "around": (event("TimePassed"),),
        "here": 0,
    }
    return Difference(**facts | changes)


def test_the_place_is_seconds_step_and_turn() -> None:
    assert diff.place(changed(did("A"), None)) == "1.000 s, step 7, turn 2"
    assert diff.place(changed(did("A"), None, turn=None)) == "1.000 s, step 7"


def test_only_the_fields_that_differ_are_shown() -> None:
    old = did("TurnEnded", turn=2, status="completed", latency={"first_frame_ms": 810.0})
    new = did("TurnEnded", turn=2, status="completed", latency={"first_frame_ms": 920.0})
    found = changed(old, new)
    assert diff.describe(found) == "turn-ended has another latency.first_frame_ms"
    assert diff.lines(found)[2:] == [
        "-     1.000      turn-ended latency.first_frame_ms=810.0",
        "+     1.000      turn-ended latency.first_frame_ms=920.0",
    ]


def test_a_field_that_is_gone_and_a_new_one_are_shown_on_their_side() -> None:
    found = changed(did("A", old=1), did("A", new=2))
    assert diff.lines(found)[2:] == ["-     1.000      a old=1", "+     1.000      a new=2"]


def test_what_did_not_come_says_when_it_came() -> None:
    missing = changed(did("CommitUtterance", utterance=1), None, shifted_s=0.2)
    said = "commit-utterance did not come here; it came 200 ms later"
    assert diff.describe(missing) == said
    extra = changed(None, did("CommitUtterance", utterance=1), shifted_s=-0.2)
    assert diff.describe(extra) == (
        "commit-utterance was not expected here; it was expected 200 ms earlier"
    )
    order = changed(did("A"), None, shifted_s=0.0)
    assert diff.describe(order) == "a did not come here; it came in another order"
    assert diff.describe(changed(did("A"), None)) == "a did not come here"


def test_something_else_in_its_place() -> None:
    found = changed(did("Heard", text="a"), did("Interrupted", turn=1))
    assert diff.describe(found) == "interrupted came instead of heard"
    assert diff.lines(found)[2:] == [
        '-     1.000      heard text="a"',
        "+     1.000      interrupted turn=1",
    ]


def test_long_values_are_shortened_and_stay_different() -> None:
    found = changed(did("Said", delta="a" * 900 + "b"), did("Said", delta="a" * 900 + "c"))
    minus, plus = diff.lines(found)[2:]
    assert len(minus) < 110
    assert minus[1:] != plus[1:]
    assert "903 characters" in minus


def test_bytes_that_are_no_object_are_shown_as_bytes() -> None:
    found = changed(Moment(1.0, "sent", "AudioOut", b"\x00\xff" * 40), None)
    assert (
        diff.lines(found)[2]
        == "-     1.000   => audio-out on the wire 0x00ff00ff00ff00ff00ff00ff… (80 bytes)"
    )


def test_five_events_around_it_and_dull_ones_in_a_row_count_as_one() -> None:
    names = ["Start", *["AudioIn", "TimePassed"] * 50, "Transcript", "AnswerText", "AudioIn"]
    names += ["AnswerDone", "DigitPressed", "CallEnded"]
    events = [event(name, index / 100) for index, name in enumerate(names)]
    around, here = diff.around(events, names.index("AnswerText"))
    assert [moment.name for moment in around] == [
        "TimePassed",
        "Transcript",
        "AnswerText",
        "AudioIn",
        "AnswerDone",
    ]
    assert (here, around[0].times) == (2, 100)
    lines = diff.lines(changed(did("A"), None, around=around, here=here))
    assert lines[1] == "      1.000   -> time-passed (the last of 100)"
    assert lines[3].startswith("      1.020   -> answer-text")
    assert lines[4].startswith("- ")
    assert len(lines) == 8


def test_at_the_ends_of_a_call_there_is_less_around() -> None:
    events = [event("Start"), event("CallEnded")]
    assert diff.around(events, 0) == (tuple(events), 0)
    assert diff.around(events, 1) == (tuple(events), 1)


def test_decisions_are_the_same_apart_from_clocks() -> None:
    old, new = did("Heard", wall_ms=1, text="a"), did("Heard", wall_ms=2, text="a")
    assert diff.same_apart_from_clocks(old, new)
    assert not diff.same_apart_from_clocks(old, did("Heard", wall_ms=2, text="b"))
    assert not diff.same_apart_from_clocks(old, did("Said", wall_ms=1, text="a"))
    slow, slower = did("A", latency={"x_ms": 10.0}), did("A", latency={"x_ms": 40.0})
    assert not diff.same_apart_from_clocks(slow, slower)
    assert diff.same_apart_from_clocks(slow, slower, 0.05)
    assert not diff.same_apart_from_clocks(slow, slower, 0.02)
    assert not diff.same_apart_from_clocks(did("A", x_ms=None), did("A", x_ms=1.0), 0.05)


@given(st.binary(max_size=300), st.binary(max_size=300), st.text(max_size=50))
def test_whatever_came_every_line_is_one_safe_line(old: bytes, new: bytes, name: str) -> None:
    expected, came = Moment(1.0, "sent", name, old), Moment(1.0, "sent", name, new)
    for found in (changed(expected, came), changed(None, came), changed(expected, None)):
        for line in diff.lines(found):
            assert harmless(line, 1000) == line
            assert len(line) <= 160


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=20,
    )
)
def test_any_fields_can_be_shown(value: Any) -> None:
    moment = did("Heard", value=value)
    line, _ = diff.lines(changed(moment, None))[2:]
    assert harmless(line, 1000) == line
    assert diff.fields_that_differ(moment, moment) == ()
