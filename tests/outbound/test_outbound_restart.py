"""What is being placed survives the process: kill -9, another start, and the leg that comes."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from bridge_rig import ports, served, standin_headers
from outbound_rig import FarSide, Site, configured, far_side, site, until
from test_outbound_csharp import csharp
from test_outbound_placing import rows
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from teamscall.clock import SystemClock
from teamscall.config import Config
from teamscall.control import client
from teamscall.control.protocol import Initiate
from teamscall.control.where import Where
from teamscall.journal.kept import Kept, KeptOrder
from teamscall.journal.store import Journal

SCRIPT = 'word_ms = 40\npause_ms = 20\n[[line]]\nheard = "hello"\nanswer = "Hi."\n'


class TestKillMinusNine:
    def options(self, tmp_path: Path, far: FarSide) -> tuple[str, ...]:
        (tmp_path / "script.toml").write_text(SCRIPT)
        given = {
            "scripted.path": str(tmp_path / "script.toml"),
            "standin.worker_base_url": far.url,
            "control.socket": str(tmp_path / "c"),
            "outbound.allow_to": "user:ann-1",
            "outbound.tenant": "t-1",
            "outbound.ring_timeout_ms": "60000",
        }
        sets = [word for key, value in given.items() for word in ("--set", f"{key}={value}")]
        return ("--engine", "scripted", *sets)

    async def place(self, tmp_path: Path) -> None:
        async with client.connect(Where(socket=str(tmp_path / "c")), timeout_s=30) as door:
            await door.ask(Initiate(to="user:ann-1", message="Soup is on.", mode="notify"))

    async def leg(self, url: str, call_id: str) -> list[dict[str, Any]]:
        """The answered leg; everything that it is told until it is hung up."""
        async with connect(
            f"{url}/{call_id}", additional_headers=standin_headers(call_id)
        ) as socket:
            start = {
                "type": "session.start",
                "callId": call_id,
                "direction": "outbound",
                "recordingStatus": "active",
                "caller": {"aadId": "ANN-1", "tenantId": "t-1"},
            }
            await socket.send(msgspec.json.encode(start).decode())
            return [msgspec.json.decode(message) async for message in socket]

    @pytest.mark.parametrize(
        "answered",
        [
            pytest.param(True, id="ringing"),
            pytest.param(False, id="still-asking", marks=pytest.mark.long),
        ],
    )
    def test_the_message_is_said_after_the_restart(self, answered: bool, tmp_path: Path) -> None:
        async def run() -> None:
            async with far_side() as far:
                options = self.options(tmp_path, far)
                if not answered:
                    far.hold = asyncio.Event()
                with served(tmp_path, *options) as bridge:
                    await asyncio.to_thread(ports, bridge)
                    if answered:
                        await self.place(tmp_path)
                        await until(lambda: rows(tmp_path)[0]["call_id"] == "far-1")
                    else:
                        async with asyncio.TaskGroup() as tasks:
                            asking = tasks.create_task(self.place(tmp_path))
                            await until(far.placings)
                            asking.cancel()
                    await asyncio.to_thread(bridge.stop, signal.SIGKILL)
                [row] = rows(tmp_path)
                assert row["call_id"] == ("far-1" if answered else "")
                assert row["message"] == "Soup is on."
                with served(tmp_path, *options) as bridge:
                    _, url = await asyncio.to_thread(ports, bridge)
                    got = await self.leg(url, "far-1")
                    assert [m for m in got if m["type"] == "audio.frame"]
                    assert got[-1] == {"type": "session.end", "reason": "hangup-bot"}
                    await until(lambda: rows(tmp_path)[0]["ended_ms"])
                    assert await asyncio.to_thread(bridge.stop) == 0
                [row] = rows(tmp_path)
                assert (row["outcome"], row["detail"]) == ("answered", "hangup-bot")
                assert (row["call_id"], row["message"]) == ("far-1", "")
                assert far.placed == 1
                assert far.hung_up() == []
                assert b"Soup" not in bridge.text.encode()

        asyncio.run(run())

    def test_an_answered_call_is_closed_and_its_far_side_told(self, tmp_path: Path) -> None:
        async def run() -> None:
            async with far_side() as far:
                options = self.options(tmp_path, far)
                with served(tmp_path, *options) as bridge:
                    _, url = await asyncio.to_thread(ports, bridge)
                    await self.place(tmp_path)
                    async with asyncio.TaskGroup() as tasks:
                        leg = tasks.create_task(self.dropped(url))
                        await until(lambda: rows(tmp_path)[0]["state"] == "answered")
                        await asyncio.to_thread(bridge.stop, signal.SIGKILL)
                        await leg
                with served(tmp_path, *options) as bridge:
                    await asyncio.to_thread(ports, bridge)
                    await until(lambda: rows(tmp_path)[0]["ended_ms"])
                    [row] = rows(tmp_path)
                    assert (row["outcome"], row["message"]) == ("answered", "")
                    assert "restarted" in row["detail"]
                    await until(lambda: far.hung_up() == ["far-1"])
                    async with client.connect(Where(socket=str(tmp_path / "c"))) as door:
                        assert (await door.status()).calls == ()

        asyncio.run(run())

    async def dropped(self, url: str) -> None:
        """A leg whose bridge is killed under it: a conversation, so that it does not end."""
        headers = standin_headers("far-1")
        async with connect(f"{url}/far-1", additional_headers=headers) as socket:
            start = {
                "type": "session.start",
                "callId": "far-1",
                "direction": "outbound",
                "recordingStatus": "unknown",
            }
            await socket.send(msgspec.json.encode(start).decode())
            await socket.send('{"type": "recording.status", "status": "active"}')
            with pytest.raises(ConnectionClosed):
                [message async for message in socket]


def left(tmp_path: Path, **changes: Any) -> None:
    """What a process that was killed left on the disk."""
    now = time.time_ns() // 1_000_000
    order = KeptOrder(
        attempt="out-000000000001",
        call_id="far-1",
        target="user:ann-1",
        mode="notify",
        via="standin",
        tenant="t-1",
        asked_by="test",
        asked_ms=now - 1000,
        ring_until_ms=now + 4000,
        state="ringing",
        message="Soup is on.",
    )

    async def keep() -> None:
        journal = Journal(tmp_path / "journal.sqlite3", SystemClock())
        journal.open()
        assert await Kept(journal).keep(msgspec.structs.replace(order, **changes))
        journal.close()

    asyncio.run(keep())


ATTEMPT = "out-000000000001"
OURS = "teams-0123456789abcdef"


class TestWhatWasLeft:
    def started(
        self,
        tmp_path: Path,
        then: Callable[[Site, FarSide], Awaitable[None]],
        config: Callable[..., Config] = configured,
        **changes: Any,
    ) -> None:
        async def run() -> None:
            async with far_side() as far, site(config(tmp_path, far, **changes)) as place:
                await then(place, far)

        asyncio.run(run())

    def outcome(self, tmp_path: Path) -> tuple[str, str]:
        [row] = rows(tmp_path)
        return row["outcome"], row["detail"]

    def test_is_over_and_hung_up_when_its_time_is_over(self, tmp_path: Path) -> None:
        async def then(place: Site, far: FarSide) -> None:
            await until(lambda: far.hung_up() == ["far-1"])
            await until(lambda: rows(tmp_path)[0]["ended_ms"])
            leg = await place.standin("far-1", "active")
            await leg.closed.wait()
            assert leg.frames() == 0

        left(tmp_path, ring_until_ms=1)
        self.started(tmp_path, then)
        assert self.outcome(tmp_path)[0] == "no-answer"

    def test_ends_when_its_ringing_does(self, tmp_path: Path) -> None:
        async def then(place: Site, far: FarSide) -> None:
            assert place.outbound.ringing == 1
            assert far.requests == []
            assert (await place.over(ATTEMPT))[0] == "no-answer"
            await until(lambda: far.hung_up() == ["far-1"])

        left(tmp_path, ring_until_ms=time.time_ns() // 1_000_000 + 1500)
        self.started(tmp_path, then)

    def test_rings_no_longer_than_a_whole_ringing_though_the_clock_was_set_back(
        self, tmp_path: Path
    ) -> None:
        async def then(place: Site, far: FarSide) -> None:
            assert (await place.over(ATTEMPT))[0] == "no-answer"

        left(tmp_path, ring_until_ms=time.time_ns() // 1_000_000 + 3_600_000)
        self.started(tmp_path, then, ring_timeout_ms=500)

    def test_is_never_asked_again(self, tmp_path: Path) -> None:
        async def then(place: Site, far: FarSide) -> None:
            gateway = await place.gateway()
            await asyncio.sleep(0.1)
            assert gateway.of("initiate_call") == []
            start = {"type": "session_start", "callId": OURS, "direction": "outbound"}
            await gateway.send(**start, metadata={"tenantId": "t", "userId": "ann-1"})
            assert (await place.over(ATTEMPT))[0] == "answered"
            assert place.heard() == ["Soup is on."]

        left(tmp_path, via="csharp", call_id=OURS, state="requested")
        self.started(tmp_path, then, csharp)

    def test_waits_on_for_a_gateway(self, tmp_path: Path) -> None:
        async def then(place: Site, far: FarSide) -> None:
            gateway = await place.gateway()
            await until(lambda: gateway.of("initiate_call"))
            assert gateway.of("initiate_call")[0]["callId"] == OURS
            assert gateway.of("initiate_call")[0]["message"] == "Soup is on."

        left(tmp_path, via="csharp", call_id=OURS, state="waiting")
        self.started(tmp_path, then, csharp)
        assert self.outcome(tmp_path) == ("failed", "The bridge was shut down.")

    @pytest.mark.parametrize("recording", ["active", "unknown"])
    def test_whose_name_was_lost_knows_its_leg_by_who_it_is(
        self, recording: str, tmp_path: Path
    ) -> None:
        async def then(place: Site, far: FarSide) -> None:
            wrong = await place.standin("wrong", "active", caller={"aadId": "bob"})
            right = await place.standin("right", recording, caller={"aadId": "ann-1"})
            if recording != "active":
                await right.send(type="recording.status", status="active")
            assert (await place.over(ATTEMPT))[0] == "answered"
            await wrong.closed.wait()
            assert wrong.of("session.end")[0]["reason"] == "not-allowed"
            assert wrong.frames() == 0
            assert right.frames() > 0

        left(tmp_path, call_id="")
        self.started(tmp_path, then)
        assert rows(tmp_path)[0]["call_id"] == "right"

    def test_whose_name_was_lost_is_hung_up_when_its_leg_comes_late(self, tmp_path: Path) -> None:
        async def then(place: Site, far: FarSide) -> None:
            assert (await place.over(ATTEMPT))[0] == "no-answer"
            assert far.requests == []
            leg = await place.standin("late", "active", caller={"aadId": "ann-1"})
            await leg.closed.wait()
            await until(lambda: far.hung_up() == ["late"])

        left(tmp_path, call_id="", ring_until_ms=1)
        self.started(tmp_path, then)

    def test_of_a_gateways_rest_api_is_hung_up_there(self, tmp_path: Path) -> None:
        async def then(place: Site, far: FarSide) -> None:
            await until(lambda: far.hung_up() == ["far-1"])
            assert far.requests[0].target == "/control/hangup"

        left(tmp_path, via="csharp", ring_until_ms=1)
        self.started(tmp_path, then, csharp)

    def test_is_told_when_nobody_heard_it(self, tmp_path: Path) -> None:
        async def then(place: Site, far: FarSide) -> None:
            await until(lambda: rows(tmp_path)[0]["tell"] == 2)

        out = tmp_path / "told.json"
        left(tmp_path, ring_until_ms=1)
        command = ("sh", "-c", f"cat >> {out}; echo '{{}}'")
        self.started(tmp_path, then, undelivered_command=command)
        assert out.read_text().count("Soup is on.") == 1

    def test_is_cancelled_where_the_switch_is_off(self, tmp_path: Path) -> None:
        async def then(place: Site, far: FarSide) -> None:
            assert (await place.over(ATTEMPT))[0] == "cancelled"
            await until(lambda: far.hung_up() == ["far-1"])

        left(tmp_path)
        with sqlite3.connect(tmp_path / "journal.sqlite3") as connection:
            connection.execute("INSERT INTO switches (name, value) VALUES ('outbound', 'off')")
        connection.close()
        self.started(tmp_path, then)

    def test_that_finds_no_slot_has_failed(self, tmp_path: Path) -> None:
        def full(*given: Any, **more: Any) -> Config:
            return msgspec.structs.replace(configured(*given, **more), max_concurrent_calls=1)

        async def then(place: Site, far: FarSide) -> None:
            await until(lambda: far.hung_up() == ["far-2"])

        left(tmp_path)
        left(tmp_path, attempt="out-000000000002", call_id="far-2", target="user:bob")
        self.started(tmp_path, then, full)
        assert [row["outcome"] for row in rows(tmp_path)] == ["failed", "failed"]
        assert "no slot" in rows(tmp_path)[1]["detail"]
