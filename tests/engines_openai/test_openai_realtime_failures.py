"""Realtime mode when the service fails: stalls, losses, refusals, renewals, nonsense."""

from __future__ import annotations

import json
import logging
import time

import pytest
from engines_openai_rig import cloud, utterance, voice
from engines_rig import Talk, eventually, run, talking
from openai_realtime_rig import (
    LOCAL,
    MODEL,
    QUICK,
    SAID,
    SERVER,
    SETTINGS,
    WORD_MS,
    asked,
    audio_ms,
    engine,
    frames,
    received,
    sentence,
    silence,
    stopped,
    told,
    words_of,
)

from teamscall.engines.base import (
    AnswerAudio,
    AnswerDone,
    CallBrief,
    EngineDegraded,
    EngineFailed,
    EngineReady,
    Respond,
    Say,
    SpeechStarted,
    SpeechStopped,
    Transcript,
    TruncateAnswer,
)
from teamscall.engines.openai.messages import Detection, ServerEvent, read
from teamscall.engines.openai.realtime_waits import Waits
from teamscall.errors import EngineError
from teamscall.testing import Drop, Empty, Failure, Refuse, Report, Settings, Stall

DETECTIONS = pytest.mark.parametrize("detection", [SERVER, LOCAL], ids=["server", "local"])


async def ask(talk: Talk, detection: Detection, turn: int = 1) -> None:
    if detection.kind != "local":
        await asked(talk, turn, turn)
    else:
        talk.submit(*utterance(turn), Respond(turn, "", turn))


# --- answers --------------------------------------------------------------------------------


@DETECTIONS
@pytest.mark.parametrize("failure", [Stall(), Empty(), Report(), Drop(), Drop(code=1011)])
def test_an_answer_without_sound_is_asked_for_again(failure: Failure, detection: Detection) -> None:
    async def check() -> None:
        with cloud(SETTINGS) as there:
            there.fake.plan.fail("session", failure)
            async with talking(engine(there, detection, waits=QUICK)) as talk:
                await ask(talk, detection)
                assert (await talk.done(1)).status == "completed"
                # The next session hears its script from the beginning.
                assert SAID[0] in talk.text(1)
                assert await words_of(talk, 1) == SAID[0]
                assert len(talk.pcm(1)) // 48 == len(talk.text(1).split()) * WORD_MS
                assert talk.all(EngineDegraded)
                assert not talk.all(EngineFailed)

    run(check)


@pytest.mark.parametrize("failure", [Stall(), Empty(), Report(), Drop()])
def test_it_is_asked_for_twice_and_no_more(failure: Failure) -> None:
    async def check() -> None:
        with cloud(SETTINGS) as there:
            there.fake.plan.fail("session", failure, times=2)
            async with talking(engine(there, waits=QUICK)) as talk:
                await asked(talk)
                done = await talk.done(1)
                assert done.status == "failed"
                assert done.error
                assert not talk.audio(1)
                assert talk.all(EngineFailed)
                talk.submit(Respond(2, "Hello?"))
                assert (await talk.done(2)).status == "completed"

    run(check)


@pytest.mark.parametrize("failure", [Stall(after=0.5), Report(after=0.5), Drop(after=0.5)])
def test_after_partial_audio_it_is_not_asked_for_again(failure: Failure) -> None:
    async def check() -> None:
        with cloud(SETTINGS) as there:
            there.fake.plan.fail("session", failure)
            async with talking(engine(there, waits=QUICK)) as talk:
                await asked(talk)
                assert (await talk.done(1)).status == "failed"
                spoken = talk.pcm(1)
                assert 0 < len(spoken) // 48 < 14 * WORD_MS
                talk.submit(TruncateAnswer(1, 560, "You said:"))
                talk.submit(Respond(2, "Hello?"))
                assert (await talk.done(2)).status == "completed"
                assert talk.pcm(1) == spoken
                if not isinstance(failure, Report):
                    # The session after it knows what was heard, and in which order.
                    assert told(there)[:2] == [("user", SAID[0]), ("assistant", told(there)[1][1])]
                    assert ("assistant", "You said:") in told(there)

    run(check)


