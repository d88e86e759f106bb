"""A call whose parts are three servers that nobody here wrote, each at an address of its own."""

from __future__ import annotations

import asyncio

import pytest
from third_party_call import bridge, call
from third_party_rig import Server
from third_party_servers import KEY, Aimock

from teamscall.config import OpenAI, Secret

pytestmark = pytest.mark.third_party

SAID = "What can you do, and what time is it?"


def test_hear_think_and_speak_elsewhere(aimock: Aimock, llama: Server, local_tts: Server) -> None:
    aimock.plays(
        {
            "match": {"endpoint": "realtime-transcription"},
            "response": {"transcription": {"text": SAID}},
        }
    )
    parts = OpenAI(
        hear_base_url=aimock.base_url(),
        think_base_url=f"{llama.url}/v1",
        speak_base_url=f"{local_tts.url}/v1",
        api_key=Secret(KEY),
    )
    # On a busy machine the model takes seconds to begin, and the voice between sentences.
    config = bridge(parts, response_model="smollm2")
    called = asyncio.run(call(config, patience_s=40, silence_s=12))
    assert called.heard == [SAID]
    assert len(called.answers) == 1
    answer = called.answers[0]
    assert answer.status == "completed", (answer, called.closed, called.troubles, called.report)
    assert len(answer.said_text.split()) > 3
    # Spoken to the end, every word of it.
    assert answer.heard_text.split() == answer.said_text.split()
    assert not called.troubles
    latency = answer.latency
    steps = [
        latency.endpoint_ms,
        latency.transcript_ms,
        latency.first_text_ms,
        latency.first_audio_ms,
        latency.first_frame_ms,
    ]
    known = [step for step in steps if step is not None]
    assert len(known) == len(steps)
    assert known == sorted(known)
    print("after the caller's last voiced frame, in ms:", latency)  # with -s or -rP
