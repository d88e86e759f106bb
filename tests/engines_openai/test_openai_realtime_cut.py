"""Realtime mode: interruptions, and what the service is told of what was heard."""

from __future__ import annotations

import asyncio

import pytest
from engines_openai_rig import Cloud, cloud
from engines_rig import Talk, eventually, run, talking
from openai_realtime_rig import (
    ANSWER,
    MODEL,
    QUICK,
    SAID,
    SETTINGS,
    WORD_MS,
    asked,
    engine,
    received,
    sentence,
    stopped,
    told,
)

from teamscall.engines.base import (
    AnswerAudio,
    AnswerDone,
    CancelAnswer,
    EngineFailed,
    Respond,
    Say,
    SpeechStarted,
    TruncateAnswer,
)
from teamscall.testing import Settings

SLOW = Settings(script=SETTINGS.script, speak_speed=8, think_ms=50)


def errors(there: Cloud) -> list[str]:
    """What the service complained of, on all sockets."""
    visits = there.fake.visits("/realtime", "WS")
    return [e.body["error"]["code"] for v in visits for e in v.sent if e.type == "error"]


async def answered(talk: Talk, turn: int, utterance: int) -> None:
    await asked(talk, turn, utterance)
    await talk.done(turn)


def test_an_answer_is_cut_while_it_comes() -> None:
    async def check() -> None:
        with cloud(SLOW) as there:
            async with talking(engine(there)) as talk:
                await asked(talk)
                await talk.until(lambda: len(talk.audio(1)) >= 8)
                heard = talk.audio(1)
                talk.submit(CancelAnswer(1), TruncateAnswer(1, 560, "You said:"))
                assert (await talk.done(1)).status == "cancelled"
                await eventually(lambda: bool(received(there, "conversation.item.truncate")))
                await answered(talk, 2, 2)
                assert talk.audio(1) == heard
                assert SAID[1] in talk.text(2)
            (cut,) = received(there, "conversation.item.truncate")
            assert cut["audio_end_ms"] == 560
            assert len(received(there, "response.cancel")) == 1
            assert not errors(there)

    run(check)


def test_an_answer_is_cut_after_all_of_it_came() -> None:
    async def check() -> None:
        with cloud(SETTINGS) as there:
            async with talking(engine(there)) as talk:
                await answered(talk, 1, 1)
                talk.submit(CancelAnswer(1), TruncateAnswer(1, 560, "You said:"))
                await eventually(lambda: bool(received(there, "conversation.item.truncate")))
                await answered(talk, 2, 2)
                assert len([e for e in talk.all(AnswerDone) if e.turn == 1]) == 1
            assert not received(there, "response.cancel")
            assert received(there, "conversation.item.truncate")[0]["audio_end_ms"] == 560
            assert not errors(there)

    run(check)


def test_no_more_is_said_to_be_heard_than_came() -> None:
    async def check() -> None:
        with cloud(SETTINGS) as there:
            async with talking(engine(there)) as talk:
                await answered(talk, 1, 1)
                talk.submit(TruncateAnswer(1, 1_000_000, ANSWER), Respond(2, "And?"))
                await talk.done(2)
            assert not received(there, "conversation.item.truncate")
            assert not errors(there)

    run(check)


def test_what_was_not_heard_at_all_is_deleted() -> None:
    async def check() -> None:
        with cloud(SETTINGS) as there:
            async with talking(engine(there)) as talk:
                await answered(talk, 1, 1)
                talk.submit(TruncateAnswer(1, 0, ""))
                await eventually(lambda: bool(received(there, "conversation.item.delete")))
            assert not errors(there)

    run(check)


def test_what_is_played_after_all_is_added() -> None:
    async def check() -> None:
        with cloud(SETTINGS) as there:
            async with talking(engine(there)) as talk:
                await answered(talk, 1, 1)
                talk.submit(TruncateAnswer(1, 560, "You said:"))
                talk.submit(TruncateAnswer(1, 1_120, "You said: What time"))
                talk.submit(TruncateAnswer(1, 1_400, "You said: What time is"))
                await eventually(lambda: bool(told(there)) and told(there)[-1][1][-2:] == "is")
            assert told(there) == [("assistant", "What time"), ("assistant", "What time is")]
            assert len(received(there, "conversation.item.delete")) == 1  # of the shorter one
            assert not errors(there)

    run(check)


def test_what_was_said_word_for_word_is_cut_as_text() -> None:
    async def check() -> None:
        with cloud(SETTINGS) as there:
            async with talking(engine(there)) as talk:
                talk.submit(Say(1, "Welcome to the bridge."))
                await talk.done(1)
                talk.submit(TruncateAnswer(1, 500, "Welcome to"))
                talk.submit(Say(2, "Cached phrase.", aloud=False), TruncateAnswer(2, 200, ""))
                await eventually(lambda: len(received(there, "conversation.item.delete")) == 2)
            assert told(there)[:2] == [
                ("assistant", "Welcome to the bridge."),
                ("assistant", "Welcome to"),
            ]
            assert not errors(there)

    run(check)


def test_a_turn_cancelled_before_its_first_sound_leaves_nothing() -> None:
    async def check() -> None:
        with cloud(Settings(script=SETTINGS.script, think_ms=200)) as there:
            async with talking(engine(there)) as talk:
                await asked(talk)
                talk.submit(CancelAnswer(1), TruncateAnswer(1, 0, ""))
                assert (await talk.done(1)).status == "cancelled"
                await answered(talk, 2, 2)
                assert not talk.audio(1)
                assert SAID[1] in talk.text(2)
            assert not errors(there)

    run(check)


