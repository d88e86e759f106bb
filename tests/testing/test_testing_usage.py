"""What was used, as each endpoint tells it."""

from __future__ import annotations

from typing import Any

import pytest
from testing_rig import peer, sdk, silence, speech, with_fake

from teamscall.testing import FakeOpenAI

DONE = "conversation.item.input_audio_transcription.completed"


def test_a_chat_tells_it_in_a_last_chunk_and_only_when_asked() -> None:
    async def test(fake: FakeOpenAI) -> None:
        async with sdk(fake) as client:
            asked: Any = {
                "model": "gpt-6-luna",
                "messages": [{"role": "user", "content": "Hello"}],
                "stream": True,
            }
            options: Any = {"include_usage": True}
            stream = await client.chat.completions.create(**asked, stream_options=options)
            chunks = [chunk async for chunk in stream]
            assert chunks[-1].choices == []
            usage = chunks[-1].usage
            assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
            assert usage.prompt_tokens_details.cached_tokens == 0
            for chunk in chunks[:-1]:
                assert chunk.choices
                assert chunk.model_dump(exclude_unset=True)["usage"] is None
            async for chunk in await client.chat.completions.create(**asked):
                assert chunk.choices
                assert "usage" not in chunk.model_dump(exclude_unset=True)

    with_fake(test)


def test_a_response_tells_its_tokens_by_kind() -> None:
    async def test(fake: FakeOpenAI) -> None:
        async with peer(fake, "model=gpt-realtime-2.1") as client:
            await client.append(speech() + silence(600))
            usage = (await client.until("response.done"))[-1]["response"]["usage"]
            taken, given = usage["input_token_details"], usage["output_token_details"]
            assert usage["input_tokens"] == taken["text_tokens"] + taken["audio_tokens"]
            assert usage["output_tokens"] == given["text_tokens"] + given["audio_tokens"]
            assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
            assert given["audio_tokens"] > 0
            assert taken["cached_tokens"] == sum(taken["cached_tokens_details"].values())

    with_fake(test)


@pytest.mark.parametrize("model", ["gpt-transcribe", "whisper-1", "gpt-4o-transcribe"])
def test_a_transcript_tells_it_as_its_model_is_billed(model: str) -> None:
    async def test(fake: FakeOpenAI) -> None:
        async with peer(fake) as client:
            sound = {"transcription": {"model": model}}
            await client.update(type="transcription", audio={"input": sound})
            await client.append(speech() + silence(600))
            usage = (await client.until(DONE))[-1]["usage"]
            if model == "gpt-4o-transcribe":
                assert usage["type"] == "tokens"
                assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
                assert sum(usage["input_token_details"].values()) == usage["input_tokens"]
            else:
                assert usage == {"type": "duration", "seconds": pytest.approx(1.7, abs=0.3)}

    with_fake(test)
