"""Resampling: no clicks at joins, equal duration, and what a tone looks like afterwards."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from teamscall.audio.resample import Resampler, resample_all

Samples = np.ndarray[tuple[int], np.dtype[np.float64]]
PAIRS = [(16000, 24000), (24000, 16000), (22050, 16000), (48000, 16000), (8000, 16000)]


def tone(hz: float, rate: int, seconds: float = 1.0, amplitude: float = 0.9) -> bytes:
    t = np.arange(round(rate * seconds)) / rate
    return np.rint(32767 * amplitude * np.sin(2 * np.pi * hz * t)).astype("<i2").tobytes()


def samples(pcm: bytes) -> Samples:
    return np.frombuffer(pcm, "<i2").astype(np.float64)


def stream(pcm: bytes, source: int, target: int, chunk: int) -> bytes:
    resampler = Resampler(source, target)
    out = [resampler.push(pcm[at : at + chunk]) for at in range(0, len(pcm), chunk)]
    return b"".join([*out, resampler.flush()])


def snr_db(pcm: bytes, hz: float, rate: int) -> float:
    """Power of the tone over that of everything else, away from the edges."""
    y = samples(pcm)[rate // 10 : -rate // 10]
    t = 2 * np.pi * hz * np.arange(len(y)) / rate
    basis = np.stack([np.sin(t), np.cos(t)], axis=1)
    fit = basis @ np.linalg.lstsq(basis, y, rcond=None)[0]
    return float(10 * np.log10(np.mean(fit**2) / np.mean((y - fit) ** 2)))


@pytest.mark.parametrize("hz", [100, 1000, 3400, 7000])
def test_a_tone_survives_16_24_16(hz: int) -> None:
    up = stream(tone(hz, 16000), 16000, 24000, 640)
    assert snr_db(up, hz, 24000) > 85  # measured 92 to 97: the noise of 16 bits
    assert snr_db(stream(up, 24000, 16000, 960), hz, 16000) > 85


def test_the_round_trip_is_in_place_and_in_time() -> None:
    before = tone(3400, 16000)
    after = stream(stream(before, 16000, 24000, 640), 24000, 16000, 960)
    assert len(after) == len(before)
    middle = slice(200, -200)
    assert np.abs(samples(after)[middle] - samples(before)[middle]).max() <= 2


@pytest.mark.parametrize("hz", [8500, 9000, 11000])
def test_what_16_khz_cannot_carry_does_not_fold_back(hz: int) -> None:
    left = samples(stream(tone(hz, 24000), 24000, 16000, 960))[400:-400]
    assert np.sqrt(np.mean(left**2)) < 2.0


@pytest.mark.parametrize(("source", "target"), PAIRS)
@pytest.mark.parametrize("hz", [1000, 3400])
def test_a_tone_survives_any_rate(source: int, target: int, hz: int) -> None:
    assert snr_db(stream(tone(hz, source), source, target, source // 25), hz, target) > 80


@settings(max_examples=40, deadline=None)
@given(cuts=st.lists(st.integers(0, 3000), max_size=30), pair=st.sampled_from(PAIRS[:2]))
def test_chunked_equals_whole_to_the_bit(cuts: list[int], pair: tuple[int, int]) -> None:
    pcm = np.random.default_rng(len(cuts)).integers(-32768, 32768, 4001).astype("<i2").tobytes()
    whole = stream(pcm, *pair, len(pcm))
    resampler = Resampler(*pair)
    out, at = b"", 0
    for cut in [*cuts, len(pcm)]:
        out += resampler.push(pcm[at : at + cut])
        at += cut
    assert out + resampler.flush() == whole


@pytest.mark.parametrize(("source", "target"), PAIRS)
@pytest.mark.parametrize("chunk", [1, 2, 7, 333])
def test_joins_make_no_click(source: int, target: int, chunk: int) -> None:
    pcm = tone(440, source, 0.2)
    whole, chunked = (samples(stream(pcm, source, target, n)) for n in (len(pcm), chunk))
    assert len(whole) == len(chunked)
    assert np.abs(whole - chunked).max() <= 1


@settings(max_examples=60, deadline=None)
@given(count=st.integers(0, 5000), pair=st.sampled_from([*PAIRS, (16000, 44100), (11025, 16000)]))
def test_the_output_lasts_as_long_as_the_input(count: int, pair: tuple[int, int]) -> None:
    expected = -(-count * pair[1] // pair[0]) * 2
    pcm = bytes(2 * count)
    assert len(stream(pcm, *pair, 640)) == expected
    assert len(resample_all(pcm, *pair)) == expected


def test_20_ms_frames_come_out_even_and_2_ms_late() -> None:
    for source, target in PAIRS[:2]:
        resampler = Resampler(source, target)
        sizes = [len(resampler.push(bytes(source // 25))) for _ in range(50)]
        assert sizes == [target // 25 - target // 250] + [target // 25] * 49
        assert len(resampler.flush()) == target // 250


def test_flush_and_reset_start_afresh() -> None:
    resampler = Resampler(16000, 24000)
    first = resampler.push(tone(1000, 16000, 0.1)) + resampler.flush()
    resampler.push(tone(300, 16000, 0.1) + b"\1")
    resampler.reset()
    assert resampler.push(tone(1000, 16000, 0.1)) + resampler.flush() == first
    assert resampler.flush() == b""


def test_a_constant_stays_constant() -> None:
    out = samples(stream(np.full(4000, 12345, "<i2").tobytes(), 16000, 24000, 640))
    assert np.abs(out[200:-200] - 12345).max() <= 1


def test_full_scale_clips_instead_of_wrapping() -> None:
    square = np.repeat(np.array([32767, -32768] * 20, "<i2"), 40).tobytes()
    out = samples(stream(square, 16000, 24000, 640))
    t = (np.arange(len(out)) // 60) % 2
    assert (out[t == 0] > -2000).all()
    assert (out[t == 1] < 2000).all()


def test_the_same_rate_passes_whole_samples_through() -> None:
    resampler = Resampler(16000, 16000)
    assert resampler.push(b"\1\2\3") == b"\1\2"
    assert resampler.push(b"\4") == b"\3\4"
    assert resampler.flush() == b""


@pytest.mark.parametrize("rates", [(0, 16000), (16000, 0), (-1, 16000)])
def test_an_impossible_rate_is_refused(rates: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="sample rates"):
        Resampler(*rates)
