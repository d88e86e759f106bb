"""The pacer: deadlines, underruns, flush and the playout ledger."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from teamscall.audio.pacer import (
    JITTER_US,
    LIVE_SLACK_MS,
    REMEMBERED_TURNS,
    OutFrame,
    Pacer,
    Played,
)
from teamscall.wire.events import FRAME_BYTES

FRAME = 0.02


def pcm_ms(ms: int, byte: int = 1) -> bytes:
    return bytes([byte]) * (32 * ms)


def play_out(pacer: Pacer, now: float) -> tuple[list[tuple[float, OutFrame]], float]:
    """Wake exactly at each deadline until nothing is left to do."""
    left: list[tuple[float, OutFrame]] = []
    while True:
        left += [(now, frame) for frame in pacer.due(now)]
        deadline = pacer.next_deadline()
        if deadline is None:
            return left, now
        now = max(now, deadline)


class TestDeadlines:
    @pytest.mark.parametrize(("lead_ms", "burst"), [(0, 1), (20, 1), (60, 3), (160, 8)])
    def test_the_lead_leaves_at_once_and_then_one_frame_per_20_ms(
        self, lead_ms: int, burst: int
    ) -> None:
        pacer = Pacer(lead_ms)
        pacer.push(1, pcm_ms(400))
        pacer.finish(1)
        left, _ = play_out(pacer, 5.0)
        times = [round((at - 5.0) / FRAME, 9) for at, _ in left]
        assert times == [0.0] * burst + [float(n) for n in range(1, 21 - burst)]

    def test_nothing_is_due_before_its_deadline(self) -> None:
        pacer = Pacer(60)
        pacer.push(1, pcm_ms(400))
        assert len(pacer.due(1.0)) == 3
        assert pacer.next_deadline() == pytest.approx(1.02)
        assert pacer.due(1.019999) == []
        assert len(pacer.due(1.02)) == 1

    def test_back_to_back_utterances_share_one_timeline(self) -> None:
        pacer = Pacer(60)
        for turn in (1, 2):
            pacer.push(turn, pcm_ms(100))
            pacer.finish(turn)
        left, end = play_out(pacer, 0.0)
        assert [frame.turn for _, frame in left] == [1] * 5 + [2] * 5
        assert [frame.index for _, frame in left] == [*range(5), *range(5)]
        assert end == pytest.approx(0.2)
        assert pacer.underruns == 0

    def test_an_utterance_after_idle_starts_at_once_with_the_full_lead(self) -> None:
        pacer = Pacer(60)
        pacer.push(1, pcm_ms(100))
        pacer.finish(1)
        play_out(pacer, 0.0)
        pacer.push(2, pcm_ms(100))
        assert len(pacer.due(7.777)) == 3
        assert pacer.next_deadline() == pytest.approx(7.797)
        assert pacer.underruns == 0

    def test_an_idle_pacer_has_no_deadline(self) -> None:
        pacer = Pacer(60)
        assert pacer.next_deadline() is None
        pacer.push(1, b"\1" * 639)
        assert pacer.next_deadline() is None
        assert pacer.due(0.0) == []

    def test_the_last_deadline_is_when_all_has_been_heard(self) -> None:
        pacer = Pacer(160)
        pacer.push(1, pcm_ms(100))
        pacer.finish(1)
        assert len(pacer.due(3.0)) == 5
        assert pacer.next_deadline() == pytest.approx(3.1)
        assert pacer.done(3.099) == []
        assert [line.turn for line in pacer.done(3.1)] == [1]
        assert pacer.next_deadline() is None


class TestFraming:
    def test_odd_chunks_are_carried_and_only_the_last_frame_is_padded(self) -> None:
        pacer = Pacer(160)
        audio = bytes(range(256)) * 5  # 1280 bytes
        for at in range(0, len(audio), 7):
            pacer.push(1, audio[at : at + 7])
        pacer.push(1, b"\5\5")
        pacer.finish(1)
        frames = pacer.due(0.0)
        assert b"".join(frame.pcm for frame in frames) == audio + b"\5\5" + bytes(638)

    def test_half_a_sample_at_the_end_is_dropped(self) -> None:
        pacer = Pacer(160)
        pacer.push(1, b"\5" * 641)
        pacer.finish(1)
        assert [frame.pcm for frame in pacer.due(0.0)] == [b"\5" * 640]
        assert pacer.backlog_ms == 0


class TestUnderruns:
    def test_a_late_engine_restarts_the_clock_and_leaves_no_latency(self) -> None:
        pacer = Pacer(60)
        pacer.push(1, pcm_ms(60))
        assert len(pacer.due(0.0)) == 3
        pacer.push(1, pcm_ms(400))
        assert len(pacer.due(0.56)) == 3  # dry since 0.06
        assert (pacer.underruns, pacer.underrun_ms) == (1, 500)
        assert pacer.next_deadline() == pytest.approx(0.58)

    def test_jitter_of_less_than_a_frame_adds_up_to_nothing(self) -> None:
        pacer = Pacer(60)
        jitter = random.Random(5)
        for n in range(3000):  # a source in real time, each frame up to 19 ms late
            pacer.push(1, pcm_ms(20))
            assert [f.index for f in pacer.due(n * FRAME + jitter.uniform(0, 0.019))] == [n]
        pacer.finish(1)
        assert pacer.underruns == 0
        assert pacer.next_deadline() == pytest.approx(60.0, abs=0.02)

    def test_an_engine_late_by_less_than_the_lead_is_not_heard(self) -> None:
        pacer = Pacer(60)
        pacer.push(1, pcm_ms(60))
        pacer.due(0.0)
        pacer.push(1, pcm_ms(60))
        assert len(pacer.due(0.055)) == 2  # on the old timeline
        assert pacer.underruns == 0

    @pytest.mark.parametrize("stall", [0.1, 1.0])
    def test_a_stalled_loop_catches_up_by_at_most_the_lead(self, stall: float) -> None:
        pacer = Pacer(60)
        pacer.push(1, pcm_ms(3000))
        pacer.due(0.0)
        assert len(pacer.due(stall)) == 3
        assert pacer.next_deadline() == pytest.approx(stall + FRAME)
        assert pacer.underrun_ms == pytest.approx(stall * 1000 - 60)

    @pytest.mark.parametrize(("lead_ms", "longest_stall"), [(160, 0.14), (160, 0.15), (60, 0.15)])
    def test_sixty_seconds_with_stalls_drift_by_nothing_but_the_audible_gaps(
        self, lead_ms: int, longest_stall: float
    ) -> None:
        """Stalls of 30 ms and more every 2 s, against an external 20 ms clock."""
        stalls = random.Random(7)
        pacer = Pacer(lead_ms)
        pacer.push(1, pcm_ms(60_000))
        pacer.finish(1)
        now, next_stall, sent_at = 0.0, 2.0, []
        while (deadline := pacer.next_deadline()) is not None:
            now = max(now, deadline)
            if next_stall <= now < 59.0:
                now += stalls.uniform(0.03, longest_stall)
                next_stall += 2.0
            sent_at += [now] * len(pacer.due(now))
        assert len(sent_at) == 3000
        assert now * 1000 == pytest.approx(60_000 + pacer.underrun_ms, abs=1)
        if lead_ms == 160:
            assert pacer.underruns == 0
            assert round(now * 1e6) == 60_000_000
        if longest_stall <= 0.14:  # of the lead, 140 ms are left when a deadline comes
            assert all(at <= n * FRAME for n, at in enumerate(sent_at))

    def test_pausing_is_no_underrun(self) -> None:
        pacer = Pacer(60)
        pacer.push(1, pcm_ms(400))
        pacer.due(0.0)
        pacer.pause(0.01)
        assert pacer.due(0.5) == []
        assert pacer.next_deadline() is None
        pacer.resume(9.0)
        assert [frame.index for frame in pacer.due(9.0)] == [3, 4, 5]
        assert pacer.underruns == 0


class TestLive:
    def test_a_late_live_source_sheds_its_oldest_audio(self) -> None:
        pacer = Pacer(60, live=True)
        now = 0.0
        for n in range(500):
            if n % 50 != 49:
                pacer.push(1, pcm_ms(20, n % 250))
                pacer.due(now)
            else:  # 300 ms come at once, 300 ms late
                now += 0.3
                pacer.push(1, pcm_ms(320, n % 250))
                pacer.due(now)
            assert pacer.backlog_ms <= LIVE_SLACK_MS
            now += FRAME
        assert pacer.shed_ms > 0

    def test_a_live_source_in_time_loses_nothing(self) -> None:
        pacer = Pacer(60, live=True)
        jitter = random.Random(3)
        frames = []
        for n in range(500):
            pacer.push(1, pcm_ms(20))
            frames += pacer.due(n * FRAME + jitter.uniform(0, 0.015))
        assert len(frames) >= 499
        assert pacer.shed_ms == 0

    def test_shedding_leaves_a_frame_still_coming_whole(self) -> None:
        pacer = Pacer(20, live=True)
        pacer.push(1, pcm_ms(400) + b"\1")
        pacer.due(0.0)
        pacer.push(1, b"\1" * 639)
        pacer.finish(1)
        left, _ = play_out(pacer, 0.02)
        assert all(frame.pcm == b"\1" * 640 for _, frame in left)


class TestBounds:
    def test_a_full_backlog_refuses_the_end_of_the_turn_and_counts_it(self) -> None:
        pacer = Pacer(60, max_backlog_ms=1000)
        pacer.push(1, pcm_ms(1500), "first")
        pacer.due(0.0)
        pacer.push(1, pcm_ms(40), "second")
        pacer.finish(1)
        assert pacer.refused_ms == 540
        assert pacer.backlog_ms == 940
        assert pacer.played(1, 0.0).said_text == "first"

    def test_flushing_a_minute_empties_at_once(self) -> None:
        pacer = Pacer(160)
        pacer.push(1, pcm_ms(60_000))
        pacer.due(0.0)
        assert pacer.backlog_ms == 60_000 - 160
        pacer.flush(0.01)
        assert pacer.backlog_ms == 0
        assert pacer.due(10.0) == []
        assert pacer.next_deadline() is None

    def test_the_ledger_forgets_old_turns(self) -> None:
        pacer = Pacer(60)
        for turn in range(REMEMBERED_TURNS + 1):
            pacer.push(turn, pcm_ms(20))
            pacer.finish(turn)
            play_out(pacer, turn * 1.0)
            pacer.done(turn + 0.5)
        assert pacer.played(0, 999.0) == Played(0)
        assert pacer.played(1, 999.0).heard_ms == 20


class TestFlush:
    def test_late_audio_of_a_flushed_turn_is_dropped(self) -> None:
        pacer = Pacer(60)
        epoch = pacer.epoch
        pacer.push(1, pcm_ms(200))
        pacer.due(0.0)
        pacer.flush(0.01)
        assert pacer.epoch == epoch + 1
        pacer.push(1, pcm_ms(200))  # by turn
        pacer.push(2, pcm_ms(200), epoch=epoch)  # by epoch
        pacer.finish(2, epoch=epoch)
        assert pacer.due(0.02) == []
        assert pacer.stale_pushes == 2
        assert pacer.done(9.0) == []
        pacer.push(3, pcm_ms(200), epoch=pacer.epoch)
        assert [frame.turn for frame in pacer.due(0.02)] == [3, 3, 3]

    def test_it_says_what_was_heard_of_every_turn(self) -> None:
        pacer = Pacer(60)
        pacer.push(1, pcm_ms(100), "One.")
        pacer.finish(1)
        pacer.push(2, pcm_ms(100), "Two.")
        for n in range(6):
            pacer.due(n * FRAME)
        assert pacer.flush(0.11) == [
            Played(1, sent_ms=100, heard_ms=100, heard_text="One.", said_text="One."),
            Played(2, sent_ms=60, heard_ms=0, heard_text="", said_text="Two."),
        ]

    def test_what_was_in_flight_stays_unheard(self) -> None:
        pacer = Pacer(160)
        pacer.push(1, pcm_ms(400))
        pacer.due(0.0)
        pacer.flush(0.05)
        line = pacer.played(1, 60.0)
        assert (line.sent_ms, line.heard_ms) == (160, 40)
        assert pacer.speaking(0.05) is None

    def test_a_hundred_barge_ins_in_ten_seconds_leave_no_stale_frame(self) -> None:
        pacer = Pacer(160)
        for turn in range(100):
            now = turn * 0.1
            pacer.push(turn, pcm_ms(5000, turn))
            for step in range(5):
                frames = pacer.due(now + step * FRAME)
                assert {frame.turn for frame in frames} <= {turn}
                assert all(frame.pcm[0] == turn for frame in frames)
            pacer.flush(now + 0.09)


class TestDrop:
    def test_the_other_turns_go_on(self) -> None:
        pacer = Pacer(60)
        for turn in (1, 2, 3):
            pacer.push(turn, pcm_ms(100, turn))
            pacer.finish(turn)
        pacer.drop(2)
        left, _ = play_out(pacer, 0.0)
        assert [frame.turn for _, frame in left] == [1] * 5 + [3] * 5
        assert [line.turn for line in pacer.done(1.0)] == [1, 3]
        assert pacer.underruns == 0

    def test_an_unfinished_turn_no_longer_holds_up_the_next(self) -> None:
        pacer = Pacer(60)
        pacer.push(1, pcm_ms(30))
        pacer.push(2, pcm_ms(100))
        assert [frame.turn for frame in pacer.due(0.0)] == [1]
        assert pacer.drop(1) == Played(1, sent_ms=20)
        assert [frame.turn for frame in pacer.due(0.0)] == [2, 2]
        assert pacer.backlog_ms == 60

    def test_what_comes_later_for_it_is_stale_even_if_nothing_came_before(self) -> None:
        pacer = Pacer(60)
        assert pacer.drop(1) == Played(1)
        pacer.push(1, pcm_ms(100))
        pacer.finish(1)
        assert pacer.due(0.0) == []
        assert pacer.stale_pushes == 1


class TestLedger:
    def test_heard_follows_the_far_sides_clock_and_never_passes_sent(self) -> None:
        pacer = Pacer(60)
        pacer.push(1, pcm_ms(100))
        pacer.due(1.0)
        heard = [pacer.played(1, 1.0 + t / 1000).heard_ms for t in (0, 19, 20, 45, 60, 500)]
        assert heard == [0, 0, 20, 40, 60, 60]

    def test_padding_is_neither_sent_nor_heard(self) -> None:
        pacer = Pacer(60)
        pacer.push(1, pcm_ms(25))
        pacer.finish(1)
        pacer.due(0.0)
        assert pacer.done(1.0) == [Played(1, sent_ms=25, heard_ms=25)]

    def test_text_is_cut_after_a_whole_word_within_its_clause(self) -> None:
        pacer = Pacer(2000)
        pacer.push(1, pcm_ms(400), "Hello there.")
        pacer.push(1, pcm_ms(100))
        pacer.push(1, pcm_ms(1000), "The bus leaves at noon.")
        pacer.finish(1)
        pacer.due(0.0)
        cuts = {ms: pacer.played(1, ms / 1000).heard_text for ms in (0, 200, 240, 500, 960, 1500)}
        assert cuts == {
            0: "",
            200: "",
            240: "Hello",
            500: "Hello there.",
            960: "Hello there. The bus",
            1500: "Hello there. The bus leaves at noon.",
        }

    def test_text_of_a_clause_still_coming_is_not_credited_too_early(self) -> None:
        pacer = Pacer(60)
        pacer.push(1, pcm_ms(60), "This sentence takes about two seconds.")
        pacer.due(0.0)
        assert pacer.played(1, 0.06).heard_text == ""

    def test_text_without_blanks_is_cut_between_ideographs(self) -> None:
        pacer = Pacer(1000)
        pacer.push(1, pcm_ms(1000), "今日は天気がいいです")
        pacer.finish(1)
        pacer.due(0.0)
        assert pacer.played(1, 0.5).heard_text == "今日は天気"

    def test_done_reports_each_turn_once_in_order(self) -> None:
        pacer = Pacer(60)
        for turn in (4, 5):
            pacer.push(turn, pcm_ms(40))
            pacer.finish(turn)
        pacer.finish(6)  # it had nothing to say
        pacer.due(0.0)
        pacer.due(0.02)
        assert [line.turn for line in pacer.done(0.04)] == [4]
        assert [line.turn for line in pacer.done(0.08)] == [5, 6]
        assert pacer.done(1.0) == []

    def test_speaking_names_the_turn_being_played(self) -> None:
        pacer = Pacer(60)
        for turn in (1, 2):
            pacer.push(turn, pcm_ms(40))
            pacer.finish(turn)
        assert pacer.speaking(0.0) is None
        pacer.due(0.0)
        pacer.due(0.02)
        assert [pacer.speaking(t) for t in (0.03, 0.04, 0.079, 0.08)] == [1, 2, 2, None]

    def test_it_knows_whether_a_turn_sent_anything(self) -> None:
        pacer = Pacer(60)
        pacer.push(1, pcm_ms(100))
        pacer.push(2, pcm_ms(100))
        assert not pacer.turn_sent_anything(1)
        pacer.due(0.0)
        assert pacer.turn_sent_anything(1)
        pacer.flush(0.0)
        assert pacer.turn_sent_anything(1)
        assert not pacer.turn_sent_anything(2)
        assert not pacer.turn_sent_anything(99)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("push"), st.integers(1, 5000)),
        st.tuples(st.just("finish"), st.just(0)),
        st.tuples(st.just("wait"), st.integers(0, 300_000)),  # us
        st.tuples(st.just("flush"), st.just(0)),
        st.tuples(st.just("stale"), st.integers(1, 2000)),
    ),
    max_size=60,
)


def pattern() -> Iterator[int]:
    n = 0
    while True:
        n += 1
        yield n % 251


@settings(max_examples=200, deadline=None)
@given(steps=STEPS, lead_ms=st.sampled_from([0, 20, 60, 160]))
def test_order_bytes_and_lead_hold_for_any_history(
    steps: list[tuple[str, int]], lead_ms: int
) -> None:
    pacer = Pacer(lead_ms)
    lead_us = max(20_000, lead_ms * 1000)
    source = pattern()
    now_us, turn = 0, 1
    pushed: dict[int, bytearray] = {}
    sent: dict[int, bytearray] = {}
    flushed: set[int] = set()
    finished: set[int] = set()
    played_until = 0  # our own model of the far side
    steps = [*steps, ("finish", 0)]
    for step, amount in steps:
        if step == "push":
            chunk = bytes(next(source) for _ in range(amount))
            pacer.push(turn, chunk, epoch=pacer.epoch)
            pushed.setdefault(turn, bytearray()).extend(chunk)
        elif step == "finish":
            pacer.finish(turn)
            finished.add(turn)
            turn += 1
        elif step == "wait":
            now_us += amount
        elif step == "flush":
            pacer.flush(now_us / 1e6)
            flushed |= {t for t in pushed if t not in finished or pushed[t] != sent.get(t)}
            turn += 1
            played_until = min(played_until, now_us)
        else:
            pacer.push(turn, b"\xff" * amount, epoch=pacer.epoch - 1)
        frames = pacer.due(now_us / 1e6)
        for frame in frames:
            assert frame.turn not in flushed
            assert len(frame.pcm) == FRAME_BYTES
            assert frame.index * FRAME_BYTES == len(sent.setdefault(frame.turn, bytearray()))
            sent[frame.turn] += frame.pcm
            played_until = max(played_until, now_us) + 20_000
            assert played_until - now_us < lead_us + JITTER_US
        line = pacer.played(turn, now_us / 1e6)
        assert line.heard_ms <= line.sent_ms
    now = now_us / 1e6
    for at, frame in play_out(pacer, now)[0]:
        assert at >= now
        sent.setdefault(frame.turn, bytearray()).extend(frame.pcm)
    for number, audio in pushed.items():
        whole = audio[: len(audio) // 2 * 2]
        got = sent.get(number, bytearray())
        if number in flushed:
            assert bytes(got[: len(whole)]) == bytes(whole[: len(got)])
        else:
            assert got[: len(whole)] == whole
            assert set(got[len(whole) :]) <= {0}
            assert len(got) - len(whole) < FRAME_BYTES
    assert list(sent) == sorted(sent)
    assert pacer.backlog_ms == 0
