"""The clock against others: what a packet and a Date tell, and what follows."""

from __future__ import annotations

import asyncio
import struct
import time
from typing import cast

import pytest
from doctor_rig import config, site

from teamscall.doctor.checks import Finding
from teamscall.doctor.here_clock import CHECKS, Skew, judge, read_answer, read_date
from teamscall.doctor.running import examine

EPOCH = 2_208_988_800
SENT, BACK = 1_800_000_000.0, 1_800_000_000.1
STAMP = b"12345678"


def packet(seconds: float, *, stamp: bytes = STAMP, first: int = 0x24, stratum: int = 2) -> bytes:
    told = struct.pack("!Q", int((seconds + EPOCH) * 2**32))
    return bytes([first, stratum]) + bytes(22) + stamp + told + told


@pytest.mark.parametrize("ahead", [-90.0, -0.5, 0.0, 3.0])
def test_a_packet_tells_how_far_we_are_off(ahead: float) -> None:
    found = read_answer(packet((SENT + BACK) / 2 - ahead), STAMP, SENT, BACK, "a")
    assert found is not None
    assert found.ms == pytest.approx(ahead * 1000, abs=1)
    assert found.give_ms == pytest.approx(50, abs=1)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        packet(SENT)[:47],
        packet(SENT, stamp=b"another!"),
        packet(SENT, first=0x23),  # a question
        packet(SENT, first=0xE4),  # not synchronised
        packet(SENT, stratum=0),  # go away
        packet(SENT, stratum=16),
    ],
)
def test_what_is_no_answer_tells_nothing(data: bytes) -> None:
    assert read_answer(data, STAMP, SENT, BACK, "a") is None


def test_a_date_tells_it_to_the_second() -> None:
    found = read_date("Fri, 15 Jan 2027 08:00:00 GMT", SENT, BACK, "a")
    assert found is not None
    assert abs(found.ms) <= found.give_ms
    assert read_date("yesterday", SENT, BACK, "a") is None
    assert read_date("", SENT, BACK, "a") is None


@pytest.mark.parametrize(
    ("standin", "ms", "give_ms", "status"),
    [
        (False, 200, 10, "ok"),
        (False, -4900, 10, "ok"),
        (False, 5100, 10, "failed"),
        (False, -61_000, 10, "failed"),
        (False, 5100, 1000, "ok"),  # a Date cannot tell
        (True, 4000, 10, "ok"),
        (True, 6000, 10, "warning"),
        (True, 59_000, 10, "warning"),
        (True, -61_000, 10, "failed"),
    ],
)
def test_each_dialect_has_its_window(standin: bool, ms: float, give_ms: float, status: str) -> None:
    found = judge(Skew("a server", ms, give_ms), 1, config(standin=standin))
    assert found.status == status
    assert found.facts["skewMs"] == ms


async def asked(*servers: str) -> Finding:
    (one,) = await examine(CHECKS, site(config(), time_servers=servers), total_s=30)
    return one.finding


class Server(asyncio.DatagramProtocol):
    """A time server that is ``off`` seconds ahead."""

    def __init__(self, off: float) -> None:
        self.off = off

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str | object, int]) -> None:
        self.transport.sendto(packet(time.time() + self.off, stamp=data[40:48]), addr)


@pytest.mark.parametrize(("off", "status"), [(30.0, "failed"), (0.0, "ok")])
def test_a_time_server_is_asked(off: float, status: str) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(
            lambda: Server(off), local_addr=("127.0.0.1", 0)
        )
        port = transport.get_extra_info("sockname")[1]
        found = await asked(f"127.0.0.1:{port}")
        transport.close()
        assert found.status == status

    asyncio.run(main())


def test_sources_that_cannot_be_reached_are_no_fault() -> None:
    found = asyncio.run(asked("127.0.0.1:9", "no-such.invalid"))
    assert found.status == "skipped"
