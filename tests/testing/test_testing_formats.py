"""G.711 against the published values, and telephone audio in realtime sessions."""

from __future__ import annotations

import base64
import struct
from typing import Any

import numpy as np
import pytest
from testing_rig import peer, types, with_fake

from teamscall.audio.resample import resample_all
from teamscall.testing import FakeOpenAI, Script, Settings, g711, tone_speech
from teamscall.testing.g711 import Law

LAWS: list[Law] = ["audio/pcmu", "audio/pcma"]
VOICE = "model=gpt-realtime-2.1"


@pytest.mark.parametrize(
    ("law", "code", "level"),
    [
        # Table 2a and 1a of ITU-T G.711, in 16 bits: the loudest, the quietest, and zero.
        ("audio/pcmu", 0x80, 32_124),
        ("audio/pcmu", 0x00, -32_124),
        ("audio/pcmu", 0xFE, 8),
        ("audio/pcmu", 0xFF, 0),
        ("audio/pcma", 0xAA, 32_256),
        ("audio/pcma", 0x2A, -32_256),
        ("audio/pcma", 0xD5, 8),
        ("audio/pcma", 0x55, -8),
    ],
)
def test_codes_stand_for_the_published_levels(law: Law, code: int, level: int) -> None:
    assert struct.unpack("<h", g711.decode(bytes([code]), law)) == (level,)


@pytest.mark.parametrize("law", LAWS)
def test_a_sample_becomes_the_nearest_level(law: Law) -> None:
    levels = np.frombuffer(g711.decode(bytes(range(256)), law), "<i2").astype(int)
    samples = np.arange(-32_768, 32_768, 7)
    coded = g711.encode(samples.astype("<i2").tobytes(), law)
    got = np.frombuffer(g711.decode(coded, law), "<i2").astype(int)
    nearest = np.abs(samples[:, None] - levels[None, :]).min(axis=1)
    assert (np.abs(got - samples) == nearest).all()


def session_of(law: Law) -> dict[str, Any]:
    format_ = {"type": law}
    sound = {"input": {"format": format_}, "output": {"format": format_}}
    return {"type": "realtime", "audio": sound}


@pytest.mark.parametrize("law", LAWS)
def test_a_telephone_is_heard_and_answered(law: Law) -> None:
    async def test(fake: FakeOpenAI) -> None:
        async with peer(fake, VOICE) as client:
            updated = await client.update(**session_of(law))
            assert updated["session"]["audio"]["output"]["format"] == {"type": law}
            said = tone_speech("a b c d", word_ms=220, pause_ms=60, rate=8_000) + bytes(16 * 700)
            await client.append(g711.encode(said, law), 160)
            events = await client.until("response.done")
            assert "input_audio_buffer.speech_stopped" in types(events)
            deltas = [e["delta"] for e in events if e["type"] == "response.output_audio.delta"]
            got = g711.decode(b"".join(map(base64.b64decode, deltas)), law)
            voice = tone_speech("one two", word_ms=220, pause_ms=60)
            expected = np.frombuffer(resample_all(voice, 24_000, 8_000), "<i2").astype(float)
            heard = np.frombuffer(got, "<i2").astype(float)
            assert len(heard) == len(expected) == 560 * 8
            assert np.corrcoef(heard, expected)[0, 1] > 0.999

    with_fake(test, Settings(script=Script(otherwise="one two")))


def test_a_commit_counts_what_was_appended() -> None:
    async def test(fake: FakeOpenAI) -> None:
        async with peer(fake) as client:
            sound = {"format": {"type": "audio/pcmu"}, "turn_detection": None}
            await client.update(type="transcription", audio={"input": sound})
            await client.append(bytes([0xFF]) * 8 * 100, 160)
            assert (await client.ask("input_audio_buffer.commit"))["type"] != "error"
            await client.until("conversation.item.done")
            await client.append(bytes([0xFF]) * 8 * 80, 160)
            error = await client.ask("input_audio_buffer.commit")
            assert error["error"]["code"] == "input_audio_buffer_commit_empty"

    with_fake(test)
