"""One WebSocket: messages both ways, and every way in which it ends."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import logging
import socket
import struct
from typing import Any

import pytest
from server_rig import PATIENCE_S, UPGRADE, Site, close, make_config, run, site, until
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode

from teamscall.calls.link import Link
from teamscall.clock import ManualClock
from teamscall.server.outbox import FRAMES_PER_CALL
from teamscall.wire.events import (
    AudioIn,
    AudioOut,
    Dropped,
    Flush,
    FromGateway,
    HangUp,
    Pinged,
    Pong,
    ShowImage,
)

SILENCE = bytes(640)


def audio(seq: int, call_id: str = "call-1") -> AudioOut:
    return AudioOut(call_id, seq, SILENCE)


async def raw_standin(
    at: Site, call_id: str = "call-1", receive_buffer: int = 0
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """An open WebSocket whose frames are in the test's hands."""
    sock = socket.socket()
    if receive_buffer:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", at.port("standin")))
    reader, writer = await asyncio.open_connection(sock=sock, limit=2048)
    lines = [f"GET /msteams/calling/{call_id} HTTP/1.1", "Host: b", *UPGRADE]
    lines += [f"{name}: {value}" for name, value in at.signed(call_id).items()]
    writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
    return reader, writer


def frame(opcode: Opcode, data: bytes, *, fin: bool = True) -> bytes:
    return Frame(opcode, data, fin).serialize(mask=True)


# --- messages -------------------------------------------------------------------------


def test_events_in_and_messages_out_per_dialect() -> None:
    async def test() -> None:
        async with site() as at:
            standin, csharp = await at.dial_standin("a"), await at.dial_csharp()
            assert [link.dialect for link in at.exchange.links] == ["standin", "csharp"]
            assert [link.lead_ms for link in at.exchange.links] == [160, 60]
            assert at.exchange.call_ids == ["a", None]
            await standin.send('{"type":"ping","ts":5}')
            await csharp.send('{"type":"ping","callId":"b"}')
            await until(lambda: len(at.exchange.events) == 2)
            assert Pinged("a", 5) in at.exchange.events
            for link, call_id in zip(at.exchange.links, "ab", strict=True):
                link.send(Pong(call_id, 5))
                link.send(audio(0, call_id))
            assert json.loads(await standin.recv()) == {"type": "pong", "ts": 5}
            assert json.loads(await csharp.recv()) == {"type": "pong", "callId": "b"}
            assert json.loads(await standin.recv())["type"] == "audio.frame"
            assert json.loads(await csharp.recv())["type"] == "audio_out"
            await standin.close()
            await csharp.close()
            assert await at.gone(2) == ["peer-closed", "peer-closed"]

    run(test)


def test_compression_and_subprotocols_are_not_taken() -> None:
    async def test() -> None:
        async with site() as at:
            client = await at.dial_csharp(compression="deflate", subprotocols=["x"])
            assert client.protocol.extensions == []
            assert client.subprotocol is None
            await client.close()

    run(test)


def test_fragments_are_put_together() -> None:
    async def test() -> None:
        async with site() as at:
            client = await at.dial_standin()
            await client.send(iter(['{"type":', '"ping",', '"ts":1}']))
            await client.send([b"a", b"b"])
            await client.send('{"type":"ping","ts":2}')
            await until(lambda: len(at.exchange.events) == 2)
            assert [event.ts for event in at.exchange.events if isinstance(event, Pinged)] == [1, 2]
            assert [drop.cause for drop in at.exchange.drops] == ["binary"]
            await client.close()

    run(test)


@pytest.mark.parametrize("dialect", ["csharp", "standin"])
def test_what_is_no_message_is_dropped_and_the_socket_stays(dialect: Any) -> None:
    async def test() -> None:
        async with site() as at:
            client = await (at.dial_csharp() if dialect == "csharp" else at.dial_standin())
            for junk in (b"\0\1", "", "nonsense", "[]", "{}", '{"type":"x"}', "[" * 20_000):
                await client.send(junk)
            await client.send('{"type":"ping","callId":"c","ts":1}')
            await until(lambda: bool(at.exchange.events))
            assert len(at.exchange.drops) == 7
            assert at.exchange.drops[0].cause == "binary"
            assert at.exchange.gone == []
            await client.close()

    run(test)


