"""The bot's own voice comes back through a loudspeaker, and is nobody's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playbook import FRAME_S, SILENCE, Playbook

from teamscall.audio.wav import read_wav
from teamscall.calls import records
from teamscall.engines import base as engine
from teamscall.wire import events as wire

GOLDEN = Path(__file__).parent.parent / "golden"
RATE = 16_000
BOT = np.frombuffer(read_wav(GOLDEN / "speech_bot.wav"), "<i2").astype(np.float64)
CALLER = np.frombuffer(read_wav(GOLDEN / "speech_caller.wav"), "<i2").astype(np.float64)
HISS = np.random.default_rng(1).standard_normal(len(BOT) * 2) * 10 ** (-72 / 20) * 32768


def loudspeaker() -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """A telephone's band and 20 ms of a room."""
    spectrum = np.fft.rfftfreq(4096, 1 / RATE)
    band = np.roll(np.fft.irfft(((spectrum > 250) & (spectrum < 3000)).astype(float)), 32)[:65]
    room = np.random.default_rng(2).standard_normal(320) * 10 ** (-3 * np.arange(320) / 320)
    room[0] = 3.0
    path = np.convolve(band * np.hanning(65), room)
    return np.asarray(path / np.sqrt(np.vdot(path, path)))


PATHS = {"flat": np.ones(1), "loudspeaker": loudspeaker()}


def speaking(**changes: Any) -> Playbook:
    """The bot speaks for five seconds from now on."""
    return telling(Playbook(greeting="Hello.", **changes))


def telling(book: Playbook, noise_db: float | None = None) -> Playbook:
    if noise_db is None:
        book.quiet(1)
    else:
        book.hear(frames(np.zeros(RATE), noise_db))
    book(engine.AnswerAudio(1, BOT.astype("<i2").tobytes(), RATE, "a long story"))
    book(engine.AnswerDone(1))
    return book


def frames(
    samples: np.ndarray[tuple[int], np.dtype[np.float64]], louder_db: float = 0
) -> list[bytes]:
    """``louder_db``: of the hiss, which is at -72 dBFS."""
    noisy = samples + HISS[: len(samples)] * 10 ** (louder_db / 20)
    pcm = np.clip(np.rint(noisy), -32768, 32767).astype("<i2").tobytes()
    return [pcm[at : at + 640] for at in range(0, len(pcm) - 639, 640)]


def echo(name: str, delay_ms: int, db: float) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    back = np.convolve(BOT, PATHS[name]) * 10 ** (db / 20)
    return np.concatenate([np.zeros(RATE * delay_ms // 1000), back])


@pytest.mark.parametrize("name", sorted(PATHS))
@pytest.mark.parametrize("db", [-6, -12, -18, -30])
@pytest.mark.parametrize(
    "delay_ms", [0, 120, 400, *(pytest.param(n, marks=pytest.mark.load) for n in (40, 250, 700))]
)
def test_it_interrupts_nothing_and_is_not_heard_as_words(
    name: str, db: float, delay_ms: int
) -> None:
    book = speaking()
    book.hear(frames(echo(name, delay_ms, db)))
    book.quiet(1)
    assert book.all(wire.Flush) == []
    assert book.all(engine.BeginUtterance) == []
    ended = book.last(records.TurnEnded)
    assert (ended.status, ended.heard_ms) == ("completed", len(BOT) * 1000 // RATE)


@pytest.mark.parametrize("name", sorted(PATHS))
@pytest.mark.parametrize(("db", "noise_db"), [(-30, 12), (-18, 12)])
@pytest.mark.parametrize("delay_ms", [80, 270, 420])
def test_nor_in_a_noisy_room(name: str, db: float, noise_db: float, delay_ms: int) -> None:
    """The echo is some 10 dB above the noise, and most of its spectrum below it."""
    book = telling(Playbook(greeting="Hello."), noise_db)
    book.hear(frames(echo(name, delay_ms, db), noise_db))
    assert book.all(wire.Flush) == []
    assert book.all(engine.BeginUtterance) == []


def test_the_caller_over_it_does() -> None:
    book = speaking()
    both = echo("loudspeaker", 120, -15)
    at = round(2.5 * RATE)
    both[at : at + len(CALLER)] += CALLER[: len(both) - at]
    book.hear(frames(both))
    seen = book.last(records.Interrupted)
    assert seen.why == "speech"
    assert seen.heard_ms >= 2400
    assert book.all(engine.BeginUtterance)


def test_the_caller_over_a_bot_without_an_echo_does_at_once() -> None:
    """Also in the first second of the first words, when no echo could have come back yet."""
    silence = np.flatnonzero(np.abs(CALLER) > 1000)[0]
    for after in (0.3, 0.6, 1.5):
        book = speaking()
        microphone = np.concatenate([np.zeros(round(after * RATE)), CALLER[silence - 320 :]])
        book.hear(frames(microphone))
        (seen, *_) = book.all(records.Interrupted)
        assert seen.onset_to_flush_ms <= 100
        # From the first loud sample, which may lie a little before the detector's onset.
        flushed = next(m for m, way, i in book.script if way == "<-" and isinstance(i, wire.Flush))
        assert flushed - (book.began + 1 + after) <= 0.14


def test_an_engine_that_detects_speech_itself_is_spared_it() -> None:
    book = speaking(turn_taking="engine")
    book.hear(frames(echo("loudspeaker", 120, -6)))
    heard = [hear.pcm for hear in book.all(engine.Hear)[50:]]
    late = heard[round(1.0 / FRAME_S) :]
    assert late.count(SILENCE) > len(late) * 2 // 3


def test_immunity_can_be_switched_off() -> None:
    from teamscall.calls.settings import BargeInSettings

    book = speaking(barge_in=BargeInSettings(echo_immunity=False))
    book.hear(frames(echo("flat", 120, -6)))
    assert book.all(wire.Flush)
