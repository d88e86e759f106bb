"""Expectations: the file, and whether they hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from replay_rig import CALL, conversation

from teamscall.calls import records
from teamscall.calls.records import CallClosed, CallCounters, TurnEnded, TurnLatency
from teamscall.capture.expect import (
    Expectation,
    Facts,
    Range,
    broken,
    checked,
    facts,
    read_expectations,
)
from teamscall.errors import InputError
from teamscall.wire import events as wire

WALL = 1_700_000_000_000
FACTS = Facts(
    heard=("What's the time?", "And the date, please?"),
    said=("It is noon.", "It is Monday."),
    latencies_ms=(800.0, 1200.0),
    late_audio=(),
    turns=2,
    interruptions=1,
    end_reason="ended",
    ended_by="caller",
)


def began(turn: int) -> records.TurnBegan:
    return records.TurnBegan(CALL, WALL, turn, "answer")


def ended(turn: int, **changes: Any) -> TurnEnded:
    latency = TurnLatency(first_frame_ms=changes.pop("ms", None))
    kind = changes.pop("kind", "answer")
    return TurnEnded(CALL, WALL, turn, kind, "completed", "Noon.", "", 0, 0, latency)


def frame(seq: int) -> wire.AudioOut:
    return wire.AudioOut(CALL, seq, bytes(640))


def flush(turn: int) -> wire.Flush:
    return wire.Flush(CALL, turn, WALL)


def of(*commands: Any, **options: Any) -> Facts:
    return facts(((index * 0.1, command) for index, command in enumerate(commands)), **options)


# --- facts ----------------------------------------------------------------------------


def test_the_facts_of_a_call() -> None:
    call = conversation()
    found = of(*call.commands)
    assert found.heard == ("What time is it?", "And the date?")
    assert found.said == ("one two three four", "It is Monday.")
    assert len(found.latencies_ms) == 2
    assert (found.turns, found.interruptions, found.late_audio) == (2, 1, ())
    assert (found.end_reason, found.ended_by) == ("ended", "caller")


def test_only_answers_have_a_latency() -> None:
    assert of(ended(1, ms=10.0, kind="greeting"), ended(2, ms=20.0)).latencies_ms == (20.0,)


def test_a_frame_of_what_was_flushed_is_late() -> None:
    found = of(began(1), frame(0), flush(1), frame(1), frame(2))
    assert [late.turn for late in found.late_audio] == [1, 1]
    assert [late.at_s for late in found.late_audio] == pytest.approx([0.3, 0.4])


@pytest.mark.parametrize(
    "commands",
    [
        (began(1), frame(0), flush(1), began(2), frame(1)),
        (began(1), frame(0), flush(1), records.CarriedOn(CALL, WALL, 1, "noise", 9.0), frame(1)),
        (began(1), frame(0), frame(1), flush(1), frame(1)),  # sent again after a resume
    ],
)
def test_audio_that_may_follow_a_flush(commands: tuple[Any, ...]) -> None:
    assert of(*commands).late_audio == ()


def test_an_engine_that_streams_has_no_turns_to_flush() -> None:
    assert of(flush(1), frame(0), streams=True).late_audio == ()
    assert len(of(flush(1), frame(0)).late_audio) == 1


def test_a_call_that_has_not_ended() -> None:
    assert of(began(1)).end_reason is None
    closed = CallClosed(CALL, WALL, "ended", "caller", 10, CallCounters())
    assert of(closed).ended_by == "caller"


# --- do they hold ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "wanted",
    [
        Expectation(),
        Expectation(heard=("what’s the TIME", "date please")),
        Expectation(said=("monday",), not_said=("tuesday",), not_heard=("it is noon",)),
        Expectation(latency_under_ms=1200.1, no_audio_after_flush=True),
        Expectation(end_reason="ended", ended_by="caller"),
        Expectation(turns=Range(2, 2), interruptions=Range(1, None)),
        Expectation(turns=Range(None, 2)),
    ],
)
def test_what_holds(wanted: Expectation) -> None:
    assert broken(wanted, FACTS) == ()


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        ({"heard": ("the day",)}, 'heard: "the day" was not heard; heard: "What\'s the time?", '),
        ({"heard": ("time and",)}, 'heard: "time and" was not heard'),
        ({"not_said": ("monday",)}, 'not_said: "monday" was said: "It is Monday."'),
        (
            {"latency_under_ms": 1200.0},
            "latency_under_ms: 1 of 2 answers took 1200 ms or more, the slowest 1200 ms",
        ),
        ({"end_reason": "idle-timeout"}, 'end_reason: expected "idle-timeout", it was "ended"'),
        ({"ended_by": "bot"}, 'ended_by: expected "bot", it was "caller"'),
        ({"turns": Range(3, 3)}, "turns: expected 3, there were 2"),
        ({"turns": Range(3, None)}, "turns: expected at least 3, there were 2"),
        ({"interruptions": Range(None, 0)}, "interruptions: expected at most 0, there were 1"),
        ({"interruptions": Range(2, 4)}, "interruptions: expected 2 to 4, there were 1"),
    ],
)
def test_what_does_not_hold_says_why(wanted: dict[str, Any], says: str) -> None:
    (found,) = broken(Expectation(**wanted), FACTS)
    assert f"{found.key}: {found.why}".startswith(says)


def test_never_measured_is_a_failure_not_a_zero() -> None:
    silent = of(began(1))
    (found,) = broken(Expectation(latency_under_ms=1000.0), silent)
    assert found.why == "no answer had a latency that could be measured"
    (found,) = broken(Expectation(heard=("hello",)), silent)
    assert found.why == '"hello" was not heard; nothing was heard'
    (found,) = broken(Expectation(end_reason="ended"), silent)
    assert found.why == 'expected "ended", the call has not ended'


def test_late_audio_says_how_much_and_when() -> None:
    found = of(began(1), flush(1), frame(0), frame(1))
    (one,) = broken(Expectation(no_audio_after_flush=True), found)
    assert one.why == "2 frames were sent of turn 1 after its flush, the first at 0.200 s"


# --- the file -------------------------------------------------------------------------


def test_a_table_replaces_what_is_at_the_top_for_the_captures_that_it_names() -> None:
    found = checked(
        {
            "turns": 1,
            "heard": "hello",
            "capture": {"barge*": {"turns": {"at_least": 2}}, "barge-in": {"ended_by": "bot"}},
        }
    )
    assert found.of("echo") == Expectation(turns=Range(1, 1), heard=("hello",))
    assert found.of("barge-in") == Expectation(
        turns=Range(2, None), heard=("hello",), ended_by="bot"
    )
    assert found.unused(["barge-out", "echo"]) == ("barge-in",)


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({}, "nothing is asked for; there are heard, "),
        ({"herd": ["a"]}, "herd is unknown; did you mean heard?"),
        ({"xyz": 1}, "xyz is unknown; there are heard, not_heard, "),
        ({"heard": [1]}, "heard is to be a text or a list of texts"),
        ({"heard": ["?!"]}, "heard has a text without a word in it"),
        ({"latency_under_ms": True}, "latency_under_ms is to be a number of milliseconds above 0"),
        ({"latency_under_ms": float("nan")}, "latency_under_ms is to be a number"),
        ({"latency_under_ms": float("inf")}, "latency_under_ms is to be a number"),
        ({"latency_under_ms": 0}, "latency_under_ms is to be a number"),
        ({"no_audio_after_flush": 1}, "no_audio_after_flush is to be true or false"),
        ({"end_reason": ""}, "end_reason is to be a text"),
        ({"ended_by": "me"}, "ended_by is to be one of caller, bot, "),
        ({"turns": -1}, "turns is to be a number from 0, or { at_least"),
        ({"turns": {"atLeast": 1}}, "turns is to be a number from 0"),
        ({"turns": {"at_least": 3, "at_most": 2}}, "turns asks for at least 3 and at most 2"),
        ({"capture": 1}, "capture is a table for each capture"),
        ({"capture": {"a": 1}}, "capture.a is to be a table"),
        ({"capture": {"a": {"said": 1}}}, "capture.a.said is to be a text"),
    ],
)
def test_what_is_wrong_in_a_file_is_said(table: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011
        checked(table)
    assert str(error.value).startswith(says)


def test_every_mistake_is_named_at_once(tmp_path: Path) -> None:
    path = tmp_path / "e.toml"
    path.write_text('turns = "x"\n[capture."\\u001bab"]\nsaid = []\nsaaid = "x"\n')
    with pytest.raises(InputError) as error:
        read_expectations(path)
    assert "turns is to be" in error.value.message
    assert "saaid is unknown; did you mean said?" in error.value.message
    assert error.value.message.isprintable()


@pytest.mark.parametrize(
    ("data", "says"),
    [(b"turns = ", "is no TOML"), (b"\xff", "is not UTF-8"), (b"a" * 1_000_001, "larger than")],
)
def test_what_is_no_file_of_expectations(tmp_path: Path, data: bytes, says: str) -> None:
    path = tmp_path / "e.toml"
    path.write_bytes(data)
    with pytest.raises(InputError, match=says):
        read_expectations(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_expectations(tmp_path / "none.toml")
