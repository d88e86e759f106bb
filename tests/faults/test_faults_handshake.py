"""Faults while a call comes in (rows H of the fault matrix)."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from pathlib import Path

import pytest
from bridge_rig import BRIDGE_SECRET, standin_headers
from faults_rig import FRAME_S, Caller, bridge, calling, until, upgrade_request, where
from server_rig import run
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from teamscall.calls.records import CallOpened
from teamscall.clock import SystemClock
from teamscall.config import Authorization

MINUTES_MS = 60_000


class SteppingClock(SystemClock):
    """The system's, whose wall clock an administrator moves."""

    off_ms = 0

    def wall_ms(self) -> int:
        return super().wall_ms() + self.off_ms


@pytest.mark.parametrize(("minutes", "words"), [(5, "behind"), (-5, "ahead")])
def test_a_wall_clock_that_steps_leaves_running_calls_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, minutes: int, words: str
) -> None:
    """H8"""

    async def test() -> None:
        clock = SteppingClock()
        async with bridge(tmp_path, clock=clock) as site, calling(site.url(), "live") as live:
            await live.count(10)
            clock.off_ms = minutes * MINUTES_MS
            with pytest.raises(InvalidStatus) as refused:
                async with calling(site.url(), "new"):
                    pass
            assert refused.value.response.status_code == 401
            await live.count(20)
            await live.all_back()
            clock.off_ms = 0
            async with calling(site.url(), "newer"):
                await site.record(CallOpened, "newer")

    caplog.set_level(logging.INFO, logger="teamscall")
    run(test)
    [stale] = [r for r in caplog.records if getattr(r, "reason", "") == "signature-stale"]
    assert words in stale.__dict__["detail"]
    assert "clock" in stale.__dict__["detail"]


def test_twins_at_the_same_instant_are_one_call(tmp_path: Path) -> None:
    """H10"""

    async def knock(site_url: str, stamp_headers: dict[str, str], gate: asyncio.Event) -> bytes:
        reader, writer = await asyncio.open_connection(*where(site_url))
        await gate.wait()
        writer.write(upgrade_request(site_url, "twin", stamp_headers))
        head = await reader.readuntil(b"\r\n\r\n")
        if b" 101 " in head:
            await asyncio.sleep(0.2)  # the other one has its answer by then
        writer.transport.abort()
        return head.split()[1]

    async def test() -> None:
        async with bridge(tmp_path) as site:
            gate = asyncio.Event()
            stamps: list[dict[str, str]] = []
            while len(stamps) < 8:  # different signatures: none is a replay
                headers = standin_headers("twin")
                if headers not in stamps:
                    stamps.append(headers)
                await asyncio.sleep(0.002)
            async with asyncio.TaskGroup() as group:
                knocks = [group.create_task(knock(site.url(), s, gate)) for s in stamps]
                await asyncio.sleep(0.05)
                gate.set()
            assert sorted(one.result() for one in knocks) == [b"101"] + [b"409"] * 7

    run(test)


def test_a_live_call_keeps_its_socket_in_both_dialects(tmp_path: Path) -> None:
    """H10"""

    async def again_in_standin(url: str) -> None:
        with pytest.raises(InvalidStatus) as refused:
            async with calling(url, "live"):
                pass
        assert refused.value.response.status_code == 409

    async def again_in_csharp(url: str) -> None:
        who = {"tenantId": "t", "userId": "u", "teamsCallId": "x"}
        start = {"type": "session_start", "callId": "live", "direction": "inbound", "metadata": who}
        ask = {"type": "auth_request", "callId": "live", "correlationId": "k", "metadata": who}
        headers = {"X-Bridge-Secret": BRIDGE_SECRET}
        async with connect(url, additional_headers=headers, proxy=None) as other:
            await other.send(json.dumps(ask))
            assert json.loads(await other.recv())["type"] == "auth_response"
            await other.send(json.dumps(start))
            await other.send(json.dumps({"type": "session_end", "callId": "live", "reason": "x"}))
            await other.send(json.dumps({"type": "ping", "callId": "live"}))
            assert json.loads(await other.recv())["type"] == "pong"  # all was looked at by now

    async def test() -> None:
        async with bridge(tmp_path) as site, calling(site.url(), "live") as live:
            await live.count(5)
            await again_in_standin(site.url())
            await again_in_csharp(site.url("csharp"))
            await live.count(20)
            await live.all_back()
            assert site.up.switchboard.drops["duplicate-call"] == 1

    run(test)


def test_a_hook_that_hangs_is_a_denial_in_time_and_is_killed(tmp_path: Path) -> None:
    """H12: the gateway gives up after two seconds."""
    mark = tmp_path / "finished"
    script = f"import time, pathlib; time.sleep(1); pathlib.Path({str(mark)!r}).touch()"
    rules = Authorization(
        mode="open", hook_command=(sys.executable, "-c", script), hook_timeout_ms=300
    )

    async def test() -> None:
        async with bridge(tmp_path, authorization=rules) as site:
            headers = {"X-Bridge-Secret": BRIDGE_SECRET}
            async with connect(
                site.url("csharp"), additional_headers=headers, proxy=None
            ) as socket:
                who = {"tenantId": "t", "userId": "u", "teamsCallId": "x"}
                ask = {"type": "auth_request", "callId": "c", "correlationId": "k", "metadata": who}
                await socket.send(json.dumps(ask))
                answer = json.loads(await socket.recv())
            assert answer["authorized"] is False
            assert answer["reason"] == "Authorization error"
            await asyncio.sleep(1)
            assert not mark.exists()

    run(test)


def test_a_socket_that_never_starts_its_session_goes_at_the_deadline(tmp_path: Path) -> None:
    """H11"""

    async def test() -> None:
        async with bridge(tmp_path, standin={"start_timeout_ms": 300}) as site:
            headers = standin_headers("mute")
            url = f"{site.url()}/mute"
            async with connect(url, additional_headers=headers, proxy=None) as socket:
                silent = Caller(socket, "mute")
                await silent.count(3)  # audio before the start is dropped
                assert await silent.ended() == 1000
                assert silent.farewell == "pre-start-timeout"
                await silent.vanish()
            await until(lambda: site.up.switchboard.drops["before-start"] == 3)
            async with calling(site.url(), "next"):
                await site.record(CallOpened, "next")
                await asyncio.sleep(FRAME_S)

    run(test)
