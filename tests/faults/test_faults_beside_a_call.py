"""What strangers do must not be heard in a call that is live: one process, one attack each.

Rows H1 to H4, F1, F3, F9, O1 and O4 of the fault matrix.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import urllib.request
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from bridge_rig import Served, log_lines, ports, served, standin_headers
from faults_rig import (
    SILENCE,
    RawCaller,
    audio_message,
    calling,
    text_frame,
    upgrade_request,
    where,
)

SLOTS = 20
FRAMES_AT_A_TIME = 25  # the call that must not notice goes on until the attack is over
# A pause that a caller would take for a fault of the line. Far above what the attacks cost
# (they cost less than a frame): the machine is shared.
GAP_S = 1.0


@pytest.fixture(scope="module")
def crowded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A bridge that many will knock at."""
    options = [
        "--set", f"max_concurrent_calls={SLOTS}", "--set", "standin.max_connections=1000",
        "--set", "standin.max_connections_per_address=1000",
    ]  # fmt: skip
    with served(tmp_path_factory.mktemp("crowded"), "--engine", "echo", *options) as process:
        yield process
        assert process.stop() == 0
        lines = log_lines(process)
        assert not [line for line in lines if "traceback" in line]
        # The attacks did what they were meant to.
        ended = {str(one["callId"]): one for one in lines if one["message"] == "Call ended"}
        slow = [line for call_id, line in ended.items() if call_id.startswith("slow-")]
        assert all(int(str(line["dropped_out"])) for line in slow), slow


# --- attacks --------------------------------------------------------------------------


async def knock(url: str, request: bytes) -> tuple[int, asyncio.StreamWriter]:
    """Send one request; the answer's status."""
    reader, writer = await asyncio.open_connection(*where(url))
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    return int(head.split()[1]), writer


async def many(url: str, make: Callable[[int], bytes], count: int) -> list[int]:
    """So many requests, two hundred at a time; statuses. Admitted sockets are cut at the end."""
    room, admitted = asyncio.Semaphore(200), []

    async def one(number: int) -> int:
        async with room:
            status, writer = await knock(url, make(number))
            if status == 101:
                admitted.append(writer)
            else:
                writer.transport.abort()
            return status

    statuses = list(await asyncio.gather(*map(one, range(count))))
    for writer in admitted:
        writer.transport.abort()
    return statuses


async def a_thousand_upgrades(url: str) -> None:
    """H3"""
    statuses = await many(url, lambda number: upgrade_request(url, f"mass-{number}"), 1000)
    assert statuses.count(101) == SLOTS - 1
    assert statuses.count(503) == 1000 - SLOTS + 1


async def wrong_signatures(url: str) -> None:
    """H4"""

    def forged(number: int) -> bytes:
        headers = standin_headers(f"forged-{number}", "not the secret")
        return upgrade_request(url, f"forged-{number}", headers)

    assert set(await many(url, forged, 500)) == {401}


async def slow_heads(url: str) -> None:
    """H1: sockets that say a byte now and then."""
    sockets = [await asyncio.open_connection(*where(url)) for _ in range(100)]
    for byte in b"GET /healthz HTTP/1.1\r\n":
        for _, writer in sockets:
            writer.write(bytes([byte]))
        await asyncio.sleep(0.03)
    for _, writer in sockets:
        writer.transport.abort()


async def huge_heads(url: str) -> None:
    """H2: a megabyte of headers, and one line without an end."""
    long = b"GET /x HTTP/1.1\r\n" + b"a: " + b"b" * 1_000_000
    many_ = b"GET /x HTTP/1.1\r\n" + b"a: b\r\n" * 200_000
    for request in (long, many_) * 5:
        reader, writer = await asyncio.open_connection(*where(url))
        with contextlib.suppress(ConnectionError):
            writer.write(request)
            assert b" 431 " in await reader.readline()
        writer.transport.abort()