@pytest.mark.parametrize("fragmented", [False, True])
def test_a_message_over_the_cap_closes_1009(fragmented: bool) -> None:
    async def test() -> None:
        async with site(make_config(max_message_bytes=10_000)) as at:
            client = await at.dial_standin()
            await client.send("x" * 10_000)
            big: Any = iter(["x" * 5000] * 3) if fragmented else "x" * 10_001
            with contextlib.suppress(ConnectionClosed):
                await client.send(big)
            with pytest.raises(ConnectionClosed):
                await client.recv()
            assert client.close_code == 1009
            assert await at.gone() == ["too-large"]
            assert [drop.cause for drop in at.exchange.drops] == ["not-json", "too-large"]

    run(test)


def test_text_that_is_not_utf8_closes_1007() -> None:
    async def test() -> None:
        async with site() as at:
            client = await at.dial_standin()
            await client.send(b'{"type":"\xff"}', text=True)
            with pytest.raises(ConnectionClosed):
                await client.recv()
            assert client.close_code == 1007
            assert await at.gone() == ["bad-utf8"]

    run(test)


@pytest.mark.parametrize(
    "sent",
    [
        b"\x81\x05hello",  # not masked
        frame(Opcode.CONT, b"x"),
        b"\x83\x80\0\0\0\0",  # an opcode that does not exist
        b"\xf1\x80\0\0\0\0",  # reserved bits
        frame(Opcode.TEXT, b"{", fin=False) + frame(Opcode.TEXT, b"{}"),
        b"\x09\x80\0\0\0\0",  # a fragmented ping
    ],
    ids=["unmasked", "continuation", "opcode", "reserved", "interleaved", "fragmented"],
)
def test_bad_frames_close_1002(sent: bytes) -> None:
    async def test() -> None:
        async with site() as at:
            reader, writer = await raw_standin(at)
            writer.write(sent)
            answer = await reader.read()
            assert answer[:1] == b"\x88"
            assert struct.unpack("!H", answer[2:4])[0] == 1002
            await close(writer)
            assert await at.gone() == ["protocol-error"]

    run(test)


# --- floods ---------------------------------------------------------------------------


def test_a_flood_of_control_messages_is_capped_and_audio_passes() -> None:
    async def test() -> None:
        async with site(clock=ManualClock()) as at:
            client = await at.dial_standin()
            pcm = base64.b64encode(SILENCE).decode()
            for i in range(3000):
                await client.send('{"type":"ping","ts":1}')
                if i % 30 == 0:
                    await client.send(
                        json.dumps(
                            {
                                "type": "audio.frame",
                                "seq": i,
                                "timestampMs": 0,
                                "payloadBase64": pcm,
                            }
                        )
                    )
            await until(lambda: len(at.exchange.events) + len(at.exchange.drops) == 3100)
            assert sum(isinstance(event, AudioIn) for event in at.exchange.events) == 100
            assert sum(isinstance(event, Pinged) for event in at.exchange.events) == 400
            assert set(at.exchange.drops) == {Dropped("flood")}
            await client.close()

    run(test)


def test_a_ping_flood_is_answered_once_per_read_and_others_go_on() -> None:
    async def test() -> None:
        async with site() as at:
            reader, writer = await raw_standin(at, "flood")
            other = await at.dial_standin("other")
            writer.write(frame(Opcode.PING, b"x") * 50_000)
            await other.send('{"type":"ping","ts":1}')
            await until(lambda: bool(at.exchange.events))
            writer.write(frame(Opcode.CLOSE, struct.pack("!H", 1000)))
            answer = await reader.read()  # the whole flood was read, within the frame rate
            assert answer.count(b"\x8a\x01x") < 5000
            await other.close()
            await close(writer)
            assert sorted(await at.gone(2)) == ["peer-closed", "peer-closed"]

    run(test)


def test_more_frames_than_the_rate_are_left_to_tcp() -> None:
    clock = ManualClock()

    async def test() -> None:
        async with site(clock=clock) as at:
            _, writer = await raw_standin(at)
            text = frame(Opcode.TEXT, b'{"type":"ping","ts":1}')
            writer.write(frame(Opcode.PONG, b"") * 30_000 + text)
            await asyncio.sleep(0.3)
            assert at.exchange.events == []  # the clock stands still: the budget is spent
            clock.advance(1)
            await until(lambda: bool(at.exchange.events))
            await close(writer)

    run(test)


# --- out ------------------------------------------------------------------------------


