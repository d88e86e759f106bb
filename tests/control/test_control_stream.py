"""What is remembered, for whom, and how much of it."""

from __future__ import annotations

import asyncio
import json
import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teamscall.calls.records import (
    AudioLevels,
    CallClosed,
    CallCounters,
    CallRecord,
    Decided,
    Heard,
    OutboundProgress,
    Said,
)
from teamscall.clock import ManualClock
from teamscall.control.protocol import Subscribe
from teamscall.control.stream import QUEUE_EVENTS, Stream, Subscription
from teamscall.errors import ControlError
from teamscall.wire.events import Caller


def heard(number: int, call_id: str = "c1", text: str = "hello") -> Heard:
    return Heard(call_id, number, number, text, True)


def told(subscription: Subscription) -> list[dict[str, Any]]:
    """Everything that waits to be sent: each event with its cursor."""

    async def all_of_it() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        while True:
            try:
                async with asyncio.timeout(0):
                    message = await subscription.message()
            except TimeoutError:
                return found
            params = json.loads(message)["params"]
            found.append({"cursor": params["cursor"], **params["event"]})

    return asyncio.run(all_of_it())


def numbers(subscription: Subscription) -> list[int]:
    return [event["utterance"] for event in told(subscription) if event["event"] == "heard"]


def subscribe(stream: Stream, **wanted: Any) -> Subscription:
    return stream.subscribe(Subscribe(**wanted))[0]


def test_events_are_records_with_keys_in_camel_case() -> None:
    stream = Stream(ManualClock())
    watching = subscribe(stream)
    caller = Caller(display_name="Ann\x1b[2J\u202e", user_id="u")
    stream.record(Decided("c1", 5, "csharp", True, "open", "", caller, "auth_request"))
    (event,) = told(watching)
    assert event["event"] == "decided"
    assert event["caller"]["displayName"] == "Ann [2J "
    assert (event["callId"], event["wallMs"], event["cursor"]) == ("c1", 5, f"{stream.boot}:1")
    assert "type" not in event


def test_pieces_of_speech_can_be_put_together_again() -> None:
    stream = Stream(ManualClock())
    watching = subscribe(stream)
    for delta in ("Well,", " good", " day.\n", "So"):
        stream.record(Said("c1", 0, 1, delta))
    assert "".join(event["delta"] for event in told(watching)) == "Well, good day. So"


@given(st.text())
def test_no_text_can_break_an_event(text: str) -> None:
    stream = Stream(ManualClock())
    watching = subscribe(stream)
    stream.record(heard(1, text=text))
    (event,) = told(watching)
    assert len(event["text"]) == len(text)
    assert not {unicodedata.category(c) for c in event["text"]} & {"Cc", "Cf", "Cs", "Co", "Zl"}


def test_the_memory_is_bounded_by_number_and_by_size() -> None:
    few = Stream(ManualClock(), memory_events=10)
    small = Stream(ManualClock(), memory_bytes=20_000)
    for number in range(100):
        few.record(heard(number))
        small.record(heard(number, text="x" * 1000))
    assert numbers(subscribe(few, replay=1000)) == list(range(90, 100))
    remembered = numbers(subscribe(small, replay=1000))
    assert remembered == list(range(100 - len(remembered), 100))
    assert 5 < len(remembered) < 20


def test_a_cursor_goes_on_after_the_event_that_had_it() -> None:
    stream = Stream(ManualClock(), memory_events=10)
    for number in range(30):
        stream.record(heard(number))
    assert numbers(subscribe(stream, cursor=f"{stream.boot}:28")) == [28, 29]
    lost, answer = stream.subscribe(Subscribe(cursor=f"{stream.boot}:5"))
    assert answer.gap
    gap, *rest = told(lost)
    assert (gap["event"], gap["why"], len(rest)) == ("gap", "forgotten", 10)
    kept, answer = stream.subscribe(Subscribe(cursor=f"{stream.boot}:20"))
    assert (answer.gap, len(told(kept))) == (False, 10)
    other, answer = stream.subscribe(Subscribe(cursor="00000000:25"))
    assert answer.gap
    assert told(other)[0]["why"] == "restarted"


