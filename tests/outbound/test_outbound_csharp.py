"""Calls through a C# gateway: by its socket, by its REST API, and where none is there yet."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from outbound_rig import BRIDGE_SECRET, FarSide, Leg, Site, configured, far_side, site, until

from teamscall.config import Config
from teamscall.errors import PlacingError

PHONE = "phone:+4930123456"


def csharp(tmp_path: Path | None, far: FarSide | None = None, **outbound: Any) -> Config:
    """Only the C# dialect; ``far`` is its REST API."""
    config = configured(tmp_path, **outbound)
    bridge = msgspec.structs.replace(config.bridge, control_url=far.url if far else "")
    standin = msgspec.structs.replace(config.standin, enabled=False)
    return msgspec.structs.replace(config, bridge=bridge, standin=standin)


async def ordered(gateway: Leg) -> dict[str, Any]:
    await until(lambda: gateway.of("initiate_call"))
    return gateway.of("initiate_call")[-1]


async def answer(place: Site, gateway: Leg, call_id: str) -> None:
    who = {"tenantId": "t-1", "userId": "ann-1"}
    await gateway.send(type="session_start", callId=call_id, direction="outbound", metadata=who)
    await until(lambda: [c for c in place.board.calls if c.setup.call_id == call_id])


class TestByItsSocket:
    def test_is_answered_says_its_message_and_hangs_up(self, tmp_path: Path) -> None:
        async def run() -> None:
            async with site(csharp(tmp_path)) as place:
                gateway = await place.gateway()
                attempt = await place.place(PHONE, mode="notify")
                assert attempt.state == "ringing"
                assert re.fullmatch("teams-[0-9a-f]{16}", attempt.call_id)
                assert await ordered(gateway) == {
                    "type": "initiate_call",
                    "callId": attempt.call_id,
                    "target": {"type": "phone", "number": "+4930123456"},
                    "message": "Hello.",
                }
                await answer(place, gateway, attempt.call_id)
                assert await place.over(attempt.attempt) == ("answered", "hangup-bot")
                assert place.heard() == ["Hello."]
                await until(lambda: gateway.of("hangup"))

        asyncio.run(run())

    @pytest.mark.parametrize("status", ["failed", "busy", "no-answer"])
    def test_ends_as_the_gateway_says(self, status: str, tmp_path: Path) -> None:
        async def run() -> None:
            async with site(csharp(tmp_path)) as place:
                gateway = await place.gateway()
                attempt = await place.place()
                await gateway.send(type="call_status", callId=attempt.call_id, status="ringing")
                words = {"type": "call_status", "callId": attempt.call_id, "status": status}
                await gateway.send(**words, error="no \x1b[31mlicense")
                assert await place.over(attempt.attempt) == (status, "no [31mlicense")
                assert gateway.of("hangup") == []

        asyncio.run(run())

    def test_is_hung_up_by_its_own_gateway_when_nobody_answers(self, tmp_path: Path) -> None:
        async def run() -> None:
            async with site(csharp(tmp_path, ring_timeout_ms=400)) as place:
                first = await place.gateway()
                attempt = await place.place()
                await ordered(first)
                second = await place.gateway()
                assert (await place.over(attempt.attempt))[0] == "no-answer"
                await until(lambda: first.of("hangup"))
                assert second.of("hangup") == []
                late = attempt.call_id
                start = {"type": "session_start", "callId": late, "direction": "outbound"}
                await first.send(**start, metadata={"tenantId": "t", "userId": "u"})
                await until(lambda: len(first.of("hangup")) == 2)
                assert first.frames() == 0

        asyncio.run(run())

    def test_is_asked_of_the_newest_and_hung_up_by_whoever_is_left(self, tmp_path: Path) -> None:
        async def run() -> None:
            async with site(csharp(tmp_path)) as place:
                old, new = await place.gateway(), await place.gateway()
                attempt = await place.place()
                await ordered(new)
                assert old.of("initiate_call") == []
                await new.socket.close()
                await until(lambda: place.bridge.bridge.open_links == 1)
                assert await place.outbound.cancel(attempt.call_id)
                await until(lambda: [m["callId"] for m in old.of("hangup")] == [attempt.call_id])

        asyncio.run(run())

    def test_is_hung_up_once_a_gateway_is_back(self, tmp_path: Path) -> None:
        async def run() -> None:
            async with site(csharp(tmp_path)) as place:
                gateway = await place.gateway()
                attempt = await place.place()
                await gateway.socket.close()
                await until(lambda: not place.board.gateway_is_open)
                assert await place.outbound.cancel(attempt.attempt)
                again = await place.gateway()
                await until(lambda: [m["callId"] for m in again.of("hangup")] == [attempt.call_id])

        asyncio.run(run())

    def test_may_be_answered_on_another_socket(self, tmp_path: Path) -> None:
        async def run() -> None:
            async with site(csharp(tmp_path)) as place:
                await place.gateway()
                attempt = await place.place(mode="notify")
                other = await place.gateway()
                await answer(place, other, attempt.call_id)
                assert (await place.over(attempt.attempt))[0] == "answered"
                assert other.frames() > 0

        asyncio.run(run())

    def test_that_is_answered_without_media_has_failed(self, tmp_path: Path) -> None:
        async def run() -> None:
            async with site(csharp(tmp_path, ring_timeout_ms=400)) as place:
                gateway = await place.gateway()
                attempt = await place.place()
                await gateway.send(type="call_status", callId=attempt.call_id, status="answered")
                outcome, detail = await place.over(attempt.attempt)
                assert outcome == "failed"
                assert "media never came" in detail
                await until(lambda: gateway.of("hangup"))

        asyncio.run(run())


