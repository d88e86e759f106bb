"""Speech, text and models over HTTP, with the official SDK as the peer."""

from __future__ import annotations

import base64
import json
from datetime import date
from typing import Any

import httpx2
import openai
import pytest
from testing_rig import MS, run, sdk, with_fake

from teamscall.audio.wav import StreamingWavHeader
from teamscall.testing import Answer, FakeOpenAI, Script, Settings

WEATHER_ANSWER = Answer(
    to="weather", tool="get_weather", arguments='{"city":"Rome"}', say="{result}!"
)
SCRIPT = Script(
    answer=(WEATHER_ANSWER,),
    otherwise="Four words of answer.",
)
PARAMETERS: dict[str, object] = {"type": "object", "properties": {}}
CHAT_TOOL: Any = {
    "type": "function",
    "function": {"name": "get_weather", "parameters": PARAMETERS},
}
WEATHER: Any = [{"role": "user", "content": "The weather?"}]
HELLO: Any = [{"role": "user", "content": "hello"}]
SPEECH: dict[str, Any] = {"model": "gpt-4o-mini-tts", "voice": "coral", "input": "One two three."}


async def spoken(client: openai.AsyncOpenAI, **more: Any) -> tuple[bytes, Any]:
    async with client.audio.speech.with_streaming_response.create(
        **{**SPEECH, "response_format": "pcm", **more}
    ) as response:
        return b"".join([chunk async for chunk in response.iter_bytes()]), response.headers


# --- speech -------------------------------------------------------------------------------


def test_pcm_is_24_khz_without_a_head() -> None:
    async def test(fake: FakeOpenAI) -> None:
        async with sdk(fake) as client:
            pcm, headers = await spoken(client)
            assert len(pcm) == 3 * 280 * MS
            assert headers["content-type"] == "audio/pcm"
            assert headers["transfer-encoding"] == "chunked"
            fast, _ = await spoken(client, speed=2.0)
            assert len(fast) == len(pcm) // 2

    with_fake(test)


def test_wav_has_a_streamed_head_with_other_chunks_in_it() -> None:
    async def test(fake: FakeOpenAI) -> None:
        async with sdk(fake) as client:
            data, headers = await spoken(client, response_format="wav")
            head = StreamingWavHeader()
            audio = head.feed(data)
            assert head.format is not None
            assert head.format.rate == 16_000
            assert len(audio) == 3 * 280 * 32
            assert headers["x-sample-rate"] == "16000"
            assert data[4:8] == b"\xff\xff\xff\xff"

    with_fake(test, Settings(speech_rate=16_000, rate_header=True, chunk_bytes=333))


def test_speech_comes_as_events_too() -> None:
    async def test(fake: FakeOpenAI) -> None:
        async with sdk(fake) as client:
            data, _ = await spoken(client, stream_format="sse")
            events = [json.loads(line[6:]) for line in data.decode().split("\n\n") if line]
            assert events[-1]["type"] == "speech.audio.done"
            audio = b"".join(base64.b64decode(e["audio"]) for e in events[:-1])
            assert len(audio) == 3 * 280 * MS

    with_fake(test)


@pytest.mark.parametrize(
    ("wrong", "status", "param"),
    [
        ({"model": "nobody"}, 404, None),
        ({"model": "gpt-realtime-2.1-mini"}, 400, "model"),
        ({"voice": "nobody"}, 400, "voice"),
        ({"speed": 5}, 400, "speed"),
        ({"input": "x" * 4097}, 400, "input"),
        ({"input": ""}, 400, "input"),
        ({"response_format": "ogg"}, 400, "response_format"),
        ({"extra_body": {"sample_rate": 16000}}, 400, "sample_rate"),
        ({"model": "tts-1", "stream_format": "sse"}, 400, "stream_format"),
    ],
)
def test_wrong_speech_requests_are_refused(
    wrong: dict[str, Any], status: int, param: str | None
) -> None:
    async def test(fake: FakeOpenAI) -> None:
        async with sdk(fake) as client:
            with pytest.raises(openai.APIStatusError) as refused:
                await spoken(client, **wrong)
            assert refused.value.status_code == status
            assert refused.value.param == param
            assert refused.value.request_id == fake.requests[-1].request_id

    with_fake(test)


# --- chat ---------------------------------------------------------------------------------


def test_chat_streams_and_answers_whole() -> None:
    async def test(fake: FakeOpenAI) -> None:
        async with sdk(fake) as client:
            stream = await client.chat.completions.create(
                model="gpt-6-luna",
                messages=HELLO,
                stream=True,
                stream_options={"include_usage": True},
            )
            chunks = [chunk async for chunk in stream]
            words = [c.choices[0].delta.content for c in chunks if c.choices]
            assert "".join(word or "" for word in words) == "Four words of answer."
            assert len(words) > 4
            assert chunks[-2].choices[0].finish_reason == "stop"
            assert chunks[-1].usage is not None
            whole = await client.chat.completions.create(model="gpt-6-luna", messages=HELLO)
            assert whole.choices[0].message.content == "Four words of answer."
            assert whole.usage is not None

    with_fake(test, Settings(script=SCRIPT))


