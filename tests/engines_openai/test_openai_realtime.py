"""Realtime mode over real sockets: a conversation, whoever takes the turns."""

from __future__ import annotations

import asyncio

import pytest
from engines_openai_rig import cloud, utterance, voice
from engines_rig import eventually, run, talking
from openai_realtime_rig import (
    ANSWER,
    LOCAL,
    MODEL,
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
    words_of,
)

from teamscall.engines.base import (
    AnswerAudio,
    AnswerDone,
    BeginUtterance,
    CallBrief,
    CommitUtterance,
    DiscardHeard,
    EngineEvent,
    EngineFailed,
    EngineReady,
    EngineUsage,
    Hear,
    IgnoreUtterance,
    Line,
    PressDigit,
    Respond,
    Say,
    SpeechStarted,
    SpeechStopped,
    Transcript,
)
from teamscall.engines.openai.messages import Detection
from teamscall.testing import Settings

DETECTIONS = pytest.mark.parametrize(
    "detection", [SERVER, Detection("semantic", eagerness="high")], ids=["server", "semantic"]
)


@DETECTIONS
def test_a_conversation_whose_turns_the_service_takes(detection: Detection) -> None:
    async def check() -> None:
        with cloud(SETTINGS) as there:
            async with talking(engine(there, detection)) as talk:
                ready = await talk.first(EngineReady)
                assert (ready.turn_taking, ready.direct) == ("engine", True)
                await asked(talk)
                assert (await talk.done(1)).status == "completed"
                assert talk.text(1) == ANSWER
                assert len(talk.pcm(1)) // 48 == len(ANSWER.split()) * WORD_MS
                assert await words_of(talk, 1) == SAID[0]
                await asked(talk, 2, 2)
                assert SAID[1] in (await talk.done(2), talk.text(2))[1]
                assert [e.utterance for e in talk.all(SpeechStarted)] == [1, 2]
                assert [e.utterance for e in talk.all(SpeechStopped)] == [1, 2]
            assert len(there.sockets(MODEL)) == 1
            assert not talk.all(EngineFailed)

    run(check)