@pytest.mark.parametrize("failure", [Stall(), Empty(), Report(), Drop()])
def test_what_is_to_be_said_is_said_in_the_end(failure: Failure) -> None:
    async def check() -> None:
        with cloud(SETTINGS) as there:
            there.fake.plan.fail("speak", failure)
            async with talking(engine(there, waits=QUICK)) as talk:
                talk.submit(Say(1, "Welcome to the bridge."))
                assert (await talk.done(1)).status == "completed"
                assert len(talk.pcm(1)) // 48 == 4 * WORD_MS
                assert talk.text(1) == "Welcome to the bridge."

    run(check)


def test_a_text_that_is_reworded_is_asked_for_again_and_told() -> None:
    async def check() -> None:
        with cloud(Settings(reword=True)) as there:
            async with talking(engine(there)) as talk:
                talk.submit(Say(1, "Welcome to the bridge, dear caller."))
                assert (await talk.done(1)).status == "completed"
                assert [e.stage for e in talk.all(EngineDegraded)] == ["speak"]

    run(check)


# --- sessions that are lost -----------------------------------------------------------------


@pytest.mark.parametrize("code", [1006, 1001, 1011])
@DETECTIONS
def test_a_socket_lost_in_mid_sentence_costs_no_word(detection: Detection, code: int) -> None:
    async def check() -> None:
        with cloud(SETTINGS) as there:
            async with talking(engine(there, detection)) as talk:
                await ask(talk, detection)
                await talk.done(1)
                await words_of(talk, 1)
                whole = frames(voice(8))
                if detection.kind == "local":
                    whole = utterance(2, voice(8))
                talk.submit(*whole[:70])
                if detection.kind == "server":
                    await talk.first(SpeechStarted, 2)
                else:
                    await talk.until(lambda: any(e.utterance == 2 for e in talk.all(Transcript)))
                there.does(there.fake.drop_sockets(code))
                degraded = await talk.first(EngineDegraded)
                assert degraded.waited_ms < 1000
                assert "sent again" in degraded.detail
                talk.submit(*whole[70:])
                if detection.kind == "server":
                    talk.submit(*frames(silence(600)))
                    await stopped(talk, 2)
                assert await words_of(talk, 2) == SAID[0]
                talk.submit(Respond(2, "", 2))
                assert (await talk.done(2)).status == "completed"
                assert SAID[0] in talk.text(2)
                if detection.kind == "server":
                    assert [e.utterance for e in talk.all(SpeechStarted)] == [1, 2]
                    assert [e.utterance for e in talk.all(SpeechStopped)] == [1, 2]
            # The caller's words once, with what was before them and the pause after them.
            again = audio_ms(there.sockets(MODEL)[1])
            assert 8 * WORD_MS - 20 <= again <= 8 * WORD_MS + 1_200
            assert told(there)[0] == ("user", SAID[0])
            assert told(there)[1][0] == "assistant"
            assert not talk.all(EngineFailed)

    run(check)


def test_a_sentence_that_was_not_answered_yet_is_heard_by_the_next_session() -> None:
    async def check() -> None:
        with cloud(Settings(script=SETTINGS.script, hear_ms=5_000)) as there:
            async with talking(engine(there, waits=QUICK)) as talk:
                talk.submit(*sentence())
                await stopped(talk)
                there.does(there.fake.drop_sockets(1006))
                await talk.first(EngineDegraded)
                talk.submit(Respond(1, "", 1))
                assert (await talk.done(1)).status == "completed"
                assert SAID[0] in talk.text(1)
                assert await words_of(talk, 1) == ""  # its transcript never came
                assert [e.utterance for e in talk.all(SpeechStarted)] == [1]
                assert [e.utterance for e in talk.all(SpeechStopped)] == [1]
            updates = received(there, "session.update")
            detections = [
                update["session"]["audio"]["input"]["turn_detection"]
                for update in updates
                if "audio" in update["session"]
            ]
            assert [found is None for found in detections] == [False, True, False]
            assert detections[0] == detections[2]

    run(check)


