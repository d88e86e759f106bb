"""Live mode over real sockets, against the stand-in."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from openai_live_rig import (
    ANSWER_BYTES,
    MANNER,
    MS,
    SAID,
    SCRIPT,
    SPOKEN,
    arrives,
    call,
    contents,
    engine_of,
    run,
)

from teamscall.engines.base import (
    AnswerAudio,
    AnswerBegan,
    AnswerDone,
    AnswerText,
    CallBrief,
    CancelAnswer,
    EngineDegraded,
    EngineEvent,
    EngineUsage,
    Line,
    PressDigit,
    Respond,
    Say,
    Transcript,
    TruncateAnswer,
)
from teamscall.engines.openai.endpoint import Endpoint
from teamscall.engines.openai.live import LiveEngine, Manner
from teamscall.engines.openai.live_delegating import MAX_ROUNDS
from teamscall.engines.parts import Speech
from teamscall.engines.tools import ToolResult, ToolSpec
from teamscall.testing import (
    Answer,
    FakeOpenAI,
    Refuse,
    Script,
    Settings,
    tone_speech,
)


def test_a_conversation_without_resampling() -> None:
    async def test(fake: FakeOpenAI) -> None:
        async with call(engine_of(fake)) as caller:
            caller.speak()
            done = await caller.sees(AnswerDone)
            assert (done.turn, done.status) == (1, "completed")
            assert caller.text(1) == SAID
            assert len(caller.pcm(1)) == ANSWER_BYTES
            assert {event.rate for event in caller.all(AnswerAudio)} == {16_000}
            assert caller.all(Transcript) == [Transcript(1, "one two three", final=True)]
            kinds = [type(event) for event in caller.events]
            assert kinds.index(Transcript) < kinds.index(AnswerBegan) < kinds.index(AnswerText)
            used = await caller.sees(EngineUsage)
            assert (used.stage, used.model) == ("session", "gpt-live-1")
            assert used.audio_in_s == pytest.approx(len(SPOKEN) / MS / 1000, abs=0.1)
            caller.speak()
            await caller.sees(AnswerDone, 2)
            assert caller.text(2) == SAID
            told = sum(event.audio_in_s for event in caller.all(EngineUsage))
            assert told == pytest.approx(2 * len(SPOKEN) / MS / 1000, abs=0.1)
        (visit,) = fake.visits("/live/sessions")
        assert visit.audio_bytes == pytest.approx(2 * len(SPOKEN), rel=0.01)
        assert visit.query == {}
        (start,) = visit.received("session.start")
        assert start["session"] == {
            "model": "gpt-live-1",
            "instructions": "Be brief.",
            "audio": {
                "format": {"type": "audio/pcm", "rate": 16_000},
                "output": {"voice": "cedar"},
            },
        }

    run(test)


def test_words_go_with_the_sound_that_says_them() -> None:
    async def test(fake: FakeOpenAI) -> None:
        async with call(engine_of(fake)) as caller:
            caller.speak()
            await caller.sees(AnswerDone)
            audio = caller.all(AnswerAudio)
            assert "".join(event.text for event in audio) == SAID
            assert len([event for event in audio if event.text]) == 5

    run(test)


def test_a_service_whose_output_never_pauses() -> None:
    async def test(fake: FakeOpenAI) -> None:
        async with call(engine_of(fake)) as caller:
            caller.speak()
            await caller.sees(AnswerDone)
            assert caller.text(1) == SAID
            caller.speak()
            await caller.sees(AnswerDone, 2)
            assert len(caller.all(AnswerBegan)) == 2

    run(test, Settings(script=SCRIPT, live_silence=True))


def test_a_cancelled_answer_is_heard_no_more_and_the_model_is_told() -> None:
    async def test(fake: FakeOpenAI) -> None:
        async with call(engine_of(fake)) as caller:
            caller.speak()
            await caller.sees(AnswerAudio, 2)
            caller.does(CancelAnswer(1))
            seen = len(caller.events)
            caller.does(TruncateAnswer(1, 300, "You said"))
            done = await caller.sees(AnswerDone)
            assert (done.turn, done.status) == (1, "cancelled")
            visit = fake.visits("/live/sessions")[0]
            await arrives(fake, lambda: any(e.type == "session.usage.updated" for e in visit.sent))
            note = await arrives(fake, lambda: contents(visit, "thinking"))
            assert note[0].endswith("… You said")
            after = [e for e in caller.events[seen:] if not isinstance(e, EngineUsage)]
            assert after == [done]
            await asyncio.sleep(0.7)  # the output pauses
            caller.speak()
            await caller.sees(AnswerDone, 2)
            assert caller.text(2) == SAID

    run(test, Settings(script=SCRIPT, speak_speed=2))


def test_an_answer_without_a_turn_is_not_heard() -> None:
    async def test(fake: FakeOpenAI) -> None:
        async with call(engine_of(fake), gives=False) as caller:
            caller.speak()
            await caller.sees(AnswerBegan)
            caller.does(Respond(4, ""))  # late, but not too late
            await caller.sees(AnswerDone)
            assert caller.text(4) == SAID
            caller.does(Respond(5, ""))
            assert (await caller.sees(AnswerDone, 2)).turn == 5
            assert caller.pcm(5) == b""

    run(test)


def test_what_shall_be_said_is_asked_of_the_model() -> None:
    async def test(fake: FakeOpenAI) -> None:
        async with call(engine_of(fake)) as caller:
            text = "Good morning, this is the desk. " * 20  # more than may be appended at once
            caller.does(Say(9, text.strip()))
            done = await caller.sees(AnswerDone)
            assert (done.turn, done.status) == (9, "completed")
            assert caller.text(9).split()[:6] == text.split()[:6]
            assert caller.all(AnswerBegan) == []

    run(test)


def test_what_the_model_does_not_say_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("teamscall.engines.openai.live_speech.SAY_S", 0.1)

    async def test(fake: FakeOpenAI) -> None:
        fake.plan.fail("speak", Refuse())
        async with call(engine_of(fake)) as caller:
            caller.does(Say(9, "Hello."))
            done = await caller.sees(AnswerDone)
            assert (done.turn, done.status) == (9, "failed")

    run(test)


class ToneMouth:
    async def speak(self, text: str) -> Any:
        yield Speech(tone_speech(text, word_ms=220, pause_ms=60), 24_000)


def test_a_prepared_phrase_is_said_in_its_own_words() -> None:
    async def test(fake: FakeOpenAI) -> None:
        engine = engine_of(fake, mouth=ToneMouth)
        await engine.prepare(["Hello there."])
        async with call(engine) as caller:
            caller.does(Say(9, "Hello there."))
            await caller.sees(AnswerDone)
            assert caller.text(9) == "Hello there."
            assert len(caller.pcm(9)) == 2 * 280 * 48
            caller.does(Say(10, "Goodbye.", aloud=False))
            visit = fake.visits("/live/sessions")[0]
            told = await arrives(fake, lambda: len(contents(visit, "instructions")) == 2)
            assert told
            assert contents(visit, "commentary") == []
            assert "Goodbye." in contents(visit, "instructions")[1]
            assert len(caller.all(AnswerDone)) == 1

    run(test)


def test_a_phrase_that_is_cancelled_at_once_is_not_heard() -> None:
    async def test(fake: FakeOpenAI) -> None:
        engine = engine_of(fake, mouth=ToneMouth)
        await engine.prepare(["Hello there."])
        async with call(engine) as caller:
            caller.does(Say(9, "Hello there."))
            caller.does(CancelAnswer(9))
            await caller.sees(AnswerDone)
            assert caller.events[1:] == [AnswerDone(9, "cancelled")]

    run(test)


def test_without_a_mouth_nothing_is_prepared() -> None:
    async def test(fake: FakeOpenAI) -> None:
        engine = engine_of(fake)
        await engine.prepare(["Hello there."])
        assert engine.phrase("Hello there.") is None

    run(test)


def test_a_key_is_told_to_the_model() -> None:
    async def test(fake: FakeOpenAI) -> None:
        async with call(engine_of(fake)) as caller:
            caller.does(PressDigit(3, "5"))
            assert (await caller.sees(AnswerDone)).turn == 3
            visit = fake.visits("/live/sessions")[0]
            (told,) = await arrives(fake, lambda: contents(visit, "instructions"))
            assert "5" in told

    run(test)


# --- tools ---------------------------------------------------------------------------------


class Weather:
    """One tool."""

    specs = (ToolSpec("weather", "How the weather is.", {"type": "object"}),)

    def __init__(self, *, end_call: bool = False) -> None:
        self.used: list[str] = []
        self.end_call = end_call

    async def use(self, call: CallBrief, name: str, arguments: str) -> ToolResult:
        self.used.append(arguments)
        return ToolResult("rough", self.end_call)


ASK = Script(
    hears=("How is the weather?",),
    answer=(Answer(to="weather", tool="weather", arguments='{"at":"sea"}', say="It is {result}."),),
)


@pytest.mark.parametrize("end_call", [False, True])
def test_the_backend_uses_our_tools(end_call: bool) -> None:
    async def test(fake: FakeOpenAI) -> None:
        weather = Weather(end_call=end_call)
        async with call(engine_of(fake, tools=weather)) as caller:
            caller.speak()
            done = await caller.sees(AnswerDone)
            assert weather.used == ['{"at":"sea"}']
            assert caller.text(1) == "It is rough."
            assert done.end_call == end_call
            thought = [event for event in caller.all(EngineUsage) if event.stage == "think"]
            assert len(thought) == 2
            assert all(event.model == "gpt-6-luna" for event in thought)
            assert all(event.output_tokens > 0 for event in thought)
        (start,) = fake.visits("/live/sessions")[0].received("session.start")
        backend = start["session"]["delegation"]["responses"]
        assert backend["model"] == "gpt-6-luna"
        assert [tool["name"] for tool in backend["tools"]] == ["weather"]

    run(test, Settings(script=ASK))


def test_without_tools_the_model_is_told_that_nobody_helps() -> None:
    async def test(fake: FakeOpenAI) -> None:
        async with call(engine_of(fake)) as caller:
            caller.speak()
            visit = fake.visits("/live/sessions")[0]
            (told,) = await arrives(fake, lambda: visit.received("session.instructions.append"))
            assert told["delegation_id"].startswith("deleg_")

    run(test, Settings(script=ASK))


def test_a_model_that_only_uses_tools_is_stopped() -> None:
    class Endless(Weather):
        """Has the stand-in's script ask for it again and again."""

    async def test(fake: FakeOpenAI) -> None:
        from teamscall.engines.openai.live_delegating import Delegate
        from teamscall.engines.openai.messages import read

        sent: list[str] = []
        posted: list[EngineEvent] = []
        async with asyncio.TaskGroup() as group:
            delegate = Delegate(
                CallBrief("c1"),
                lambda message: not sent.append(message),  # type: ignore[func-returns-value]
                posted.append,
                lambda work, name: group.create_task(work, name=name),
                "gpt-6-luna",
                Endless(),
            )
            for number in range(MAX_ROUNDS + 2):
                item = f'{{"type":"function_call","call_id":"c{number}","name":"weather"}}'
                for inner in (
                    f'{{"type":"response.output_item.done","item":{item}}}',
                    '{"type":"response.completed","response":{"id":"r"}}',
                ):
                    event = read(f'{{"type":"response.event","event":{inner}}}')
                    assert event is not None
                    delegate.received(event)
                await asyncio.sleep(0.01)
        assert sum("response.create" in message for message in sent) == MAX_ROUNDS
        assert any(isinstance(event, EngineDegraded) for event in posted)

    run(test)


