"""Realtime engines pointed at the stand-in, and a caller who speaks into them."""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from typing import Any

from engines_openai_rig import Cloud, voice
from engines_rig import Talk

from teamscall.config import Secret
from teamscall.config.models import resolve
from teamscall.engines.base import EngineCommand, Hear, Respond, SpeechStopped, Transcript
from teamscall.engines.openai.endpoint import Endpoint
from teamscall.engines.openai.messages import Detection
from teamscall.engines.openai.realtime import RealtimeEngine, Talking
from teamscall.engines.openai.realtime_waits import Waits
from teamscall.engines.tools import Tools
from teamscall.testing import Event, Script, Settings

TODAY = datetime.date(2026, 11, 21)
MODEL = "gpt-realtime-2.1"
SAID = ("What time is it?", "And tomorrow?", "Goodbye then.")
ANSWER = "You said: What time is it? I am only a stand-in, but I can hear you well."
SETTINGS = Settings(script=Script(hears=SAID))
SERVER = Detection("server", silence_duration_ms=300)
LOCAL = Detection("local")
QUICK = Waits(created=0.4, first_audio=0.6, next_audio=0.4, stopped=0.4, heard=0.5, transcript=1.0)
FRAME = 640
WORD_MS = 280  # of the stand-in's voice


def engine(
    there: Cloud,
    detection: Detection = SERVER,
    *,
    key: str = "",
    model: str = MODEL,
    tools: Tools | None = None,
    waits: Waits | None = None,
    **talking: object,
) -> RealtimeEngine:
    hear = "gpt-live-transcribe" if detection.kind == "local" else "gpt-transcribe"
    fields: dict[str, object] = {
        "detection": detection,
        "transcriber": resolve("hear", hear, TODAY),
        **talking,
    }
    return RealtimeEngine(
        Endpoint(
            there.fake.base_url,
            Secret(key or there.fake.api_key),
            key_setting="openai.api_key",
        ),
        resolve("realtime", model, TODAY),
        Talking(**fields),  # type: ignore[arg-type]
        tools=tools,
        waits=waits,
    )


def frames(pcm: bytes) -> list[EngineCommand]:
    return [Hear(pcm[i : i + FRAME].ljust(FRAME, b"\0")) for i in range(0, len(pcm), FRAME)]


def silence(ms: int) -> bytes:
    return bytes(ms * 32)


def sentence(words: int = 4) -> list[EngineCommand]:
    """Something said, and the pause after it."""
    return frames(silence(200) + voice(words) + silence(600))


async def stopped(talk: Talk, utterance: int = 1) -> None:
    await talk.until(lambda: any(e.utterance == utterance for e in talk.all(SpeechStopped)))


async def asked(talk: Talk, turn: int = 1, utterance: int = 1, words: int = 4) -> None:
    """Say a sentence, and have it answered as a call does."""
    talk.submit(*sentence(words))
    await stopped(talk, utterance)
    talk.submit(Respond(turn, "", utterance))


async def words_of(talk: Talk, utterance: int) -> str:
    """The final transcript."""

    def finals() -> list[Transcript]:
        return [e for e in talk.all(Transcript) if e.final and e.utterance == utterance]

    await talk.until(lambda: bool(finals()))
    assert len(finals()) == 1
    return finals()[0].text


def received(there: Cloud, type_: str, socket: int = -1) -> list[dict[str, Any]]:
    """What one socket was sent, or nothing when there is none yet."""
    sockets = there.sockets(MODEL)
    return [e.body for e in sockets[socket] if e.type == type_] if sockets else []


def told(there: Cloud, socket: int = -1) -> list[tuple[str, str]]:
    """The items that one socket was told as text: who said what."""
    items = [body["item"] for body in received(there, "conversation.item.create", socket)]
    return [(item["role"], item["content"][0]["text"]) for item in items if "role" in item]


def audio_ms(events: Iterable[Event]) -> int:
    return sum(e.audio_bytes for e in events) // 48
