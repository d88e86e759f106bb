"""The ear over real sockets: what is sent, what comes back, and every way it fails."""

from __future__ import annotations

import logging

import pytest
from engines_openai_rig import Cloud, cloud, configured, started, utterance, voice
from engines_rig import Talk, run, talking

from teamscall.engines.base import (
    BeginUtterance,
    CommitUtterance,
    DiscardHeard,
    EngineDegraded,
    EngineFailed,
    EngineReady,
    Hear,
    Transcript,
)
from teamscall.engines.openai import ear as openai_ear
from teamscall.engines.openai import transcription
from teamscall.errors import EngineError
from teamscall.testing import Drop, Refuse, Report, Script, Settings, Stall

SAID = ("What time is it?", "And tomorrow?", "Goodbye then.")
SETTINGS = Settings(script=Script(hears=SAID))


def finals(talk: Talk) -> list[tuple[int, str]]:
    return [(e.utterance, e.text) for e in talk.all(Transcript) if e.final]


def audio_ms(cloud: Cloud) -> list[int]:
    """Milliseconds of audio that came in, per transcription socket."""
    return [sum(e.audio_bytes for e in events) // 48 for events in cloud.sockets()]


async def heard(talk: Talk, count: int = 1) -> list[tuple[int, str]]:
    await talk.until(lambda: len(finals(talk)) >= count)
    return finals(talk)


def test_only_utterances_are_sent_and_all_of_them() -> None:
    async def check() -> None:
        with cloud(SETTINGS) as there:
            async with started(configured(there)) as engine, talking(engine) as talk:
                await talk.first(EngineReady)
                talk.submit(*[Hear(bytes(640))] * 500)  # 10 s of silence
                talk.submit(*utterance(1))
                talk.submit(*[Hear(bytes(640))] * 100)
                assert await heard(talk) == [(1, SAID[0])]
                talk.submit(*utterance(2))
                assert await heard(talk, 2) == [(1, SAID[0]), (2, SAID[1])]
            (sent,) = audio_ms(there)
            spoken = len(voice()) // 32
            assert 2 * (spoken + 500) - 100 <= sent <= 2 * (spoken + 500) + 100
            (visit,) = there.fake.visits("/realtime", "WS")
            assert "openai-beta" not in {name.lower() for name in visit.headers}
            assert visit.query == {"intent": "transcription", "model": "gpt-live-transcribe"}

    run(check)


def test_words_come_while_the_caller_speaks() -> None:
    async def check() -> None:
        with cloud(SETTINGS) as there:
            async with started(configured(there)) as engine, talking(engine) as talk:
                await talk.first(EngineReady)
                talk.submit(*utterance(1, voice(12))[:-1])
                await talk.first(Transcript)
                assert not talk.all(Transcript)[0].final
                talk.submit(CommitUtterance(1))
                await heard(talk)
                partials = [e.text for e in talk.all(Transcript) if not e.final]
                assert partials == sorted(partials, key=len)

    run(check)


def test_a_classic_model_and_a_language_are_sent_as_it_wants_them() -> None:
    async def check() -> None:
        with cloud(SETTINGS) as there:
            for model, field in (
                ("gpt-4o-transcribe", {"language": "de"}),
                ("gpt-transcribe", {"languages": ["de"]}),
            ):
                config = configured(there, stt_model=model, language="de-AT")
                async with started(config) as engine, talking(engine) as talk:
                    talk.submit(*utterance(1))
                    assert await heard(talk)
                    (update,) = there.fake.visits("/realtime", "WS")[-1].received("session.update")
                    wanted = update["session"]["audio"]["input"]["transcription"]
                    assert wanted == {"model": model, **field}

    run(check)


def test_too_little_audio_is_not_committed() -> None:
    async def check() -> None:
        with cloud(SETTINGS) as there:
            async with started(configured(there)) as engine, talking(engine) as talk:
                await talk.first(EngineReady)
                talk.submit(BeginUtterance(1), Hear(bytes(1280)), CommitUtterance(1))
                talk.submit(CommitUtterance(2))
                assert await heard(talk, 2) == [(1, ""), (2, "")]
                talk.submit(*utterance(3))
                assert (3, SAID[0]) in await heard(talk, 3)

    run(check)


def test_discarded_audio_is_cleared_there_too() -> None:
    async def check() -> None:
        with cloud(SETTINGS) as there:
            async with started(configured(there)) as engine, talking(engine) as talk:
                await talk.first(EngineReady)
                talk.submit(*utterance(1)[:-1], DiscardHeard())
                talk.submit(*utterance(2))
                assert await heard(talk) == [(2, SAID[0])]
            (events,) = there.sockets()
            assert [e.type for e in events].count("input_audio_buffer.clear") == 1

    run(check)


def test_a_long_utterance_is_committed_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openai_ear, "PIECE_BYTES", 48_000)
    monkeypatch.setattr(openai_ear, "MAX_PIECE_BYTES", 96_000)

    async def check() -> None:
        with cloud(SETTINGS) as there:
            async with started(configured(there)) as engine, talking(engine) as talk:
                await talk.first(EngineReady)
                pause = bytes(640 * 20)
                talk.submit(*utterance(1, voice(4) + pause + voice(4) + pause + voice(1)))
                assert await heard(talk) == [(1, " ".join(SAID))]

    run(check)


