"""What belongs to what in a call, and that nothing is measured where there is nothing."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np
import pytest
from audio_rig import barge_ins, noise, of, responses, tone, track
from hypothesis import given, settings
from hypothesis import strategies as st

from teamscall.audio.measures import Measures, Span
from teamscall.audio.waveform import Thresholds, measure

# --- which answer is whose --------------------------------------------------------------


@pytest.mark.parametrize(
    ("caller", "bot", "expected"),
    [
        ([(1000, 2000)], [(2500, 3500)], [(2000, 2500)]),
        # The caller pauses in the middle of the sentence.
        ([(1000, 2000), (2600, 3000)], [(3700, 4500)], [(3000, 3700)]),
        # The caller speaks twice before there is an answer.
        ([(1000, 2000), (6000, 7000)], [(7400, 8000)], [(7000, 7400)]),
        # The bot greets.
        ([(3000, 4000)], [(500, 2000), (4800, 5500)], [(4000, 4800)]),
        # It answers in several utterances: the first is the answer.
        ([(1000, 2000)], [(2800, 3500), (4000, 5000), (9000, 9500)], [(2000, 2800)]),
        # Two questions.
        ([(1000, 2000), (5000, 6000)], [(2700, 3500), (6900, 7500)], [(2000, 2700), (6000, 6900)]),
        # A backchannel is no question: what the bot says next is no answer to it.
        ([(1000, 2000), (4000, 4300)], [(2700, 6000), (6600, 8000)], [(2000, 2700)]),
        # An interruption that ends before the bot does is one.
        ([(4000, 4300)], [(1000, 4500), (5600, 7000)], [(4300, 5600)]),
        # The bot speaks into the caller's speech: no answer.
        ([(1000, 4000)], [(2500, 3000)], []),
        # It answers into a pause of the caller's, who goes on.
        ([(1000, 2000), (2280, 4000)], [(2200, 2600)], [(2000, 2200)]),
        # ... but a closure in a word is no pause.
        ([(1000, 2000), (2100, 4000)], [(2050, 2600)], []),
        ([(1000, 2000)], [(1000, 2500)], []),
        ([(1000, 2000)], [], []),
        ([], [(1000, 2000)], []),
    ],
)
def test_an_answer_is_the_first_sound_after_the_callers_last(
    caller: list[tuple[float, float]],
    bot: list[tuple[float, float]],
    expected: list[tuple[int, int]],
) -> None:
    assert responses(of(caller, bot)) == expected


@pytest.mark.parametrize(
    ("caller", "bot", "expected"),
    [
        ([(4000, 6000)], [(2000, 4250)], [(4000, 4250)]),
        # A backchannel: the bot speaks on.
        ([(4000, 4300)], [(2000, 8000)], [(4000, None)]),
        # It only pauses between two sentences.
        ([(4000, 4300)], [(2000, 4200), (4550, 8000)], [(4000, None)]),
        # It is slow to stop while the caller speaks.
        ([(4000, 8000)], [(2000, 7500)], [(4000, 7500)]),
        # It stops long after the caller, for a reason of its own.
        ([(4000, 4500)], [(2000, 5900)], [(4000, None)]),
        # Both begin at the same moment.
        ([(2000, 4000)], [(2000, 5000)], []),
        ([(2100, 4000)], [(2000, 5000)], []),
        # "No ... wait": one barge-in.
        ([(4000, 4200), (4600, 6000)], [(2000, 4900)], [(4000, 4900)]),
        # "uh-huh", and later "stop".
        ([(4000, 4200), (6000, 6500)], [(2000, 6300)], [(4000, None), (6000, 6300)]),
        # In a pause of the bot's, which it ends into the caller's speech.
        ([(4200, 6000)], [(2000, 4000), (4400, 4700)], [(4200, 4700)]),
        # In a pause of the bot's, and over before it goes on: a question.
        ([(4100, 4400)], [(2000, 4000), (4650, 6000)], []),
    ],
)
def test_a_barge_in_is_the_onset_and_the_bots_last_sound(
    caller: list[tuple[float, float]],
    bot: list[tuple[float, float]],
    expected: list[tuple[int, int | None]],
) -> None:
    assert barge_ins(of(caller, bot)) == expected


def test_overlap_is_when_both_speak() -> None:
    found = of([(1000, 2000), (5000, 6000)], [(1500, 2500), (5400, 5600)])
    assert found.overlap_ms == pytest.approx(700, abs=1)


def test_dead_air_is_between_the_first_and_the_last_sound() -> None:
    found = of([(2000, 3000), (12_000, 12_500)], [(4000, 5000)], length_ms=30_000)
    ((start, end),) = [(round(one.start_ms), round(one.end_ms)) for one in found.dead_air]
    assert (start, end) == (5000, 12_000)
    assert of([(2000, 3000)], [(5900, 6000)]).dead_air == ()


def test_a_cough_and_a_key_are_no_turn_but_a_short_sound_of_the_bots_is_one() -> None:
    found = of([(1000, 2000), (5000, 5060)], [(2500, 3000), (5500, 5560)])
    assert len(found.caller.utterances) == 1
    assert len(found.bot.utterances) == 2
    assert responses(found) == [(2000, 2500)]


@pytest.mark.parametrize(("length_ms", "spans"), [(250, 1), (350, 2)])
def test_a_pause_of_less_than_300_ms_is_within_an_utterance(length_ms: float, spans: int) -> None:
    found = of([(1000, 2000), (2000 + length_ms, 3000)], [])
    assert len(found.caller.utterances) == spans
    assert found.caller.speech_ms == pytest.approx(2000 - length_ms, abs=3)


# --- nothing ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("caller", "bot"),
    [
        (b"", b""),
        (b"\x01", b""),
        (bytes(31), bytes(64_001)),
        (b"\x00\x40" * 3, b"\x00\x80"),
        (track(3000, (0, noise(3000, -62.0))), track(9000, (0, noise(9000, -48.0, 2)))),
    ],
    ids=["empty", "half", "silence", "samples", "noise"],
)
def test_where_nothing_is_heard_nothing_is_measured(caller: bytes, bot: bytes) -> None:
    found = measure(caller, bot)
    assert not (found.responses)
    assert not (found.barge_ins)
    assert not (found.dead_air)
    assert not (found.caller.utterances)
    assert not (found.bot.utterances)
    assert found.first_sound_ms is None
    assert found.overlap_ms == 0.0
    for side in (found.caller, found.bot):
        assert side.loudness.level_dbfs is None
        assert side.speech_ms == 0.0
    assert all(math.isfinite(number) for number in _numbers(msgspec.to_builtins(found)))


def _numbers(value: Any) -> list[float]:
    if isinstance(value, dict):
        return [n for one in value.values() for n in _numbers(one)]
    if isinstance(value, list | tuple):
        return [n for one in value for n in _numbers(one)]
    return [value] if isinstance(value, int | float) else []


@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=4000), st.binary(max_size=4000))
def test_any_bytes_are_measured(caller: bytes, bot: bytes) -> None:
    found = measure(caller, bot)
    assert all(math.isfinite(number) for number in _numbers(msgspec.to_builtins(found)))
    for side, pcm in ((found.caller, caller), (found.bot, bot)):
        for one in side.utterances:
            assert 0 <= one.start_ms < one.end_ms <= len(pcm) // 2 / 16


# --- what must not matter -----------------------------------------------------------------


def _call(
    *, shift_ms: int = 0, gain_db: float = 0.0, dc: float = 0.0, noise_dbfs: float | None = -62.0
) -> Measures:
    spans = ([(700.0, 1900.0), (5000.0, 5800.0)], [(2600.0, 5300.0), (6700.0, 7400.0)])
    sides = []
    for number, spoken in enumerate(spans):
        parts = [(at, tone(end - at, 220.0 + 90 * number)) for at, end in spoken]
        whole = np.frombuffer(track(9000, *parts), "<i2").astype(np.float64)
        if noise_dbfs is not None:
            whole = whole + noise(9000, noise_dbfs, number)
        whole = np.concatenate([np.zeros(shift_ms * 16), whole * 10 ** (gain_db / 20) + dc])
        sides.append(np.rint(whole).astype("<i2").tobytes())
    return measure(*sides)


def _times(found: Measures) -> list[float]:
    spans: list[Span] = [*found.caller.utterances, *found.bot.utterances]
    times = [t for one in spans for t in (one.start_ms, one.end_ms)]
    times += [t for one in found.responses for t in (one.asked_ms, one.answered_ms)]
    times += [t for one in found.barge_ins for t in (one.onset_ms, one.silent_ms or -1.0)]
    return times


PLAIN = _times(_call())


def test_the_call_that_is_varied_has_something_of_everything() -> None:
    found = _call()
    assert responses(found) == [(1900, 2600), (5800, 6700)]
    assert barge_ins(found) == [(5000, 5300)]


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2000))
def test_what_is_shifted_is_measured_so_much_later(shift_ms: int) -> None:
    assert _times(_call(shift_ms=shift_ms)) == pytest.approx([t + shift_ms for t in PLAIN], abs=1)


@settings(max_examples=12, deadline=None)
@given(st.floats(-6, 6))
def test_a_gain_moves_nothing_by_10_ms(gain_db: float) -> None:
    assert _times(_call(gain_db=gain_db)) == pytest.approx(PLAIN, abs=10)


@pytest.mark.parametrize("dc", [-1500.0, -300.0, 300.0, 1500.0])
def test_a_dc_offset_is_no_sound(dc: float) -> None:
    assert _times(_call(dc=dc)) == pytest.approx(PLAIN, abs=1)


@pytest.mark.parametrize("noise_dbfs", [None, -70.0, -55.0, -45.0])
def test_noise_below_the_voice_moves_nothing_by_5_ms(noise_dbfs: float | None) -> None:
    assert _times(_call(noise_dbfs=noise_dbfs)) == pytest.approx(PLAIN, abs=5)


def test_measuring_the_same_twice_is_the_same() -> None:
    assert _call() == _call()


def test_the_shorter_track_is_followed_by_silence() -> None:
    caller, bot = track(9000, (1000, tone(500))), track(2500, (2000, tone(300)))
    padded = bot + bytes(len(caller) - len(bot))
    assert measure(caller, bot).responses == measure(caller, padded).responses
    assert measure(caller, bot).length_ms == 9000


def test_a_threshold_is_a_number_that_can_be_changed() -> None:
    found = of([(1000, 2000)], [(3500, 4000)], thresholds=Thresholds(dead_air_ms=1000.0))
    assert len(found.dead_air) == 1
