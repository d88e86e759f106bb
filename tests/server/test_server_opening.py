"""Hostile and clumsy HTTP: a clean answer or a clean close, never a traceback."""

from __future__ import annotations

import asyncio
import contextlib
import logging

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from server_rig import PATIENCE_S, UPGRADE, close, parse, run, site, until

from teamscall.clock import ManualClock
from teamscall.server import bridge as bridge_module

HOST = b"Host: b\r\n"


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET /healthz HTTP/1.0\r\n\r\n", 200),
        (b"GET /healthz HTTP/1.1\n" + b"Host: b\n\n", 200),
        (b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\nGET /nowhere HTTP/1.1\r\n\r\n\x00junk", 200),
        (b"GET /healthz HTTP/1.1\r\n\r\n", 400),  # no Host
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        (b"GET /healthz HTTP/3.7\r\n" + HOST + b"\r\n", 505),
        (b"GET /healthz\r\n\r\n", 400),
        (b"\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),  # TLS to a plain port
        (b"\x00" * 64, 400),
        (b"GET /\xff HTTP/1.1\r\n" + HOST + b"\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: b\r\nBad Header: x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: b\r\nContent-Length: +1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: b\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: b\r\nX: " + b"a" * 8200 + b"\r\n\r\n", 431),
        (b"GET /" + b"a" * 8200 + b" HTTP/1.1\r\n" + HOST + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\n" + HOST + b"X: y\r\n" * 128 + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\n" + HOST + b"X: y\r\n" * 127 + b"\r\n", 404),
        (b"GET / HTTP/1.1\r\nHost: b\r\nX: " + b"a" * 1_000_000, 431),
        (b"GET / HTTP/1.1\r\nHost: b\r\n" + b"X: y\r\n" * 200_000 + b"\r\n", 431),
        (b"CONNECT bridge:443 HTTP/1.1\r\n" + HOST + b"\r\n", 404),
        (b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n", 404),
    ],
)
def test_heads(request_bytes: bytes, status: int) -> None:
    async def test() -> None:
        async with site() as at:
            got, _, _ = parse(await at.raw(request_bytes))
            assert got == status

    run(test)


@pytest.mark.parametrize(
    "change",
    [
        {"Sec-WebSocket-Version: 13": "Sec-WebSocket-Version: 8"},
        {"Sec-WebSocket-Version: 13": "X: y"},
        {UPGRADE[3]: "Sec-WebSocket-Key: short"},
        {UPGRADE[3]: "X: y"},
        {UPGRADE[3]: UPGRADE[3] + "\r\n" + UPGRADE[3]},
        {UPGRADE[1]: "Upgrade: websocket, h2c"},
        {"Connection: Upgrade": "Connection: Upgrade\r\nContent-Length: 5"},
    ],
)
def test_a_wrong_handshake_is_400(change: dict[str, str]) -> None:
    async def test() -> None:
        async with site() as at:
            lines = [change.get(line, line) for line in UPGRADE]
            lines += [f"{name}: {value}" for name, value in at.signed("call-1").items()]
            head = "GET /msteams/calling/call-1 HTTP/1.1\r\nHost: b\r\n" + "\r\n".join(lines)
            status, _, _ = parse(await at.raw(head + "\r\n\r\nhello"))
            assert status == 400
            assert not at.exchange.links

    run(test)


def test_an_answer_in_ten_pieces_is_still_understood() -> None:
    async def test() -> None:
        async with site() as at:
            reader, writer = await asyncio.open_connection("127.0.0.1", at.port("standin"))
            for byte in b"GET /healthz HTTP/1.1\r\nHost: b\r\n\r\n":
                writer.write(bytes([byte]))
                await asyncio.sleep(0)
            status, _, _ = parse(await reader.read())
            assert status == 200
            await close(writer)

    run(test)


def test_a_slow_loris_is_told_the_time_and_closed() -> None:
    clock = ManualClock()

    async def test() -> None:
        async with site(clock=clock) as at:
            reader, writer = await asyncio.open_connection("127.0.0.1", at.port("standin"))
            silent, silent_writer = await asyncio.open_connection("127.0.0.1", at.port("standin"))
            for _ in range(9):
                writer.write(b"G")
                await asyncio.sleep(0.01)
                clock.advance(1)
            clock.advance(1)
            async with asyncio.timeout(PATIENCE_S):
                status, _, _ = parse(await reader.read())
                assert status == 408
                with contextlib.suppress(ConnectionResetError):
                    assert await silent.read() == b""
            await close(writer)
            await close(silent_writer)
            assert at.bridge.refusals == {"open-timeout": 1}

    run(test)


def test_a_client_that_never_closes_after_its_answer_is_cut() -> None:
    clock = ManualClock()

    async def test() -> None:
        async with site(clock=clock) as at:
            reader, writer = await asyncio.open_connection("127.0.0.1", at.port("standin"))
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: b\r\n\r\n")
            status, _, _ = parse(await reader.read())
            assert status == 200
            clock.advance(3)
            with contextlib.suppress(ConnectionError):
                async with asyncio.timeout(PATIENCE_S):
                    while True:
                        writer.write(b"more")
                        await writer.drain()
                        await asyncio.sleep(0.01)
            await close(writer)

    run(test)


def test_too_many_unanswered_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bridge_module, "MAX_OPENING", 3)
    clock = ManualClock()

    async def test() -> None:
        async with site(clock=clock) as at:
            writers = []
            for _ in range(6):
                _, writer = await asyncio.open_connection("127.0.0.1", at.port("standin"))
                writer.write(b"GET")
                writers.append(writer)
            await asyncio.sleep(0.1)
            assert at.bridge.refusals == {}  # all are young: three wait in the kernel
            clock.advance(1)
            await until(lambda: at.bridge.refusals["evicted"] == 3)
            clock.advance(1)
            status, _, _ = await at.request("GET", "/healthz")
            assert status == 200
            assert at.bridge.refusals == {"evicted": 4}
            for writer in writers:
                await close(writer)

    run(test)