async def raw_flood(url: str, frames: list[bytes]) -> None:
    """One call that sends so much, as fast as it is read; its answers are thrown away."""
    raw = await RawCaller.dial(url, f"flood-{len(frames)}-{len(frames[0])}")
    assert raw.status == 101
    reading = asyncio.get_running_loop().create_task(_throw_away(raw))
    for at in range(0, len(frames), 100):
        await raw.send(b"".join(frames[at : at + 100]))
    await raw.send(text_frame(b"\x03\xe8", opcode=8))
    await asyncio.wait([reading])
    raw.close()


async def _throw_away(raw: RawCaller) -> None:
    while await raw.read():
        pass


async def pings(url: str) -> None:
    """F9"""
    await raw_flood(url, [text_frame(b"x", opcode=9)] * 30_000)


async def control_messages(url: str) -> None:
    """F9"""
    await raw_flood(url, [text_frame(b'{"type":"ping","ts":1}')] * 20_000)


async def garbage(url: str) -> None:
    """F1, F3"""
    bad = [b"{", b'{"type":1}', b'{"type":"audio.frame"}', b"[" * 10_000, b'{"a":NaN}', b"\xef\xbb"]
    frames = [text_frame(data) for data in bad[:-1]] + [text_frame(bad[-1], opcode=2)]
    await raw_flood(url, frames * 500)


async def audio_flood(url: str) -> None:
    """F7: five minutes of speech at once."""
    await raw_flood(url, [text_frame(audio_message(seq, SILENCE)) for seq in range(15_000)])


async def readers_that_do_not_read(url: str) -> None:
    """O1: they send speech, and the echo of it is never taken from the socket."""
    slow = [await RawCaller.dial(url, f"slow-{n}", receive_buffer=4096) for n in range(5)]
    for seq in range(90):
        for raw in slow:
            await raw.send(text_frame(audio_message(seq, SILENCE)))
        await asyncio.sleep(0.02)
    for raw in slow:
        raw.close()


async def resets(url: str) -> None:
    """O4"""
    whole = text_frame(audio_message(0, SILENCE))
    for number in range(60):
        raw = await RawCaller.dial(url, f"reset-{number}")
        if raw.status == 101:
            await raw.send(whole[: 1 + number * 10])
        raw.reset()


ATTACKS: list[Any] = [
    # Beside other tests the caller itself is starved by so many.
    pytest.param(a_thousand_upgrades, marks=pytest.mark.load, id="a_thousand_upgrades"),
    wrong_signatures,
    slow_heads,
    huge_heads,
    pings,
    control_messages,
    garbage,
    audio_flood,
    readers_that_do_not_read,
    resets,
]


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: getattr(attack, "__name__", None))
def test_a_call_does_not_hear(crowded: Served, attack: Callable[[str], Awaitable[None]]) -> None:
    async def test() -> None:
        url = ports(crowded)[1]
        async with calling(url, f"live-{attack.__name__}") as live:
            await live.count(5)
            await live.all_back()
            async with asyncio.TaskGroup() as group:
                # On a loop of its own: what is looked at is the bridge, not this test.
                under_way = asyncio.to_thread(asyncio.run, _bounded(attack, url))
                attacking = group.create_task(under_way)
                while not attacking.done():
                    await live.count(FRAMES_AT_A_TIME)
            await live.all_back()
            assert live.longest_gap_s < GAP_S
        await _all_slots_free(url)

    asyncio.run(test())


async def _bounded(attack: Callable[[str], Awaitable[None]], url: str) -> None:
    async with asyncio.timeout(30):
        await attack(url)


async def _all_slots_free(url: str) -> None:
    host, port = where(url)
    ready: dict[str, object] = {}
    async with asyncio.timeout(20):
        while ready.get("slotsFree") != SLOTS:
            ready = await asyncio.to_thread(_readyz, f"http://{host}:{port}/readyz")
            await asyncio.sleep(0.05)


def _readyz(url: str) -> dict[str, object]:
    with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=10) as answer:
        return dict(json.load(answer))
    return {}
