"""The ear over a session that detects speech itself."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import pytest
from engines_openai_rig import cloud, configured, started, voice
from engines_rig import Talk, run, talking
from hypothesis import given
from hypothesis import strategies as st
from openai_ear_rig import QUIET, SPEECH, Bench
from openai_ear_rig import bench as any_bench

from teamscall.engines.base import (
    BeginUtterance,
    CommitUtterance,
    DiscardHeard,
    EngineDegraded,
    EngineFailed,
    EngineReady,
    Hear,
    SpeechStarted,
    SpeechStopped,
    Transcript,
)
from teamscall.engines.openai.server_ear import ServerEar
from teamscall.engines.openai.tape import FRAME_BYTES, Tape
from teamscall.engines.openai.transcription import PROGRESS_S
from teamscall.testing import Drop, Script, Settings, Stall

SAID = ("What time is it?", "And tomorrow?", "Goodbye then.")
SETTINGS = Settings(script=Script(hears=SAID))
PAUSE_S = 0.5


def bench(check: Callable[[Bench], Awaitable[None]]) -> None:
    any_bench(lambda *args, **more: ServerEar(*args, pause_s=PAUSE_S, **more), check)


def turns(b: Bench | Talk) -> list[str]:
    """What the call is told, in order."""
    told: list[str] = []
    for event in b.events:
        match event:
            case SpeechStarted(utterance=n):
                told.append(f"{n} started")
            case SpeechStopped(utterance=n):
                told.append(f"{n} stopped")
            case Transcript(utterance=n, text=text, final=True):
                told.append(f"{n} {text!r}")
    return told


def speech_started(b: Bench, item: str, ms: int) -> None:
    b.socket.says("input_audio_buffer.speech_started", item_id=item, audio_start_ms=ms)


def speech_stopped(b: Bench, item: str, ms: int) -> None:
    b.socket.says("input_audio_buffer.speech_stopped", item_id=item, audio_end_ms=ms)


async def spoken(b: Bench) -> None:
    """One second of quiet, one of speech, half a second of quiet, detected as "a"."""
    await b.hear(QUIET, 50)
    await b.hear(SPEECH, 50)
    speech_started(b, "a", 700)
    await b.hear(QUIET, 25)
    speech_stopped(b, "a", 2500)
    await b.settle()


# --- what the call is told ------------------------------------------------------------------


def test_the_service_takes_the_turns() -> None:
    async def check(b: Bench) -> None:
        assert b.events == [EngineReady(turn_taking="engine")]
        await spoken(b)
        b.socket.commits("a")
        b.socket.hears("a", "Hello.")
        await b.settle()
        assert turns(b) == ["1 started", "1 stopped", "1 'Hello.'"]
        assert b.socket.ms() == pytest.approx(2500, abs=4)

    bench(check)


def test_finals_come_as_they_do_and_each_to_its_own() -> None:
    async def check(b: Bench) -> None:
        await spoken(b)
        await b.hear(SPEECH, 50)
        speech_started(b, "b", 2500)
        await b.hear(QUIET, 25)
        speech_stopped(b, "b", 4000)
        b.socket.hears("b", "Second.")
        await b.settle()
        b.socket.hears("a", "First.")
        await b.settle()
        assert turns(b)[-2:] == ["2 'Second.'", "1 'First.'"]

    bench(check)


def test_what_the_call_says_of_utterances_is_not_for_this_ear() -> None:
    async def check(b: Bench) -> None:
        b.ear.submit(BeginUtterance(1))
        b.ear.submit(CommitUtterance(1))
        await b.settle()
        assert turns(b) == []
        assert b.socket.kinds() == []

    bench(check)


def test_a_service_that_tells_of_no_speech_still_has_whole_turns() -> None:
    async def check(b: Bench) -> None:
        await b.hear(SPEECH, 50)
        b.socket.commits("a")
        b.socket.hears("a", "Hello.")
        await b.settle()
        assert turns(b) == ["1 started", "1 stopped", "1 'Hello.'"]

    bench(check)


def test_what_is_made_of_noise_is_dropped() -> None:
    async def check(b: Bench) -> None:
        await b.hear(QUIET, 100)
        speech_started(b, "a", 500)
        speech_stopped(b, "a", 1500)
        b.socket.hears("a", "Thank you.")
        await b.settle()
        assert turns(b)[-1] == "1 ''"
        assert b.ear.made_up == 1

    bench(check)


def test_what_is_discarded_ends_without_words() -> None:
    async def check(b: Bench) -> None:
        await b.hear(SPEECH, 50)
        speech_started(b, "a", 0)
        b.ear.submit(DiscardHeard())
        await b.settle()
        speech_stopped(b, "a", 1500)
        b.socket.hears("a", "Secret.")
        await b.settle()
        assert turns(b) == ["1 started", "1 stopped", "1 ''"]
        b.socket.drop()
        b.socket.open()
        assert b.socket.ms() == 0

    bench(check)


# --- losses -----------------------------------------------------------------------------------


def test_a_loss_in_mid_sentence_sends_it_again_once_and_tells_the_call_nothing_twice() -> None:
    async def check(b: Bench) -> None:
        await b.hear(QUIET, 500)
        await b.hear(SPEECH, 50)
        speech_started(b, "a", 9_700)
        b.socket.drop()
        await b.hear(SPEECH, 25)
        b.socket.open()
        assert b.socket.ms() == pytest.approx(1_800, abs=4)  # from where it began
        speech_started(b, "x", 0)
        await b.hear(QUIET, 25)
        speech_stopped(b, "x", 2_300)
        b.socket.hears("x", "All of it.")
        await b.settle()
        assert turns(b) == ["1 started", "1 stopped", "1 'All of it.'"]
        assert len([e for e in b.events if isinstance(e, EngineDegraded)]) == 1

    bench(check)


def test_a_loss_before_anything_is_detected_sends_the_gap() -> None:
    async def check(b: Bench) -> None:
        await b.hear(QUIET, 500)
        b.socket.drop()
        await b.hear(SPEECH, 100)
        b.socket.open()
        assert b.socket.ms() == pytest.approx(4_000, abs=4)  # and what was before it
        b.socket.drop()
        b.socket.open()
        assert b.socket.ms() == pytest.approx(4_000, abs=4)
        await b.hear(QUIET, 200)
        b.socket.drop()
        b.socket.open()
        assert b.socket.ms() == pytest.approx(2_000, abs=4)

    bench(check)


def test_what_was_transcribed_is_silence_when_it_is_sent_again() -> None:
    async def check(b: Bench) -> None:
        await spoken(b)
        await b.hear(SPEECH, 50)
        speech_started(b, "b", 2_500)
        await b.hear(QUIET, 25)
        speech_stopped(b, "b", 4_000)
        b.socket.hears("b", "Second.")
        await b.settle()
        b.socket.drop()
        b.socket.open()
        audio = b.socket.audio()
        first, second = audio[: 1_750 * 48], audio[1_800 * 48 : 3_300 * 48]
        assert any(first)
        assert not any(second)
        speech_started(b, "x", 0)
        speech_stopped(b, "x", 1_800)
        b.socket.hears("x", "First.")
        await b.settle()
        assert turns(b)[-2:] == ["2 'Second.'", "1 'First.'"]

    bench(check)


def test_two_losses_in_a_row() -> None:
    async def check(b: Bench) -> None:
        await spoken(b)
        b.socket.drop()
        b.socket.open()
        speech_started(b, "x", 0)
        b.socket.drop()
        b.socket.open()
        assert b.socket.ms(1) == b.socket.ms(2) == pytest.approx(1_800, abs=4)
        speech_started(b, "y", 0)
        speech_stopped(b, "y", 1_800)
        b.socket.hears("y", "Once.")
        await b.settle()
        assert turns(b) == ["1 started", "1 stopped", "1 'Once.'"]

    bench(check)


def test_speech_that_another_session_does_not_find_ends_all_the_same() -> None:
    async def check(b: Bench) -> None:
        await b.hear(SPEECH, 50)
        speech_started(b, "a", 0)
        b.socket.drop()
        b.socket.open()
        await b.hear(QUIET, int(PROGRESS_S / 0.02) + 1)
        b.socket.commits("other")  # anything wakes the watch
        await b.settle()
        assert "1 stopped" in turns(b)
        assert "1 ''" in turns(b)
        assert [e.stage for e in b.events if isinstance(e, EngineFailed)] == ["hear"]

    bench(check)


def test_an_end_that_the_service_misses_has_a_deadline() -> None:
    async def check(b: Bench) -> None:
        await b.hear(SPEECH, 50)
        speech_started(b, "a", 0)
        await b.hear(QUIET, int((PROGRESS_S + PAUSE_S) / 0.02) + 1)
        b.ear._wake.set()
        await b.settle()
        assert len(b.socket.restarts) == 1
        b.socket.open()
        speech_started(b, "x", 0)
        speech_stopped(b, "x", 1_500)
        b.socket.hears("x", "Hello.")
        await b.settle()
        assert turns(b) == ["1 started", "1 stopped", "1 'Hello.'"]

    bench(check)


def test_a_deaf_service_is_opened_again_once_and_then_told_of() -> None:
    async def check(b: Bench) -> None:
        for _ in range(3):
            await b.hear(SPEECH, int(PROGRESS_S / 0.02) + 60)
            b.ear._wake.set()
            await b.settle()
            if not b.socket.ready:
                b.socket.open()
        assert len(b.socket.restarts) == 1
        assert len([e for e in b.events if isinstance(e, EngineFailed)]) == 1

    bench(check)


# --- the tape ---------------------------------------------------------------------------------


@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=8),
    st.integers(0, 300),
    st.integers(0, 300),
)
def test_positions_hold_whatever_is_forgotten(frames: list[int], cut: int, until: int) -> None:
    tape = Tape()
    for index, count in enumerate(frames):
        tape.push(bytes([index + 1]) * (count * FRAME_BYTES), [index % 2 == 0] * count)
    whole = tape.read()
    place = min(cut * FRAME_BYTES // 3, len(whole))
    tape.forget(place)
    assert (tape.start, tape.end) == (place, len(whole))
    assert tape.read() == whole[place:]
    end = min(until * FRAME_BYTES, len(whole))
    if place <= end and place % FRAME_BYTES == 0:
        span = whole[place:end]
        voiced = sum(span[i] % 2 for i in range(0, len(span), FRAME_BYTES))
        assert tape.voiced_ms(place, end) == 20 * voiced
    tape.blank(place, end)
    assert not any(tape.read()[: max(0, end - place)])
    assert tape.read()[max(0, end - place) :] == whole[max(place, end) :]


def test_the_tape_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("teamscall.engines.openai.tape.MAX_BYTES", 10 * FRAME_BYTES)
    tape = Tape()
    for _ in range(25):
        tape.push(bytes(FRAME_BYTES), [True])
    assert (tape.start, tape.end) == (15 * FRAME_BYTES, 25 * FRAME_BYTES)
    assert tape.lost_bytes == 15 * FRAME_BYTES
    assert tape.voiced_ms(0, tape.end) == 200


# --- over real sockets ------------------------------------------------------------------------


def frames(pcm: bytes) -> list[Hear]:
    return [Hear(pcm[i : i + 640].ljust(640, b"\0")) for i in range(0, len(pcm), 640)]


@pytest.mark.parametrize("detection", ["server", "semantic"])
def test_over_real_sockets(detection: str) -> None:
    async def check() -> None:
        with cloud(SETTINGS) as there:
            config = configured(
                there,
                stt_model="gpt-transcribe",
                turn_detection=detection,
                silence_duration_ms=400,
                vad_threshold=0.6,
            )
            async with started(config) as engine, talking(engine) as talk:
                assert engine.turn_taking == "engine"
                ready = await talk.first(EngineReady)
                assert ready.turn_taking == "engine"
                pause = bytes(640 * 50)
                talk.submit(*frames(pause + voice() + pause + voice() + pause))
                await talk.until(lambda: len([t for t in turns(talk) if "'" in t]) == 2)
            told = turns(talk)
            # Of each, in this order; a final may come after the next one began.
            for number, said in ((1, SAID[0]), (2, SAID[1])):
                own = [line for line in told if line.startswith(f"{number} ")]
                assert own == [f"{number} started", f"{number} stopped", f"{number} {said!r}"]
            (update,) = there.fake.visits("/realtime", "WS")[-1].received("session.update")
            wanted = {
                "server": {
                    "type": "server_vad",
                    "threshold": 0.6,
                    "prefix_padding_ms": 300,
                    "silence_duration_ms": 400,
                },
                "semantic": {"type": "semantic_vad", "eagerness": "auto"},
            }
            assert update["session"]["audio"]["input"]["turn_detection"] == wanted[detection]

    run(check)


@pytest.mark.parametrize("failure", [Drop(after=0.5, code=1011), Stall()])
def test_over_real_sockets_no_word_is_lost_and_none_comes_twice(
    failure: Drop | Stall, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("teamscall.engines.openai.transcription.PROGRESS_S", 0.3)

    async def check() -> None:
        with cloud(SETTINGS) as there:
            there.fake.plan.fail("hear", failure)
            config = configured(there, stt_model="gpt-transcribe", turn_detection="server")
            async with started(config) as engine, talking(engine) as talk:
                await talk.first(EngineReady)
                pause = bytes(640 * 60)
                talk.submit(*frames(pause + voice() + pause))
                await talk.until(lambda: len(turns(talk)) == 3)
                degraded = await talk.first(EngineDegraded)
                assert degraded.waited_ms < 1000
                assert "sent again" in degraded.detail
            assert turns(talk) == ["1 started", "1 stopped", f"1 {SAID[0]!r}"]
            assert len(there.sockets()) == 2

    run(check)


def test_a_model_without_it_hears_by_our_own_detection_and_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def check() -> None:
        with cloud(SETTINGS) as there:
            config = configured(there, turn_detection="semantic")
            async with started(config) as engine, talking(engine) as talk:
                assert engine.turn_taking == "local"
                assert await talk.first(EngineReady) == EngineReady()

    with caplog.at_level(logging.WARNING, logger="teamscall"):
        run(check)
    assert [r for r in caplog.records if "streaming.turn_detection" in r.message]
