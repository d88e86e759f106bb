"""What a human behind the gateway hears."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from teamscall.emulator.playout import (
    GAP_SLOTS,
    MAX_QUEUED_BYTES,
    PREBUFFER_FRAMES,
    Playout,
)
from teamscall.emulator.tracks import Tracks


def frame(n: int) -> bytes:
    return (n % 200 + 1).to_bytes(2, "little") * 320


def drain(playout: Playout, slots: int = 50) -> list[bytes]:
    return [f for f in (playout.slot() for _ in range(slots)) if f is not None]


def test_playing_starts_when_three_frames_are_buffered() -> None:
    playout = Playout()
    for n in range(PREBUFFER_FRAMES - 1):
        playout.push(n, frame(n))
    assert playout.slot() is None
    playout.push(2, frame(2))
    assert playout.slot() == frame(0)


def test_a_lone_frame_plays_after_sixty_milliseconds() -> None:
    playout = Playout()
    playout.push(0, frame(0))
    assert [playout.slot() for _ in range(3)] == [None] * 3
    assert playout.slot() == frame(0)
    assert playout.slot() is None


def test_reordered_frames_are_heard_in_order_and_repeated_ones_once() -> None:
    playout = Playout()
    for n in (0, 2, 1, 1, 3):
        playout.push(n, frame(n))
    assert drain(playout) == [frame(n) for n in range(4)]
    assert playout.late == 1


def test_a_frame_after_its_turn_is_dropped() -> None:
    playout = Playout()
    for n in (0, 1, 3):
        playout.push(n, frame(n))
    drain(playout)
    assert not playout.push(2, frame(2))
    assert playout.late == 1


def test_a_bridge_that_restarts_its_counter_is_still_heard_and_counted() -> None:
    playout = Playout()
    for n in range(10):
        playout.push(n, frame(n))
    drain(playout)
    assert playout.push(0, frame(0))
    assert playout.restarts == 1
    assert drain(playout) == [frame(0)]


def test_a_flush_empties_the_queue_and_later_audio_plays() -> None:
    playout = Playout()
    for n in range(10):
        playout.push(n, frame(n))
    playout.slot()
    assert playout.flush() == 9 * 20
    assert playout.slot() is None
    playout.push(10, frame(10))
    assert drain(playout) == [frame(10)]
    assert playout.gaps == 0


def test_a_hole_inside_an_utterance_is_a_gap_and_a_pause_between_two_is_not() -> None:
    playout = Playout()
    playout.push(0, frame(0))
    drain(playout, 4)
    playout.slot()
    playout.push(1, frame(1))
    drain(playout, 5)
    assert playout.gaps == 1
    drain(playout, GAP_SLOTS + 5)
    playout.push(2, frame(2))
    drain(playout, 5)
    assert playout.gaps == 1


def test_the_queue_is_bounded() -> None:
    playout = Playout()
    for n in range(MAX_QUEUED_BYTES // 640 + 5):
        playout.push(n, frame(n))
    assert playout.overflow == 5


@given(st.lists(st.integers(1, 1500), max_size=60))
def test_any_even_sizes_come_out_as_frames_without_loss(sizes: list[int]) -> None:
    playout = Playout()
    sent = b""
    for n, size in enumerate(sizes):
        chunk = frame(n)[:2] * size
        sent += chunk
        playout.push(n, chunk)
    heard = b"".join(drain(playout, len(sent) // 640 + 10))
    assert heard[: len(sent)] == sent
    assert not any(heard[len(sent) :])
    assert len(heard) % 640 == 0


def test_tracks_keep_both_sides_on_one_clock_and_the_reply_without_its_edges() -> None:
    tracks = Tracks(max_ms=200)
    for n in range(10):
        tracks.add(frame(n), frame(50 + n) if 3 <= n < 6 else None)
    assert len(tracks.caller) == len(tracks.bot) == 10 * 640
    assert tracks.bot[3 * 640 : 4 * 640] == frame(53)
    assert tracks.reply == frame(53) + frame(54) + frame(55)
    truncated = [tracks.truncated]
    tracks.add(frame(0), None)
    truncated.append(tracks.truncated)
    assert truncated == [False, True]
    assert len(tracks.caller) == 10 * 640