async def clog(link: Link, call_id: str = "call-1") -> int:
    """Send audio until frames are dropped; how many were sent."""
    for seq in range(100_000):
        link.send(audio(seq, call_id))
        if link.dropped_out:
            return seq + 1
        if seq % 100 == 0:
            await asyncio.sleep(0)
    raise AssertionError("nothing was ever dropped")


def test_a_slow_reader_costs_its_oldest_audio_and_is_cut_at_the_deadline() -> None:
    clock = ManualClock()

    async def test() -> None:
        async with site(clock=clock) as at:
            _, writer = await raw_standin(at, receive_buffer=4096)
            writer.transport.pause_reading()  # type: ignore[attr-defined]
            other = await at.dial_standin("other")
            link = await at.link()
            sent = await clog(link)
            # 16 KiB of SO_SNDBUF (the kernel doubles it), the peer's window and our queue.
            assert sent < 1000
            link.send(Pong("call-1", 1))  # control still goes out
            await asyncio.sleep(0.25)  # a tick sees that nothing leaves
            clock.advance(9)
            await asyncio.sleep(0.25)
            assert at.exchange.gone == []
            clock.advance(1.1)
            assert await at.gone() == ["too-slow"]
            before = link.dropped_out
            link.send(audio(1))
            assert link.dropped_out == before
            await other.close()
            await close(writer)

    run(test)


def test_a_reader_that_catches_up_hears_the_newest_audio_in_order() -> None:
    async def test() -> None:
        async with site(clock=ManualClock()) as at:
            reader, writer = await raw_standin(at, receive_buffer=4096)
            transport: Any = writer.transport
            transport.pause_reading()
            link = await at.link()
            sent = await clog(link)
            for seq in range(sent, sent + 10):
                link.send(audio(seq))
            transport.resume_reading()
            seqs: list[int] = []
            while not seqs or seqs[-1] < sent + 9:
                head = await reader.readexactly(2)
                length = head[1]
                if length == 126:
                    (length,) = struct.unpack("!H", await reader.readexactly(2))
                seqs.append(json.loads(await reader.readexactly(length))["seq"])
            assert seqs == sorted(set(seqs))
            assert len(seqs) == sent + 10 - link.dropped_out
            assert seqs[-FRAMES_PER_CALL:] == list(range(sent + 10 - FRAMES_PER_CALL, sent + 10))
            await close(writer)

    run(test)


def test_a_flush_drops_what_waits_of_its_call_only() -> None:
    async def test() -> None:
        async with site(clock=ManualClock()) as at:
            client = await at.dial_csharp()
            client.transport.pause_reading()
            link = await at.link()
            sent = await clog(link, "a")
            link.send(audio(0, "b"))
            link.send(Flush("a", 1, 0))
            client.transport.resume_reading()
            got: list[Any] = []
            async with asyncio.timeout(PATIENCE_S):
                while not any(message["callId"] == "b" for message in got):
                    got.append(json.loads(await client.recv()))
            flushed = [m["type"] for m in got].index("audio_flush")
            assert [m["callId"] for m in got[flushed + 1 :]] == ["b"]
            assert flushed <= sent - FRAMES_PER_CALL
            await client.close()

    run(test)


def test_control_messages_beyond_the_bound_cut_the_socket() -> None:
    async def test() -> None:
        async with site() as at:
            _, writer = await raw_standin(at, receive_buffer=4096)
            writer.transport.pause_reading()  # type: ignore[attr-defined]
            link = await at.link()
            for _ in range(5):
                link.send(ShowImage("call-1", bytes(1_000_000), "image/png"))
            assert await at.gone() == ["send-overflow"]
            await close(writer)

    run(test)


# --- keepalive ------------------------------------------------------------------------


def test_a_vanished_peer_is_found_within_interval_and_timeout() -> None:
    clock = ManualClock()

    async def test() -> None:
        async with site(clock=clock) as at:
            _, silent = await raw_standin(at, "silent")
            alive = await at.dial_standin("alive")  # answers pings by itself
            clock.advance(20)
            await asyncio.sleep(0.3)
            clock.advance(19.8)
            await asyncio.sleep(0.3)
            assert at.exchange.gone == []
            clock.advance(0.2)
            assert await at.gone() == ["keepalive-timeout"]
            await alive.close()
            await close(silent)

    run(test)


# --- the end --------------------------------------------------------------------------