def test_a_cancel_that_comes_too_late_is_harmless() -> None:
    """The service has finished and we have not heard of it yet (E8)."""

    async def check() -> None:
        with cloud(SETTINGS) as there:
            async with talking(engine(there)) as talk:
                await asked(talk)
                await talk.first(AnswerAudio)
                talk.submit(CancelAnswer(1), TruncateAnswer(1, 100, "You"))
                assert (await talk.done(1)).status in ("cancelled", "completed")
                await answered(talk, 2, 2)
                assert SAID[1] in talk.text(2)
                assert not talk.all(EngineFailed)
            assert set(errors(there)) <= {"response_cancel_not_active"}

    run(check)


@pytest.mark.parametrize("trial", range(8))
def test_nothing_of_a_cancelled_turn_is_told(trial: int) -> None:
    async def check() -> None:
        with cloud(Settings(script=SETTINGS.script, speak_speed=20, delta_ms=20)) as there:
            async with talking(engine(there)) as talk:
                await asked(talk)
                await talk.until(lambda: len(talk.audio(1)) > trial)
                before = len(talk.audio(1)), talk.text(1)
                talk.submit(CancelAnswer(1), TruncateAnswer(1, 20 * trial, ""))
                talk.submit(Respond(2, "Go on."))
                await talk.done(2)
                assert (len(talk.audio(1)), talk.text(1)) == before
                (done,) = (e for e in talk.all(AnswerDone) if e.turn == 1)
                assert done.status == "cancelled"
                assert talk.events.index(done) < talk.events.index(talk.audio(2)[0])
            assert set(errors(there)) <= {"response_cancel_not_active"}

    run(check)


def test_a_forgotten_turn_leaves_neither_question_nor_answer() -> None:
    async def check() -> None:
        with cloud(SETTINGS) as there:
            async with talking(engine(there)) as talk:
                talk.submit(Respond(1, "What time is"))
                await talk.done(1)
                talk.submit(CancelAnswer(1, forget=True))
                await eventually(lambda: len(received(there, "conversation.item.delete")) == 2)
            assert not errors(there)

    run(check)


def test_a_caller_who_goes_on_is_answered_once() -> None:
    async def check() -> None:
        with cloud(SLOW) as there:
            async with talking(engine(there)) as talk:
                await asked(talk)
                talk.submit(*sentence()[:40])
                await talk.first(SpeechStarted, 2)
                talk.submit(CancelAnswer(1), TruncateAnswer(1, 0, ""))
                talk.submit(*sentence())
                await stopped(talk, 2)
                talk.submit(Respond(2, "", 2))
                assert (await talk.done(2)).status == "completed"
                assert (await talk.done(1)).status == "cancelled"
            assert len(there.sockets(MODEL)) == 1

    run(check)


def test_an_answer_that_will_not_stop_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that takes the cancellation and says nothing: the next turn is asked for."""

    async def check() -> None:
        with cloud(SLOW) as there:
            async with talking(engine(there, waits=QUICK)) as talk:
                await asked(talk)
                await talk.first(AnswerAudio)
                # What the service says of it is lost on the way.
                answers = talk.session._answers  # type: ignore[attr-defined]
                done = answers._response_done
                monkeypatch.setattr(answers, "_response_done", lambda event: None)
                talk.submit(CancelAnswer(1), Respond(2, "Go on."))
                await eventually(lambda: len(received(there, "response.create")) == 2)
                monkeypatch.setattr(answers, "_response_done", done)
                assert (await talk.done(2)).status == "completed"

    run(check)


def test_a_service_that_is_still_answering_is_asked_again() -> None:
    async def check() -> None:
        with cloud(SLOW) as there:
            async with talking(engine(there)) as talk:
                await asked(talk)
                await talk.first(AnswerAudio)
                # As if somebody else had asked: our own turn is over, the service's is not.
                talk.session._answers._current = None  # type: ignore[attr-defined]
                talk.submit(Respond(2, "Go on."))
                assert (await talk.done(2)).status == "completed"
            assert "conversation_already_has_active_response" in errors(there)

    run(check)


STRAY = (
    '{"type":"response.create","response":{"conversation":"none","input":[],'
    '"instructions":"Read this aloud, word for word: This belongs to nobody."}}'
)


def test_a_stray_response_beside_an_answer_is_not_played() -> None:
    async def check() -> None:
        with cloud(SLOW) as there:
            async with talking(engine(there)) as talk:
                await asked(talk)
                await talk.first(AnswerAudio)
                talk.session._line.send(STRAY)  # type: ignore[attr-defined]
                assert (await talk.done(1)).status == "completed"
                assert talk.text(1) == ANSWER
                assert len(talk.pcm(1)) // 48 == len(ANSWER.split()) * WORD_MS
            assert len(received(there, "response.create")) == 2

    run(check)


def test_a_stray_response_is_not_played() -> None:
    async def check() -> None:
        with cloud(SETTINGS) as there:
            async with talking(engine(there)) as talk:
                await asked(talk)
                await talk.done(1)
                line = talk.session._line  # type: ignore[attr-defined]
                line.send('{"type":"response.create"}')
                await eventually(lambda: bool(received(there, "response.cancel")))
                before = len(talk.all(AnswerAudio))
                await asyncio.sleep(0.05)
                assert len(talk.all(AnswerAudio)) == before

    run(check)