def test_a_session_that_takes_audio_and_hears_nothing_is_left() -> None:
    async def check() -> None:
        with cloud(SETTINGS) as there:
            there.fake.plan.fail("session", Stall(at="connect"))
            async with talking(engine(there, waits=QUICK)) as talk:
                await talk.first(EngineReady)
                talk.submit(*sentence(6))
                await stopped(talk)
                assert await words_of(talk, 1) == SAID[0]
                talk.submit(Respond(1, "", 1))
                assert (await talk.done(1)).status == "completed"
                assert len(there.sockets(MODEL)) == 2

    run(check)


@pytest.mark.parametrize("backed", [False, True])
def test_a_service_that_goes_on_hearing_nothing_is_told_of(backed: bool) -> None:
    """The second session is sent what the first did not hear: nobody must say it again to
    find out. With another engine behind it, it gives way."""

    async def check() -> None:
        with cloud(SETTINGS) as there:
            there.fake.plan.fail("session", Stall(at="connect"), times=None)
            brief = CallBrief("call-1", backed=backed)
            async with talking(engine(there, waits=QUICK), brief) as talk:
                await talk.first(EngineReady)
                talk.submit(*sentence(6))
                await talk.until(lambda: bool(talk.all(EngineFailed)))
                first = talk.all(EngineFailed)[0]
                assert (first.stage, first.fatal) == ("hear", False)
                await talk.until(lambda: talk.all(EngineFailed)[-1].fatal == backed)
                assert len(there.sockets(MODEL)) >= 2

    run(check)


def test_with_another_engine_behind_it_a_stall_is_not_waited_for_twice() -> None:
    async def check() -> None:
        with cloud(SETTINGS) as there:
            there.fake.plan.fail("session", Stall(), times=None)
            brief = CallBrief("call-1", backed=True)
            async with talking(engine(there, waits=QUICK), brief) as talk:
                await asked(talk)
                assert (await talk.done(1)).status == "failed"
                assert len(received(there, "response.create", 0)) == 1
                assert not received(there, "response.create", -1) or len(there.sockets(MODEL)) == 1

    run(check)


def test_a_stall_in_mid_sentence_is_noticed_by_its_own_deadline() -> None:
    """Not by the longer one of the first sound, which was set before."""

    async def check() -> None:
        waits = Waits(first_audio=30.0, next_audio=0.3)
        with cloud(SETTINGS) as there:
            there.fake.plan.fail("session", Stall(after=0.5))
            async with talking(engine(there, waits=waits)) as talk:
                await asked(talk)
                assert (await talk.done(1)).status == "failed"
                assert talk.audio(1)

    run(check)


def test_a_transcript_that_never_comes_is_empty() -> None:
    async def check() -> None:
        with cloud(SETTINGS) as there:
            there.fake.plan.fail("hear", Stall())
            async with talking(engine(there, waits=QUICK)) as talk:
                await asked(talk)
                assert (await talk.done(1)).status == "completed"
                assert await words_of(talk, 1) == ""
                assert [e.stage for e in talk.all(EngineFailed)] == ["hear"]
                assert len(there.sockets(MODEL)) == 1

    run(check)


# --- the time limit -------------------------------------------------------------------------


@DETECTIONS
def test_a_session_is_renewed_in_a_pause_and_nobody_notices(detection: Detection) -> None:
    async def check() -> None:
        with cloud(SETTINGS) as there:
            async with talking(engine(there, detection, renew_after_s=0.5)) as talk:
                await ask(talk, detection)
                await talk.done(1)
                await words_of(talk, 1)
                talk.submit(*frames(silence(600)))
                await eventually(lambda: len(there.sockets(MODEL)) >= 2)
                line = talk.session._line  # type: ignore[attr-defined]
                await eventually(lambda: line.renewals >= 1)
                await ask(talk, detection, 2)
                assert (await talk.done(2)).status == "completed"
                talk.submit(TruncateAnswer(1, 560, "You said:"))
                await eventually(lambda: ("assistant", "You said:") in told(there))
                assert not talk.all(EngineDegraded)
                assert not talk.all(EngineFailed)
                assert len(talk.all(EngineReady)) == 1
            assert told(there)[0] == ("user", SAID[0])
            first = there.fake.visits("/realtime", "WS")[0]
            assert first.close_code == 1000

    run(check)