def test_the_last_ones_are_those_that_are_wanted() -> None:
    clock = ManualClock()
    stream = Stream(clock)
    now = clock.wall_ms()
    for number in range(10):
        stream.record(heard(now - 1000 + number * 100, call_id=f"c{number % 2}"))
    assert len(told(subscribe(stream, replay=3))) == 3
    last = subscribe(stream, replay=3, call_ids=("c1",))
    assert {event["callId"] for event in told(last)} == {"c1"}
    assert len(told(subscribe(stream, replay_ms=350))) == 3
    assert told(subscribe(stream)) == []


def test_a_call_that_is_placed_is_followed_from_its_attempt_to_its_end() -> None:
    stream = Stream(ManualClock())
    watching = subscribe(stream, call_ids=("out-1",))
    progress = ("out-1", "ringing", "user:u", "notify")
    stream.record(OutboundProgress("", 0, *progress))  # type: ignore[arg-type]
    stream.record(OutboundProgress("c9", 0, *progress))  # type: ignore[arg-type]
    stream.record(heard(1, call_id="c9"))
    stream.record(heard(1, call_id="c8"))
    stream.record(CallClosed("c9", 0, "hangup-user", "caller", 1, CallCounters()))
    names = [event["event"] for event in told(watching)]
    assert names == ["outbound-progress", "outbound-progress", "heard", "call-closed"]


def test_levels_are_measured_only_while_somebody_wants_them_and_never_remembered() -> None:
    measured: list[bool] = []
    stream = Stream(ManualClock(), measured.append)
    plain = subscribe(stream)
    first = subscribe(stream, events=("audio-levels",))
    second = subscribe(stream, events=("audio-levels", "heard"))
    level: CallRecord = AudioLevels("c1", 0, -30.0, -40.0)
    stream.record(level)
    assert [len(told(one)) for one in (plain, first, second)] == [0, 1, 1]
    stream.end(first)
    assert measured == [True]
    stream.end(second)
    stream.end(second)
    assert measured == [True, False]
    assert told(subscribe(stream, replay=100, events=("audio-levels",))) == []


def test_who_is_slow_loses_the_oldest_and_is_told_how_many() -> None:
    stream = Stream(ManualClock())
    slow = subscribe(stream)
    for number in range(QUEUE_EVENTS + 7):
        stream.record(heard(number))
    gap, first, *rest = told(slow)
    assert (gap["event"], gap["missed"], gap["why"]) == ("gap", 7, "slow")
    assert first["utterance"] == 7
    assert gap["cursor"] == f"{stream.boot}:7"  # what went before the gap is not asked for again
    assert len(rest) == QUEUE_EVENTS - 1


def test_an_event_is_encoded_for_all_and_only_when_somebody_sends_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from teamscall.control import stream as module

    encoded = 0
    real = module._safe

    def counted(value: Any) -> Any:
        nonlocal encoded
        encoded += isinstance(value, dict) and "event" in value
        return real(value)

    monkeypatch.setattr(module, "_safe", counted)
    stream = Stream(ManualClock())
    for number in range(100):
        stream.record(heard(number))
    watching = [subscribe(stream, replay=10) for _ in range(5)]
    assert encoded == 0
    assert all(len(told(one)) == 10 for one in watching)
    assert encoded == 10


@pytest.mark.parametrize("cursor", ["x", ":", "a:b", "a:-1", "a:١", f"a:{10**30}"])
def test_a_cursor_that_none_gave_is_refused(cursor: str) -> None:
    with pytest.raises(ControlError, match="cursor"):
        Stream(ManualClock()).subscribe(Subscribe(cursor=cursor))
