"""aimock's realtime sessions: they take text and tools, and give no sound.

What they prove: the session's shape is today's, tools go there and back, and an answer
that never makes a sound is given up, not waited for.
"""

from __future__ import annotations

import asyncio
import datetime
from typing import Any

import pytest
from engines_rig import Talk, talking
from openai.types.realtime import RealtimeClientEventParam
from third_party_servers import KEY, Aimock
from third_party_shapes import faults
from third_party_tap import Asked, tapped

from teamscall.config import Secret
from teamscall.config.models import resolve
from teamscall.engines.base import AnswerDone, CallBrief, EngineReady, Respond
from teamscall.engines.openai.endpoint import Endpoint
from teamscall.engines.openai.messages import Detection
from teamscall.engines.openai.realtime import RealtimeEngine, Talking
from teamscall.engines.openai.realtime_waits import Waits
from teamscall.engines.tools import ToolResult, Tools, ToolSpec

pytestmark = pytest.mark.third_party

TODAY = datetime.date(2026, 11, 21)
MODEL = "gpt-realtime-2.1"
ANSWER = {"match": {"endpoint": "realtime"}, "response": {"content": "Five past ten."}}
TOOL = {
    "match": {"endpoint": "realtime", "userMessage": "time", "hasToolResult": False},
    "response": {"toolCalls": [{"name": "clock", "arguments": '{"zone": "UTC"}'}]},
}
ZONE = {"type": "object", "properties": {"zone": {"type": "string"}}}
QUICK = Waits(created=2.0, first_audio=2.0, next_audio=2.0)


def engine(base_url: str, tools: Tools | None = None, **more: Any) -> RealtimeEngine:
    return RealtimeEngine(
        Endpoint(base_url, Secret(KEY), setting="openai.base_url"),
        resolve("realtime", MODEL, TODAY),
        Talking(transcriber=resolve("hear", "gpt-transcribe", TODAY), **more),
        tools=tools,
        waits=QUICK,
    )


SESSIONS: dict[str, dict[str, Any]] = {
    "as it comes": {},
    "local turns": {"detection": Detection("local")},
    "all that there is": {
        "voice": "cedar",
        "speed": 1.2,
        "instructions": "You are brief.",
        "detection": Detection("semantic"),
        "noise_reduction": "far_field",
        "language": "en-US",
        "reasoning": "low",
    },
}


async def asked_of(base_url: str, tools: Tools | None = None, **more: Any) -> Talk:
    """A session that was asked something, once its answer is over."""
    made = engine(base_url, tools, **more)
    await made.start()
    try:
        async with talking(made) as talk:
            await talk.first(EngineReady)
            talk.submit(Respond(1, "What time is it?"))
            await talk.done(1)
            return talk
    finally:
        await made.stop()


def through_a_tap(
    aimock: Aimock, tools: Tools | None = None, **more: Any
) -> tuple[Talk, list[Asked]]:
    async def run() -> tuple[Talk, list[Asked]]:
        async with asyncio.timeout(60), tapped(aimock.base_url()) as tap:
            return await asked_of(tap.base_url, tools, **more), tap.asked()

    return asyncio.run(run())


@pytest.mark.parametrize("session", SESSIONS)
def test_a_session_in_todays_api(session: str, aimock: Aimock) -> None:
    aimock.plays(ANSWER)
    talk, asked = through_a_tap(aimock, **SESSIONS[session])
    events = [event for one in asked for event in one.events]
    assert events[0]["type"] == "session.update"
    assert "response.create" in {event["type"] for event in events}
    assert not [fault for event in events for fault in faults(event, RealtimeClientEventParam)]
    assert not [one for one in asked if "openai-beta" in one.headers]
    # It answers in writing only, which is none on the phone: that is told, and soon.
    assert not talk.audio(1)
    assert talk.all(AnswerDone) == [
        AnswerDone(1, "failed", error="the service answered nothing"),
    ]


class Clock:
    """A tool, and what it was asked."""

    specs = (ToolSpec("clock", "Tells the time.", ZONE),)

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    async def use(self, call: CallBrief, name: str, arguments: str) -> ToolResult:
        self.asked.append((name, arguments))
        return ToolResult("five past ten")


def test_a_tool_goes_there_and_back(aimock: Aimock) -> None:
    aimock.plays(TOOL, ANSWER)
    clock = Clock()
    talk, asked = through_a_tap(aimock, clock)
    assert clock.asked == [("clock", '{"zone": "UTC"}')]
    events = [event for one in asked for event in one.events]
    assert not [fault for event in events for fault in faults(event, RealtimeClientEventParam)]
    items = [e["item"] for e in events if e["type"] == "conversation.item.create"]
    results = [item for item in items if item["type"] == "function_call_output"]
    assert [result["output"] for result in results] == ["five past ten"]
    # When it was asked again, the result was in its place.
    again = aimock.journal()[1]["body"]["messages"]
    assert [message["role"] for message in again] == ["user", "assistant", "tool"]
    assert again[-1]["content"] == "five past ten"
    assert [done.status for done in talk.all(AnswerDone)] == ["failed"]  # without a sound
