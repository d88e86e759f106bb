"""A receiver whose certificate nobody vouches for gets nothing, and the log says why."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

from teamscall.clock import SystemClock
from teamscall.config import Secret
from teamscall.webhooks.delivery import Tried, deliver

PAIR = Path(__file__).parents[1] / "server"


def test_a_bad_certificate_is_said() -> None:
    got: list[bytes] = []

    async def receive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got.append(await reader.read(1))
        writer.close()

    async def run() -> Tried:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(PAIR / "loopback.cert.pem", PAIR / "loopback.key.pem")
        async with await asyncio.start_server(receive, "127.0.0.1", 0, ssl=context) as server:
            port = server.sockets[0].getsockname()[1]
            return await deliver(
                "evt_1", b"{}", url=f"https://127.0.0.1:{port}/a-token", command=(),
                secret=Secret(""), timeout_s=10, clock=SystemClock(),
            )  # fmt: skip

    tried = asyncio.run(run())
    assert tried.result == "again"
    assert "certificate is refused" in tried.detail
    assert "a-token" not in tried.detail
    assert got == []
