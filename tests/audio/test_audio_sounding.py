"""When a track begins and ends to sound, against edges that are known."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from audio_rig import Samples, clip, noise, tone, track
from hypothesis import given, settings
from hypothesis import strategies as st

from teamscall.audio.sounding import Hearing, listen

CLIPS = ("question", "apology", "idle-goodbye", "reprompt", "time-limit", "let-me-see")


def heard(pcm: bytes, hearing: Hearing | None = None) -> list[tuple[float, float]]:
    samples = np.frombuffer(pcm, "<i2")
    found = listen(samples, hearing or Hearing()).utterances
    return [(one.start / 16, one.end / 16) for one in found]


@pytest.mark.parametrize("at_ms", [0.0, 37.25, 1000.0, 1003.0625, 1009.9375])
@pytest.mark.parametrize("dbfs", [-6.0, -20.0, -40.0, -50.0])
@pytest.mark.parametrize("hz", [110.0, 300.0, 2500.0])
def test_a_tone_is_exact_to_the_millisecond(at_ms: float, dbfs: float, hz: float) -> None:
    ((start, end),) = heard(track(3000, (at_ms, tone(777, hz, dbfs))))
    assert start == pytest.approx(at_ms, abs=1.0)
    assert end == pytest.approx(at_ms + 777, abs=1.0)


@pytest.mark.parametrize("noise_dbfs", [-80.0, -60.0, -50.0])
def test_a_tone_in_noise_is_exact_to_two(noise_dbfs: float) -> None:
    ((start, end),) = heard(track(6000, (2000, tone(900)), (0, noise(6000, noise_dbfs))))
    assert (start, end) == pytest.approx((2000, 2900), abs=2.0)


@pytest.mark.parametrize("name", CLIPS)
@pytest.mark.parametrize("gain_db", [0.0, -6.0, -20.0])
def test_speech_is_found_where_it_was_put(name: str, gain_db: float) -> None:
    sound = clip(name) * 10 ** (gain_db / 20)
    found = heard(track(8000, (1234, sound)))
    end = 1234 + len(sound) / 16
    assert found[0][0] == pytest.approx(1234, abs=10)
    assert found[-1][1] == pytest.approx(end, abs=20)


@pytest.mark.parametrize("name", CLIPS)
def test_speech_is_found_in_a_room_that_is_not_quiet(name: str) -> None:
    sound = clip(name)
    whole = track(9000, (2000, sound), (0, noise(9000, -52.0)))
    found = heard(whole)
    assert found[0][0] == pytest.approx(2000, abs=10)
    assert found[-1][1] == pytest.approx(2000 + len(sound) / 16, abs=30)


def test_the_noise_of_a_recording_that_begins_and_ends_is_no_sound() -> None:
    """As a caller's WAV: silence, a noisy room, a voice in it, the room, silence."""
    room = (3000.0, noise(2600, -45.0))
    ((start, end),) = heard(track(9000, room, (3700, tone(1200, dbfs=-18.0))))
    assert (start, end) == pytest.approx((3700, 4900), abs=2)


def test_a_fan_that_is_switched_on_is_no_sound() -> None:
    pcm = track(20_000, (0, noise(20_000, -65.0)), (6000, noise(14_000, -46.0, 2)))
    assert heard(pcm) == []


@pytest.mark.parametrize("hz", [50.0, 60.0, 100.0])
def test_hum_is_no_sound_and_moves_no_edge(hz: float) -> None:
    hum = tone(8000, hz, -45.0)
    ((start, end),) = heard(track(8000, (0, hum), (3000, tone(1000, 400.0))))
    assert (start, end) == pytest.approx((3000, 4000), abs=6)


def test_a_click_is_no_sound_and_moves_no_edge() -> None:
    click = np.full(8, 9000.0)
    parts: list[tuple[float, Samples]] = [(2000, tone(1000)), (1800, click), (3150, click)]
    assert heard(track(5000, (800, click))) == []
    ((start, end),) = heard(track(5000, *parts))
    assert (start, end) == pytest.approx((2000, 3000), abs=1)


def test_a_quiet_voice_after_a_loud_one_is_heard() -> None:
    found = heard(track(8000, (1000, tone(1000, dbfs=-8.0)), (4000, tone(1000, dbfs=-46.0))))
    assert found == [pytest.approx((1000, 2000), abs=1), pytest.approx((4000, 5000), abs=1)]


def test_a_long_tone_is_one_sound() -> None:
    ((start, end),) = heard(track(30_000, (5000, tone(20_000)), (0, noise(30_000, -65.0))))
    assert (start, end) == pytest.approx((5000, 25_000), abs=2)


def test_a_tail_ends_where_it_falls_under_the_threshold() -> None:
    """60 dB in 600 ms, as in a room: 10 ms for every dB."""
    tail = tone(600, dbfs=-15.0) * 10 ** (-np.arange(9600) / 16 / 10 / 20)
    ((_, end),) = heard(track(4000, (1000, tone(500, dbfs=-15.0)), (1500, tail)))
    under = 1500 + 10 * Hearing().below_speech_db
    assert end == pytest.approx(under, abs=15)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 120), st.integers(1, 400)), min_size=1, max_size=12))
def test_the_pieces_of_utterances_are_in_order_and_within_them(
    bursts: list[tuple[int, int]],
) -> None:
    at, parts = 50.0, []
    for length_ms, pause_ms in bursts:
        parts.append((at, tone(length_ms, 700.0)))
        at += length_ms + pause_ms
    samples = np.frombuffer(track(at + 100, *parts), "<i2")
    edges = []
    for one in listen(samples, Hearing(shortest_ms=20.0)).utterances:
        assert one.start < one.end
        assert one.pieces[0][0] == one.start // 16
        assert one.pieces[-1][1] == -(-one.end // 16)
        edges += [edge for piece in one.pieces for edge in piece]
    assert all(a < b for a, b in itertools.pairwise(edges))