def test_tools_need_a_model_that_uses_them() -> None:
    with pytest.raises(ValueError, match="model"):
        LiveEngine(Endpoint(), Manner("gpt-live-1"), tools=Weather())


# --- ahead of a call -------------------------------------------------------------------------


def test_a_session_opened_ahead_is_taken_by_the_next_call_without_a_history() -> None:
    async def test(fake: FakeOpenAI) -> None:
        engine = engine_of(fake)
        await engine.start()
        engine.warm()
        await arrives(
            fake,
            lambda: [v for v in fake.visits("/live/sessions") if v.received("session.start")],
        )
        async with call(engine, history=(Line("bot", "Welcome."),)):
            assert len(fake.visits("/live/sessions")) == 2
        async with call(engine) as caller:
            assert len(fake.visits("/live/sessions")) == 2
            caller.speak()
            await caller.sees(AnswerDone)
            assert caller.text(1) == SAID
        await engine.stop()

    run(test)


def test_it_says_what_it_is() -> None:
    assert LiveEngine(Endpoint(), MANNER).describe() == (
        "openai: live with gpt-live-1 (cedar), experimental"
    )
    shown = LiveEngine(Endpoint("http://box:1/v1"), MANNER, tools=Weather()).describe()
    assert shown == (
        "openai at box: live with gpt-live-1 (cedar), experimental; tools by gpt-6-luna"
    )
