"""Reorder: gaps, repeats and jumps of the gateway's counter."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from teamscall.audio.reorder import MAX_GAP_FRAMES, Reorder
from teamscall.wire.events import FRAME_BYTES

SILENCE = bytes(FRAME_BYTES)


def frame(seq: int) -> bytes:
    return bytes([seq % 255 + 1]) * FRAME_BYTES


def test_frames_in_order_pass_from_any_first_number() -> None:
    for first in (0, 1, 4_000_000_000):
        reorder = Reorder()
        for seq in range(first, first + 5):
            assert reorder.push(seq, frame(seq)) == [frame(seq)]
        assert (reorder.duplicates, reorder.silence_frames, reorder.resyncs) == (0, 0, 0)


def test_a_gap_becomes_silence_of_its_length() -> None:
    reorder = Reorder()
    reorder.push(0, frame(0))
    assert reorder.push(4, frame(4)) == [SILENCE] * 3 + [frame(4)]
    assert reorder.silence_frames == 3


def test_repeats_and_late_frames_are_dropped() -> None:
    reorder = Reorder()
    for seq in (0, 1, 3):
        reorder.push(seq, frame(seq))
    assert [reorder.push(seq, frame(seq)) for seq in (3, 2, 1)] == [[], [], []]
    assert reorder.duplicates == 3
    assert reorder.push(4, frame(4)) == [frame(4)]


def test_a_jump_resynchronises_without_filling() -> None:
    reorder = Reorder()
    reorder.push(0, frame(0))
    assert reorder.push(1_000_000, frame(7)) == [frame(7)]
    assert reorder.push(1_000_001, frame(8)) == [frame(8)]
    assert (reorder.resyncs, reorder.silence_frames) == (1, 0)


def test_a_counter_that_starts_over_costs_one_frame() -> None:
    reorder = Reorder()
    reorder.push(2**31 - 1, frame(0))
    assert reorder.push(0, frame(0)) == []
    assert reorder.push(1, frame(1)) == [frame(1)]
    assert reorder.push(2, frame(2)) == [frame(2)]
    assert (reorder.resyncs, reorder.duplicates) == (1, 1)


def test_a_counter_that_starts_over_early_is_followed_when_it_catches_up() -> None:
    reorder = Reorder()
    for seq in range(5):
        reorder.push(seq, frame(seq))
    got = [reorder.push(seq, frame(seq)) for seq in range(7)]
    assert got == [[]] * 5 + [[frame(5)], [frame(6)]]


def test_a_single_mad_number_costs_at_most_its_neighbour() -> None:
    reorder = Reorder()
    reorder.push(0, frame(0))
    reorder.push(10**6, frame(1))
    assert reorder.push(2, frame(2)) == []
    assert reorder.push(3, frame(3)) == [frame(3)]


def test_any_even_size_is_reframed_with_a_carry() -> None:
    reorder = Reorder()
    assert reorder.push(0, b"\1" * 400) == []
    assert reorder.push(1, b"\2" * 400) == [b"\1" * 400 + b"\2" * 240]
    assert reorder.push(3, b"\3" * 1280) == [
        b"\2" * 160 + bytes(480),
        bytes(640),
        bytes(160) + b"\3" * 480,
        b"\3" * 640,
    ]


def test_silence_is_bounded_whatever_the_message_size() -> None:
    reorder = Reorder()
    reorder.push(0, b"\1" * 640)
    frames = reorder.push(MAX_GAP_FRAMES + 1, b"\1" * 1_000_000)
    assert frames.count(SILENCE) == MAX_GAP_FRAMES


@given(
    seqs=st.lists(st.one_of(st.integers(0, 40), st.integers(-(10**6), 10**9)), max_size=80),
    size=st.sampled_from([0, 2, 638, 640, 642, 1280]),
)
def test_any_numbers_give_whole_frames_and_bounded_silence(seqs: list[int], size: int) -> None:
    reorder = Reorder()
    out = 0
    for seq in seqs:
        frames = reorder.push(seq, b"\1" * size)
        assert all(len(f) == FRAME_BYTES for f in frames)
        assert len(frames) <= MAX_GAP_FRAMES + size // FRAME_BYTES + 1
        out += len(frames)
    kept = (len(seqs) - reorder.duplicates) * size
    assert out <= reorder.silence_frames + kept // FRAME_BYTES + 1
    assert out >= reorder.silence_frames + kept // FRAME_BYTES - 1


@given(lost=st.sets(st.integers(1, 300)))
def test_the_timeline_is_kept_when_short_gaps_are_lost(lost: set[int]) -> None:
    reorder = Reorder(max_gap_frames=301)
    got: list[bytes] = []
    for seq in range(302):
        if seq not in lost:
            got += reorder.push(seq, frame(seq))
    assert got == [SILENCE if seq in lost else frame(seq) for seq in range(302)]