def test_frames_that_came_with_the_upgrade_are_not_lost() -> None:
    async def test() -> None:
        async with site() as at:
            lines = ["GET /msteams/calling/call-1 HTTP/1.1", "Host: b", *UPGRADE]
            lines += [f"{name}: {value}" for name, value in at.signed("call-1").items()]
            head = ("\r\n".join(lines) + "\r\n\r\n").encode()
            text = b'{"type":"ping","ts":7}'
            frame = bytes([0x81, 0x80 | len(text)]) + b"\0\0\0\0" + text
            await at.raw(head + frame, eof=True)
            await until(lambda: bool(at.exchange.events))
            assert await at.gone() == ["peer-gone"]

    run(test)


def test_no_bytes_make_a_traceback(log: list[logging.LogRecord]) -> None:
    samples: list[bytes] = []

    @settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow], deadline=None)
    @given(
        st.one_of(
            st.binary(max_size=200),
            st.builds(
                lambda method, target, lines: (
                    method
                    + b" "
                    + target
                    + b" HTTP/1.1\r\nHost: b\r\n"
                    + b"\r\n".join(lines)
                    + b"\r\n\r\n"
                ),
                st.sampled_from([b"GET", b"POST", b"HEAD", b"get"]),
                st.sampled_from(
                    [b"/healthz", b"/msteams/calling/x", b"/msteams/calling/outcome/x"]
                ),
                st.lists(
                    st.sampled_from(
                        [
                            *(line.encode() for line in UPGRADE),
                            b"Content-Length: 3",
                            b"Transfer-Encoding: chunked",
                            b"Expect: 100-continue",
                            b"X-StandIn-Signature: \xff\xfe",
                            b"X-StandIn-Timestamp: 1",
                        ]
                    ),
                    max_size=8,
                ),
            ),
        )
    )
    def collect(sample: bytes) -> None:
        samples.append(sample)

    collect()

    async def test() -> None:
        async with site() as at:
            await asyncio.gather(*(at.raw(sample, eof=True) for sample in samples))

    run(test)
    assert not [record for record in log if record.exc_info]
