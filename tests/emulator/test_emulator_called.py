"""A phone that the bridge calls: real sockets, a real bridge, requests made by hand."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import msgspec
import pytest
from called_rig import TENANT, USER, bridge, phone, until

from teamscall.calls.records import OutboundProgress
from teamscall.clock import SystemClock
from teamscall.emulator import happenings as seen
from teamscall.emulator.answering import Answering
from teamscall.emulator.called import Phone
from teamscall.emulator.plan import Dial, Plan
from teamscall.errors import ListenError
from teamscall.outbound.orders import Order
from teamscall.wire.events import (
    Dialect,
)

USER_TARGET = {"type": "user", "userId": USER}

# --- StandIn ------------------------------------------------------------------------------


async def placed_and_answered(which: str, leg_first: bool) -> None:
    async with (
        bridge() as site,
        phone(site.url("standin"), "standin", ring_s=0.2, leg_first=leg_first) as called,
    ):
        assert site.expect()
        call_id = await called.placed(which=which)
        if leg_first:
            assert called.home.of(seen.Connected)
        assert site.board.named("a-1", call_id)
        report = await called.end()
        assert report.outcome == "ended-by-bot", report
        assert report.exit_code == 0
        assert report.direction == "outbound"
        assert report.received.frames > 0
        assert report.first_audio_ms is not None
        rung = report.rung
        assert rung is not None
        assert (rung.target, rung.tenant_id, rung.picked_up) == (USER, TENANT, True)
        assert rung.rang_ms >= 200
        assert (rung.ended_by, rung.outcome, rung.outcome_status) == ("bridge", "answered", 200)
        await until(lambda: site.closed)
        assert site.answered == 1
        assert site.words == ["answered"]
        ringing = called.home.of(seen.Ringing)[0]
        assert ringing.call_id == call_id == report.call_id


@pytest.mark.parametrize(("which", "leg_first"), [("v2", False), ("v1", True), ("both", False)])
def test_a_placed_call_is_picked_up_heard_and_its_outcome_told(which: str, leg_first: bool) -> None:
    asyncio.run(placed_and_answered(which, leg_first))


@pytest.mark.parametrize("answer", ["busy", "declined"])
def test_a_call_that_is_not_picked_up_says_so_to_the_bridge(answer: Any) -> None:
    async def main() -> None:
        async with (
            bridge() as site,
            phone(site.url("standin"), "standin", answer=answer, ring_s=0.1) as called,
        ):
            assert site.expect()
            call_id = await called.placed()
            assert site.board.named("a-1", call_id)
            report = await called.end()
            assert (report.outcome, report.exit_code) == ("not-answered", 0)
            assert report.rung is not None
            assert (report.rung.outcome, report.rung.outcome_status) == (answer, 200)
            assert report.rung.ended_by == "callee"
            assert report.duration_ms == 0
            await until(lambda: site.words == [answer])
            # A phone that rings has a leg, and nobody speaks on it.
            assert bool(called.home.of(seen.Connected)) == (answer in ("declined", "no-answer"))
            assert report.received.frames == 0

    asyncio.run(main())


def test_the_ringing_ends_with_a_delete_and_the_leg_with_it() -> None:
    async def main() -> None:
        async with (
            bridge() as site,
            phone(site.url("standin"), "standin", answer="no-answer") as called,
        ):
            assert site.expect()
            call_id = await called.placed()
            assert site.board.named("a-1", call_id)
            await until(lambda: site.board.calls)
            assert await called.cancel("some-other-call") == 404
            assert not called.home.reports
            assert await called.cancel(call_id, which="v1") == 204
            report = await called.end()
            assert (report.outcome, report.exit_code) == ("not-answered", 0)
            assert report.reason == "cancelled by DELETE"
            assert report.rung is not None
            assert (report.rung.ended_by, report.rung.outcome) == ("bridge", "")
            await until(lambda: site.closed)
            assert site.answered == 0
            assert site.words == []

    asyncio.run(main())


def test_a_leg_that_is_picked_up_late_is_hung_up_or_it_is_the_bridges_fault() -> None:
    async def main() -> None:
        async with (
            bridge() as site,
            phone(site.url("standin"), "standin", late_s=0.1) as called,
        ):
            assert site.expect()
            call_id = await called.placed()
            assert site.board.named("a-1", call_id)
            await until(lambda: site.board.calls)
            assert site.board.end(call_id, "no-answer")
            assert await called.cancel(call_id) == 204
            report = await called.end()
            assert (report.outcome, report.exit_code) == ("ended-by-bot", 0)
            assert report.rung is not None
            assert (report.rung.late, report.rung.picked_up) == (True, True)
            assert "not-allowed" in report.reason
            assert site.refused == 1
            assert site.answered == 0

    asyncio.run(main())


def test_two_calls_ring_at_once_and_a_third_finds_no_line() -> None:
    async def main() -> None:
        async with (
            bridge() as site,
            phone(site.url("standin"), "standin", answer="no-answer", calls=2) as called,
        ):
            for attempt in ("a-1", "a-2"):
                assert site.expect(attempt=attempt)
            ids = [await called.placed(), await called.placed()]
            assert (await called.place()).status_code == 503
            assert "no line is free" in called.home.warnings
            for attempt, call_id in zip(("a-1", "a-2"), ids, strict=True):
                assert site.board.named(attempt, call_id)
            await until(lambda: len(site.board.calls) == 2)
            for call_id in ids:
                assert await called.cancel(call_id) == 204
            await called.end()
            assert [r.call_id for r in called.home.reports] == ids

    asyncio.run(main())


def test_a_wrong_secret_is_said_in_one_line_and_rings_nobody() -> None:
    async def main() -> None:
        async with phone("127.0.0.1:9", "standin") as called:
            for which in ("v2", "v1", "both"):
                answer = await called.place(which=which, secret=b"another secret")
                assert answer.status_code == 401
            assert not called.home.asked
            assert called.home.warnings.count("wrong secret") == 3
            assert "another secret" not in called.home.warnings

    asyncio.run(main())


def test_a_leg_that_cannot_be_dialled_is_a_report() -> None:
    async def main() -> None:
        async with phone("127.0.0.1:9", "standin", ring_s=0.0) as called:
            await called.placed()
            report = await called.end()
            assert (report.outcome, report.exit_code) == ("unreachable", 4)
            assert report.rung is not None
            assert (report.rung.outcome, report.rung.outcome_status) == ("failed", 0)

    asyncio.run(main())


def test_stopping_hangs_up_what_rings_and_what_is_up() -> None:
    async def main() -> None:
        async with (
            bridge() as site,
            phone(site.url("standin"), "standin", ring_s=0.0, calls=0) as called,
        ):
            assert site.expect(notify=False)
            call_id = await called.placed()
            assert site.board.named("a-1", call_id)
            await until(lambda: site.answered)
            called.phone.stop()
            report = await called.end()
            assert (report.outcome, report.exit_code) == ("interrupted", 130)
            assert report.rung is not None
            assert report.rung.outcome == "answered"
            await until(lambda: site.closed)

    asyncio.run(main())


def test_a_taken_port_is_an_error_with_its_remedy() -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            it = Phone(
                Plan(Dial("127.0.0.1:9", b"s")),
                Answering(listen=("127.0.0.1", port)),
                None,  # type: ignore[arg-type]  # nobody is told anything
                SystemClock(),
            )
            with pytest.raises(ListenError, match=f"Port {port}.*another port"):
                await it.run()

    asyncio.run(main())


# --- a bridge that places its own calls ---------------------------------------------------


@pytest.mark.parametrize("dialect", ["standin", "csharp"])
def test_what_the_bridge_places_by_itself_arrives(dialect: Dialect) -> None:
    async def main() -> None:
        async with (
            bridge(by_hand=False) as site,
            phone(site.url(dialect), dialect, ring_s=0.1) as called,
        ):
            if dialect == "csharp":
                await until(lambda: site.board.gateway_is_open)
            else:
                config = site.up.config
                standin = msgspec.structs.replace(config.standin, worker_base_url=called.phone.url)
                site.up.outbound.reconfigure(msgspec.structs.replace(config, standin=standin))
            order = Order(f"user:{USER}", "You have mail.", "notify", via=dialect)
            attempt = await site.up.outbound.place(order)
            report = await called.end()
            assert report.call_id
            assert (report.outcome, report.exit_code) == ("ended-by-bot", 0)
            assert report.received.frames > 0
            assert report.rung is not None
            assert report.rung.target == USER
            await until(lambda: site.closed)
            last = [r for r in site.records if isinstance(r, OutboundProgress)][-1]
            assert (last.attempt, last.outcome) == (attempt.attempt, "answered")

    asyncio.run(main())


@pytest.mark.parametrize("dialect", ["standin", "csharp"])
def test_the_bridge_stops_what_nobody_answers_and_hangs_up_what_is_late(dialect: Dialect) -> None:
    async def main() -> None:
        async with (
            bridge(by_hand=False) as site,
            phone(site.url(dialect), dialect, late_s=0.1) as called,
        ):
            if dialect == "csharp":
                await until(lambda: site.board.gateway_is_open)
            else:
                config = site.up.config
                standin = msgspec.structs.replace(config.standin, worker_base_url=called.phone.url)
                site.up.outbound.reconfigure(msgspec.structs.replace(config, standin=standin))
            await site.up.outbound.place(Order(f"user:{USER}", "Hi.", "notify", via=dialect))
            report = await called.end()
            assert (report.outcome, report.exit_code) == ("ended-by-bot", 0), report
            assert report.rung is not None
            assert report.rung.late
            assert site.answered == 0
            await until(
                lambda: (
                    [r.outcome for r in site.records if isinstance(r, OutboundProgress)][-1]
                    == "no-answer"
                )
            )

    asyncio.run(main())
