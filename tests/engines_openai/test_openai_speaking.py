"""Both voices over real sockets: formats, cancelling, and every way they fail."""

from __future__ import annotations

import asyncio
import logging
import time

import pytest
from engines_openai_rig import Cloud, cloud, configured, started
from engines_rig import Talk, eventually, run, talking

from teamscall.config import Config, Tts
from teamscall.engines.base import (
    AnswerAudio,
    AnswerDone,
    CancelAnswer,
    EngineDegraded,
    EngineFailed,
    EngineReady,
    Respond,
    Say,
)
from teamscall.engines.openai import reading
from teamscall.engines.openai.reading import strays
from teamscall.testing import Drop, Empty, Failure, Refuse, Report, Settings, Stall

TEXT = "This is what shall be said to the caller."
BOTH = pytest.mark.parametrize("voice", ["speech", "reading"])
WORD_MS = 280  # of the stand-in's voice


def seconds(talk: Talk, turn: int) -> float:
    return sum(len(e.pcm) / 2 / e.rate for e in talk.audio(turn))


def changed(config: Config, **tts: object) -> Config:
    values = {name: getattr(config.tts, name) for name in config.tts.__struct_fields__}
    fields = {name: getattr(config, name) for name in config.__struct_fields__}
    return Config(**fields | {"tts": Tts(**values | tts)})


async def said(cloud: Cloud, voice: str, *failures: Failure) -> Talk:
    """Say TEXT once, with these failures on the way."""
    async with started(configured(cloud, voice)) as engine, talking(engine) as talk:
        await talk.first(EngineReady)
        for failure in failures:
            cloud.fake.plan.fail("speak", failure)
        talk.submit(Say(1, TEXT))
        await talk.done(1)
        return talk


@BOTH
def test_all_of_it_is_spoken(voice: str) -> None:
    async def check() -> None:
        with cloud() as there:
            talk = await said(there, voice)
            assert talk.all(AnswerDone)[0].status == "completed"
            assert seconds(talk, 1) == pytest.approx(len(TEXT.split()) * WORD_MS / 1000, abs=0.02)

    run(check)


@BOTH
@pytest.mark.parametrize("failure", [Refuse(status=500), Empty(), Report(), Stall(), Drop()])
def test_before_the_first_byte_it_is_tried_again(
    voice: str, failure: Failure, monkeypatch: pytest.MonkeyPatch
) -> None:
    if voice == "reading" and isinstance(failure, Refuse):
        pytest.skip("a session that is open is not refused")
    if voice == "speech" and isinstance(failure, Report):
        pytest.skip("the speech endpoint has no event to report with")
    monkeypatch.setattr(reading, "PROGRESS_S", 0.3)
    monkeypatch.setattr("teamscall.engines.openai.engine.SPEAK_TIMEOUT_S", 0.3)

    async def check() -> None:
        with cloud() as there:
            talk = await said(there, voice, failure)
            assert talk.all(AnswerDone)[0].status == "completed"
            assert seconds(talk, 1) == pytest.approx(len(TEXT.split()) * WORD_MS / 1000, abs=0.02)

    run(check)


@BOTH
@pytest.mark.parametrize("failure", [Drop(after=0.5), Stall(after=0.5), Report(after=0.5)])
def test_after_the_first_byte_it_is_not(
    voice: str, failure: Failure, monkeypatch: pytest.MonkeyPatch
) -> None:
    if voice == "speech" and isinstance(failure, Report):
        pytest.skip("the speech endpoint has no event to report with")
    monkeypatch.setattr(reading, "PROGRESS_S", 0.3)
    monkeypatch.setattr("teamscall.engines.openai.engine.SPEAK_TIMEOUT_S", 0.3)

    async def check() -> None:
        with cloud() as there:
            talk = await said(there, voice, failure)
            assert talk.all(AnswerDone)[0].status == "failed"
            assert talk.all(EngineFailed)[0].stage == "speak"
            assert 0 < seconds(talk, 1) < len(TEXT.split()) * WORD_MS / 1000 - 0.3
            if voice == "speech":
                assert len(there.asked("/audio/speech")) == 1

    run(check)


@pytest.mark.parametrize(("status", "setting"), [(401, "openai.api_key"), (404, "tts.model")])
def test_a_refusal_is_not_tried_again_and_names_the_setting(status: int, setting: str) -> None:
    async def check() -> None:
        with cloud() as there:
            talk = await said(there, "speech", Refuse(status=status))
            assert setting in talk.all(AnswerDone)[0].error
            assert there.fake.api_key not in talk.all(AnswerDone)[0].error
            assert len(there.asked("/audio/speech")) == 1

    run(check)