def test_a_session_is_not_renewed_while_somebody_speaks() -> None:
    async def check() -> None:
        settings = Settings(script=SETTINGS.script, speak_speed=8)
        with cloud(settings) as there:
            async with talking(engine(there, renew_after_s=0.2)) as talk:
                await asked(talk, words=8)
                await talk.first(AnswerAudio)
                line = talk.session._line  # type: ignore[attr-defined]
                await eventually(lambda: len(there.sockets(MODEL)) == 2)
                assert line.renewals == 0 or talk.all(AnswerDone)
                assert (await talk.done(1)).status == "completed"
                await words_of(talk, 1)
                talk.submit(*frames(silence(600)))
                await eventually(lambda: line.renewals >= 1)

    run(check)


def test_the_service_says_when_a_session_ends() -> None:
    async def check() -> None:
        with cloud(Settings(script=SETTINGS.script, session_s=3)) as there:
            async with talking(engine(there)) as talk:
                await asked(talk)
                await talk.done(1)
                await words_of(talk, 1)
                talk.submit(*frames(silence(600)))
                line = talk.session._line  # type: ignore[attr-defined]
                await eventually(lambda: line.renewals >= 1)
                await asked(talk, 2, 2)
                assert (await talk.done(2)).status == "completed"
                assert not talk.all(EngineDegraded)

    run(check)


def test_a_session_that_expired_is_opened_again() -> None:
    async def check() -> None:
        with cloud(SETTINGS) as there:
            async with talking(engine(there)) as talk:
                await asked(talk)
                await talk.done(1)
                await words_of(talk, 1)
                talk.submit(*frames(silence(5_000)))
                there.does(there.fake.expire_sessions())
                await talk.first(EngineDegraded)
                # In what the last session has heard already there was nothing.
                await eventually(lambda: audio_ms(there.sockets(MODEL)[1]) > 0)
                assert audio_ms(there.sockets(MODEL)[1]) <= 1_000
                await asked(talk, 2, 2)
                assert (await talk.done(2)).status == "completed"
                assert told(there)[0] == ("user", SAID[0])

    run(check)


def test_a_renewal_that_fails_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("teamscall.engines.openai.realtime_line.RETRY_S", 0.2)

    async def check() -> None:
        with cloud(SETTINGS) as there:
            async with talking(engine(there, renew_after_s=0.3)) as talk:
                await talk.first(EngineReady)
                there.fake.plan.fail("session", Refuse(status=403))
                degraded = await talk.first(EngineDegraded)
                assert "renewed" in degraded.detail
                line = talk.session._line  # type: ignore[attr-defined]
                await eventually(lambda: line.renewals >= 1)
                await asked(talk)
                assert (await talk.done(1)).status == "completed"

    run(check)


# --- refusals -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "model", "failure", "words"),
    [
        ("sk-wrong", MODEL, None, "openai.api_key"),
        ("", "no-such-model", None, "realtime.model"),
        ("", MODEL, Refuse(status=403), "openai.api_key"),
    ],
)
def test_what_no_retry_mends_is_fatal_and_names_the_setting(
    key: str, model: str, failure: Refuse | None, words: str
) -> None:
    async def check() -> None:
        with cloud(SETTINGS) as there:
            if failure is not None:
                there.fake.plan.fail("session", failure, times=None)
            talk = Talk(engine(there, key=key, model=model))
            with pytest.raises(EngineError, match=words):
                await talk.session.run()
            (failed,) = talk.all(EngineFailed)
            assert failed.fatal
            assert words in failed.detail
            assert "sk-" not in failed.detail
            await talk.session.close()
            assert len(there.fake.visits("/realtime")) == 1

    run(check)


