"""What a log says of a call, and what it never says."""

from __future__ import annotations

import logging

import pytest

from teamscall.calls import records
from teamscall.calls.narrate import narrate
from teamscall.wire.events import Caller

SECRET = "my PIN is four two"
CALLER = Caller("u\x1b[31m", "t", "Ann", phone_number="+15551234567")
LATENCY = records.TurnLatency(first_frame_ms=412.0)


@pytest.mark.parametrize(
    "record",
    [
        records.Heard("c", 0, 1, SECRET, True),
        records.Said("c", 0, 1, SECRET),
        records.Pressed("c", 0, SECRET),
        records.TurnBegan("c", 0, 1, "answer"),
        records.RecordingSeen("c", 0, "active", 1),
    ],
    ids=lambda record: type(record).__name__,
)
def test_speech_and_keys_have_no_line(record: records.CallRecord) -> None:
    assert narrate(record) is None


def test_a_turn_has_its_times_and_none_of_its_words() -> None:
    line = narrate(
        records.TurnEnded("c", 0, 3, "answer", "completed", SECRET, SECRET, 900, 900, LATENCY)
    )
    assert line is not None
    assert SECRET not in repr(line)
    assert line.fields["first_frame_ms"] == 412.0


def test_a_refusal_warns_and_the_peers_words_are_made_printable() -> None:
    line = narrate(
        records.Decided("c\n", 0, "csharp", False, "allowlist", "No", CALLER, "auth_request")
    )
    assert line is not None
    assert line.level == logging.WARNING
    assert line.fields["callId"] == "c"
    assert "\x1b" not in repr(line)
    assert line.fields["phone"] == "…567"
    assert line.fields["audit"] is True


def test_the_end_has_its_reason_and_its_counters() -> None:
    counters = records.CallCounters(frames_in=5, dropped_out=2)
    line = narrate(records.CallClosed("c", 0, "time-limit", "bridge", 61_000, counters))
    assert line is not None
    assert line.fields["reason"] == "time-limit"
    assert line.fields["seconds"] == 61.0
    assert (line.fields["frames_in"], line.fields["dropped_out"]) == (5, 2)


def test_every_other_record_has_a_line() -> None:
    for record in (
        records.CallOpened("c", 0, "csharp", "inbound", CALLER),
        records.GateChanged("c", 0, False, None),
        records.Interrupted("c", 0, 1, "caller", 300, 160.0),
        records.ParticipantsSeen("c", 0, 2),
        records.EngineTrouble("c", 0, "think", "503", True),
    ):
        assert narrate(record) is not None