@pytest.mark.parametrize("code", [1006, 1001, 1011])
def test_a_lost_socket_costs_no_word_and_repeats_none(code: int) -> None:
    async def check() -> None:
        with cloud(SETTINGS) as there:
            async with started(configured(there)) as engine, talking(engine) as talk:
                await talk.first(EngineReady)
                talk.submit(*utterance(1))
                await heard(talk)
                commands = utterance(2, voice(8))
                talk.submit(*commands[:80])
                await talk.until(lambda: len(talk.all(Transcript)) > 4)
                there.does(there.fake.drop_sockets(code))
                degraded = await talk.first(EngineDegraded)
                assert degraded.waited_ms < 1000
                assert "sent again" in degraded.detail
                talk.submit(*commands[80:])
                # A new session's ear begins its script anew, with one line per commit.
                assert await heard(talk, 2) == [(1, SAID[0]), (2, SAID[0])]
            whole = len(voice(8)) // 32  # once, with what was sent before the loss
            assert whole - 100 <= audio_ms(there)[1] <= whole + 100
            assert not talk.all(EngineFailed)

    run(check)


def test_an_expired_session_is_opened_again() -> None:
    async def check() -> None:
        with cloud(SETTINGS) as there:
            async with started(configured(there)) as engine, talking(engine) as talk:
                await talk.first(EngineReady)
                there.does(there.fake.expire_sessions())
                await talk.first(EngineDegraded)
                talk.submit(*utterance(1))
                assert await heard(talk) == [(1, SAID[0])]

    run(check)


def test_a_socket_lost_between_commit_and_transcript() -> None:
    async def check() -> None:
        with cloud(SETTINGS) as there:
            there.fake.plan.fail("hear", Drop(after=0.5, code=1011))
            async with started(configured(there)) as engine, talking(engine) as talk:
                talk.submit(*utterance(1))
                ((number, text),) = await heard(talk)
                assert number == 1
                assert text in SAID

    run(check)


@pytest.mark.parametrize("failure", [Stall(), Stall(after=0.5), Report(code="server_error")])
def test_a_recogniser_that_says_nothing_is_asked_again(
    failure: Stall | Report, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transcription, "PROGRESS_S", 0.3)

    async def check() -> None:
        with cloud(SETTINGS) as there:
            there.fake.plan.fail("hear", failure)
            async with started(configured(there)) as engine, talking(engine) as talk:
                await talk.first(EngineReady)
                talk.submit(*utterance(1))
                ((_, text),) = await heard(talk)
                assert text in SAID
                assert len(there.sockets()) == 2
                assert not talk.all(EngineFailed)

    run(check)


