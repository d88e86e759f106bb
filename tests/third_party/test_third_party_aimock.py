"""aimock, which is checked against the real service daily: what we ask, and whole calls."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import pytest
from openai.types.audio.speech_create_params import SpeechCreateParams
from openai.types.chat.completion_create_params import CompletionCreateParamsStreaming
from openai.types.realtime import RealtimeClientEventParam
from third_party_call import Called, bridge, call, tone
from third_party_servers import KEY, Aimock
from third_party_shapes import faults
from third_party_tap import Asked, tapped

from teamscall.config import Inbound, OpenAI, Secret, Streaming, Tts

pytestmark = pytest.mark.third_party

SAID = "What can you do, and what time is it?"
FIRST, SECOND = "I can tell you the time.", "It is five past ten in the morning."
ANSWER = f"{FIRST} {SECOND}"
GREETING = "Welcome!"
RATE = 24_000

HEARS = {
    "match": {"endpoint": "realtime-transcription"},
    "response": {"transcription": {"text": SAID}},
    "chunkSize": 6,
}
THINKS = {"match": {"endpoint": "chat"}, "response": {"content": ANSWER}}


def speaks(pcm: bytes, **match: str) -> dict[str, Any]:
    audio = base64.b64encode(pcm).decode()
    return {
        "match": {"endpoint": "speech"} | match,
        "response": {"audio": audio, "format": "pcm"},
    }


SPEAKS = speaks(tone(1.0, RATE))


# What a caller may configure changes what is asked for; none of it may be unknown.
STYLES: dict[str, dict[str, Any]] = {
    "as it comes": {},
    "all that there is": {
        "tts": Tts("gpt-4o-mini-tts", "ash", 1.2, "Speak warmly.", sample_rate=RATE),
        "streaming": Streaming(stt_model="gpt-4o-transcribe", language="en-US"),
        "response_model": "gpt-4.1",
        "response_system_prompt": "You are brief.",
    },
}


@pytest.fixture(scope="module")
def conversations(aimock: Aimock) -> dict[str, tuple[Called, list[Asked]]]:
    """One call in each style, with what was asked for it."""
    aimock.plays(HEARS, THINKS, speaks(tone(0.2, RATE), userMessage=GREETING), SPEAKS)

    async def one(style: str) -> tuple[Called, list[Asked]]:
        async with tapped(aimock.base_url()) as tap:
            parts = OpenAI(base_url=tap.base_url, api_key=Secret(KEY))
            config = bridge(parts, inbound=Inbound(greeting=GREETING), **STYLES[style])
            return await call(config), tap.asked()

    async def both() -> list[tuple[Called, list[Asked]]]:
        return await asyncio.gather(*(one(style) for style in STYLES))

    return dict(zip(STYLES, asyncio.run(both()), strict=True))


@pytest.mark.parametrize("style", STYLES)
def test_a_conversation(style: str, conversations: dict[str, tuple[Called, list[Asked]]]) -> None:
    called, _ = conversations[style]
    assert called.heard == [SAID]
    assert [turn.heard_text for turn in called.answers] == [ANSWER]
    assert called.answers[0].status == "completed"
    assert not called.troubles
    assert called.closed.ended_by != "engine"
    assert called.spoke


@pytest.mark.parametrize("style", STYLES)
def test_it_is_asked_in_todays_api(
    style: str, conversations: dict[str, tuple[Called, list[Asked]]], aimock: Aimock
) -> None:
    # The strict server found a fixture for everything.
    assert {entry["response"]["status"] for entry in aimock.journal()} == {200}
    _, asked = conversations[style]
    sockets = [one for one in asked if one.events]
    thoughts = [one for one in asked if one.target.startswith("/v1/chat/completions")]
    speeches = [one for one in asked if one.target.startswith("/v1/audio/speech")]
    assert len(sockets) == 1
    found = [f for event in sockets[0].events for f in faults(event, RealtimeClientEventParam)]
    found += [f for one in thoughts for f in faults(one.body, CompletionCreateParamsStreaming)]
    found += [f for one in speeches for f in faults(one.body, SpeechCreateParams)]
    assert not found
    assert not [one.target for one in asked if "openai-beta" in one.headers]
    assert {one.headers["authorization"] for one in asked} == {f"Bearer {KEY}"}

    sent = [event["type"] for event in sockets[0].events]
    assert sent[0] == "session.update"
    assert sent[-1] == "input_audio_buffer.commit"
    assert set(sent[1:-1]) == {"input_audio_buffer.append"}
    messages = thoughts[-1].body["messages"]
    assert [message["role"] for message in messages] == ["system", "assistant", "user"]
    assert [message["content"] for message in messages[1:]] == [GREETING, SAID]
    # Fields that servers of one's own may not know are not sent.
    assert set(thoughts[-1].body) == {"model", "messages", "stream"}
    spoken = [one.body["input"].strip() for one in speeches]
    assert GREETING in spoken
    assert [text for text in spoken if text in (FIRST, SECOND)] == [FIRST, SECOND]


def test_a_key_that_it_does_not_take(aimock: Aimock) -> None:
    aimock.plays(HEARS, THINKS, SPEAKS)
    parts = OpenAI(base_url=aimock.base_url(), api_key=Secret("sk-another-0123456789"))
    called = asyncio.run(call(bridge(parts)))
    assert called.closed.ended_by == "engine"
    assert "openai.api_key" in called.closed.detail
    assert "sk-another" not in repr(called.records)
    assert not aimock.journal()
