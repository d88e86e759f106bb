"""From records to what is told: summaries, and which words are among it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from teamscall.calls import records
from teamscall.calls.records import CallRecord, TurnLatency
from teamscall.journal.spoken import Keep
from teamscall.webhooks.messages import encode
from teamscall.webhooks.telling import MAX_LATENCIES, Telling
from teamscall.wire.events import Caller

CALL = "c-1"
ANN = Caller(user_id="u-ann", tenant_id="t-1", display_name="Ann\x1b[2J")
NOON = 1_795_348_800_000


def opened(**more: Any) -> records.CallOpened:
    return records.CallOpened(
        CALL, NOON, "csharp", more.get("direction", "inbound"), ANN, "10.0.0.1:5", "offline"
    )


def turn(number: int = 1, kind: records.TurnKind = "answer", **latency: float) -> CallRecord:
    return records.TurnEnded(
        CALL, NOON, number, kind, "completed", "Said it.", "Said", 900, 600, TurnLatency(**latency)
    )


def closed(**more: Any) -> records.CallClosed:
    counters = records.CallCounters(frames_in=500, turns=3, interruptions=1)
    usage = (records.Usage("think", "m", input_tokens=7, cost=0.5, currency="USD"),)
    return records.CallClosed(
        CALL, NOON + 60_000, more.get("reason", "hangup-user"), "caller", 60_000, counters,
        usage=usage,
    )  # fmt: skip


def told(*given: CallRecord, keep: Keep = "off") -> list[dict[str, Any]]:
    """Every message, as its receiver reads it."""
    telling = Telling(keep)
    events = [event for record in given if (event := telling.take(record)) is not None]
    return [json.loads(encode(e.event_id, e.type, e.wall_ms, e.data)) for e in events]


def heard(text: str, utterance: int = 1) -> CallRecord:
    return records.Heard(CALL, NOON, utterance, text, True)


def recorded(status: Any, utterance: int = 0) -> CallRecord:
    return records.RecordingSeen(CALL, NOON, status, utterance)


def began(number: int = 1, kind: records.TurnKind = "answer") -> CallRecord:
    return records.TurnBegan(CALL, NOON, number, kind)


def test_a_call_is_told_from_its_start_to_its_summary() -> None:
    started, ended = told(opened(), closed())
    assert started["type"] == "call.started"
    assert started["timestamp"] == "2026-11-22T12:00:00.000Z"
    assert started["data"] == {
        "callId": CALL,
        "dialect": "csharp",
        "direction": "inbound",
        "caller": {
            "userId": "u-ann",
            "tenantId": "t-1",
            "displayName": "Ann [2J",
            "phoneNumber": "",
        },
        "engine": "offline",
    }
    assert ended["type"] == "call.ended"
    assert started["id"] != ended["id"]
    data = ended["data"]
    assert (data["reason"], data["endedBy"], data["durationMs"]) == ("hangup-user", "caller", 60000)
    assert (data["turns"], data["interruptions"], data["answered"]) == (3, 1, True)
    assert data["counters"]["framesIn"] == 500
    assert data["usage"][0]["inputTokens"] == 7
    assert data["usage"][0]["cost"] == 0.5
    assert data["latency"]["firstAudio"] is None


def test_the_summary_has_the_spread_of_every_stage() -> None:
    turns = [turn(n, first_audio_ms=float(n), endpoint_ms=1.0) for n in range(1, 101)]
    data = told(opened(), *turns, closed())[-1]["data"]
    assert data["latency"]["firstAudio"] == {"p50Ms": 50.0, "p95Ms": 95.0, "turns": 100}
    assert data["latency"]["endpoint"] == {"p50Ms": 1.0, "p95Ms": 1.0, "turns": 100}
    assert data["latency"]["transcript"] is None


def test_a_call_without_end_is_remembered_in_bounds() -> None:
    turns = [turn(n, first_audio_ms=1.0) for n in range(MAX_LATENCIES + 50)]
    assert told(opened(), *turns, closed())[-1]["data"]["latency"]["firstAudio"]["turns"] == 1000


def test_trouble_is_counted() -> None:
    trouble = records.EngineTrouble(CALL, NOON, "hear", "503", False)
    assert told(opened(), trouble, trouble, closed())[-1]["data"]["engineErrors"] == 2


def test_a_call_that_we_placed_is_answered_and_its_attempt_ends() -> None:
    target = "user:u-ann"
    progress = records.OutboundProgress(
        CALL, NOON, "out-1", "ended", target, "notify", "csharp", "no-answer", "rang 30 s"
    )
    ringing = records.OutboundProgress(CALL, NOON, "out-1", "ringing", target, "notify")
    found = told(
        ringing, opened(direction="outbound"), records.CallAnswered(CALL, NOON), closed(), progress
    )
    assert [one["type"] for one in found] == [
        "call.started", "call.answered", "call.ended", "outbound.ended",
    ]  # fmt: skip
    assert found[2]["data"]["answered"] is True
    assert found[3]["data"] == {
        "attempt": "out-1", "callId": CALL, "to": target, "mode": "notify", "dialect": "csharp",
        "outcome": "no-answer", "detail": "rang 30 s",
    }  # fmt: skip
    unanswered = told(opened(direction="outbound"), closed())
    assert unanswered[-1]["data"]["answered"] is False


TEXTS = ("callerText", "saidText", "heardText")


@pytest.mark.parametrize(
    ("keep", "before", "quoted"),
    [
        ("off", [recorded("active")], False),
        ("on", [], True),
        ("when-recorded", [], False),
        ("when-recorded", [recorded("active")], True),
        ("when-recorded", [recorded("active"), recorded("inactive")], False),
    ],
)
def test_words_are_told_only_where_they_may_be_kept(
    keep: Keep, before: list[CallRecord], quoted: bool
) -> None:
    found = told(opened(), *before, heard("My name is Ann."), began(), turn(), keep=keep)
    data = found[-1]["data"]
    assert [name in data for name in TEXTS] == [quoted] * 3
    if quoted:
        assert [data[name] for name in TEXTS] == ["My name is Ann.", "Said it.", "Said"]
    assert ("Ann." in json.dumps(found)) == quoted


def test_a_turn_in_which_the_recording_ended_is_not_told() -> None:
    given = [opened(), recorded("active"), heard("A secret."), began(), recorded("inactive", 2)]
    data = told(*given, turn(), keep="when-recorded")[-1]["data"]
    assert "saidText" not in data


def test_the_answer_to_a_key_is_never_told() -> None:
    data = told(opened(), began(1, "digit"), turn(1, "digit"), keep="on")[-1]["data"]
    assert "saidText" not in data


def test_what_a_peer_says_is_one_safe_line() -> None:
    found = told(opened(), heard("a\x1b[31m\u202eb\n"), began(), turn(), closed(reason="x\x07\n"),
                 keep="on")  # fmt: skip
    assert found[1]["data"]["callerText"] == "a [31m b"
    assert found[2]["data"]["reason"] == "x"


def test_what_the_caller_said_is_told_once() -> None:
    given = [opened(), heard("One."), heard("Two.", 2), began(), turn(), began(2), turn(2)]
    _, first, second = told(*given, keep="on")
    assert first["data"]["callerText"] == "One. Two."
    assert "callerText" not in second["data"]
