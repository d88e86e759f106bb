"""What is opened ahead of a call: taken by it, let go of without one, and never too many."""

from __future__ import annotations

import asyncio
import logging

import pytest
from engines_openai_rig import Cloud, cloud, configured, started, utterance
from engines_rig import eventually, run, talking

from teamscall.engines.base import AnswerDone, EngineReady, Respond, Transcript
from teamscall.engines.home import Home
from teamscall.engines.openai import warm
from teamscall.engines.openai.engine import OpenAIEngine
from teamscall.testing import Refuse, Script, Settings

SETTINGS = Settings(script=Script(hears=("What time is it?",)))


def opened(there: Cloud) -> int:
    return len(there.fake.visits("/realtime", "WS"))


def configured_sockets(there: Cloud) -> int:
    return sum("session.update" in [e.type for e in events] for events in there.sockets())


def ready(engine: OpenAIEngine) -> int:
    """Sessions of the recogniser that are there, or on their way."""
    return len(engine._hear_sessions.ahead)


async def warmed(engine: OpenAIEngine, there: Cloud) -> None:
    engine.warm()
    await eventually(lambda: configured_sockets(there) > 0)


def test_a_call_takes_what_was_opened_ahead() -> None:
    async def check() -> None:
        with cloud(SETTINGS) as there:
            async with started(configured(there)) as engine:
                await warmed(engine, there)
                async with talking(engine) as talk:
                    talk.submit(*utterance(1))
                    await talk.until(lambda: any(e.final for e in talk.all(Transcript)))
                    assert talk.all(Transcript)[-1].text == "What time is it?"
                assert opened(there) == 1
                assert ready(engine) == 0

    run(check)


def test_a_call_waits_for_what_is_being_opened_instead_of_opening_another() -> None:
    async def check() -> None:
        with cloud(SETTINGS) as there:
            async with started(configured(there)) as engine:
                engine.warm()
                async with talking(engine) as talk:
                    await talk.first(EngineReady)
                assert opened(there) == 1

    run(check)


def test_the_voice_s_session_is_opened_ahead_too() -> None:
    async def check() -> None:
        with cloud(SETTINGS) as there:
            async with started(configured(there, "reading")) as engine:
                engine.warm()
                await eventually(lambda: opened(there) == 2)
                async with talking(engine) as talk:
                    talk.submit(Respond(1, "Hello"))
                    assert (await talk.done(1)).status == "completed"
                assert opened(there) == 2
                assert len(talk.all(AnswerDone)) == 1

    run(check)


def test_many_warnings_of_calls_do_not_pile_up() -> None:
    async def check() -> None:
        with cloud(SETTINGS) as there:
            async with started(configured(there)) as engine:
                for _ in range(50):
                    engine.warm()
                await eventually(lambda: configured_sockets(there) == warm.MOST)
                for _ in range(50):
                    engine.warm()
                async with talking(engine) as one, talking(engine) as other:
                    await one.first(EngineReady)
                    await other.first(EngineReady)
                assert opened(there) == warm.MOST
                # One connection each for thinking and for speaking.
                assert len(there.fake.visits("/models", "GET")) == 2

    run(check)


def test_what_no_call_takes_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warm, "KEEP_S", 0.1)

    async def check() -> None:
        with cloud(SETTINGS) as there:
            async with started(configured(there)) as engine:
                await warmed(engine, there)
                await eventually(lambda: ready(engine) == 0)
                async with talking(engine) as talk:
                    await talk.first(EngineReady)
                assert opened(there) == 2

    run(check)


def test_what_was_lost_meanwhile_is_not_taken() -> None:
    async def check() -> None:
        with cloud(SETTINGS) as there:
            async with started(configured(there)) as engine:
                await warmed(engine, there)
                (ahead,) = engine._hear_sessions.ahead._ahead
                there.does(there.fake.drop_sockets(1001))
                await eventually(lambda: not ahead.usable)
                async with talking(engine) as talk:
                    await talk.first(EngineReady)
                assert opened(there) == 2

    run(check)


def test_a_failure_ahead_costs_the_head_start_only(caplog: pytest.LogCaptureFixture) -> None:
    async def check() -> None:
        with cloud(SETTINGS) as there:
            there.fake.plan.fail("hear", Refuse(status=401))
            there.fake.plan.fail("models", Refuse(status=500), times=None)
            async with started(configured(there)) as engine:
                engine.warm()
                await eventually(lambda: opened(there) == 1 and ready(engine) == 0)
                async with talking(engine) as talk:
                    talk.submit(*utterance(1))
                    await talk.until(lambda: any(e.final for e in talk.all(Transcript)))
                assert there.fake.api_key not in caplog.text

    with caplog.at_level(logging.DEBUG, logger="teamscall"):
        run(check)
    # That the key is refused is worth knowing before a call comes; nothing else is told.
    told = {r.message for r in caplog.records if r.levelno >= logging.WARNING}
    assert told <= {"OpenAI refused a session"}


def test_a_call_that_ends_while_it_waits_leaves_the_session_to_the_next() -> None:
    async def check() -> None:
        with cloud(SETTINGS) as there:
            async with started(configured(there)) as engine:
                engine.warm()
                async with talking(engine):
                    pass
                async with talking(engine) as talk:
                    await talk.first(EngineReady)
                assert opened(there) == 1

    run(check)


def test_stopping_in_the_middle_of_it_leaves_nothing() -> None:
    async def check() -> None:
        with cloud(SETTINGS) as there:
            async with started(configured(there, "reading")) as engine:
                engine.warm()
            engine.warm()  # stopped: nothing happens
            assert ready(engine) == 0
            async with started(configured(there)) as engine:
                await warmed(engine, there)
            assert ready(engine) == 0

    run(check)


def test_the_first_request_uses_the_warm_connection() -> None:
    async def check() -> None:
        with cloud(SETTINGS) as there:
            async with started(configured(there)) as engine, talking(engine) as talk:
                engine.warm()
                await eventually(lambda: len(there.fake.visits("/models", "GET")) == 2)
                before = len(there.fake._connections)
                talk.submit(Respond(1, "Hello"))
                await talk.done(1)
                assert len(there.fake._connections) == before

    run(check)


def test_a_home_survives_being_closed_and_ends_by_a_bug_loudly(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def check() -> None:
        home = Home()
        done: list[str] = []

        async def work(name: str) -> None:
            try:
                await asyncio.sleep(0 if name == "short" else 60)
                done.append(name)
            except asyncio.CancelledError:
                done.append(f"{name} cancelled")
                raise

        async def bug() -> None:
            raise ZeroDivisionError

        assert not home.spawn(work("early"), "early")
        await home.open()
        assert home.spawn(work("short"), "short")
        assert home.spawn(work("long"), "long")
        await asyncio.sleep(0.01)
        await home.close()
        await home.close()
        assert done == ["short", "long cancelled"]
        await home.open()
        home.spawn(bug(), "bug")
        await eventually(lambda: not home.spawn(work("late"), "late"))
        await home.close()

    run(check)
    assert [r.message for r in caplog.records] == ["An engine's task failed"]
