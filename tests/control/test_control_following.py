"""What became of a call, from the events that tell of it."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teamscall.calls.records import CallMode
from teamscall.control.following import EVENTS, OUTCOME_EXIT, STATES, Following
from teamscall.errors import ExitCode

OURS, CALL = "out-1", "call-1"


def progress(state: str, wall_ms: int = 0, **more: Any) -> dict[str, Any]:
    return {"event": "outbound-progress", "attempt": OURS, "callId": CALL, "state": state,
            "wallMs": wall_ms, **more}  # fmt: skip


def of_call(name: str, wall_ms: int = 0, **more: Any) -> dict[str, Any]:
    return {"event": name, "callId": CALL, "wallMs": wall_ms, **more}


def following(mode: CallMode = "conversation", *, message: bool = True) -> Following:
    return Following(OURS, "", "user:ann", mode, message=message)


def told(followed: Following, *events: dict[str, Any]) -> Following:
    for event in events:
        followed.on(event)
    return followed


def test_a_call_that_is_answered_talks_and_ends_in_order() -> None:
    followed = following()
    seen = []
    for event in (
        progress("waiting", 1),
        progress("ringing", 2),
        progress("answered", 1000),
        of_call("call-answered", 1001),
        of_call("turn-began", 1100),
        of_call("call-closed", 6000, reason="hangup-user", endedBy="caller", durationMs=5900),
        progress("ended", 6001, outcome="answered"),
    ):
        followed.on(event)
        seen.append(followed.picture.state)
    assert seen == ["waiting", "ringing", "answered", "answered", "talking", "talking", "ended"]
    picture = followed.picture
    assert picture.call_id == CALL
    assert (picture.outcome, picture.reason, picture.ended_by) == (
        "answered",
        "hangup-user",
        "caller",
    )
    assert picture.duration_ms == 5000
    assert picture.exit_code is ExitCode.OK


@pytest.mark.parametrize(
    ("outcome", "code"),
    [("no-answer", 7), ("busy", 8), ("declined", 9), ("refused", 5), ("failed", 1),
     ("cancelled", 1)],
)  # fmt: skip
def test_each_outcome_has_its_exit_code(outcome: str, code: int) -> None:
    followed = told(following(), progress("ringing"), progress("ended", outcome=outcome))
    assert followed.picture.over
    assert followed.picture.exit_code == code


def test_every_outcome_that_there_is_has_an_exit_code() -> None:
    from typing import get_args

    from teamscall.calls.records import OutboundOutcome

    assert set(OUTCOME_EXIT) == set(get_args(OutboundOutcome))


def test_the_two_records_of_the_end_may_come_in_any_order() -> None:
    ends = [
        of_call("call-closed", 2000, reason="hangup-bot", endedBy="bot", durationMs=900),
        progress("ended", 2000, outcome="answered"),
    ]
    for one, other in itertools.permutations(ends):
        followed = told(following(), progress("answered", 1000), one)
        assert (followed.settling, followed.picture.over) == (True, False)
        followed.on(other)
        assert (followed.settling, followed.picture.over) == (False, True)
        assert followed.picture.reason == "hangup-bot"


def test_the_end_is_settled_when_the_other_record_never_comes() -> None:
    closed = of_call("call-closed", 2000, reason="error", endedBy="bridge", durationMs=1)
    followed = told(following(), progress("answered", 1000), closed)
    assert followed.settle()
    assert followed.picture.over
    assert followed.picture.outcome == "answered"
    assert followed.picture.exit_code is ExitCode.FAILED
    assert not followed.settle()


def test_a_leg_that_goes_unanswered_says_later_what_came_of_it() -> None:
    followed = told(following(), progress("ringing"), of_call("call-closed", reason="hangup"))
    assert (followed.settling, followed.picture.over) == (False, False)
    followed.on(progress("ended", outcome="declined"))
    assert followed.picture.exit_code is ExitCode.DECLINED


def test_a_gateway_that_never_came_is_told_apart_from_a_failure() -> None:
    failed = progress("ended", outcome="failed", detail="No C# gateway connected within 30 s.")
    assert told(following(), progress("waiting"), failed).picture.exit_code == 4
    assert told(following(), progress("ringing"), failed).picture.exit_code == 1


@pytest.mark.parametrize("reason", ["error", "agent-unavailable", "connection-lost", "interrupted"])
def test_a_conversation_that_an_error_ended_failed(reason: str) -> None:
    followed = told(
        following(),
        progress("answered", 1),
        of_call("call-closed", 2, reason=reason),
        progress("ended", outcome="answered"),
    )
    assert followed.picture.exit_code is ExitCode.FAILED


@pytest.mark.parametrize(("status", "code"), [("completed", 0), ("interrupted", 1), ("failed", 1)])
def test_a_notification_succeeds_when_its_message_was_heard(status: str, code: int) -> None:
    followed = told(
        following("notify"),
        progress("answered", 1),
        of_call("turn-began", 2, kind="greeting"),
        of_call("turn-ended", 3, kind="greeting", status=status),
        of_call("call-closed", 4, reason="hangup-bot"),
        progress("ended", outcome="answered"),
    )
    assert followed.picture.exit_code == code


def test_a_notification_without_a_message_has_nothing_to_be_heard() -> None:
    ended = (of_call("call-closed", reason="hangup-bot"), progress("ended", outcome="answered"))
    followed = told(following("notify", message=False), progress("answered", 1), *ended)
    assert followed.picture.heard is None
    assert followed.picture.exit_code is ExitCode.OK


def test_other_calls_change_nothing() -> None:
    followed = told(following(), progress("ringing"))
    before = followed.picture
    for name in EVENTS:
        other = {"event": name, "callId": "another", "attempt": "out-2", "wallMs": 9,
                 "state": "ended", "outcome": "busy"}  # fmt: skip
        assert not followed.on(other)
    assert followed.picture == before


def test_what_the_far_side_says_is_made_printable() -> None:
    followed = told(following(), progress("ended", outcome="failed", detail="\x1b[2Jgone\r\n"))
    assert followed.picture.detail == "[2Jgone"


EVENT = st.fixed_dictionaries(
    {"event": st.sampled_from((*EVENTS, "gap"))},
    optional={
        "callId": st.sampled_from(("", CALL, "another")) | st.none(),
        "attempt": st.sampled_from((OURS, "out-2", "")),
        "state": st.sampled_from((*STATES, "nonsense")) | st.none() | st.integers(),
        "outcome": st.sampled_from((*OUTCOME_EXIT, "nonsense")) | st.none(),
        "wallMs": st.integers() | st.text() | st.none() | st.booleans(),
        "durationMs": st.integers() | st.floats(allow_nan=False, allow_infinity=False),
        "reason": st.text() | st.none(),
        "detail": st.text() | st.none(),
        "status": st.sampled_from(("completed", "interrupted")),
        "kind": st.sampled_from(("greeting", "answer")),
    },
)


@given(st.lists(EVENT, max_size=20))
def test_no_order_of_events_leads_backwards_or_breaks(events: list[dict[str, Any]]) -> None:
    followed = following("notify")
    last = 0
    for event in events:
        followed.on(event)
        now = STATES.index(followed.picture.state)
        assert now >= last
        last = now
    followed.settle()
    assert followed.picture.exit_code in ExitCode
    assert not followed.settling
