"""The pacer's shelf: an interrupted turn that goes on where it stopped."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from teamscall.audio.ledger import FADE_SAMPLES
from teamscall.audio.pacer import JITTER_US, OutFrame, Pacer, Played
from teamscall.wire.events import FRAME_BYTES

FADE_BYTES = 2 * FADE_SAMPLES


def tone_ms(ms: int, value: int = 1000) -> bytes:
    return np.full(16 * ms, value, "<i2").tobytes()


def play_out(pacer: Pacer, now: float) -> list[OutFrame]:
    left: list[OutFrame] = []
    while True:
        left += pacer.due(now)
        deadline = pacer.next_deadline()
        if deadline is None:
            return left
        now = max(now, deadline)


def interrupted(lead_ms: int = 60) -> Pacer:
    """Turn 1 has 200 ms, 60 were sent, one frame was heard, and it is on the shelf."""
    pacer = Pacer(lead_ms)
    pacer.push(1, tone_ms(200), "Ten little words are said here.")
    pacer.due(0.0)
    pacer.flush(0.03, keep=1)
    return pacer


class TestShelf:
    def test_it_goes_on_with_the_first_frame_not_heard_to_its_end(self) -> None:
        pacer = interrupted()
        assert pacer.unshelve(0.5)
        pacer.finish(1)
        frames = play_out(pacer, 0.5)
        assert [(frame.turn, frame.index) for frame in frames] == [(1, n) for n in range(1, 10)]

    def test_nothing_leaves_while_it_is_there(self) -> None:
        pacer = interrupted()
        assert pacer.shelved == 1
        assert pacer.due(1.0) == []
        assert pacer.next_deadline() is None
        assert pacer.speaking(1.0) is None
        assert pacer.done(1.0) == []
        assert pacer.backlog_ms == 0

    def test_the_ledger_goes_on_and_counts_what_is_sent_again_once(self) -> None:
        pacer = interrupted()
        before = Played(1, 60, 20, "", "Ten little words are said here.")
        assert pacer.played(1, 9.0) == before
        pacer.unshelve(9.0)
        assert pacer.played(1, 9.0) == before
        pacer.due(9.0)
        assert pacer.played(1, 9.0).sent_ms == 80
        pacer.finish(1)
        play_out(pacer, 9.0)
        assert pacer.done(10.0) == [Played(1, 200, 200, before.said_text, before.said_text)]

    def test_the_flush_reports_its_line_with_the_others(self) -> None:
        pacer = Pacer(60)
        for turn in (1, 2):
            pacer.push(turn, tone_ms(40))
            pacer.finish(turn)
        pacer.due(0.0)
        assert pacer.flush(0.02, keep=1) == [Played(1, 40, 20), Played(2, 20, 0)]
        assert pacer.epoch == 1

    def test_the_first_5_ms_rise_and_nothing_else_changes(self) -> None:
        pacer = interrupted()
        pacer.unshelve(0.5)
        first, *others = pacer.due(0.5)
        samples = np.frombuffer(first.pcm, "<i2")
        assert FADE_SAMPLES == 80
        assert samples[0] < 5
        assert np.all(np.diff(samples[:80]) >= 0)
        assert np.all(samples[80:] == 1000)
        assert {frame.pcm for frame in others} == {tone_ms(20)}

    def test_a_turn_of_which_nothing_was_heard_begins_as_it_is(self) -> None:
        pacer = Pacer(60)
        pacer.push(1, tone_ms(100))
        pacer.due(0.0)
        pacer.flush(0.01, keep=1)
        pacer.unshelve(0.2)
        assert [(frame.index, frame.pcm) for frame in pacer.due(0.2)] == [
            (n, tone_ms(20)) for n in range(3)
        ]

    def test_it_takes_audio_and_its_end_while_it_is_there(self) -> None:
        pacer = interrupted()
        pacer.push(1, tone_ms(100), "More.", epoch=0)  # made before the flush
        pacer.push(1, tone_ms(20), epoch=1)
        pacer.finish(1)
        pacer.push(1, tone_ms(20))
        assert pacer.stale_pushes == 1
        pacer.unshelve(1.0)
        assert pacer.backlog_ms == 300
        assert len(play_out(pacer, 1.0)) == 15
        assert pacer.done(9.0)[0].heard_text == "Ten little words are said here. More."

    def test_it_takes_audio_of_its_first_epoch_once_it_is_back(self) -> None:
        pacer = interrupted()
        pacer.unshelve(1.0)
        pacer.push(1, tone_ms(20), epoch=0)
        pacer.push(2, tone_ms(20), epoch=0)
        assert pacer.stale_pushes == 1
        assert pacer.backlog_ms == 200

    def test_other_turns_may_play_meanwhile_and_it_goes_on_after_them(self) -> None:
        pacer = interrupted()
        for turn in (2, 3):
            pacer.push(turn, tone_ms(100))
            pacer.finish(turn)
        frames = pacer.due(1.0)
        pacer.unshelve(1.01)
        pacer.finish(1)
        frames += play_out(pacer, 1.01)
        assert [frame.turn for frame in frames] == [2] * 5 + [1] * 9 + [3] * 5
        assert [line.turn for line in pacer.done(9.0)] == [2, 1, 3]
        assert pacer.underruns == 0

    def test_the_gap_is_no_underrun(self) -> None:
        pacer = interrupted()
        pacer.unshelve(5.0)
        assert len(pacer.due(5.0)) == 3
        assert pacer.underruns == 0

    def test_an_odd_byte_at_its_end_is_dropped(self) -> None:
        pacer = Pacer(60)
        pacer.push(1, tone_ms(20) + b"\1")
        pacer.due(0.0)
        pacer.flush(0.0, keep=1)
        pacer.finish(1)
        pacer.unshelve(0.0)
        assert pacer.backlog_ms == 20
        assert len(play_out(pacer, 0.0)) == 1
        assert pacer.backlog_ms == 0

    @pytest.mark.parametrize("end", ["discard", "flush", "keep another", "drop"])
    def test_what_ends_it(self, end: str) -> None:
        pacer = interrupted()
        if end == "discard":
            assert pacer.discard_shelf() == pacer.played(1, 1.0)
        elif end == "flush":
            assert pacer.flush(1.0) == []
        elif end == "keep another":
            pacer.push(2, tone_ms(100))
            pacer.flush(1.0, keep=2)
        else:
            pacer.drop(1)
        assert pacer.shelved == (2 if end == "keep another" else None)
        assert pacer.unshelve(1.0) is (end == "keep another")
        assert (pacer.played(1, 9.0).sent_ms, pacer.played(1, 9.0).heard_ms) == (60, 20)
        pacer.push(1, tone_ms(20))
        assert pacer.stale_pushes == 1

    def test_it_may_be_kept_again_while_it_is_there_and_after(self) -> None:
        pacer = interrupted()
        pacer.push(2, tone_ms(100))
        assert [line.turn for line in pacer.flush(0.5, keep=1)] == [2]
        pacer.unshelve(1.0)
        pacer.due(1.0)
        (line,) = pacer.flush(1.02, keep=1)
        assert (line.sent_ms, line.heard_ms) == (80, 40)
        pacer.unshelve(2.0)
        pacer.finish(1)
        frames = play_out(pacer, 2.0)
        assert [frame.index for frame in frames] == list(range(2, 10))
        assert frames[1].pcm == tone_ms(20)  # what was faded the first time is whole now

    def test_nothing_is_kept_of_a_turn_that_is_over_unknown_or_live(self) -> None:
        pacer = Pacer(60)
        pacer.drop(1)
        pacer.flush(0.0, keep=1)
        pacer.flush(0.0, keep=2)
        assert not pacer.unshelve(0.0)
        live = Pacer(60, live=True)
        live.push(1, tone_ms(100))
        live.flush(0.0, keep=1)
        assert not live.unshelve(0.0)
        assert live.played(1, 0.0).sent_ms == 0

    def test_it_counts_against_the_backlogs_bound(self) -> None:
        pacer = Pacer(60, max_backlog_ms=1000)
        pacer.push(1, tone_ms(1000))
        pacer.flush(0.0, keep=1)
        pacer.push(2, tone_ms(400))
        pacer.push(1, tone_ms(400))
        assert pacer.refused_ms == 800
        pacer.discard_shelf()
        pacer.push(3, tone_ms(400))
        assert pacer.backlog_ms == 400

    def test_resent_frames_beyond_the_bound_refuse_no_less_than_what_is_pushed(self) -> None:
        pacer = Pacer(160, max_backlog_ms=200)
        pacer.push(1, tone_ms(200))
        pacer.due(0.0)
        pacer.push(1, tone_ms(160))
        pacer.flush(0.0, keep=1)
        pacer.push(2, tone_ms(100))
        assert pacer.refused_ms == 100
        assert pacer.backlog_ms == 0


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("push"), st.integers(1, 5000)),
        st.tuples(st.just("other"), st.integers(1, 3000)),
        st.tuples(st.just("finish"), st.just(0)),
        st.tuples(st.just("wait"), st.integers(0, 300_000)),  # us
        st.tuples(st.just("keep"), st.just(0)),
        st.tuples(st.just("unshelve"), st.just(0)),
    ),
    max_size=60,
)


@settings(max_examples=300, deadline=None)
@given(steps=STEPS, lead_ms=st.sampled_from([20, 60, 160]))
def test_no_sample_is_lost_or_heard_twice_for_any_history(
    steps: list[tuple[str, int]], lead_ms: int
) -> None:
    """Turn 1 is interrupted and goes on any number of times; the far side is modelled here."""
    pacer = Pacer(lead_ms)
    rng = np.random.default_rng(7)
    pushed, heard = bytearray(), bytearray()
    unheard: list[tuple[int, OutFrame, bool]] = []  # (end in us, frame, faded in)
    now_us = played_until = 0
    finished = rising = False
    other = 2
    before = Played(1)
    pacer.push(1, b"")

    def listen() -> None:
        while unheard and unheard[0][0] <= now_us:
            _, frame, faded = unheard.pop(0)
            if frame.turn == 1:
                assert frame.index * FRAME_BYTES == len(heard)
                start = FADE_BYTES if faded else 0
                want = bytes(pushed[len(heard) : len(heard) + FRAME_BYTES])
                assert frame.pcm[start : len(want)] == want[start:]
                heard.extend(frame.pcm)

    def send() -> None:
        nonlocal played_until, rising
        for frame in pacer.due(now_us / 1e6):
            assert pacer.shelved is None or frame.turn != 1
            dry = played_until + JITTER_US <= now_us
            played_until = (now_us if dry else played_until) + 20_000
            assert played_until - now_us < lead_ms * 1000 + JITTER_US
            unheard.append((played_until, frame, rising and frame.turn == 1))
            rising = rising and frame.turn != 1

    for step, amount in [*steps, ("unshelve", 0), ("finish", 0)]:
        listen()
        if step == "push" and not finished:
            chunk = rng.bytes(amount)
            pacer.push(1, chunk, "word " * (amount // 500), epoch=0)
            pushed += chunk
        elif step == "other":
            pacer.push(other, bytes(amount))
            pacer.finish(other)
            other += 1
        elif step == "finish":
            pacer.finish(1)
            finished = True
            del pushed[len(pushed) // 2 * 2 :]
        elif step == "wait":
            # The far side is told the truth at every deadline, as in a call.
            until = now_us + amount
            while (at := pacer.next_deadline()) is not None and at * 1e6 <= until:
                now_us = max(now_us, round(at * 1e6))
                listen()
                send()
            now_us = until
            listen()
        elif step == "keep":
            pacer.flush(now_us / 1e6, keep=1)
            unheard.clear()
            played_until = min(played_until, now_us)
            assert pacer.shelved == 1
        elif step == "unshelve" and pacer.unshelve(now_us / 1e6):
            rising = len(heard) > 0
        send()
        line = pacer.played(1, now_us / 1e6)
        assert before.heard_ms <= line.heard_ms <= line.sent_ms
        assert before.sent_ms <= line.sent_ms <= len(pushed) // 32
        assert line.heard_ms == min(len(heard), len(pushed)) // 32
        before = line
    while (deadline := pacer.next_deadline()) is not None:
        now_us = max(now_us, round(deadline * 1e6))
        listen()
        send()
    assert bytes(heard[len(pushed) :]) == bytes(-len(pushed) % FRAME_BYTES)
    assert pacer.played(1, now_us / 1e6).heard_ms == len(pushed) // 32
    assert pacer.backlog_ms == 0
