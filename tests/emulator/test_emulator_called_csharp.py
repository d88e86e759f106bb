"""A C# gateway that is called: on its sockets and by request, by real bridges and by hand."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator
from typing import Any

import pytest
from called_rig import LOCAL, USER, Home, bridge, phone, until
from emulator_rig import tone
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from teamscall.clock import SystemClock
from teamscall.emulator import happenings as seen
from teamscall.emulator.answering import Answering
from teamscall.emulator.called import Phone
from teamscall.emulator.plan import Dial, Plan
from teamscall.errors import DialError, HandshakeRefused
from teamscall.wire.csharp import decode_from_gateway, encode_to_gateway
from teamscall.wire.events import (
    AudioIn,
    AudioOut,
    CallEnded,
    CallProgressed,
    CallStarted,
    Dropped,
    FromGateway,
    HangUp,
    PlaceCall,
    ToGateway,
)

USER_TARGET = {"type": "user", "userId": USER}

# --- C# -----------------------------------------------------------------------------------


@pytest.mark.parametrize("own_socket", [False, True])
def test_an_initiate_call_rings_and_comes_up(own_socket: bool) -> None:
    async def main() -> None:
        async with (
            bridge() as site,
            phone(site.url("csharp"), "csharp", ring_s=0.1, own_socket=own_socket) as called,
        ):
            await until(lambda: site.board.gateway_is_open)
            assert site.expect("c-1")
            assert site.board.place(PlaceCall("c-1", "phone", "+4930123456", "Do call\x1b back."))
            report = await called.end()
            assert (report.outcome, report.exit_code) == ("ended-by-bot", 0)
            assert report.received.frames > 0
            assert report.received.dropped == {}
            rung = report.rung
            assert rung is not None
            assert (rung.target_type, rung.target) == ("phone", "+4930123456")
            assert rung.message == "Do call back."
            assert site.words == ["ringing", "answered"]
            await until(lambda: site.closed)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("declined", ["ringing", "declined"]),
        ("no-answer", ["ringing", "no-answer"]),
    ],
)
def test_a_gateway_says_why_nobody_came(answer: Any, words: list[str]) -> None:
    async def main() -> None:
        async with (
            bridge() as site,
            phone(site.url("csharp"), "csharp", answer=answer, ring_s=0.05) as called,
        ):
            await until(lambda: site.board.gateway_is_open)
            assert site.expect("c-1")
            assert site.board.place(PlaceCall("c-1", "user", USER))
            report = await called.end()
            assert (report.outcome, report.exit_code) == ("not-answered", 0)
            await until(lambda: site.words == words)
            if answer == "declined":
                assert site.placing[-1].detail == "declined"  # type: ignore[union-attr]

    asyncio.run(main())


def test_requests_reach_a_gateway_that_has_no_socket_until_it_calls_back() -> None:
    async def main() -> None:
        async with (
            bridge() as site,
            phone(
                site.url("csharp"), "csharp",
                ring_s=0.2, listen=LOCAL, hold_socket=False,
            ) as called,
        ):  # fmt: skip
            wanted = {"target": USER_TARGET, "message": "Hello"}
            assert not site.board.gateway_is_open
            assert (await called.ask("GET", "/health"))[1]["activeCalls"] == 0
            bad = await called.ask("POST", "/control/initiateCall", wanted, b"wrong")
            assert bad == (401, "unauthorized")
            assert "wrong secret" in called.home.warnings
            assert (await called.ask("POST", "/control/initiateCall", {"target": 1}))[0] == 400
            assert site.expect()
            status, body = await called.ask("POST", "/control/initiateCall", wanted)
            assert status == 202
            assert site.board.named("a-1", body["callId"])
            assert (await called.ask("GET", "/health"))[1]["activeCalls"] == 1
            report = await called.end()
            assert (report.outcome, report.exit_code) == ("ended-by-bot", 0)
            assert report.rung is not None
            assert report.rung.message == "Hello"
            assert site.words == ["answered"]

    asyncio.run(main())


def test_a_hang_up_request_stops_the_ringing_and_ends_a_call() -> None:
    async def main() -> None:
        async with (
            bridge() as site,
            phone(
                site.url("csharp"), "csharp", ring_s=0.3, listen=LOCAL, calls=2
            ) as called,
        ):  # fmt: skip
            await until(lambda: site.board.gateway_is_open)
            for attempt in ("a-1", "a-2"):
                assert site.expect(attempt=attempt, notify=False)
                _, body = await called.ask("POST", "/control/initiateCall", {"target": USER_TARGET})
                assert site.board.named(attempt, body["callId"])
                if attempt == "a-2":
                    await until(lambda: site.answered and called.home.of(seen.BotSpoke))
                answer = await called.ask("POST", "/control/hangup", {"callId": body["callId"]})
                assert answer == (200, {"success": True})
            await called.end()
            assert [r.outcome for r in called.home.reports] == ["not-answered", "ended-by-bot"]
            assert site.words == ["ringing", "ringing", "answered"]

    asyncio.run(main())


def test_a_late_answer_on_the_same_socket_is_hung_up() -> None:
    async def main() -> None:
        async with (
            bridge() as site,
            phone(site.url("csharp"), "csharp", late_s=0.1, listen=LOCAL) as called,
        ):
            await until(lambda: site.board.gateway_is_open)
            assert site.expect("c-1")
            assert site.board.place(PlaceCall("c-1", "user", USER))
            await until(lambda: site.words == ["ringing"])
            site.board.unplaced("a-1", "c-1")
            await called.ask("POST", "/control/hangup", {"callId": "c-1"})
            report = await called.end()
            assert (report.outcome, report.exit_code) == ("ended-by-bot", 0)
            assert report.rung is not None
            assert report.rung.late
            assert site.refused == 1

    asyncio.run(main())


def test_a_gateway_whose_secret_is_wrong_says_so_at_once() -> None:
    async def main() -> None:
        async with bridge() as site:
            it = Phone(
                Plan(Dial(site.url("csharp"), b"wrong", "csharp")),
                Answering(),
                None,  # type: ignore[arg-type]  # nobody is told anything
                SystemClock(),
            )
            with pytest.raises(HandshakeRefused, match="credentials"):
                await it.run()

    asyncio.run(main())


# --- a bridge made by hand ----------------------------------------------------------------


class Hand:
    """A C# bridge's sockets, and what a gateway said on each."""

    def __init__(self) -> None:
        self.sockets: list[ServerConnection] = []
        self.said: list[list[FromGateway | Dropped]] = []

    async def handle(self, socket: ServerConnection) -> None:
        self.sockets.append(socket)
        said: list[FromGateway | Dropped] = []
        self.said.append(said)
        with contextlib.suppress(ConnectionClosed):
            async for data in socket:
                said.append(decode_from_gateway(data))

    async def say(self, number: int, message: ToGateway) -> None:
        data = encode_to_gateway(message)
        assert data is not None
        await self.sockets[number].send(data, text=True)

    def of(self, number: int, call_id: str) -> list[type]:
        """What was said of one call, audio folded."""
        kinds = [type(m) for m in self.said[number] if getattr(m, "call_id", "") == call_id]
        return [kind for kind, _ in itertools.groupby(kinds)]