def test_a_conversation_whose_turns_the_call_takes() -> None:
    async def check() -> None:
        with cloud(SETTINGS) as there:
            async with talking(engine(there, LOCAL)) as talk:
                assert (await talk.first(EngineReady)).turn_taking == "local"
                talk.submit(*frames(silence(5_000)), *utterance(1), Respond(1, "", 1))
                assert (await talk.done(1)).status == "completed"
                assert talk.text(1) == ANSWER
                assert await words_of(talk, 1) == SAID[0]
                talk.submit(*utterance(2), Respond(2, "", 2))
                await talk.done(2)
                assert SAID[1] in talk.text(2)
            (events,) = there.sockets(MODEL)
            spoken = 2 * (len(voice()) // 32)  # and a pre-roll each, the second one's cut short
            assert spoken + 500 <= audio_ms(events) + 20 <= spoken + 1_020

    run(check)


def test_only_what_differs_from_the_defaults_is_configured() -> None:
    async def check() -> None:
        with cloud(SETTINGS) as there:
            async with talking(engine(there, Detection())) as talk:
                await talk.first(EngineReady)
            update = received(there, "session.update")[0]
            assert update["session"] == {
                "type": "realtime",
                "output_modalities": ["audio"],
                "audio": {
                    "input": {
                        "format": {"type": "audio/pcm", "rate": 24_000},
                        "turn_detection": {
                            "type": "server_vad",
                            "create_response": False,
                            "interrupt_response": False,
                        },
                        "transcription": {"model": "gpt-transcribe"},
                    },
                    "output": {"format": {"type": "audio/pcm", "rate": 24_000}, "voice": "marin"},
                },
            }

    run(check)


def test_everything_that_is_configured_is_taken() -> None:
    async def check() -> None:
        detection = Detection(
            threshold=0.7, prefix_padding_ms=200, silence_duration_ms=900, eagerness="low"
        )
        with cloud(SETTINGS) as there:
            voiced = engine(
                there,
                detection,
                voice="cedar",
                speed=1.2,
                instructions="Be brief.",
                noise_reduction="near_field",
                language="de-AT",
                reasoning="low",
            )
            async with talking(voiced) as talk:
                await talk.first(EngineReady)
            session = received(there, "session.update")[0]["session"]
            assert isinstance(session, dict)
            assert session["instructions"] == "Be brief."
            assert session["reasoning"] == {"effort": "low"}
            assert session["audio"]["output"]["speed"] == 1.2
            heard = session["audio"]["input"]
            assert heard["transcription"] == {"model": "gpt-transcribe", "languages": ["de"]}
            assert heard["noise_reduction"] == {"type": "near_field"}
            assert heard["turn_detection"]["silence_duration_ms"] == 900

    run(check)


@pytest.mark.parametrize("delta_ms", [20, 100, 700])
def test_words_come_with_the_audio_that_speaks_them(delta_ms: int) -> None:
    async def check() -> None:
        with cloud(Settings(script=SETTINGS.script, delta_ms=delta_ms)) as there:
            async with talking(engine(there, LOCAL)) as talk:
                talk.submit(*utterance(1), Respond(1, "", 1))
                await talk.done(1)
                assert "".join(e.text for e in talk.audio(1)) == talk.text(1)
                at, words = 0.0, 0
                for event in talk.audio(1):
                    if event.text:
                        # Never more than is about to be spoken, nor far behind it.
                        spoken = at / WORD_MS
                        assert words <= spoken + 1
                        assert words >= spoken - 2 - delta_ms / WORD_MS
                    words += len(event.text.split())
                    at += len(event.pcm) / 48

    run(check)


def test_what_is_said_is_said_word_for_word_and_remembered() -> None:
    async def check() -> None:
        with cloud(SETTINGS) as there:
            async with talking(engine(there)) as talk:
                talk.submit(Say(1, "Welcome to the bridge."), Say(2, "Cached.", aloud=False))
                assert (await talk.done(1)).status == "completed"
                assert talk.text(1) == "Welcome to the bridge."
                assert "".join(e.text for e in talk.audio(1)) == "Welcome to the bridge."
                assert len(talk.pcm(1)) // 48 == 4 * WORD_MS
                assert not [e for e in talk.all(AnswerDone) if e.turn == 2]
                await eventually(lambda: len(received(there, "conversation.item.create")) == 2)
            told = [item["item"] for item in received(there, "conversation.item.create")]
            assert sorted(str(item["content"][0]["text"]) for item in told) == [
                "Cached.",
                "Welcome to the bridge.",
            ]
            assert {item["role"] for item in told} == {"assistant"}

    run(check)


def test_a_text_and_a_key_become_the_callers_items() -> None:
    async def check() -> None:
        with cloud(SETTINGS) as there:
            async with talking(engine(there)) as talk:
                talk.submit(PressDigit(1, "5"), Respond(2, "Hello there."))
                assert (await talk.done(1)).status == "completed"
                assert not talk.audio(1)
                await talk.done(2)
                assert "Hello there." in talk.text(2)
            told = [item["item"] for item in received(there, "conversation.item.create")]
            texts = [str(item["content"][0]["text"]) for item in told]
            assert texts == ["(pressed 5)", "Hello there."]

    run(check)


def test_what_was_said_before_the_session_is_told_first() -> None:
    async def check() -> None:
        with cloud(SETTINGS) as there:
            history = (Line("caller", "My name is Ada."), Line("bot", "Hello Ada."))
            session = engine(there).open(CallBrief("call-1", history=history), lambda event: None)
            async with asyncio.TaskGroup() as group:
                running = group.create_task(session.run())
                session.submit(Respond(1, "What is it?"))
                await eventually(lambda: bool(received(there, "response.create")))
                await session.close()
                await running
            told = [item["item"] for item in received(there, "conversation.item.create")]
            assert [(i["role"], i["content"][0]["type"]) for i in told] == [
                ("user", "input_text"),
                ("assistant", "output_text"),
                ("user", "input_text"),
            ]

    run(check)


def test_a_backchannel_is_forgotten() -> None:
    async def check() -> None:
        with cloud(SETTINGS) as there:
            async with talking(engine(there)) as talk:
                talk.submit(*sentence())
                await stopped(talk)
                talk.submit(IgnoreUtterance(1))
                assert await words_of(talk, 1) in (SAID[0], "")
                await asked(talk, 1, 2)
                await talk.done(1)
                assert SAID[1] in talk.text(1)
            (item,) = (e["item_id"] for e in received(there, "conversation.item.delete"))
            assert item

    run(check)


def test_what_is_discarded_has_neither_transcript_nor_item() -> None:
    async def check() -> None:
        with cloud(Settings(script=SETTINGS.script, hear_ms=300)) as there:
            async with talking(engine(there)) as talk:
                talk.submit(*sentence())
                await stopped(talk)
                talk.submit(*sentence()[:40])
                await talk.first(SpeechStarted, 2)
                talk.submit(DiscardHeard(), *frames(silence(600)))
                await asked(talk, 1, 3)
                await talk.done(1)
                assert (await words_of(talk, 3)) in SAID
                assert {e.utterance for e in talk.all(Transcript) if e.final} == {3}
            assert received(there, "input_audio_buffer.clear")
            assert len(received(there, "conversation.item.delete")) == 1

    run(check)


def test_what_is_used_is_told() -> None:
    async def check() -> None:
        with cloud(SETTINGS) as there:
            async with talking(engine(there)) as talk:
                await asked(talk)
                await talk.done(1)
                await words_of(talk, 1)
                told = {e.stage: e for e in talk.all(EngineUsage)}
                spoken = told["session"]
                assert (spoken.turn, spoken.model) == (1, MODEL)
                assert spoken.input_tokens == 20
                assert spoken.audio_input_tokens == 10
                assert spoken.audio_output_tokens > 0
                assert told["hear"].model == "gpt-transcribe"
                assert told["hear"].audio_in_s > 0.5

    run(check)


def test_noise_that_becomes_words_is_dropped_from_the_record() -> None:
    async def check() -> None:
        settings = Settings(silence_transcript="Thank you for watching!")
        with cloud(settings) as there:
            async with talking(engine(there, LOCAL)) as talk:
                talk.submit(*utterance(1, silence(600)))
                assert await words_of(talk, 1) == ""

    run(check)


def test_too_little_audio_is_neither_committed_nor_answered() -> None:
    async def check() -> None:
        with cloud(SETTINGS) as there:
            async with talking(engine(there, LOCAL)) as talk:
                await talk.first(EngineReady)
                talk.submit(BeginUtterance(1), Hear(bytes(1280)), CommitUtterance(1))
                talk.submit(Respond(1, "", 1))
                assert (await talk.done(1)).status == "completed"
                assert await words_of(talk, 1) == ""
                assert not talk.audio(1)
            assert not received(there, "input_audio_buffer.commit")
            assert not received(there, "response.create")

    run(check)


def test_a_session_opened_ahead_of_need_is_taken_by_the_next_call() -> None:
    async def check() -> None:
        with cloud(SETTINGS) as there:
            realtime = engine(there)
            await realtime.start()
            realtime.warm()
            await eventually(lambda: bool(received(there, "session.update")))
            async with talking(realtime) as talk:
                talk.submit(Say(1, "Hello."))
                await talk.done(1)
                assert isinstance(talk.events[0], EngineReady)
                assert len(there.sockets(MODEL)) == 1
            async with talking(realtime) as talk:
                await talk.first(EngineReady)
            assert len(there.sockets(MODEL)) == 2
            realtime.warm()
            await realtime.stop()

    run(check)


def test_our_own_part_of_the_first_sound_is_small() -> None:
    """From the service's first delta to the call, in one process with the service."""

    async def check() -> None:
        with cloud(Settings(script=SETTINGS.script, think_ms=100)) as there:
            times: list[float] = []
            async with talking(engine(there)) as talk:
                clock = asyncio.get_running_loop().time
                emit = talk._emit

                def timed(event: EngineEvent) -> None:
                    if isinstance(event, AnswerAudio):
                        times.append(clock())
                    emit(event)

                talk.session._line._emit = timed  # type: ignore[attr-defined]
                await asked(talk)
                await talk.done(1)
            visit = there.fake.visits("/realtime", "WS")[-1]
            given = next(e.at for e in visit.sent if e.type == "response.output_audio.delta")
            assert times[0] - given < 0.1

    run(check)
