"""The pure pieces: rates, failed attempts, the outbox, the refusals' log, the watchdog."""

from __future__ import annotations

import logging
import time

from hypothesis import given
from hypothesis import strategies as st

from teamscall.server import limits
from teamscall.server.limits import FailedAttempts, TokenBucket
from teamscall.server.outbox import CALLS, FRAMES_PER_CALL, Outbox
from teamscall.server.refusals import LINES_PER_WINDOW, LINES_PER_WINDOW_TOTAL, TRACKED, Refusals
from teamscall.server.watchdog import Watchdog


@given(st.lists(st.tuples(st.floats(0, 5), st.integers(1, 20)), max_size=50))
def test_a_bucket_never_gives_more_than_burst_and_rate(steps: list[tuple[float, int]]) -> None:
    bucket, now, given_out = TokenBucket(10, 30, 0.0), 0.0, 0
    for wait, count in steps:
        now += wait
        given_out += count if bucket.take(now, count) else 0
        assert given_out <= 30 + 10 * now + 1e-6


def test_a_debt_is_paid_over_time() -> None:
    bucket = TokenBucket(10, 10, 0.0)
    assert not bucket.spend(0.0, 30)
    assert bucket.empty(1.0)
    assert not bucket.empty(2.0)


def test_failures_slide_out_of_the_window() -> None:
    attempts = FailedAttempts(2, 60)
    assert [attempts.fail("a", t) for t in (0, 10, 20)] == [0, 0, 40]
    assert attempts.fail("b", 20) == 0
    assert attempts.fail("a", 61) == 9  # the first has slid out, two are left
    attempts.prune(200)
    assert len(attempts) == 0


def test_an_ipv6_network_counts_as_one_host() -> None:
    attempts = FailedAttempts(1, 60)
    assert attempts.fail("2001:db8::1", 0) == 0
    assert attempts.fail("2001:db8::2%eth0", 0) == 60
    assert attempts.fail("2001:db8:0:1::1", 0) == 0


def test_the_table_of_failures_is_bounded() -> None:
    attempts = FailedAttempts(1, 60)
    for number in range(limits.TRACKED_ADDRESSES + 100):
        attempts.fail(str(number), 0)
    assert len(attempts) == limits.TRACKED_ADDRESSES


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["push", "pop", "flush"]))))
def test_the_outbox_keeps_each_calls_order(steps: list[tuple[str, str]]) -> None:
    outbox, model, number = Outbox(), {"a": [], "b": [], "c": []}, 0  # type: ignore[var-annotated]
    for call_id, step in steps:
        if step == "push":
            frame = f"{call_id}{number}".encode()
            number += 1
            outbox.push(call_id, frame)
            model[call_id] = (model[call_id] + [frame])[-FRAMES_PER_CALL:]
        elif step == "flush":
            assert outbox.flush(call_id) == len(model[call_id])
            model[call_id] = []
        elif outbox:
            frame = outbox.pop()
            assert model[frame.decode()[0]].pop(0) == frame
        assert len(outbox) == sum(map(len, model.values()))
        assert bool(outbox) == bool(len(outbox))


def test_the_outbox_is_bounded_and_counts() -> None:
    outbox = Outbox()
    for number in range(FRAMES_PER_CALL + 3):
        outbox.push("a", str(number).encode())
    assert (len(outbox), outbox.dropped) == (FRAMES_PER_CALL, 3)
    for number in range(CALLS + 5):
        outbox.push(f"call {number}", b"x")
    assert outbox.dropped == 9
    outbox.clear()
    assert outbox.dropped == 9 + FRAMES_PER_CALL + CALLS - 1


def test_calls_take_turns() -> None:
    outbox = Outbox()
    for frame in (b"a1", b"a2", b"b1", b"b2"):
        outbox.push(frame.decode()[0], frame)
    assert [outbox.pop() for _ in range(4)] == [b"a1", b"b1", b"a2", b"b2"]


def test_refusals_from_many_addresses_are_bounded(log: list[logging.LogRecord]) -> None:
    refusals = Refusals(logging.getLogger("teamscall.server"))
    for number in range(5000):
        refusals.note("replayed", f"10.0.{number // 250}.{number % 250}:1", 0.0)
    assert len(log) == LINES_PER_WINDOW_TOTAL
    refusals.tick(100.0)
    assert sum(getattr(record, "count", 0) for record in log) == 5000 - LINES_PER_WINDOW_TOTAL
    assert refusals.counts["replayed"] == 5000
    assert TRACKED < 5000


def test_refusals_are_logged_again_in_the_next_window(log: list[logging.LogRecord]) -> None:
    refusals = Refusals(logging.getLogger("teamscall.server"))
    for now in (0.0, 20.0):
        for _ in range(LINES_PER_WINDOW + 2):
            refusals.note("replayed", "[::1]:5", now, call_id="a\x1b[31m")
    assert [record.msg for record in log].count("Refused") == 2 * LINES_PER_WINDOW
    assert {getattr(record, "callId", "a [31m") for record in log} == {"a [31m"}


def test_the_watchdog_reports_a_blocked_loop_with_its_stack(log: list[logging.LogRecord]) -> None:
    watchdog = Watchdog(logging.getLogger("teamscall.server"), beat_s=0.02, threshold_s=0.1)
    watchdog.start()
    watchdog.beat()
    for _ in range(3):  # the thread itself may have been late once on a busy machine
        the_culprit()
        watchdog.beat()
    watchdog.stop()
    assert watchdog.stalls == 3
    assert watchdog.longest_s >= 0.5
    assert [record.msg for record in log].count("The event loop was blocked") == 1
    stacks = [getattr(record, "stack", "") for record in log if "here" in record.msg]
    assert stacks
    assert "the_culprit" in stacks[0]


def the_culprit() -> None:
    time.sleep(0.6)


def test_a_loop_that_beats_is_left_alone(log: list[logging.LogRecord]) -> None:
    watchdog = Watchdog(logging.getLogger("teamscall.server"), beat_s=0.02, threshold_s=5.0)
    watchdog.start()
    for _ in range(5):
        time.sleep(0.02)
        watchdog.beat()
    watchdog.stop()
    assert (watchdog.stalls, log) == (0, [])


def test_failed_attempts_are_counted_on_when_the_limit_changes() -> None:
    attempts = FailedAttempts(1, 60)
    assert attempts.fail("a", 0.0) == 0
    assert attempts.fail("a", 1.0) == 59
    attempts.resize(3, 60)
    assert [attempts.fail("a", now) for now in (2.0, 3.0)] == [0, 57]
    attempts.resize(1, 10)
    assert attempts.fail("a", 14.0) == 0
    assert attempts.fail("a", 15.0) == 9