@contextlib.asynccontextmanager
async def by_hand() -> AsyncIterator[tuple[Hand, str]]:
    hand = Hand()
    async with serve(hand.handle, "127.0.0.1", 0) as server:
        yield hand, f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


def test_one_socket_carries_two_calls_and_each_gets_its_own_messages() -> None:
    async def main() -> None:
        async with (
            by_hand() as (hand, url),
            phone(url, "csharp", ring_s=0.1, calls=2) as called,
        ):
            await until(lambda: hand.sockets)
            for call_id in ("c-1", "c-2"):
                await hand.say(0, PlaceCall(call_id, "user", USER))
            await hand.say(0, PlaceCall("c-3", "user", USER))
            await hand.say(0, AudioOut("stranger", 0, bytes(640)))
            await until(lambda: AudioIn in hand.of(0, "c-1") and AudioIn in hand.of(0, "c-2"))
            await hand.say(0, AudioOut("c-2", 0, tone(20)))
            for call_id in ("c-1", "c-2"):
                await hand.say(0, HangUp(call_id, ""))
            await called.end()
            got = {r.call_id: r.received.frames for r in called.home.reports}
            assert got == {"c-1": 0, "c-2": 1}
            calls = [CallProgressed, CallStarted, AudioIn, CallEnded]
            assert hand.of(0, "c-1") == hand.of(0, "c-2") == calls
            assert CallProgressed("c-3", "busy") in hand.said[0]
            assert len(hand.sockets) == 1

    asyncio.run(main())


def test_a_held_socket_that_breaks_is_opened_again() -> None:
    async def main() -> None:
        async with (
            by_hand() as (hand, url),
            phone(url, "csharp", answer="no-answer") as called,
        ):
            await until(lambda: hand.sockets)
            await hand.sockets[0].close(1001)
            await until(lambda: len(hand.sockets) == 2)
            assert "closed with 1001: opening it again" in called.home.warnings
            await hand.say(1, PlaceCall("c-1", "user", USER))
            await hand.say(1, HangUp("c-1", ""))  # at once: the call has not begun to listen
            report = await called.end()
            assert (report.outcome, report.reason) == ("not-answered", "hung up while it rang")

    asyncio.run(main())


def test_a_bridge_that_is_gone_for_good_ends_the_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("teamscall.emulator.called.REOPEN_FOR_S", 0.0)

    async def main() -> None:
        async with contextlib.AsyncExitStack() as stack:
            _, url = await stack.enter_async_context(by_hand())
            home = Home()
            it = Phone(Plan(Dial(url, b"s", "csharp")), Answering(), home, SystemClock())

            async def end() -> None:
                await until(lambda: home.of(seen.Waiting))
                await stack.aclose()

            async with asyncio.timeout(20):
                with pytest.raises(DialError):
                    await asyncio.gather(it.run(), end())

    asyncio.run(main())
