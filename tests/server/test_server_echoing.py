"""The doctor's calls: echoed for who knows the secret, and no calls to anybody else."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

import pytest
from server_rig import SECRET, STANDIN_SECRET, Site, make_config, run, site, until
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from teamscall.calls.link import Readiness
from teamscall.clock import ManualClock
from teamscall.server.echoing import AGENT, CALL_ID_PREFIX, IDENTITY_HEADER, LIFE_S, MAX_ECHOES
from teamscall.server.refusals import LAST, Refusals


async def dial(at: Site, dialect: Any, name: str = "a", secret: str = "") -> ClientConnection:
    if dialect == "csharp":
        path, headers = "/teams-call/stream", {"X-Bridge-Secret": secret or SECRET}
    else:
        call_id = f"{CALL_ID_PREFIX}{name}"
        path = f"/msteams/calling/{call_id}"
        headers = at.signed(call_id, secret=secret or STANDIN_SECRET)
    return await connect(
        f"ws://127.0.0.1:{at.port(dialect)}{path}",
        additional_headers=headers,
        user_agent_header=f"{AGENT}1",
        compression=None,
        ping_interval=None,
        proxy=None,
        max_size=None,
    )


@pytest.mark.parametrize("dialect", ["csharp", "standin"])
def test_whatever_is_said_comes_back_and_nobody_is_told(dialect: Any) -> None:
    async def test() -> None:
        async with site() as at:
            link = await dial(at, dialect)
            for said in ("hello", b"\x00\x01", "x" * 2_000_000):
                await link.send(said)
                assert await link.recv() == said
            await link.send(["in ", "three ", "pieces"])
            assert await link.recv() == "in three pieces"
            assert at.exchange.links == []
            assert at.exchange.live == set()
            assert at.bridge.open_links == 0
            assert at.bridge.gate.taken == {}
            # Which bridge this is: the doctor compares, and so may nobody else.
            assert link.response is not None
            assert link.response.headers[IDENTITY_HEADER] == at.bridge.identity
            await link.close()

    run(test)


def test_a_gateway_is_not_told_which_bridge_it_has_reached() -> None:
    async def test() -> None:
        async with (
            site() as at,
            connect(
                f"ws://127.0.0.1:{at.port('csharp')}/teams-call/stream",
                additional_headers={"X-Bridge-Secret": SECRET},
                proxy=None,
            ) as link,
        ):
            assert link.response is not None
            assert IDENTITY_HEADER not in link.response.headers

    run(test)


@pytest.mark.parametrize("dialect", ["csharp", "standin"])
def test_a_wrong_secret_is_refused_as_ever_and_no_news(dialect: Any) -> None:
    async def test() -> None:
        async with site() as at:
            with pytest.raises(InvalidStatus) as refused:
                await dial(at, dialect, secret="wrong" * 8)
            assert refused.value.response.status_code == 401
            assert bytes(refused.value.response.body or b"") == b'{"error":"unauthorized"}'
            assert at.bridge.refused.last() == []
            assert sum(at.bridge.refusals.values()) == 1

    run(test)


def test_a_full_bridge_still_answers_its_doctor() -> None:
    async def test() -> None:
        async with site(make_config(max_connections=1)) as at:
            at.exchange.full = "capacity"
            at.exchange.ready = Readiness(False, True, 5, 0)
            link = await dial(at, "standin")
            await link.send("still there?")
            assert await link.recv() == "still there?"
            await link.close()

    run(test)


def test_a_signature_is_good_for_one_call_of_the_doctor_too() -> None:
    async def test() -> None:
        async with site(clock=ManualClock()) as at:
            link = await dial(at, "standin")
            with pytest.raises(InvalidStatus):
                await dial(at, "standin")
            await link.close()

    run(test)


def test_there_are_only_so_many_at_once_and_each_makes_room() -> None:
    async def test() -> None:
        async with site() as at, AsyncExitStack() as stack:
            links = [await dial(at, "standin", str(n)) for n in range(MAX_ECHOES)]
            for link in links:
                stack.push_async_callback(link.close)
            with pytest.raises(InvalidStatus) as refused:
                await dial(at, "csharp")
            assert refused.value.response.status_code == 503
            await links[0].close()
            await until(lambda: at.bridge.gate._open_echoes() < MAX_ECHOES)
            await (await dial(at, "csharp")).close()

    run(test)


def test_it_ends_by_itself() -> None:
    async def test() -> None:
        clock = ManualClock()
        async with site(clock=clock) as at:
            link = await dial(at, "csharp")
            clock.advance(LIFE_S)
            with pytest.raises(ConnectionClosed):
                await link.recv()

    run(test)


def test_a_gateway_of_another_name_is_a_gateway() -> None:
    async def test() -> None:
        async with site() as at:
            link = await at.dial_csharp()
            await at.link()
            assert "csharp" in at.bridge.gate.taken
            await link.close()

    run(test)


# --- whom the bridge remembers ---------------------------------------------------------


def test_the_last_ones_are_remembered_newest_first_and_counted(log: list[Any]) -> None:
    import logging

    refused = Refusals(logging.getLogger("teamscall.server"))
    refused.note("secret-mismatch", "10.0.0.1:1", 1.0, detail="wrong secret")
    refused.note("signature-stale", "10.0.0.2:1", 2.0, detail="61.1 s")
    refused.note("secret-mismatch", "10.0.0.1:2", 3.0, detail="wrong secret")
    refused.note("signature-stale", "10.0.0.2:1", 2.5, detail="61.2 s")
    refused.note("secret-mismatch", "10.0.0.9:1", 4.0, doctor=True)
    told = [(one.reason, one.host, one.times, one.detail) for one in refused.last()]
    assert told == [
        ("secret-mismatch", "10.0.0.1", 2, "wrong secret"),
        ("signature-stale", "10.0.0.2", 2, "61.2 s"),
    ]


def test_a_scan_does_not_wash_a_wrong_secret_away(log: list[Any]) -> None:
    import logging

    refused = Refusals(logging.getLogger("teamscall.server"))
    refused.note("signature-mismatch", "10.0.0.1:1", 0.0, detail="wrong secret")
    for number in range(5000):
        refused.note("wrong-path", f"10.1.{number % 250}.{number // 250}:1", float(number))
    last = refused.last()
    assert len(last) == LAST + 1
    assert last[-1].reason == "signature-mismatch"


def test_credentials_of_the_other_dialect_are_told(log: list[Any]) -> None:
    async def test() -> None:
        async with site(make_config(shared=True)) as at:
            status, _, _ = await at.request(
                "GET", "/teams-call/stream", at.signed("x"), dialect="csharp", upgrade=True
            )
            assert status == 401
            assert "StandIn's headers" in at.bridge.refused.last()[0].detail
        async with site() as at:
            status, _, _ = await at.request(
                "GET", "/msteams/calling/x", {"X-Bridge-Secret": SECRET}, upgrade=True
            )
            assert status == 401
            assert "C# gateway's secret" in at.bridge.refused.last()[0].detail

    run(test)
