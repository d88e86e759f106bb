"""``GET /metrics`` of a real bridge: who gets it, in which form, and what a call does to it."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import re
import socket
from collections.abc import AsyncIterator

import pytest
from websockets.asyncio.client import connect

from teamscall.config import (
    Authorization,
    Bridge,
    Config,
    Control,
    JournalFile,
    Log,
    Metrics,
    Secret,
    Serve,
)
from teamscall.server.run import Running, running
from teamscall.server.scraping import from_this_machine

SECRET = "bridge-secret-0123456789abcdef0123456789"
PATIENCE_S = 10.0


def config(metrics: Metrics | None = None, bind: str = "127.0.0.1") -> Config:
    return Config(
        engine="echo",
        serve=Serve(port=0, bind=bind),
        bridge=Bridge(secret=Secret(SECRET)),
        authorization=Authorization(mode="open"),
        journal=JournalFile(enabled=False),
        control=Control(enabled=False),
        log=Log(),
        metrics=metrics or Metrics(),
    )


class Site:
    def __init__(self, bridge: Running) -> None:
        self.bridge = bridge
        self.port = bridge.listening[0].port

    async def ask(
        self,
        target: str = "/metrics",
        method: str = "GET",
        port: int = 0,
        headers: dict[str, str] | None = None,
    ) -> tuple[int, dict[str, str], str]:
        """Status, headers, body."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port or self.port)
        lines = [f"{method} {target} HTTP/1.1", "Host: x"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
        async with asyncio.timeout(PATIENCE_S):
            answer = (await reader.read()).decode()
        writer.close()
        await writer.wait_closed()
        head, _, body = answer.partition("\r\n\r\n")
        first, *rest = head.split("\r\n")
        pairs = (line.partition(": ") for line in rest)
        return int(first.split()[1]), {name.lower(): value for name, _, value in pairs}, body

    async def sample(self, line: str) -> float:
        """One sample's value, by its name and labels as they are written."""
        await asyncio.sleep(0.25)  # what was asked for just now is told again
        found = re.search(rf"^{re.escape(line)} (\S+)$", (await self.ask())[2], re.MULTILINE)
        assert found is not None, line
        return float(found[1])


@contextlib.asynccontextmanager
async def site(whole: Config | None = None) -> AsyncIterator[Site]:
    async with running(whole or config()) as bridge:
        yield Site(bridge)


def test_this_machine_gets_the_metrics_in_either_format() -> None:
    async def test() -> None:
        async with site() as bridge:
            status, headers, body = await bridge.ask()
            assert status == 200
            assert headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
            assert int(headers["content-length"]) == len(body)
            assert 'teamscall_build_info{engine="echo"' in body
            accept = "application/openmetrics-text;version=1.0.0;q=0.6,text/plain;q=0.5"
            status, headers, body = await bridge.ask(headers={"Accept": accept})
            assert headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
            assert body.endswith("# EOF\n")
            hostile = "application/openmetrics-text;version=9.9.9;escaping=x-hostile"
            assert "hostile" not in str((await bridge.ask(headers={"Accept": hostile}))[1])

    asyncio.run(test())


def test_head_has_no_body_and_other_methods_are_refused() -> None:
    async def test() -> None:
        async with site() as bridge:
            status, headers, body = await bridge.ask(method="HEAD")
            assert (status, body) == (200, "")
            assert int(headers["content-length"]) > 1000
            status, headers, _ = await bridge.ask(method="POST", headers={"Content-Length": "0"})
            assert (status, headers["allow"]) == (405, "GET, HEAD")
            assert (await bridge.ask("/metrics?x=1"))[0] == 200
            assert (await bridge.ask("/metrics/"))[0] == 404

    asyncio.run(test())


@pytest.mark.parametrize(
    "header",
    [
        {"X-Forwarded-For": "203.0.113.9"},
        {"x-forwarded-proto": "https"},
        {"Forwarded": "for=203.0.113.9"},
        {"Via": "1.1 proxy"},
        {"X-Real-IP": "203.0.113.9"},
        {"CF-Connecting-IP": "203.0.113.9"},
    ],
)
def test_what_came_through_a_proxy_is_a_wrong_path(header: dict[str, str]) -> None:
    async def test() -> None:
        async with site() as bridge:
            through = await bridge.ask(headers=header)
            elsewhere = await bridge.ask("/elsewhere", headers=header)
            assert through[0] == 404
            assert through[2] == elsewhere[2]
            assert "teamscall" not in through[2]

    asyncio.run(test())


def test_where_they_are_off_the_path_is_wrong() -> None:
    async def test() -> None:
        async with site(config(Metrics(enabled=False))) as bridge:
            assert (await bridge.ask())[0] == 404

    asyncio.run(test())


@pytest.mark.parametrize(
    ("host", "here"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("10.0.0.7", False),
        ("::ffff:10.0.0.7", False),
        ("fe80::1%eth0", False),
        ("", False),
    ],
)
def test_only_loopback_is_this_machine(host: str, here: bool) -> None:
    assert from_this_machine(host, [(b"host", b"x"), (b"accept", b"*/*")]) is here


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port


def test_a_port_of_its_own_answers_whoever_reaches_it_and_takes_no_calls() -> None:
    async def test() -> None:
        own = free_port()
        async with site(config(Metrics(enabled=False, port=own))) as bridge:
            assert bridge.bridge.bridge.metrics_url == f"http://127.0.0.1:{own}/metrics"
            assert [one.port for one in bridge.bridge.listening] == [bridge.port]
            assert (await bridge.ask(port=own, headers={"Via": "1.1 proxy"}))[0] == 200
            assert (await bridge.ask())[0] == 404
            assert (await bridge.ask("/teams-call/stream", port=own))[0] == 404
            assert (await bridge.ask("/healthz", port=own))[0] == 200

    asyncio.run(test())


def test_a_scrape_that_fails_is_told_and_costs_nothing_else() -> None:
    async def test() -> None:
        async def fails(accept: str) -> tuple[bytes, str]:
            raise ZeroDivisionError

        async with site() as bridge:
            bridge.bridge.bridge.expose(fails)
            assert (await bridge.ask())[0] == 500
            assert (await bridge.ask("/healthz"))[0] == 200

    asyncio.run(test())


def test_a_scraper_that_leaves_at_once_costs_nothing() -> None:
    async def test() -> None:
        async with site() as bridge:
            for _ in range(20):
                _, writer = await asyncio.open_connection("127.0.0.1", bridge.port)
                writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
                writer.transport.abort()
            assert (await bridge.ask())[0] == 200

    asyncio.run(test())


def test_a_call_is_seen_while_it_runs_and_after() -> None:
    who = {"tenantId": "t", "userId": "u", "teamsCallId": "x"}
    labels = '{dialect="csharp",direction="inbound"'

    async def test() -> None:
        async with site() as bridge:
            url = bridge.bridge.listening[0].urls[0]
            async with connect(url, additional_headers={"X-Bridge-Secret": SECRET}) as call:
                ask = {"type": "auth_request", "callId": "c-1", "correlationId": "k"}
                await call.send(json.dumps(ask | {"metadata": who}))
                await call.recv()
                start = {"type": "session_start", "callId": "c-1", "direction": "inbound"}
                await call.send(json.dumps(start | {"metadata": who}))
                for number in range(20):
                    data = base64.b64encode(bytes([number]) * 640).decode()
                    frame = {"type": "audio_in", "callId": "c-1", "seq": number, "data": data}
                    await call.send(json.dumps(frame))
                await call.send("not json")
                for _ in range(20):
                    await call.recv()
                assert await bridge.sample(f'teamscall_calls_active{labels},phase="live"}}') == 1
                assert await bridge.sample("teamscall_frames_received_total") == 20
                assert await bridge.sample('teamscall_sockets_open{dialect="csharp"}') == 1
                dropped = 'teamscall_messages_dropped_total{cause="not-json"}'
                assert await bridge.sample(dropped) == 1
                end = {"type": "session_end", "callId": "c-1", "reason": "whatever\nthe peer says"}
                await call.send(json.dumps(end))
                ended = f'teamscall_calls_ended_total{labels},ended_by="caller",reason="other"}}'
                assert await bridge.sample(ended) == 1
                assert await bridge.sample("teamscall_frames_received_total") == 20
                assert await bridge.sample("teamscall_pacing_lateness_seconds_count") > 0

    asyncio.run(test())
