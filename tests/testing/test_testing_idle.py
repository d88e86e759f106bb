"""Silence that is answered by itself, in realtime sessions with ``idle_timeout_ms``."""

from __future__ import annotations

from typing import Any

from testing_rig import Peer, peer, silence, speech, types, with_fake

from teamscall.testing import FakeOpenAI, Script, Settings

VOICE = "model=gpt-realtime-2.1"
TRIGGERED = "input_audio_buffer.timeout_triggered"
ANSWER_MS = 2 * 280


async def patient(client: Peer, idle_ms: int | None = 5_000) -> None:
    vad = {"type": "server_vad", "idle_timeout_ms": idle_ms}
    session: dict[str, Any] = {"type": "realtime", "audio": {"input": {"turn_detection": vad}}}
    assert (await client.update(**session))["type"] == "session.updated"


def test_silence_after_an_answer_is_answered() -> None:
    async def test(fake: FakeOpenAI) -> None:
        async with peer(fake, VOICE) as client:
            await patient(client)
            await client.append(speech() + silence(600))
            await client.until("response.done")
            await client.append(silence(ANSWER_MS + 4_900), 4_800)
            await client.append(silence(200), 960)
            events = await client.until("response.done")
            assert types(events)[:3] == [
                TRIGGERED,
                "input_audio_buffer.committed",
                "conversation.item.added",
            ]
            told = events[0]
            assert events[1]["item_id"] == told["item_id"]
            assert 5_000 <= told["audio_end_ms"] - told["audio_start_ms"] < 5_200
            assert "response.output_audio.delta" in types(events)
            # and again, after that answer
            await client.append(silence(ANSWER_MS + 5_100), 4_800)
            assert (await client.hear())["type"] == TRIGGERED

    with_fake(test, Settings(script=Script(otherwise="Still there?")))


def test_nobody_is_asked_before_the_first_answer_or_without_the_setting() -> None:
    async def test(fake: FakeOpenAI) -> None:
        async with peer(fake, VOICE) as client:
            await patient(client)
            await client.append(silence(6_000), 4_800)
            assert (await client.ask("input_audio_buffer.clear"))["type"].endswith("cleared")
        async with peer(fake, VOICE) as client:
            await patient(client, None)
            await client.append(speech() + silence(600))
            await client.until("response.done")
            await client.append(silence(9_000), 4_800)
            assert (await client.ask("input_audio_buffer.clear"))["type"].endswith("cleared")

    with_fake(test)


def test_speech_ends_the_wait() -> None:
    async def test(fake: FakeOpenAI) -> None:
        async with peer(fake, VOICE) as client:
            await patient(client)
            await client.append(speech() + silence(600))
            await client.until("response.done")
            await client.append(silence(ANSWER_MS + 3_000) + speech() + silence(2_000), 4_800)
            assert TRIGGERED not in types(await client.until("response.done"))

    with_fake(test, Settings(script=Script(otherwise="Still there?")))