def test_a_voice_that_is_no_model_is_told_and_the_call_goes_on() -> None:
    async def check() -> None:
        with cloud() as there:
            config = changed(configured(there), model="gpt-realtime-none")
            async with started(config) as engine, talking(engine) as talk:
                talk.submit(Say(1, TEXT))
                done = await talk.done(1)
                assert done.status == "failed"
                assert "tts.model" in done.error
                assert not any(e.fatal for e in talk.all(EngineFailed))

    run(check)


def test_too_many_requests_waits_as_told() -> None:
    async def check() -> None:
        with cloud() as there:
            began = time.monotonic()
            talk = await said(there, "speech", Refuse(status=429, retry_after_s=1))
            assert talk.all(AnswerDone)[0].status == "completed"
            assert time.monotonic() - began >= 1

    run(check)


@pytest.mark.parametrize(("failures", "requests"), [(1, 2), (3, 2)])
def test_a_wait_is_waited_for_once(failures: int, requests: int) -> None:
    async def check() -> None:
        with cloud() as there:
            refusals = [Refuse(status=429, retry_after_s=0.1)] * failures
            talk = await said(there, "speech", *refusals)
            status = "completed" if failures < requests else "failed"
            assert talk.all(AnswerDone)[0].status == status
            first, second = there.fake.visits("/audio/speech")[:2]
            assert second.at - first.at >= 0.1
            assert len(there.asked("/audio/speech")) == requests

    run(check)


def test_nobody_on_the_phone_waits_for_a_minute() -> None:
    async def check() -> None:
        with cloud() as there:
            talk = await said(there, "speech", Refuse(status=429, retry_after_s=60))
            assert talk.all(AnswerDone)[0].status == "failed"
            assert "429" in talk.all(AnswerDone)[0].error
            assert len(there.asked("/audio/speech")) == 1

    run(check)


def test_a_failure_is_asked_for_twice_at_most() -> None:
    async def check() -> None:
        with cloud() as there:
            talk = await said(there, "speech", *[Refuse(status=500)] * 5)
            assert talk.all(AnswerDone)[0].status == "failed"
            assert len(there.asked("/audio/speech")) == 2

    run(check)


