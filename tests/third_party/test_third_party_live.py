"""aimock's Live sessions replay recordings to the byte, at 24 kHz.

We ask for 16 kHz, as the official SDK allows: the session's shape is checked against the
SDK, and a service that does not take it is told of, not waited for.
"""

from __future__ import annotations

import asyncio

import pytest
from engines_rig import CALL
from openai.types.live import ClientEventParam
from third_party_servers import KEY, Aimock
from third_party_shapes import faults
from third_party_tap import tapped

from teamscall.config import Secret
from teamscall.engines.base import EngineEvent, EngineReady
from teamscall.engines.openai.endpoint import Endpoint
from teamscall.engines.openai.live import LiveEngine, Manner
from teamscall.errors import EngineError

pytestmark = pytest.mark.third_party


def test_a_session_that_is_not_taken(aimock: Aimock) -> None:
    aimock.plays({"match": {"model": "none"}, "response": {"content": "none"}})
    emitted: list[EngineEvent] = []

    async def refused() -> tuple[str, list[object]]:
        async with asyncio.timeout(60), tapped(aimock.base_url()) as tap:
            at = Endpoint(tap.base_url, Secret(KEY), setting="openai.base_url")
            engine = LiveEngine(at, Manner("gpt-live-1", voice="marin", instructions="Be brief."))
            await engine.start()
            session = engine.open(CALL, emitted.append)
            try:
                with pytest.raises(EngineError) as failure:
                    await session.run()
            finally:
                await session.close()
                await engine.stop()
            asked = tap.asked()
            assert {one.headers["authorization"] for one in asked} == {f"Bearer {KEY}"}
            assert {one.target.partition("?")[0] for one in asked} == {"/v1/live/sessions"}
            return failure.value.message, [event for one in asked for event in one.events]

    said, events = asyncio.run(refused())
    assert events
    assert not [fault for event in events for fault in faults(event, ClientEventParam)]
    assert not [event for event in emitted if isinstance(event, EngineReady)]
    assert KEY not in said