def test_close_says_why_and_only_the_first_reason_counts() -> None:
    async def test() -> None:
        async with site() as at:
            client = await at.dial_standin()
            link = await at.link()
            link.send(HangUp("call-1", "time-limit"))
            link.close(1000, "time-limit")
            link.close(1001, "other")
            link.send(Pong("call-1"))
            assert json.loads(await client.recv())["reason"] == "time-limit"
            with pytest.raises(ConnectionClosed):
                await client.recv()
            assert (client.close_code, client.close_reason) == (1000, "time-limit")
            assert await at.gone() == ["time-limit"]

    run(test)


def test_a_long_reason_is_cut_at_a_character() -> None:
    async def test() -> None:
        async with site() as at:
            client = await at.dial_standin()
            (await at.link()).close(1000, "ü" * 200)
            with pytest.raises(ConnectionClosed):
                await client.recv()
            assert client.close_reason == "ü" * 61

    run(test)


def test_a_peer_that_does_not_answer_a_close_is_cut() -> None:
    clock = ManualClock()

    async def test() -> None:
        async with site(clock=clock) as at:
            reader, writer = await raw_standin(at)
            (await at.link()).close(1000, "over")
            assert (await reader.readexactly(2))[0] == 0x88
            await asyncio.sleep(0.25)
            assert at.exchange.gone == []
            clock.advance(1.1)
            assert await at.gone() == ["over"]
            await close(writer)

    run(test)


def test_a_half_closing_peer_is_told_goodbye() -> None:
    async def test() -> None:
        async with site() as at:
            reader, writer = await raw_standin(at)
            writer.write_eof()
            answer = await reader.read()
            assert answer == b"\x88\x02" + struct.pack("!H", 1000)
            assert await at.gone() == ["peer-gone"]
            await close(writer)

    run(test)


def test_a_reset_in_the_middle_of_a_frame_ends_the_link() -> None:
    async def test() -> None:
        async with site() as at:
            _, writer = await raw_standin(at)
            writer.write(frame(Opcode.TEXT, b"x" * 1000)[:500])
            await writer.drain()
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            await close(writer)
            assert await at.gone() == ["reset"]

    run(test)


def test_a_fault_in_a_call_ends_its_socket_not_the_server(log: list[logging.LogRecord]) -> None:
    def explode(link: Link, event: FromGateway) -> None:
        raise RuntimeError("boom")

    async def test() -> None:
        async with site() as at:
            at.exchange.on_received = explode
            client = await at.dial_standin()
            await client.send('{"type":"ping","ts":1}')
            with pytest.raises(ConnectionClosed):
                await client.recv()
            assert client.close_code == 1011
            assert await at.gone() == ["internal-error"]
            assert (await at.request("GET", "/healthz"))[0] == 200

    run(test)
    assert [record.msg for record in log if record.exc_info] == ["A call failed on a message"]


def test_messages_before_a_close_in_the_same_read_are_delivered_and_may_be_answered() -> None:
    async def test() -> None:
        async with site() as at:
            at.exchange.on_received = lambda link, event: link.send(Pong("call-1"))
            _, writer = await raw_standin(at)
            writer.write(
                frame(Opcode.TEXT, b'{"type":"ping","ts":1}')
                + frame(Opcode.CLOSE, struct.pack("!H", 1000))
                + frame(Opcode.TEXT, b'{"type":"ping","ts":2}')
            )
            assert await at.gone() == ["peer-closed"]
            assert at.exchange.events == [Pinged("call-1", 1)]
            await close(writer)

    run(test)


def test_stop_closes_every_link_and_cuts_what_stays() -> None:
    async def test() -> None:
        async with site() as at:
            client = await at.dial_standin("polite")
            _, rude = await raw_standin(at, "rude")
            _, unfinished = await asyncio.open_connection("127.0.0.1", at.port("standin"))
            unfinished.write(b"GET")
            await asyncio.sleep(0.05)
            await at.bridge.stop(reason="server-shutdown")
            with pytest.raises(ConnectionClosed):
                await client.recv()
            assert (client.close_code, client.close_reason) == (1001, "server-shutdown")
            assert await at.gone(2) == ["server-shutdown", "server-shutdown"]
            with pytest.raises(OSError, match="onnect"):
                await asyncio.open_connection("127.0.0.1", at.port("standin"))
            for writer in (rude, unfinished):
                await close(writer)

    run(test)