def test_too_many_requests_are_retried_when_the_service_says() -> None:
    async def check() -> None:
        with cloud(SETTINGS) as there:
            failure = Refuse(status=429, retry_after_s=0.3)
            there.fake.plan.fail("session", failure, times=2)
            async with talking(engine(there)) as talk:
                await asked(talk)
                assert (await talk.done(1)).status == "completed"
                first, second, third = there.fake.visits("/realtime")
                assert second.at - first.at >= 0.3
                assert third.at - second.at >= 0.3

    run(check)


# --- nonsense -------------------------------------------------------------------------------

HOSTILE = (
    {"type": "session.invented", "delta": "x"},
    {"type": "response.created"},
    {"type": "response.created", "response": {"id": "resp_other"}},
    {"type": "response.done"},
    {"type": "response.done", "response": {"id": "resp_other", "status": "completed"}},
    {"type": "response.done", "response": {"id": "r", "usage": "none", "output": 3}},
    {"type": "response.output_audio.delta", "response_id": "resp_other", "delta": "AAAA"},
    {"type": "response.output_audio.delta"},
    {"type": "response.output_item.done", "response_id": "resp_other", "item": []},
    {"type": "input_audio_buffer.speech_stopped", "item_id": "unknown"},
    {"type": "input_audio_buffer.speech_stopped"},
    {"type": "input_audio_buffer.committed", "item_id": "unknown"},
    {"type": "conversation.item.input_audio_transcription.delta", "delta": "words"},
    {"type": "conversation.item.input_audio_transcription.completed", "item_id": "unknown"},
    {"type": "conversation.item.input_audio_transcription.failed", "item_id": "unknown"},
    {"type": "session.updated", "session": {"expires_at": 9e99}},
    {"type": "error", "error": {"type": "x", "code": "y", "event_id": "answer-99"}},
    {"type": "error"},
)


@DETECTIONS
def test_events_that_make_no_sense_change_nothing(detection: Detection) -> None:
    async def check() -> None:
        with cloud(Settings(script=SETTINGS.script, speak_speed=20)) as there:
            async with talking(engine(there, detection)) as talk:
                await talk.first(EngineReady)
                session = talk.session
                # Where we commit, an item that is not known yet may well be ours.
                hostile = [
                    read(json.dumps(event))
                    for event in HOSTILE
                    if detection.kind == "server" or event.get("item_id") != "unknown"
                ]
                assert all(isinstance(event, ServerEvent) for event in hostile)

                def strike() -> None:
                    for event in hostile:
                        session._received(event)  # type: ignore[attr-defined]

                strike()
                await ask(talk, detection)
                strike()
                await talk.first(AnswerAudio)
                strike()
                assert (await talk.done(1)).status == "completed"
                assert len(talk.pcm(1)) // 48 == len(talk.text(1).split()) * WORD_MS
                assert await words_of(talk, 1) == SAID[0]

    run(check)


def test_no_key_and_no_word_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def check() -> None:
        with cloud(SETTINGS) as there:
            leaky = f"Incorrect key {there.fake.api_key}: {SAID[0]}"
            there.fake.plan.fail("session", Report(code="server_error", message=leaky), times=2)
            async with talking(engine(there)) as talk:
                await asked(talk)
                await talk.done(1)
                await words_of(talk, 1)
                told_of = repr([e for e in talk.events if not isinstance(e, Transcript)])
            logged = " ".join(str(record.__dict__) for record in caplog.records)
            for text in (logged, told_of):
                assert there.fake.api_key not in text
                assert SAID[0] not in text

    with caplog.at_level(logging.DEBUG, logger="teamscall"):
        run(check)


def test_nobody_there_is_fatal_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("teamscall.engines.openai.realtime.PATIENCE_S", 0.5)

    async def check() -> None:
        with cloud() as there:
            realtime = engine(there)
        talk = Talk(realtime)
        began = time.monotonic()
        with pytest.raises(EngineError, match="no connection"):
            await talk.session.run()
        assert time.monotonic() - began < 30
        assert [e.fatal for e in talk.all(EngineFailed)] == [True]
        assert not talk.all(AnswerDone)
        await talk.session.close()
        assert realtime.open(CallBrief("call-2"), lambda event: None)

    run(check)
