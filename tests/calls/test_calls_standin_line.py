"""A StandIn socket: what may come before the start, and every way in which it closes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from switchboard_rig import ANN, FakeLink, Rig, rig

from teamscall.calls.records import CallOpened, Decided, GateChanged
from teamscall.clock import ManualClock
from teamscall.config import Authorization, Goodbye, Inbound, StandIn
from teamscall.engines.echo import EchoEngine
from teamscall.wire import events as wire

HANGING = Authorization(mode="open", hook_command=("sleep", "30"), hook_timeout_ms=150)
SLOW = Authorization(
    mode="open", hook_command=("sh", "-c", 'sleep 0.15; echo "{\\"authorized\\": true}"')
)


def up(site: Rig, call_id: str = "s1", **more: Any) -> FakeLink:
    link = site.standin(call_id)
    site.board.received(link, wire.CallStarted(call_id, ANN, **more))
    return link


class TestTheCloseTable:
    def test_no_start_in_time(self) -> None:
        async def run() -> None:
            async with rig(standin=StandIn(start_timeout_ms=30)) as site:
                link = site.standin()
                site.board.received(link, wire.Pinged("s1", 7))
                await site.until(lambda: link.closed)
                assert link.closed == (1000, "pre-start-timeout")
                assert link.farewell == "pre-start-timeout"
                assert link.of(wire.Pong) == [wire.Pong("s1", 7)]
                assert site.free == 5

        asyncio.run(run())

    def test_a_call_id_that_differs_from_the_paths(self) -> None:
        async def run() -> None:
            async with rig() as site:
                link = site.standin("s1")
                site.board.received(link, wire.CallStarted("s2", ANN))
                assert link.closed == (1000, "callid-mismatch")
                assert link.farewell == "callid-mismatch"
                assert site.free == 5

        asyncio.run(run())

    @pytest.mark.parametrize(
        "config",
        [{"authorization": Authorization()}, {"inbound": Inbound(enabled=False)}],
        ids=["policy", "inbound off"],
    )
    def test_a_caller_that_may_not(self, config: dict[str, Any]) -> None:
        async def run() -> None:
            async with rig(**config) as site:
                link = up(site)
                assert link.closed == (1000, "not-allowed")
                assert link.farewell == "not-allowed"
                assert site.of(CallOpened) == []
                assert site.decision().on == "session_start"
                assert site.free == 5

        asyncio.run(run())

    def test_no_engine(self) -> None:
        class Broken(EchoEngine):
            def open(self, call: Any, emit: Any) -> Any:
                raise RuntimeError("no more of them")

        async def run() -> None:
            async with rig(Broken()) as site:
                link = up(site)
                assert link.closed == (1000, "agent-unavailable")
                assert link.farewell == "agent-unavailable"
                assert site.free == 5

        asyncio.run(run())

    def test_the_time_limit(self) -> None:
        async def run() -> None:
            goodbye = Goodbye(time_limit="Bye now.")
            async with rig(goodbye=goodbye) as site:
                # As in a call that lasted that long.
                site.board._desk.settings["standin"] = _limited(site, 0.05)
                link = up(site)
                await site.until(lambda: link.closed)
                assert link.closed == (1000, "time-limit")
                assert link.farewell == "time-limit"
                assert len(link.of(wire.AudioOut)) == 6

        asyncio.run(run())

    def test_idle(self) -> None:
        async def run() -> None:
            async with rig(standin=StandIn(idle_timeout_ms=50)) as site:
                link = up(site)
                await site.until(lambda: link.closed)
                assert link.closed == (1000, "idle-timeout")

        asyncio.run(run())

    @pytest.mark.parametrize("state", ["waiting", "deciding", "up"])
    def test_draining(self, state: str) -> None:
        async def run() -> None:
            hook = HANGING if state == "deciding" else Authorization(mode="open")
            async with rig(authorization=hook) as site:
                link = site.standin() if state == "waiting" else up(site)
                await site.board.drain(0.01)
                assert link.closed == (1001, "server-shutdown")
                assert link.farewell == "server-shutdown"
                assert site.free == 5

        asyncio.run(run())

    def test_draining_when_the_upgrade_was_already_under_way(self) -> None:
        async def run() -> None:
            async with rig() as site:
                assert site.board.reserve("s1", "10.0.0.2")
                await site.board.drain(0.0)
                link = FakeLink("standin", "10.0.0.2:1")
                site.board.connected(link, "s1")
                assert link.closed == (1001, "server-shutdown")
                assert site.free == 5

        asyncio.run(run())

    @pytest.mark.parametrize("state", ["waiting", "deciding", "up"])
    def test_the_peer_goes(self, state: str) -> None:
        async def run() -> None:
            hook = HANGING if state == "deciding" else Authorization(mode="open")
            async with rig(authorization=hook) as site:
                link = site.standin() if state == "waiting" else up(site)
                site.close(link)
                assert site.free == 5
                assert site.ended() == (["connection-lost"] if state == "up" else [])
                assert link.of(wire.HangUp) == []

        asyncio.run(run())

    @pytest.mark.parametrize("state", ["waiting", "deciding", "up"])
    def test_the_peer_says_that_it_is_over(self, state: str) -> None:
        async def run() -> None:
            hook = HANGING if state == "deciding" else Authorization(mode="open")
            async with rig(authorization=hook) as site:
                link = site.standin() if state == "waiting" else up(site)
                site.board.received(link, wire.CallEnded("s1", "user left"))
                assert link.closed
                assert link.closed[0] == 1000
                assert site.free == 5

        asyncio.run(run())


def _limited(site: Rig, seconds: float) -> Any:
    import msgspec

    return msgspec.structs.replace(site.board._desk.settings["standin"], max_duration_s=seconds)


class TestTheStart:
    def test_that_comes_twice_is_ignored_and_counted(self) -> None:
        async def run() -> None:
            async with rig() as site:
                link = up(site)
                site.board.received(link, wire.CallStarted("s1", ANN))
                assert site.board.drops["second-start"] == 1
                assert len(site.of(CallOpened)) == 1
                assert link.closed is None

        asyncio.run(run())

    def test_takes_the_recording_status_that_came_before_it(self) -> None:
        async def run() -> None:
            async with rig() as site:
                link = site.standin()
                site.board.received(link, wire.RecordingChanged("s1", "active"))
                site.board.received(link, wire.CallStarted("s1", ANN, recording="inactive"))
                assert [(g.open, g.status) for g in site.of(GateChanged)] == [(True, "active")]

        asyncio.run(run())

    @pytest.mark.parametrize(("status", "open_"), [("active", True), ("unknown", False)])
    def test_brings_a_recording_status_itself(self, status: Any, open_: bool) -> None:
        async def run() -> None:
            async with rig() as site:
                up(site, recording=status)
                assert [g.open for g in site.of(GateChanged)] == [open_]

        asyncio.run(run())

    def test_has_nothing_before_it(self) -> None:
        async def run() -> None:
            async with rig(EchoEngine()) as site:
                link = site.standin()
                site.board.received(link, wire.AudioIn("s1", 0, bytes(640)))
                site.board.dropped(link, wire.Dropped("not-json"))
                assert site.board.drops == {"before-start": 1, "not-json": 1}

        asyncio.run(run())

    def test_is_refused_to_a_second_upgrade_of_a_live_call(self) -> None:
        async def run() -> None:
            async with rig() as site:
                up(site)
                assert not site.board.reserve("s1", "10.0.0.3")

        asyncio.run(run())


class TestAHookThatTakesItsTime:
    def test_hangs_and_the_caller_is_refused(self) -> None:
        async def run() -> None:
            async with rig(authorization=HANGING) as site:
                link = up(site, recording="active")
                for seq in range(400):
                    site.board.received(link, wire.AudioIn("s1", seq, bytes(640)))
                assert site.board.drops["early-overflow"] == 150
                await site.until(lambda: link.closed)
                assert link.closed == (1000, "not-allowed")
                assert site.decision().reason == "Authorization error"

        asyncio.run(run())

    def test_and_what_came_meanwhile_is_heard(self) -> None:
        async def run() -> None:
            async with rig(EchoEngine(), authorization=SLOW) as site:
                link = up(site, recording="active")
                for seq in range(3):
                    site.board.received(link, wire.AudioIn("s1", seq, b"\1\0" * 320))
                await site.until(lambda: len(link.of(wire.AudioOut)) == 3)
                kinds = [type(record) for record in site.records]
                assert kinds[:2] == [Decided, CallOpened]

        asyncio.run(run())

    def test_and_nothing_that_the_gate_forbids_is_kept(self) -> None:
        async def run() -> None:
            async with rig(EchoEngine(), authorization=SLOW) as site:
                link = up(site)
                site.board.received(link, wire.AudioIn("s1", 0, b"\1\0" * 320))
                site.board.received(link, wire.RecordingChanged("s1", "active"))
                site.board.received(link, wire.AudioIn("s1", 1, b"\2\0" * 320))
                site.board.received(link, wire.RecordingChanged("s1", "inactive"))
                site.board.received(link, wire.RecordingChanged("s1", "active"))
                site.board.received(link, wire.AudioIn("s1", 2, b"\3\0" * 320))
                site.board.received(link, wire.CallStarted("s1", ANN))
                await site.until(lambda: link.of(wire.AudioOut))
                await asyncio.sleep(0.05)
                assert [frame.pcm[0] for frame in link.of(wire.AudioOut)] == [3]

        asyncio.run(run())


class TestOutbound:
    def leg(self, site: Rig, **more: Any) -> FakeLink:
        return up(site, "o1", direction="outbound", **more)

    def test_comes_in_though_every_slot_is_taken(self) -> None:
        async def run() -> None:
            async with rig(max_concurrent_calls=1) as site:
                assert site.board.expect("o1", opening="Hi.", ring_timeout_s=30)
                assert not site.board.reserve("s1", "10.0.0.2")
                link = self.leg(site, recording="active")
                assert not site.board.reserve("o1", "10.0.0.2")
                await site.until(lambda: link.of(wire.AudioOut))
                assert site.decision().strategy == "outbound"
                site.close(link)
                assert site.free == 1

        asyncio.run(run())

    def test_that_nobody_asked_for_is_refused(self) -> None:
        async def run() -> None:
            async with rig() as site:
                assert self.leg(site).closed == (1000, "not-allowed")
                assert site.free == 5

        asyncio.run(run())

    def test_has_its_own_deadline_once_its_socket_is_here(self) -> None:
        async def run() -> None:
            clock = ManualClock()
            async with rig(clock=clock) as site:
                assert site.board.expect("o1", ring_timeout_s=30)
                link = site.standin("o1")
                clock.advance(31)
                assert site.free == 4
                site.board.received(link, wire.CallStarted("o1", ANN, direction="outbound"))
                assert site.live() == {"o1"}

        asyncio.run(run())

    def test_whose_socket_goes_before_the_start_gives_its_slot_back(self) -> None:
        async def run() -> None:
            async with rig() as site:
                assert site.board.expect("o1", ring_timeout_s=30)
                site.close(site.standin("o1"))
                assert site.free == 5

        asyncio.run(run())

    def test_that_is_declined_gives_its_slot_back(self) -> None:
        async def run() -> None:
            async with rig(clock=ManualClock()) as site:
                assert site.board.expect("o1", ring_timeout_s=30)
                site.board.outcome("o1", "answered")
                assert site.free == 4
                site.board.outcome("o1", "declined")
                site.board.outcome("o1", "declined")
                assert site.free == 5

        asyncio.run(run())


class TestAdmission:
    def test_says_why_nobody_else_can_come(self) -> None:
        async def run() -> None:
            standin = StandIn(max_connections_per_address=1)
            async with rig(max_concurrent_calls=2, standin=standin) as site:
                board = site.board
                assert board.unavailable("standin", "10.0.0.2") is None
                site.standin("s1")
                assert board.unavailable("standin", "10.0.0.2") == "address-capacity"
                assert board.unavailable("standin", "10.0.0.3") is None
                assert board.reserve("s2", "10.0.0.3")
                assert board.unavailable("standin", "10.0.0.4") == "capacity"
                assert not board.readiness().ready
                await board.drain(0.0)
                assert board.unavailable("standin", "10.0.0.4") == "draining"
                assert board.readiness().draining
                link = FakeLink("standin", "10.0.0.3:1")
                board.connected(link, "s2")

        asyncio.run(run())