class TestBeforeAGatewayIsThere:
    def test_waits_for_one(self, tmp_path: Path) -> None:
        async def run() -> None:
            async with site(csharp(tmp_path)) as place:
                attempt = await place.place(mode="notify")
                assert attempt.state == "waiting"
                assert attempt.call_id
                assert place.board.readiness().slots_free == 4
                gateway = await place.gateway()
                assert (await ordered(gateway))["callId"] == attempt.call_id
                await answer(place, gateway, attempt.call_id)
                assert (await place.over(attempt.attempt))[0] == "answered"
                assert place.states(attempt.attempt) == [
                    "requested",
                    "waiting",
                    "ringing",
                    "answered",
                    "ended",
                ]

        asyncio.run(run())

    def test_rings_anew_as_long_as_it_would_have(self, tmp_path: Path) -> None:
        async def run() -> None:
            async with site(csharp(tmp_path, ring_timeout_ms=1000)) as place:
                attempt = await place.place(mode="notify")
                await asyncio.sleep(0.6)
                gateway = await place.gateway()
                await ordered(gateway)
                await asyncio.sleep(0.6)  # more than the first second is over
                await answer(place, gateway, attempt.call_id)
                assert (await place.over(attempt.attempt))[0] == "answered"

        asyncio.run(run())

    def test_gives_up_where_none_comes(self, tmp_path: Path) -> None:
        async def run() -> None:
            async with site(csharp(tmp_path, ring_timeout_ms=200)) as place:
                attempt = await place.place()
                outcome, detail = await place.over(attempt.attempt)
                assert (outcome, detail) == ("failed", "No C# gateway connected within 0.2 s.")
                late = await place.gateway()
                await asyncio.sleep(0.05)
                assert late.got == []

        asyncio.run(run())

    def test_may_be_cancelled(self, tmp_path: Path) -> None:
        async def run() -> None:
            async with site(csharp(tmp_path)) as place:
                attempt = await place.place()
                assert await place.outbound.cancel(attempt.attempt)
                assert (await place.over(attempt.attempt))[0] == "cancelled"
                late = await place.gateway()
                await asyncio.sleep(0.05)
                assert late.got == []

        asyncio.run(run())


class TestByItsRestApi:
    def test_is_asked_with_the_secret_and_names_the_call(self, tmp_path: Path) -> None:
        async def run() -> None:
            async with far_side() as far, site(csharp(tmp_path, far)) as place:
                attempt = await place.place(mode="notify")
                [asked] = far.requests
                assert (asked.method, asked.target) == ("POST", "/control/initiateCall")
                assert asked.headers["x-bridge-secret"] == BRIDGE_SECRET
                assert asked.json == {
                    "target": {"type": "user", "userId": "ann-1"},
                    "message": "Hello.",
                }
                assert attempt.call_id == "far-1"
                gateway = await place.gateway()
                await answer(place, gateway, "far-1")
                assert (await place.over(attempt.attempt))[0] == "answered"
                assert place.heard() == ["Hello."]

        asyncio.run(run())

    def test_a_leg_before_its_answer_gets_its_message(self, tmp_path: Path) -> None:
        async def run() -> None:
            async with far_side() as far:
                config = msgspec.structs.replace(csharp(tmp_path, far), max_concurrent_calls=1)
                async with site(config) as place:

                    async def leg_first(call_id: str) -> None:
                        gateway = await place.gateway()
                        who = {"tenantId": "t", "userId": "ann-1"}
                        start = {"callId": call_id, "direction": "outbound", "metadata": who}
                        await gateway.send(type="session_start", **start)
                        await asyncio.sleep(0.1)
                        assert place.board.calls == ()

                    far.before_answer = leg_first
                    attempt = await place.place(mode="notify")
                    assert (await place.over(attempt.attempt))[0] == "answered"
                    assert place.heard() == ["Hello."]

        asyncio.run(run())

    def test_is_hung_up_by_it_when_nobody_answers(self, tmp_path: Path) -> None:
        async def run() -> None:
            brief = {"ring_timeout_ms": 300}
            async with far_side() as far, site(csharp(tmp_path, far, **brief)) as place:
                attempt = await place.place(PHONE)
                assert (await place.over(attempt.attempt))[0] == "no-answer"
                await until(lambda: far.hung_up() == ["far-1"])
                assert far.requests[-1].headers["x-bridge-secret"] == BRIDGE_SECRET

        asyncio.run(run())

    def test_says_whose_secret_is_wrong(self, tmp_path: Path) -> None:
        async def run() -> None:
            async with far_side() as far, site(csharp(tmp_path, far)) as place:
                far.answers = [(401, b"")]
                with pytest.raises(PlacingError, match="status 401") as raised:
                    await place.place()
                assert "bridge.secret" in raised.value.hint

        asyncio.run(run())


class TestAuto:
    def test_prefers_a_gateway_that_is_there(self, tmp_path: Path) -> None:
        async def run() -> None:
            async with far_side() as far, site(configured(tmp_path, far)) as place:
                assert (await place.place("user:a")).via == "standin"
                await place.gateway()
                assert (await place.place("user:b")).via == "csharp"
                assert (await place.place("user:c", via="standin")).via == "standin"

        asyncio.run(run())
