"""Faults while the bridge sends (rows O of the fault matrix)."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from faults_rig import (
    FRAME_S,
    SILENCE,
    Caller,
    Probe,
    ProbeSession,
    RawCaller,
    audio_message,
    bridge,
    calling,
    text_frame,
    until,
)
from playbook import voice
from server_rig import run

from teamscall.calls.records import Interrupted, TurnEnded
from teamscall.config import Streaming
from teamscall.engines import base as engine
from teamscall.journal import readers

RATE = 16_000
LEAD_FRAMES = 8  # StandIn's 160 ms


def marked(turn: int, seconds: float) -> bytes:
    """Audio whose every sample is the number of its turn."""
    return np.full(round(seconds * RATE), turn, "<i2").tobytes()


def marks(caller: Caller) -> list[int]:
    """The turn of each frame that came."""
    return [int.from_bytes(pcm[:2], "little") for pcm in caller.audio]


def speak(seconds: float, chunk: int = 6400) -> Callable[[ProbeSession, object], None]:
    """An engine that hears one thing whatever is said, and answers at length, at once."""

    def hear(session: ProbeSession, command: object) -> None:
        if isinstance(command, engine.Say | engine.Respond):
            pcm = marked(command.turn, seconds)
            for at in range(0, len(pcm), chunk):
                session.emit(engine.AnswerAudio(command.turn, pcm[at : at + chunk], RATE))
            session.emit(engine.AnswerDone(command.turn))
        elif isinstance(command, engine.CommitUtterance):
            session.emit(engine.Transcript(command.utterance, "stop that", final=True))

    return hear


# --- peers that go --------------------------------------------------------------------


def test_a_peer_that_vanished_is_found_and_the_journal_says_so(tmp_path: Path) -> None:
    """O2: its socket is open and nothing ever comes out of it again."""
    keepalive = {"ping_interval_ms": 1000, "ping_timeout_ms": 1000}

    async def test() -> None:
        async with bridge(tmp_path, serve=keepalive) as site:
            began = time.monotonic()
            raw = await RawCaller.dial(site.url(), "gone")
            async with calling(site.url(), "live") as live:  # answers its pings
                closed = await site.end_of("gone")
                took_s = time.monotonic() - began
                await live.count(5)
                await live.all_back()
            raw.close()
            assert (closed.reason, closed.detail) == ("connection-lost", "keepalive-timeout")
            assert 1 < took_s < 10

    run(test)
    rows = {row.call_id: row for row in readers.calls(tmp_path / "journal.sqlite3")}
    assert rows["gone"].reason == "connection-lost"


@pytest.mark.parametrize("how", ["reset in a frame", "reset while it is sent audio", "half-close"])
def test_a_peer_that_breaks_off_ends_its_call(tmp_path: Path, how: str) -> None:
    """O3, O4"""

    async def test() -> None:
        async with bridge(tmp_path) as site, calling(site.url(), "live") as live:
            raw = await RawCaller.dial(site.url(), "broken")
            whole = text_frame(audio_message(0, SILENCE))
            if how == "reset while it is sent audio":
                for _ in range(50):
                    await raw.send(whole)
                await raw.read()
            await raw.send(whole[: len(whole) // 2])
            await asyncio.sleep(0.05)
            if how == "half-close":
                raw.sock.shutdown(socket.SHUT_WR)
                while await raw.read():
                    pass
                raw.close()
            else:
                raw.reset()
            closed = await site.end_of("broken")
            assert closed.reason == "connection-lost"
            assert closed.detail in ("reset", "peer-gone")
            await live.count(10)
            await live.all_back()

    run(test)


# --- barge-in -------------------------------------------------------------------------


def no_stale_frame(caller: Caller) -> None:
    """After a cancel, nothing of what was begun before it."""
    cancelled = 0
    for message in caller.messages:
        if message["type"] == "assistant.cancel":
            cancelled = message["turnId"]
        elif message["type"] == "audio.frame":
            turn = int.from_bytes(_pcm(message)[:2], "little")
            assert turn > cancelled, f"a frame of turn {turn} after turn {cancelled} was cancelled"


def _pcm(message: dict[str, str]) -> bytes:
    import base64

    return base64.b64decode(message["payloadBase64"])


def test_a_hundred_interruptions_leave_nothing_stale(tmp_path: Path) -> None:
    """O5, O6: each says ten seconds, and is cut off by the next."""
    probe = Probe("local", speak(10.0))

    async def test() -> None:
        async with bridge(tmp_path, probe) as site:
            async with calling(site.url(), "c") as caller:
                tasks = 0
                for number in range(100):
                    await caller.say("assistant.say", text=f"number {number}")
                    await caller.talk([SILENCE] * (1 + number % 2))
                    if number == 5:  # the call is up
                        tasks = len(asyncio.all_tasks())
                await site.record(TurnEnded, count=99)
                await until(lambda: 100 in marks(caller))
                assert len(asyncio.all_tasks()) == tasks
                assert caller.seqs == list(range(len(caller.seqs)))
                no_stale_frame(caller)
            assert len(site.of(TurnEnded)) == 100
            assert probe.sessions["c"].closed.is_set()
            counters = (await site.end_of("c")).counters
            assert counters.turns == 100
            assert counters.dropped_in == 0

    run(test)


def test_the_callers_voice_interrupts_again_and_again(tmp_path: Path) -> None:
    """O5, O6"""
    talk, pause = voice(0.5), [SILENCE] * 20

    async def test() -> None:
        async with bridge(
            tmp_path, Probe("local", speak(10.0)), streaming=Streaming(silence_duration_ms=200)
        ) as site:
            async with calling(site.url(), "c") as caller:
                for turn in range(1, 4):
                    await caller.talk(talk + pause)
                    while turn not in marks(caller):  # the gateway never stops sending
                        await caller.talk([SILENCE])
                assert caller.seqs == list(range(len(caller.seqs)))
                assert len(caller.of("assistant.cancel")) == 2
                no_stale_frame(caller)
            assert [one.turn for one in site.of(Interrupted)] == [1, 2]

    run(test)


# --- engines that send too much, and loops that stand still ---------------------------


def test_a_minute_at_once_is_paced_and_flushed_at_once(tmp_path: Path) -> None:
    """O8"""
    long, short = speak(60.0, chunk=10_000_000), speak(0.1)

    def hear(session: ProbeSession, command: object) -> None:
        (long if isinstance(command, engine.Say) and command.text == "long" else short)(
            session, command
        )

    async def test() -> None:
        async with (
            bridge(tmp_path, Probe("local", hear)) as site,
            calling(site.url(), "c") as caller,
        ):
            began = time.monotonic()
            await caller.say("assistant.say", text="long")
            await until(lambda: len(caller.audio) >= 40)
            took_s = time.monotonic() - began
            assert len(caller.audio) <= took_s / FRAME_S + LEAD_FRAMES + 1
            await caller.say("assistant.say", text="short")
            await until(lambda: marks(caller).count(2) == 5)
            no_stale_frame(caller)
            [cut, _] = await site.record(TurnEnded, count=2)
            assert cut.status == "interrupted"
            assert cut.said_ms < 60_000

    run(test)


@pytest.mark.parametrize("chunk", [1, 3, 639, 641, 1_000_000])
def test_chunks_of_any_size_come_out_as_the_same_audio(tmp_path: Path, chunk: int) -> None:
    """O9"""
    pcm = np.random.default_rng(1).integers(-9000, 9000, 3200, "<i2").tobytes()  # 10 frames

    def hear(session: ProbeSession, command: object) -> None:
        if isinstance(command, engine.Say):
            for at in range(0, len(pcm), chunk):
                session.emit(engine.AnswerAudio(command.turn, pcm[at : at + chunk], RATE))
            session.emit(engine.AnswerDone(command.turn))

    async def test() -> None:
        async with (
            bridge(tmp_path, Probe("local", hear)) as site,
            calling(site.url(), "c") as caller,
        ):
            await caller.say("assistant.say", text="anything")
            await until(lambda: len(caller.audio) == 10)
            assert b"".join(caller.audio) == pcm

    run(test)


@pytest.mark.parametrize("blocked_s", [0.1, 1.0])
def test_a_blocked_loop_catches_up_by_the_lead_and_then_skips(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, blocked_s: float
) -> None:
    """O7: what was to be sent while nobody could is not sent all at once afterwards."""

    async def test() -> None:
        async with (
            bridge(tmp_path, Probe("local", speak(20.0))) as site,
            calling(site.url(), "c") as caller,
        ):
            await caller.say("assistant.say", text="long")
            await until(lambda: len(caller.audio) >= 20)
            await asyncio.sleep(0.2)  # the heartbeat is regular
            time.sleep(blocked_s)  # noqa: ASYNC251  (that is the fault)
            freed, before = time.monotonic(), len(caller.audio)
            await until(lambda: len(caller.audio) >= before + 40)
            took_s = time.monotonic() - freed
            # Forty more would be here already if the second were made up for.
            lead = LEAD_FRAMES + 1 + (blocked_s < 0.2) * 8
            assert len(caller.audio) - before <= took_s / FRAME_S + lead
            # The clock that goes on is the old one or a new one, never a slow one.
            first, began = len(caller.audio), time.monotonic()
            await until(lambda: len(caller.audio) >= first + 40)
            assert time.monotonic() - began < 4
            assert caller.seqs == list(range(len(caller.seqs)))

    caplog.set_level(logging.WARNING, logger="teamscall")
    run(test)
    if blocked_s >= 1:
        stacks = [r.__dict__["stack"] for r in caplog.records if "stack" in r.__dict__]
        assert any("time.sleep" in stack for stack in stacks)
