"""A C# gateway's messages and what comes of each: the tables of its dialect."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from switchboard_rig import ANN, BOB, FakeLink, rig

from teamscall.calls.records import CallClosed, CallOpened, Decided, Heard, TurnBegan, TurnEnded
from teamscall.clock import ManualClock
from teamscall.config import Authorization, Inbound, Outbound
from teamscall.engines.echo import EchoEngine
from teamscall.wire import events as wire

HANGING = Authorization(mode="open", hook_command=("sleep", "30"), hook_timeout_ms=100)


def hook(answer: str) -> Authorization:
    return Authorization(mode="open", hook_command=("printf", "%s", answer))


class TestAuthRequest:
    @pytest.mark.parametrize(
        ("authorization", "caller", "expected"),
        [
            (Authorization(), ANN, (False, "disabled", "Inbound calls disabled")),
            (Authorization(mode="open"), ANN, (True, "open", "")),
            (
                Authorization(mode="open"),
                wire.Caller(user_id="u"),
                (False, "validation-failed", "Invalid metadata"),
            ),
            (
                Authorization(mode="open"),
                msgspec.structs.replace(ANN, phone_number="+1"),
                (False, "pstn-blocked", "PSTN calls not allowed"),
            ),
            (
                Authorization(mode="allowlist", allow_from=("U-BOB ",)),
                ANN,
                (False, "allowlist", "User not in allowlist"),
            ),
            (Authorization(mode="allowlist", allow_from=(" U-ANN",)), ANN, (True, "allowlist", "")),
            (
                Authorization(mode="tenant-only"),
                ANN,
                (False, "tenant-only", "No tenants configured"),
            ),
        ],
    )
    def test_is_answered_to_the_letter_and_recorded(
        self, authorization: Authorization, caller: wire.Caller, expected: tuple[bool, str, str]
    ) -> None:
        async def run() -> None:
            async with rig(authorization=authorization, clock=ManualClock()) as site:
                link = site.csharp()
                site.ask(link, "c1", caller)
                (answer,) = link.of(wire.AuthAnswer)
                assert (answer.authorized, answer.strategy, answer.reason) == expected
                assert answer.correlation_id == "cor-c1"
                assert answer.timestamp_ms == site.clock.wall_ms()
                (record,) = site.of(Decided)
                assert (record.authorized, record.strategy, record.reason) == expected
                assert record.on == "auth_request"
                assert site.free == (4 if expected[0] else 5)

        asyncio.run(run())

    def test_is_refused_when_inbound_calls_are_off_but_the_metadata_is_judged_first(self) -> None:
        async def run() -> None:
            async with rig(inbound=Inbound(enabled=False), clock=ManualClock()) as site:
                link = site.csharp()
                site.ask(link, "c1")
                assert site.answer(link).reason == "Inbound calls disabled"
                site.ask(link, "c1", wire.Caller())
                assert site.answer(link).reason == "Invalid metadata"
                site.start(link, "c1")
                assert link.farewell == "not-allowed"

        asyncio.run(run())

    def test_is_refused_over_capacity(self) -> None:
        async def run() -> None:
            async with rig(max_concurrent_calls=2, clock=ManualClock()) as site:
                link = site.csharp()
                for call_id in ("a", "b", "c"):
                    site.ask(link, call_id)
                granted = [a.authorized for a in link.of(wire.AuthAnswer)]
                assert granted == [True, True, False]
                assert site.answer(link).reason == "At capacity"
                assert not site.board.readiness().ready
                site.start(link, "c")
                assert link.farewell == "not-allowed"

        asyncio.run(run())

    def test_twice_is_answered_twice_and_holds_one_slot(self) -> None:
        async def run() -> None:
            async with rig(clock=ManualClock()) as site:
                link = site.csharp()
                site.ask(link, "c1")
                site.ask(link, "c1")
                assert [a.authorized for a in link.of(wire.AuthAnswer)] == [True, True]
                assert site.free == 4
                site.ask(link, "c1", wire.Caller())  # the latest answer counts
                site.start(link, "c1")
                assert link.farewell == "not-allowed"
                assert site.free == 5

        asyncio.run(run())

    def test_of_a_live_call_leaves_it_alone(self) -> None:
        async def run() -> None:
            async with rig() as site:
                link = site.call("c1")
                site.ask(link, "c1")
                site.ask(link, "c1", wire.Caller())
                assert [a.authorized for a in link.of(wire.AuthAnswer)] == [True, True, False]
                assert site.live() == {"c1"}
                assert site.free == 4

        asyncio.run(run())

    def test_whose_hook_hangs_is_denied_in_time(self) -> None:
        async def run() -> None:
            async with rig(authorization=HANGING) as site:
                link = site.csharp()
                site.ask(link, "c1")
                site.ask(link, "c1")
                assert link.sent == []
                assert site.free == 4  # taken before anything was waited for
                await site.until(lambda: len(link.of(wire.AuthAnswer)) == 2)
                answer = site.answer(link)
                assert (answer.authorized, answer.strategy) == (False, "open")
                assert answer.reason == "Authorization error"
                assert site.free == 5

        asyncio.run(run())

    @pytest.mark.parametrize(
        ("said", "expected"),
        [
            ('{"authorized": true}', (True, "open", "")),
            ('{"authorized": false, "reason": "holiday"}', (False, "hook", "holiday")),
            ("nonsense", (False, "open", "Authorization error")),
        ],
    )
    def test_whose_hook_answers(self, said: str, expected: tuple[bool, str, str]) -> None:
        async def run() -> None:
            async with rig(authorization=hook(said)) as site:
                link = site.csharp()
                site.ask(link, "c1")
                await site.until(lambda: link.of(wire.AuthAnswer))
                answer = site.answer(link)
                assert (answer.authorized, answer.strategy, answer.reason) == expected
                site.start(link, "c1")
                assert bool(link.of(wire.HangUp)) is not expected[0]
                assert site.free == (4 if expected[0] else 5)

        asyncio.run(run())

    def test_whose_hook_gives_the_call_its_own_greeting(self) -> None:
        said = '{"authorized": true, "settings": {"inbound": {"greeting": "Hello, Ada."}, "x": 1}}'

        async def run() -> None:
            async with rig(authorization=hook(said)) as site:
                link = site.csharp()
                site.ask(link, "c1")
                await site.until(lambda: link.of(wire.AuthAnswer))
                site.start(link, "c1")
                await site.until(lambda: site.of(TurnBegan))
                assert [turn.kind for turn in site.of(TurnBegan)] == ["greeting"]

        asyncio.run(run())

    def test_that_a_drain_overtakes_is_denied(self) -> None:
        async def run() -> None:
            async with rig(authorization=hook('{"authorized": true}')) as site:
                link = site.csharp()
                site.ask(link, "c1")
                await site.board.drain(0.0)
                assert site.answer(link).reason == "Shutting down"

        asyncio.run(run())

    def test_that_the_call_overtakes_does_not_take_its_slot_away(self) -> None:
        async def run() -> None:
            slow = ("sh", "-c", 'sleep 0.2; echo "{\\"authorized\\": false}"')
            async with rig(authorization=hook('{"authorized": true}')) as site:
                link = site.csharp()
                site.ask(link, "c1")
                await site.until(lambda: link.of(wire.AuthAnswer))
                site.board._desk.deciding._policy._hook = msgspec.structs.replace(
                    site.board._desk.deciding._policy._hook, command=slow
                )
                site.ask(link, "c1")
                site.start(link, "c1")
                await site.until(lambda: len(link.of(wire.AuthAnswer)) == 2)
                assert site.live() == {"c1"}
                assert site.free == 4

        asyncio.run(run())

    def test_that_nobody_follows_gives_its_slot_back_by_itself(self) -> None:
        async def run() -> None:
            clock = ManualClock()
            async with rig(clock=clock) as site:
                link = site.csharp()
                site.ask(link, "c1")
                clock.advance(59.9)
                assert site.free == 4
                clock.advance(0.2)
                assert site.free == 5
                site.start(link, "c1")
                assert link.farewell == "not-allowed"

        asyncio.run(run())


class TestSessionStart:
    def refused(self, *, caller: wire.Caller = ANN, ask: bool = True, **config: Any) -> Decided:
        async def run() -> Decided:
            async with rig(clock=ManualClock(), **config) as site:
                link = site.csharp()
                if ask:
                    site.ask(link, "c1")
                site.start(link, "c1", caller)
                assert link.farewell == "not-allowed"
                assert site.of(CallOpened) == []
                assert site.free == 5
                assert link.closed is None  # the socket carries other calls
                return site.decision()

        return asyncio.run(run())

    def test_without_an_auth_request(self) -> None:
        assert self.refused(ask=False).reason == "No authorization request"

    def test_of_another_identity(self) -> None:
        assert self.refused(caller=BOB).reason == "Identity differs from the authorized one"

    def test_that_the_policy_refuses(self) -> None:
        assert self.refused(authorization=Authorization()).strategy == "disabled"

    def test_after_the_identity_was_written_another_way(self) -> None:
        async def run() -> None:
            async with rig() as site:
                link = site.csharp()
                site.ask(link, "c1")
                same = wire.Caller(user_id=" U-ANN ", tenant_id="T-1")
                site.start(link, "c1", same)
                assert site.live() == {"c1"}

        asyncio.run(run())

    def test_on_another_socket_than_the_auth_request(self) -> None:
        async def run() -> None:
            async with rig() as site:
                site.ask(site.csharp(), "c1")
                site.start(site.csharp(), "c1")
                assert site.live() == {"c1"}

        asyncio.run(run())

    def test_of_a_live_call_is_dropped_and_the_call_keeps_its_socket(self) -> None:
        async def run() -> None:
            async with rig(EchoEngine()) as site:
                link, other = site.call("c1"), site.csharp()
                site.start(other, "c1")
                site.start(link, "c1")
                assert site.board.drops["duplicate-call"] == 2
                assert other.sent == []
                for seq in range(10):
                    site.board.received(link, wire.AudioIn("c1", seq, bytes(640)))
                await site.until(lambda: link.of(wire.AudioOut))
                assert site.board.active == 1

        asyncio.run(run())


class TestACall:
    def test_is_heard_answered_and_ended_by_its_owner_only(self) -> None:
        from playbook import SILENCE, VOICE

        async def run() -> None:
            async with rig(inbound=Inbound(greeting="Hello you.")) as site:
                link, other = site.call("c1"), site.csharp()
                await site.until(lambda: len(link.of(wire.AudioOut)) == 6)
                for seq, pcm in enumerate([*VOICE, *[SILENCE] * 60]):
                    site.board.received(link, wire.AudioIn("c1", seq, pcm))
                await site.until(lambda: site.of(Heard))
                await site.until(lambda: len(link.of(wire.AudioOut)) == 9)
                assert [f.seq for f in link.of(wire.AudioOut)] == list(range(9))
                site.board.received(other, wire.CallEnded("c1", "hangup-user"))
                site.board.received(other, wire.AudioIn("c1", 0, SILENCE))
                assert site.board.drops["not-its-call"] == 2
                assert site.board.active == 1
                site.board.received(link, wire.CallEnded("c1", "hangup-user"))
                assert site.ended() == ["hangup-user"]
                assert link.of(wire.HangUp) == []
                assert link.closed is None
                assert site.free == 5

        asyncio.run(run())

    def test_is_one_of_several_on_a_socket(self) -> None:
        async def run() -> None:
            async with rig(EchoEngine()) as site:
                link = site.csharp()
                for call_id in ("a", "b"):
                    site.call(call_id, link)
                site.board.received(link, wire.CallEnded("a", "error"))
                assert site.live() == {"b"}
                site.board.received(link, wire.AudioIn("b", 0, bytes(640)))
                await site.until(lambda: link.of(wire.AudioOut))
                assert {f.call_id for f in link.of(wire.AudioOut)} == {"b"}

        asyncio.run(run())

    def test_is_ended_by_the_operator(self) -> None:
        async def run() -> None:
            async with rig() as site:
                link = site.call("c1")
                assert site.board.end("c1", "operator")
                assert not site.board.end("c1", "operator")
                assert link.farewell == "operator"

        asyncio.run(run())

    def test_answers_a_ping_of_any_call(self) -> None:
        async def run() -> None:
            async with rig() as site:
                link = site.csharp()
                site.board.received(link, wire.Pinged("whatever"))
                assert link.sent == [wire.Pong("whatever", 0)]

        asyncio.run(run())

    def test_counts_what_the_peer_was_too_slow_to_take(self) -> None:
        async def run() -> None:
            async with rig() as site:
                first = site.csharp()
                first.dropped_out = 100  # before this call
                site.call("c1", first)
                first.dropped_out = 103
                site.close(first)
                second = site.csharp()
                second.dropped_out = 50
                site.board.received(second, wire.CallResumed("c1", -1))
                second.dropped_out = 54
                site.board.end("c1", "operator")
                assert site.of(CallClosed)[0].counters.dropped_out == 7

        asyncio.run(run())


class TestResume:
    def test_moves_a_call_whose_socket_is_gone(self) -> None:
        async def run() -> None:
            async with rig(EchoEngine()) as site:
                first = site.call("c1")
                for seq in range(5):
                    site.board.received(first, wire.AudioIn("c1", seq, bytes(640)))
                await site.until(lambda: len(first.of(wire.AudioOut)) == 5)
                site.close(first)
                assert site.live() == {"c1"}
                second = site.csharp()
                site.board.received(second, wire.CallResumed("c1", 2))
                await site.until(lambda: len(second.of(wire.AudioOut)) == 2)
                assert [f.seq for f in second.of(wire.AudioOut)] == [3, 4]
                site.board.received(second, wire.CallEnded("c1", "hangup-user"))
                assert site.ended() == ["hangup-user"]

        asyncio.run(run())

    def test_of_an_unknown_call_is_counted(self) -> None:
        async def run() -> None:
            async with rig() as site:
                link = site.csharp()
                site.board.received(link, wire.CallResumed("nobody", 0))
                assert site.board.drops["resume-unknown"] == 1
                assert link.sent == []

        asyncio.run(run())

    def test_of_a_standin_call_is_counted(self) -> None:
        async def run() -> None:
            async with rig() as site:
                standin = site.standin("s1")
                site.board.received(standin, wire.CallStarted("s1", ANN))
                site.board.received(site.csharp(), wire.CallResumed("s1", 0))
                assert site.board.drops["resume-unknown"] == 1

        asyncio.run(run())

    def test_of_a_call_that_is_on_another_socket_waits_until_that_one_is_gone(self) -> None:
        async def run() -> None:
            async with rig() as site:
                first, second, third = site.call("c1"), site.csharp(), site.csharp()
                site.board.received(third, wire.CallResumed("c1", 0))
                site.close(third)
                site.board.received(second, wire.CallResumed("c1", 0))
                assert site.board.drops["resume-foreign"] == 2
                site.board.received(second, wire.CallEnded("c1", "hangup-user"))
                assert site.live() == {"c1"}
                site.close(first)
                site.board.received(second, wire.CallEnded("c1", "hangup-user"))
                assert site.ended() == ["hangup-user"]

        asyncio.run(run())

    def test_by_a_second_start_moves_a_call_whose_socket_is_gone(self) -> None:
        async def run() -> None:
            async with rig(EchoEngine()) as site:
                first = site.call("c1")
                for seq in range(5):
                    site.board.received(first, wire.AudioIn("c1", seq, bytes(640)))
                await site.until(lambda: len(first.of(wire.AudioOut)) == 5)
                site.close(first)
                second = site.csharp()
                site.ask(second, "c1")
                assert site.answer(second).authorized
                site.start(second, "c1")
                for seq in range(5, 10):
                    site.board.received(second, wire.AudioIn("c1", seq, bytes(640)))
                await site.until(lambda: len(second.of(wire.AudioOut)) == 5)
                assert [f.seq for f in second.of(wire.AudioOut)] == [5, 6, 7, 8, 9]
                assert site.ended() == []
                site.board.received(second, wire.CallEnded("c1", "hangup-user"))
                assert site.ended() == ["hangup-user"]

        asyncio.run(run())

    def test_by_a_second_start_is_for_the_same_caller_only(self) -> None:
        async def run() -> None:
            async with rig() as site:
                first, second = site.call("c1"), site.csharp()
                site.close(first)
                site.start(second, "c1", BOB)
                assert second.farewell == "not-allowed"
                assert site.live() == {"c1"}
                site.board.received(second, wire.CallEnded("c1", "hangup-user"))
                assert site.live() == {"c1"}

        asyncio.run(run())

    def test_that_never_comes_ends_the_call_and_frees_its_slot(self) -> None:
        from teamscall.config import Bridge

        async def run() -> None:
            async with rig(bridge=Bridge(resume_grace_ms=30)) as site:
                site.close(site.call("c1"))
                assert site.free == 4
                await site.until(lambda: site.ended())
                assert site.ended() == ["connection-lost"]
                assert site.free == 5

        asyncio.run(run())


class TestOutbound:
    def leg(self, site: Any, link: FakeLink, call_id: str = "o1") -> None:
        site.start(link, call_id, wire.Caller(), direction="outbound")

    def test_completes_the_call_that_was_placed(self) -> None:
        async def run() -> None:
            # Inbound calls are off, and the caller is nobody: neither matters here.
            off = Inbound(enabled=False, greeting="Not this.")
            async with rig(authorization=Authorization(), inbound=off) as site:
                assert site.board.expect("o1", opening="Hi.", notify=True, ring_timeout_s=30)
                assert not site.board.expect("o1", ring_timeout_s=30)
                assert site.free == 4
                link = site.csharp()
                site.board.received(link, wire.CallProgressed("o1", "ringing"))
                self.leg(site, link)
                decision = site.decision()
                assert (decision.authorized, decision.strategy) == (True, "outbound")
                await site.until(lambda: site.ended())
                assert link.farewell == "hangup-bot"
                assert len(link.of(wire.AudioOut)) == 3
                assert site.free == 5

        asyncio.run(run())

    def test_that_nobody_asked_for_is_hung_up(self) -> None:
        async def run() -> None:
            async with rig() as site:
                link = site.csharp()
                self.leg(site, link)
                assert link.farewell == "not-allowed"
                assert site.board.drops["unknown-outbound"] == 1
                assert not site.decision().authorized

        asyncio.run(run())

    def test_that_comes_after_its_ring_timeout_is_hung_up(self) -> None:
        async def run() -> None:
            clock = ManualClock()
            async with rig(clock=clock) as site:
                assert site.board.expect("o1", ring_timeout_s=30)
                clock.advance(30)
                assert site.free == 5
                link = site.csharp()
                self.leg(site, link)
                assert link.farewell == "not-allowed"

        asyncio.run(run())

    @pytest.mark.parametrize(("mode", "ends"), [("notify", True), ("conversation", False)])
    def test_does_what_the_configuration_says(self, mode: str, ends: bool) -> None:
        async def run() -> None:
            outbound = Outbound(default_mode=mode)  # type: ignore[arg-type]
            async with rig(outbound=outbound) as site:
                assert site.board.expect("o1", opening="Hi.", ring_timeout_s=30)
                link = site.csharp()
                self.leg(site, link)
                await site.until(lambda: site.of(TurnEnded))
                assert bool(link.of(wire.HangUp)) is ends

        asyncio.run(run())

    @pytest.mark.parametrize("status", ["failed", "busy", "no-answer"])
    def test_that_fails_gives_its_slot_back(self, status: wire.ProgressStatus) -> None:
        async def run() -> None:
            async with rig(clock=ManualClock()) as site:
                assert site.board.expect("o1", ring_timeout_s=30)
                site.board.received(site.csharp(), wire.CallProgressed("o1", status))
                assert site.free == 5

        asyncio.run(run())

    def test_needs_a_slot(self) -> None:
        async def run() -> None:
            async with rig(max_concurrent_calls=1) as site:
                site.call("c1")
                assert not site.board.expect("o1", ring_timeout_s=30)

        asyncio.run(run())