def test_chat_calls_a_tool_and_uses_its_result() -> None:
    async def test(fake: FakeOpenAI) -> None:
        async with sdk(fake) as client:
            stream = await client.chat.completions.create(
                model="gpt-6-luna", messages=WEATHER, tools=[CHAT_TOOL], stream=True
            )
            calls = [c async for chunk in stream for c in chunk.choices[0].delta.tool_calls or ()]
            assert calls[0].function is not None
            assert calls[0].function.name == "get_weather"
            arguments = "".join((c.function and c.function.arguments) or "" for c in calls)
            assert json.loads(arguments) == {"city": "Rome"}
            call = {
                "id": calls[0].id,
                "type": "function",
                "function": {"name": "get_weather", "arguments": arguments},
            }
            asked: Any = {"role": "assistant", "content": None, "tool_calls": [call]}
            result: Any = {"role": "tool", "tool_call_id": calls[0].id, "content": "Sunny"}
            done = await client.chat.completions.create(
                model="gpt-6-luna", messages=[*WEATHER, asked, result], tools=[CHAT_TOOL]
            )
            assert done.choices[0].message.content == "Sunny!"
            with pytest.raises(openai.BadRequestError):
                await client.chat.completions.create(
                    model="gpt-6-luna", messages=[*WEATHER, result], tools=[CHAT_TOOL]
                )

    with_fake(test, Settings(script=SCRIPT))


@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        ({"extra_body": {"thinking": True}}, "thinking"),
        ({"temperature": 3}, "temperature"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "caller", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
    ],
)
def test_wrong_chat_requests_are_refused(wrong: dict[str, Any], param: str) -> None:
    async def test(fake: FakeOpenAI) -> None:
        async with sdk(fake) as client:
            given: dict[str, Any] = {"model": "gpt-6-luna", "messages": HELLO, **wrong}
            with pytest.raises(openai.BadRequestError) as refused:
                await client.chat.completions.create(**given)
            assert refused.value.param == param

    with_fake(test)


# --- responses ------------------------------------------------------------------------------


def test_responses_stream_and_answer_whole() -> None:
    async def test(fake: FakeOpenAI) -> None:
        async with sdk(fake) as client:
            whole = await client.responses.create(model="gpt-6-luna", input="hello")
            assert whole.output_text == "Four words of answer."
            stream = await client.responses.create(
                model="gpt-6-luna", input=HELLO, instructions="Be brief.", stream=True
            )
            events = [event async for event in stream]
            assert [e.sequence_number for e in events] == list(range(len(events)))
            words = [e.delta for e in events if e.type == "response.output_text.delta"]
            assert "".join(words) == "Four words of answer."
            assert events[-1].type == "response.completed"
            assert events[-1].response.usage is not None

    with_fake(test, Settings(script=SCRIPT))


def test_responses_call_a_tool() -> None:
    async def test(fake: FakeOpenAI) -> None:
        async with sdk(fake) as client:
            tool: Any = {"type": "function", "name": "get_weather", "parameters": PARAMETERS}
            stream = await client.responses.create(
                model="gpt-6-luna", input=WEATHER, tools=[tool], stream=True
            )
            events = [event async for event in stream]
            done = next(e for e in events if e.type == "response.function_call_arguments.done")
            assert done.arguments == '{"city":"Rome"}'
            result: Any = {"type": "function_call_output", "call_id": "c", "output": "Sunny"}
            whole = await client.responses.create(
                model="gpt-6-luna", input=[*WEATHER, result], tools=[tool]
            )
            assert whole.output_text == "Sunny!"

    with_fake(test, Settings(script=SCRIPT))


# --- models, keys and the rest -----------------------------------------------------------------


def test_models_say_when_they_end_and_end_then() -> None:
    async def test(fake: FakeOpenAI) -> None:
        async with sdk(fake) as client:
            dates = {model.id: model.shutdown_date async for model in await client.models.list()}
            assert dates["gpt-4o-mini-tts"] == "2027-01-06"
            assert dates["gpt-realtime-2.1"] is None
            assert "mine" in dates
            assert (await client.models.retrieve("whisper-1")).shutdown_date == "2027-02-26"
            with pytest.raises(openai.NotFoundError):
                await client.models.retrieve("nobody")
            with pytest.raises(openai.NotFoundError):
                await spoken(client)
            await spoken(client, model="mine")

    with_fake(test, Settings(today=date(2027, 1, 6), models=("mine",)))


def test_a_wrong_key_is_refused_everywhere() -> None:
    async def test(fake: FakeOpenAI) -> None:
        async with httpx2.AsyncClient() as bare:
            url = f"{fake.base_url}/models"
            assert (await bare.get(url)).status_code == 401
            assert (await bare.get(url, headers={"Authorization": "x"})).status_code == 401
            azures = {"api-key": fake.api_key}
            assert (await bare.get(url, headers=azures)).status_code == 401
            url = f"{fake.azure_endpoint}/openai/v1/models"
            assert (await bare.get(url, headers=azures)).status_code == 200
        async with sdk(fake, api_key="wrong") as client:
            with pytest.raises(openai.AuthenticationError):
                await client.models.list()
            with pytest.raises(openai.AuthenticationError):
                await spoken(client)
            with pytest.raises(openai.AuthenticationError):
                await client.responses.create(model="gpt-6-luna", input="x")

    with_fake(test)


def test_what_came_in_is_kept_with_its_body() -> None:
    async def test(fake: FakeOpenAI) -> None:
        async with sdk(fake) as client:
            await spoken(client, instructions="softly")
        visit = fake.visits("/audio/speech")[0]
        assert (visit.method, visit.status) == ("POST", 200)
        assert visit.body["instructions"] == "softly"
        assert visit.first_byte_at is not None
        assert visit.ended_at is not None
        assert not visit.hung_up

    with_fake(test)


def test_the_users_own_exception_comes_out_as_it_is() -> None:
    async def work() -> None:
        with pytest.raises(ZeroDivisionError):
            async with FakeOpenAI():
                raise ZeroDivisionError

    run(work())