@pytest.mark.parametrize(
    ("tts", "wanted", "setting"),
    [
        ({"speed": 3.0}, {"voice": "coral", "speed": 1.5}, "tts.speed"),
        ({"voice": "onyx"}, {"voice": "coral"}, "tts.voice"),
        ({"speed": 1.5, "voice": "marin"}, {"voice": "marin", "speed": 1.5}, ""),
    ],
)
def test_what_a_realtime_voice_cannot_do_is_said_once_and_replaced(
    tts: dict[str, object],
    wanted: dict[str, object],
    setting: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def check() -> None:
        with cloud() as there:
            config = changed(configured(there, "reading"), **tts)
            async with started(config) as engine, talking(engine) as talk:
                talk.submit(Say(1, TEXT))
                assert (await talk.done(1)).status == "completed"
            (visit,) = [v for v in there.fake.visits("/realtime", "WS") if "intent" not in v.query]
            output = visit.received("session.update")[0]["session"]["audio"]["output"]
            assert {name: output[name] for name in output if name != "format"} == wanted

    with caplog.at_level(logging.WARNING, logger="teamscall"):
        run(check)
    warned = [r.message.partition(":")[0] for r in caplog.records]
    assert warned == ([setting] if setting else [])


@pytest.mark.parametrize("rate", [16_000, 22_050, 24_000])
@pytest.mark.parametrize("header", [True, False])
def test_other_servers_rates_are_found_out(rate: int, header: bool) -> None:
    async def check() -> None:
        settings = Settings(speech_rate=rate, rate_header=header, chunk_bytes=333)
        with cloud(settings) as there:
            talk = await said(there, "speech")
            assert {e.rate for e in talk.audio(1)} == {rate}
            assert seconds(talk, 1) == pytest.approx(len(TEXT.split()) * WORD_MS / 1000, abs=0.02)
            assert there.asked("/audio/speech")[0]["response_format"] == "wav"

    run(check)


def test_raw_audio_has_the_rate_that_is_configured() -> None:
    async def check() -> None:
        with cloud(Settings(speech_rate=22_050, chunk_bytes=333)) as there:
            config = changed(configured(there), sample_rate=22_050, speed=1.25, instructions="Calm")
            async with started(config) as engine, talking(engine) as talk:
                talk.submit(Say(1, TEXT))
                await talk.done(1)
                assert {e.rate for e in talk.audio(1)} == {22_050}
            asked = there.asked("/audio/speech")[0]
            assert asked["response_format"] == "pcm"
            assert asked["speed"] == 1.25
            assert asked["instructions"] == "Calm"

    run(check)


@BOTH
def test_speech_starts_before_it_is_complete(voice: str) -> None:
    async def check() -> None:
        with cloud(Settings(speak_speed=4)) as there:
            async with started(configured(there, voice)) as engine, talking(engine) as talk:
                talk.submit(Say(1, TEXT))
                await talk.first(AnswerAudio)
                assert seconds(talk, 1) < 1
                await talk.done(1)
                assert seconds(talk, 1) > 2

    run(check)


@BOTH
def test_a_cancelled_clause_is_cancelled_there_too(voice: str) -> None:
    async def check() -> None:
        with cloud(Settings(speak_speed=2)) as there:
            async with started(configured(there, voice)) as engine, talking(engine) as talk:
                talk.submit(Say(1, TEXT))
                await talk.first(AnswerAudio)
                talk.submit(CancelAnswer(1), Say(2, "Yes, of course."))
                assert (await talk.done(2)).status == "completed"
                assert seconds(talk, 2) == pytest.approx(3 * WORD_MS / 1000, abs=0.02)
                if voice == "speech":
                    await eventually(lambda: there.fake.visits("/audio/speech")[0].hung_up)
                else:
                    (events,) = there.sockets("gpt-realtime-2.1-mini")
                    assert "response.cancel" in [e.type for e in events]

    run(check)


def test_a_reader_that_begins_with_words_of_its_own_is_told_apart() -> None:
    assert not strays("Hello. What can I do for you?", "Hello, what can I do")
    assert not strays("It is 10:05.", "It is five past ten.")
    assert not strays("Certainly.", "Cert")
    assert strays("It is five past ten.", "Sure! It is five past", complete=False)
    assert strays("Yes.", "Sure! Yes.", complete=True)
    assert strays("It is five past ten.", "Sure, here is the text you asked for:")
    assert strays("It is five past ten.", "I am sorry, I cannot help with that.", complete=True)
    assert not strays(TEXT, TEXT.upper(), complete=True)


def test_rewording_is_noticed() -> None:
    async def check() -> None:
        with cloud(Settings(reword=True)) as there:
            config = configured(there, "reading")
            async with started(config) as engine, talking(engine) as talk:
                talk.submit(Say(1, "Yes."))
                await talk.done(1)
                assert "reworded" in talk.all(EngineDegraded)[0].detail

    run(check)


def test_reading_survives_its_sessions_end() -> None:
    async def check() -> None:
        with cloud() as there:
            async with started(configured(there, "reading")) as engine, talking(engine) as talk:
                talk.submit(Say(1, TEXT))
                await talk.done(1)
                there.does(there.fake.expire_sessions())
                talk.submit(Say(2, TEXT))
                assert (await talk.done(2)).status == "completed"
                assert len(talk.pcm(2)) == len(talk.pcm(1))

    run(check)


@BOTH
def test_start_up_does_not_wait_for_a_dead_vendor(
    voice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def check() -> None:
        with cloud() as there:
            there.fake.plan.fail("speak", Stall(headers=False), times=None)
            with monkeypatch.context() as hasty:
                hasty.setattr("teamscall.engines.openai.engine.PREPARE_S", 0.3)
                async with started(configured(there, voice)) as engine:
                    await engine.prepare([TEXT, "Goodbye."])
                    assert engine.phrase(TEXT) is None
            there.fake.plan.clear()
            async with started(configured(there, voice)) as engine:
                await engine.prepare([TEXT, "Goodbye."])
                assert engine.phrase(TEXT) is not None
                assert engine.phrase("Goodbye.") is not None
            assert not [t for t in asyncio.all_tasks() if "session" in t.get_name()]

    run(check)


@pytest.mark.parametrize(
    ("failure", "status", "words"),
    [
        (Refuse(status=401), "failed", "openai.api_key"),
        (Refuse(status=404), "failed", "response_model"),
        (Refuse(status=500), "completed", ""),
        (Refuse(status=429, retry_after_s=0.1), "completed", ""),
        (Empty(), "failed", "answered nothing"),
        (Drop(after=0.5), "failed", "chat endpoint"),
        (Report(after=0.5), "failed", "chat endpoint"),
    ],
)
def test_thinking_fails_in_its_own_words(failure: Failure, status: str, words: str) -> None:
    async def check() -> None:
        with cloud() as there:
            async with started(configured(there)) as engine, talking(engine) as talk:
                there.fake.plan.fail("think", failure)
                talk.submit(Respond(1, "What time is it?"))
                done = await talk.done(1)
                assert done.status == status
                assert words in done.error
                talk.submit(Respond(2, "And now?"))
                assert (await talk.done(2)).status == "completed"

    run(check)
