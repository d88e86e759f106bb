"""Interrupting the bot over a real socket: how soon it is silent, and what leaves after."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
from faults_rig import SILENCE, Caller, Probe, ProbeSession, bridge, calling, until
from playbook import voice
from server_rig import run
from test_faults_out import marked, no_stale_frame

from teamscall.calls.records import CarriedOn, Interrupted, TurnEnded
from teamscall.config import Streaming
from teamscall.engines import base as engine

RATE = 16_000
# 100 ms: the third voiced frame, two that the detector may miss, and the way there.
SOON_FRAMES = 5


def story(session: ProbeSession, command: object) -> None:
    """An engine that hears one thing whatever is said, and answers for 20 s, at once."""
    if isinstance(command, engine.Say | engine.Respond):
        session.emit(engine.AnswerAudio(command.turn, marked(command.turn, 20.0), RATE, "a story"))
        session.emit(engine.AnswerDone(command.turn))
    elif isinstance(command, engine.CommitUtterance):
        session.emit(engine.Transcript(command.utterance, "stop, please", final=True))


async def interrupt(caller: Caller, turn: int) -> tuple[int, float]:
    """Speak over ``turn`` until it is cancelled: frames of voice, and milliseconds."""
    while not any(int.from_bytes(pcm[:2], "little") == turn for pcm in caller.audio[-8:]):
        await caller.talk([SILENCE])
    await caller.talk([SILENCE] * 15)
    spoken = voice(1.0)
    onset = time.monotonic()
    cancels = len(caller.of("assistant.cancel"))
    for count, frame in enumerate(spoken):
        # On the clock: the frame that ends 20 ms after the one before it.
        await asyncio.sleep(max(0.0, onset + count * 0.02 - time.monotonic()))
        if len(caller.of("assistant.cancel")) > cancels:
            silent_ms = (time.monotonic() - onset) * 1000
            await caller.talk(spoken[count:])
            return count, silent_ms
        await caller.frame(frame)
    raise AssertionError("it was not interrupted")


def trials(tmp_path: Path, count: int) -> tuple[list[int], list[float], list[Interrupted]]:
    frames: list[int] = []
    waits: list[float] = []
    seen: list[Interrupted] = []

    async def test() -> None:
        async with (
            bridge(
                tmp_path, Probe("local", story), streaming=Streaming(silence_duration_ms=200)
            ) as site,
            calling(site.url(), "c") as caller,
        ):
            await caller.say("assistant.say", text="begin")
            for trial in range(1, count + 1):
                took, ms = await interrupt(caller, trial)
                frames.append(took)
                waits.append(ms)
                await caller.talk([SILENCE] * 15)
            await site.record(TurnEnded, count=count)
            no_stale_frame(caller)
            assert caller.seqs == list(range(len(caller.seqs)))
            seen.extend(site.of(Interrupted))

    run(test)
    return frames, waits, seen


def test_the_bot_is_silent_within_a_few_frames_and_stays_so(tmp_path: Path) -> None:
    frames, _, seen = trials(tmp_path, 6)
    assert sorted(frames)[len(frames) // 2] <= SOON_FRAMES
    assert [one.why for one in seen] == ["speech"] * 6


@pytest.mark.load
def test_a_hundred_times(tmp_path: Path) -> None:
    """Also the measurement that the README quotes: ``pytest -m load -k a_hundred_times -s``."""
    frames, waits, seen = trials(tmp_path, 100)
    waits.sort()
    print(f"\nonset to flush: p50 {waits[49]:.0f} ms, p95 {waits[94]:.0f} ms, max {waits[-1]:.0f}")
    assert sorted(frames)[94] <= SOON_FRAMES
    assert len(seen) == 100


def test_a_mhm_costs_the_caller_nothing_of_the_story(tmp_path: Path) -> None:
    def listen(session: ProbeSession, command: object) -> None:
        if isinstance(command, engine.CommitUtterance):
            session.emit(engine.Transcript(command.utterance, "mhm", final=True))
        else:
            story(session, command)

    async def test() -> None:
        async with (
            bridge(
                tmp_path, Probe("local", listen), streaming=Streaming(silence_duration_ms=200)
            ) as site,
            calling(site.url(), "c") as caller,
        ):
            await caller.say("assistant.say", text="begin")
            await until(lambda: len(caller.audio) > 20)
            await caller.talk(voice(0.3) + [SILENCE] * 40)
            carried_on = await site.record(CarriedOn)
            assert carried_on[0].why == "backchannel"
            before = len(caller.audio)
            await caller.talk([SILENCE] * 20)
            assert len(caller.audio) > before
            assert site.of(TurnEnded) == []

    run(test)
