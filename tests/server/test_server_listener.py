"""Ports, certificates, descriptors, and what start says when it cannot."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest
from server_rig import (
    PATIENCE_S,
    SECRET,
    UPGRADE,
    FakeExchange,
    close,
    make_config,
    parse,
    run,
    site,
    until,
)
from websockets.asyncio.client import connect

from teamscall.clock import ManualClock, SystemClock
from teamscall.config import Secret
from teamscall.errors import ListenError
from teamscall.server.bridge import Bridge
from teamscall.server.listener import open_sockets, tls_context

HERE = Path(__file__).parent
CERT, KEY = str(HERE / "loopback.cert.pem"), str(HERE / "loopback.key.pem")


def refused(config: Any) -> ListenError:
    """What start raises; nothing may be left open then."""
    caught: list[ListenError] = []

    async def test() -> None:
        bridge = Bridge(config, FakeExchange(), SystemClock())
        with pytest.raises(ListenError) as info:
            await bridge.start()
        caught.append(info.value)
        await bridge.stop()

    run(test)
    return caught[0]


def test_a_taken_port_is_named_with_a_hint() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        error = refused(make_config(port=port))
    assert f"Port {port} on 127.0.0.1 is already in use" in error.message
    assert "ss -ltnp" in error.hint


@pytest.mark.parametrize(
    ("bind", "words"), [("203.0.113.1", "not an address of this machine"), ("no.such.invalid", "")]
)
def test_an_address_that_is_not_ours(bind: str, words: str) -> None:
    assert words in refused(make_config(serve={"bind": bind})).message


def test_no_secret_no_listener() -> None:
    assert "standin.secret" in refused(make_config(secret=Secret(""))).hint


def test_bad_certificates(tmp_path: Path) -> None:
    missing, garbage = str(tmp_path / "none.pem"), tmp_path / "garbage.pem"
    garbage.write_text("not PEM")
    other = tmp_path / "other.pem"
    other.write_text(Path(CERT).read_text())
    assert tls_context("", "") is None
    for cert, key, words in (
        (missing, KEY, "cannot be read: No such file"),
        (CERT, missing, "key file"),
        ("", KEY, "without a certificate"),
        (str(garbage), KEY, "cannot be loaded"),
        (CERT, "", "cannot be loaded"),
    ):
        with pytest.raises(ListenError, match=words):
            tls_context(cert, key)


def test_different_certificates_on_one_port(tmp_path: Path) -> None:
    shared = {"port": 45_678, "tls_cert": CERT, "tls_key": KEY}
    config = make_config(serve=shared, port=45_678, tls_cert="other", tls_key="other")
    assert "share port 45678" in refused(config).message


def test_one_port_over_both_families() -> None:
    async def test() -> None:
        sockets = await open_sockets("localhost", 0)
        try:
            assert len({sock.getsockname()[1] for sock in sockets}) == 1
        finally:
            for sock in sockets:
                sock.close()

    run(test)


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")
def test_ipv6() -> None:
    async def test() -> None:
        try:
            socket.create_server(("::1", 0), family=socket.AF_INET6).close()
        except OSError:
            pytest.skip("no IPv6 loopback here")
        async with site(make_config(serve={"bind": "::1"})) as at:
            one = next(one for one in at.listening if "csharp" in one.dialects)
            assert one.urls == (f"ws://[::1]:{one.port}/teams-call/stream",)
            client = await connect(
                one.urls[0], additional_headers={"X-Bridge-Secret": SECRET}, proxy=None
            )
            link = await at.link()
            assert link.address.startswith("[::1]:")
            await client.close()

    run(test)


def test_tls_on_both_dialects() -> None:
    trust = ssl.create_default_context(cafile=CERT)

    async def test() -> None:
        async with site(make_config(serve={"tls_cert": CERT, "tls_key": KEY})) as at:
            assert all(one.tls and one.urls[0].startswith("wss://") for one in at.listening)
            url = f"wss://localhost:{at.port('csharp')}/teams-call/stream"
            client = await connect(
                url,
                ssl=trust,
                host="127.0.0.1",
                additional_headers={"X-Bridge-Secret": SECRET},
                proxy=None,
            )
            await client.send('{"type":"ping","callId":"a"}')
            await until(lambda: bool(at.exchange.events))
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", at.port("standin"), ssl=trust, server_hostname="localhost"
            )
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: b\r\n\r\n")
            status, _, _ = parse(await reader.read())
            assert status == 200
            await close(writer)
            (await at.link()).close(1000, "over")
            await client.wait_closed()
            assert (client.close_code, client.close_reason) == (1000, "over")

    run(test)


def test_plain_http_and_silence_on_a_tls_port() -> None:
    async def test() -> None:
        config = make_config(serve={"tls_cert": CERT, "tls_key": KEY, "open_timeout_ms": 300})
        async with site(config) as at:
            assert await at.raw(b"GET / HTTP/1.1\r\n\r\n") in (b"", b"\x15\x03\x03\0\x02\x02F")
            _, silent = await asyncio.open_connection("127.0.0.1", at.port("standin"))
            await until(lambda: at.bridge.refusals["tls-handshake"] == 2)
            _, late = await asyncio.open_connection("127.0.0.1", at.port("standin"))
            await asyncio.sleep(0.05)  # stop finds one in the middle of its handshake
            await at.bridge.stop()
            await close(silent)
            await close(late)

    run(test)


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs /proc")
def test_out_of_descriptors_is_said_once_and_survived(log: list[logging.LogRecord]) -> None:
    import resource

    async def test() -> None:
        async with site(make_config(serve={"enabled": False})) as at:
            loop = asyncio.get_running_loop()
            clients = [socket.socket() for _ in range(4)]
            limits = resource.getrlimit(resource.RLIMIT_NOFILE)
            # Fill every gap below the highest descriptor: the next accept has no number left.
            top = max(int(name) for name in os.listdir("/proc/self/fd"))
            holes = [socket.socket() for _ in range(top)]
            full = max(hole.fileno() for hole in holes) + 1
            resource.setrlimit(resource.RLIMIT_NOFILE, (full, limits[1]))
            try:
                for client in clients:
                    client.setblocking(False)
                    await loop.sock_connect(client, ("127.0.0.1", at.port("standin")))
                await until(lambda: any(r.msg.startswith("Not accepting") for r in log))
                await asyncio.sleep(0.7)  # one more try
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, limits)
                for hole in holes:
                    hole.close()
            async with asyncio.timeout(PATIENCE_S):
                for client in clients:
                    await loop.sock_sendall(client, b"GET /healthz HTTP/1.1\r\nHost: b\r\n\r\n")
                    assert b" 200 " in await loop.sock_recv(client, 4096)
                    client.close()

    run(test)
    said = [record.msg for record in log if "ccepting" in record.msg]
    assert said == ["Not accepting: out of descriptors", "Accepting again"]


@pytest.mark.parametrize(
    ("many", "cap"), [(200, 20), pytest.param(1000, 100, marks=pytest.mark.load)]
)
def test_many_connections_at_a_cap(many: int, cap: int) -> None:
    async def test() -> None:
        async with site(make_config(max_connections_per_address=1000), clock=ManualClock()) as at:
            at.exchange.capacity = cap
            gate = asyncio.Semaphore(100)
            open_sockets_: list[asyncio.StreamWriter] = []
            refused_headers: list[str] = []

            async def dial(number: int) -> int:
                async with gate:
                    reader, writer = await asyncio.open_connection("127.0.0.1", at.port("standin"))
                    request = upgrade_request(number)
                    writer.write(request.encode())
                    head = await reader.readuntil(b"\r\n\r\n")
                    status = int(head.split()[1])
                    if status == 101:
                        open_sockets_.append(writer)
                    else:
                        refused_headers.append(request)
                        await close(writer)
                    return status

            def upgrade_request(number: int) -> str:
                lines = [f"GET /msteams/calling/c{number} HTTP/1.1", "Host: b", *UPGRADE]
                lines += [f"{k}: {v}" for k, v in at.signed(f"c{number}").items()]
                return "\r\n".join(lines) + "\r\n\r\n"

            statuses = await asyncio.gather(*(dial(number) for number in range(many)))
            assert statuses.count(101) == cap
            assert statuses.count(503) == many - cap
            assert at.bridge.refusals == {"capacity": many - cap}
            for writer in open_sockets_:
                await close(writer)
            await until(lambda: not at.exchange.live)
            for request in refused_headers[:20]:  # nothing was burned
                answer = await at.raw(request, eof=True)
                assert answer.startswith(b"HTTP/1.1 101 ")

    run(test)
