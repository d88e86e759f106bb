"""litellm between us and aimock: what a router does to requests, answers and sockets."""

from __future__ import annotations

import asyncio
import base64

import pytest
from third_party_call import bridge, call, tone
from third_party_rig import Server
from third_party_servers import KEY, Aimock

from teamscall.config import OpenAI, Secret

pytestmark = pytest.mark.third_party

SAID = "What can you do, and what time is it?"
ANSWER = "I can tell you the time. It is five past ten in the morning."
SPEECH = base64.b64encode(tone(1.0, 24_000)).decode()
FIXTURES = (
    {
        "match": {"endpoint": "realtime-transcription"},
        "response": {"transcription": {"text": SAID}},
    },
    {"match": {"endpoint": "chat"}, "response": {"content": ANSWER}},
    {"match": {"endpoint": "speech"}, "response": {"audio": SPEECH, "format": "pcm"}},
)


@pytest.mark.parametrize(
    "query",
    [
        pytest.param("", id="as-it-comes"),
        # The operator's own word stands.
        pytest.param("?model=gpt-live-transcribe", id="with-the-model-in-the-address"),
    ],
)
def test_a_conversation_through_a_router(query: str, aimock: Aimock, litellm: Server) -> None:
    aimock.plays(*FIXTURES)
    parts = OpenAI(
        base_url=f"{litellm.url}/v1",
        hear_base_url=f"{litellm.url}/v1{query}",
        api_key=Secret(KEY),
    )
    called = asyncio.run(call(bridge(parts, response_model="gpt-4.1")))
    assert called.heard == [SAID]
    assert [turn.heard_text for turn in called.answers] == [ANSWER]
    assert not called.troubles