def test_a_recogniser_that_never_says_anything_is_given_up_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(transcription, "PROGRESS_S", 0.2)

    async def check() -> None:
        with cloud(SETTINGS) as there:
            there.fake.plan.fail("hear", Stall(), times=2)
            async with started(configured(there)) as engine, talking(engine) as talk:
                talk.submit(*utterance(1))
                assert await heard(talk) == [(1, "")] or finals(talk)[0][1] in SAID[0]
                assert talk.all(EngineFailed)[0].stage == "hear"
                assert not talk.all(EngineFailed)[0].fatal
                talk.submit(*utterance(2))
                assert (await heard(talk, 2))[1][1] in SAID

    run(check)


@pytest.mark.parametrize(
    ("key", "model", "failure", "words"),
    [
        ("sk-wrong", "", None, "openai.api_key"),
        ("", "no-such-model", None, "streaming.stt_model"),
        ("", "", Refuse(status=403), "openai.api_key"),
        ("", "", Refuse(status=404), "streaming.stt_model"),
    ],
)
def test_what_no_retry_mends_is_fatal_and_names_the_setting(
    key: str, model: str, failure: Refuse | None, words: str
) -> None:
    async def check() -> None:
        with cloud(SETTINGS) as there:
            if failure is not None:
                there.fake.plan.fail("hear", failure, times=None)
            async with started(configured(there, key=key, stt_model=model)) as engine:
                talk = Talk(engine)
                with pytest.raises(EngineError, match=words):
                    await talk.session.run()
                failed = talk.all(EngineFailed)
                assert failed[0].fatal
                assert words in failed[0].detail
                assert "sk-" not in failed[0].detail
                await talk.session.close()
            assert len(there.fake.visits("/realtime")) == 1

    run(check)


@pytest.mark.parametrize(
    "failure", [Refuse(status=500), Refuse(status=503), Refuse(status=429, retry_after_s=0.2)]
)
def test_what_a_retry_mends_is_tried_again(failure: Refuse) -> None:
    async def check() -> None:
        with cloud(SETTINGS) as there:
            there.fake.plan.fail("hear", failure, times=2)
            async with started(configured(there)) as engine, talking(engine) as talk:
                talk.submit(*utterance(1))
                assert await heard(talk) == [(1, SAID[0])]
                visits = there.fake.visits("/realtime")
                assert len(visits) == 3
                if failure.retry_after_s:
                    assert visits[1].at - visits[0].at >= failure.retry_after_s

    run(check)


def test_nobody_there_is_fatal_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("teamscall.engines.openai.engine.PATIENCE_S", 0.5)

    async def check() -> None:
        with cloud() as there:
            config = configured(there)
        async with started(config) as engine:
            talk = Talk(engine)
            with pytest.raises(EngineError, match="no connection"):
                await talk.session.run()
            await talk.session.close()

    run(check)


def test_noise_that_becomes_words_is_dropped() -> None:
    async def check() -> None:
        settings = Settings(silence_transcript="Thank you for watching!")
        with cloud(settings) as there:
            async with started(configured(there)) as engine, talking(engine) as talk:
                await talk.first(EngineReady)
                talk.submit(*utterance(1, bytes(640 * 30)))
                assert await heard(talk) == [(1, "")]

    run(check)


def test_no_key_and_no_word_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def check() -> None:
        with cloud(SETTINGS) as there:
            leaky = f"Incorrect key {there.fake.api_key}: {SAID[0]}"
            there.fake.plan.fail("hear", Report(code="server_error", message=leaky))
            async with started(configured(there)) as engine, talking(engine) as talk:
                talk.submit(*utterance(1))
                await heard(talk)
                told = repr([e for e in talk.events if not isinstance(e, Transcript)])
            logged = " ".join(str(record.__dict__) for record in caplog.records)
            for text in (logged, told):
                assert there.fake.api_key not in text
                assert SAID[0] not in text

    with caplog.at_level(logging.DEBUG, logger="teamscall"):
        run(check)
