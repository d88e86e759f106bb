"""Faults in what the gateway sends during a call (rows F of the fault matrix)."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from faults_rig import SILENCE, Probe, ProbeSession, bridge, calling, numbered, until
from playbook import voice
from server_rig import run

from teamscall.calls.records import GateChanged, Heard, TurnBegan, TurnEnded
from teamscall.config import Streaming
from teamscall.engines import base as engine
from teamscall.engines.scripted import Script, ScriptedEngine, ScriptLine

QUICK = Streaming(silence_duration_ms=200)
SPOKEN = voice(0.5)


def test_a_burst_after_a_stall_comes_back_whole(tmp_path: Path) -> None:
    """F7"""

    async def test() -> None:
        async with bridge(tmp_path) as site, calling(site.url(), "burst") as caller:
            await caller.count(10)
            await asyncio.sleep(0.5)
            await caller.count(50, every_s=0.0)
            await caller.all_back()

    run(test)


def test_half_speed_comes_back_whole(tmp_path: Path) -> None:
    """F7"""

    async def test() -> None:
        async with bridge(tmp_path) as site, calling(site.url(), "slow") as caller:
            await caller.count(25, every_s=0.04)
            await caller.all_back()

    run(test)


def test_more_than_real_time_for_long_is_bounded_and_counted(tmp_path: Path) -> None:
    """F7: thirty seconds of audio at once."""
    heard: list[bytes] = []

    def hear(session: ProbeSession, command: engine.EngineCommand) -> None:
        if isinstance(command, engine.Hear):
            heard.append(command.pcm)

    async def test() -> None:
        async with bridge(tmp_path, Probe("none", hear)) as site:
            async with calling(site.url(), "flood") as caller:
                await caller.count(1500, every_s=0.0)
            closed = await site.end_of("flood")
            assert closed.reason == "hangup-user"
            assert len(heard) + closed.counters.dropped_in >= 1500
            assert 500 <= len(heard) < 1000
            assert closed.counters.silence_in < 100

    run(test)


@pytest.mark.parametrize("every_s", [0.0, 0.04], ids=["at once", "at half speed"])
def test_words_are_judged_on_the_callers_timeline(tmp_path: Path, every_s: float) -> None:
    """F7: however it arrives, one utterance is one utterance."""
    script = Script(lines=(ScriptLine(heard="hello", answer="Hi."),), word_ms=40, pause_ms=20)

    async def test() -> None:
        async with bridge(tmp_path, ScriptedEngine(script), streaming=QUICK) as site:
            async with calling(site.url(), "words") as caller:
                await caller.talk(SPOKEN + [SILENCE] * 25, every_s=every_s)
                [over] = await site.record(TurnEnded, "words")
                assert over.status == "completed"
            assert [record.text for record in site.of(Heard) if record.final] == ["hello"]

    run(test)


def test_a_socket_that_falls_silent_is_idle(tmp_path: Path) -> None:
    """F8"""

    async def test() -> None:
        async with bridge(tmp_path, standin={"idle_timeout_ms": 1000}) as site:
            async with calling(site.url(), "idle") as caller:
                await caller.count(3)
                assert await caller.ended() == 1000
                assert caller.farewell == "idle-timeout"
            assert (await site.end_of("idle")).reason == "idle-timeout"

    run(test)


def test_hanging_up_ends_whatever_is_going_on(tmp_path: Path) -> None:
    """F10, E11: a bridge and a call for each, all at once."""

    async def one(stage: str) -> None:
        slow = {stage: 60_000} if stage.endswith("_ms") else {}
        # Long, so that a machine that stands still a while does not miss the end of it.
        line = ScriptLine(heard="hello", answer="One two three four. " * 10, **slow)  # type: ignore[arg-type]
        voices = ScriptedEngine(Script(lines=(line,)))
        async with bridge(tmp_path / stage, voices, streaming=QUICK) as site:
            async with calling(site.url(), "c") as caller:
                await caller.talk(SPOKEN + [SILENCE] * 20)
                if stage != "hear_ms":
                    await site.record(TurnBegan)
                if stage in ("playing", "flush"):
                    await until(lambda: bool(caller.audio))
                if stage == "flush":
                    await caller.talk(SPOKEN)
                    await until(lambda: bool(caller.of("assistant.cancel")))
                for _ in range(2):  # and a second time, which says nothing new
                    await caller.say("session.end", reason="hangup-user")
            closed = await site.end_of("c")
            assert (closed.reason, closed.ended_by) == ("hangup-user", "caller")
            assert [turn.turn for turn in site.of(TurnEnded)] == [
                turn.turn for turn in site.of(TurnBegan)
            ]

    async def test() -> None:
        async with asyncio.TaskGroup() as group:
            for stage in ("hear_ms", "think_ms", "speak_ms", "playing", "flush"):
                group.create_task(one(stage))

    run(test)


def test_a_recording_that_fails_closes_the_gate_and_says_so(tmp_path: Path) -> None:
    """F12"""

    async def test() -> None:
        async with bridge(tmp_path) as site:
            async with calling(site.url(), "gate", recordingStatus="unknown") as caller:
                await caller.count(5)
                await caller.say("recording.status", status="active")
                await caller.count(5)
                await caller.say("recording.status", status="inactive")
                await caller.count(5)
                await caller.say("recording.status", status="active")
                await caller.count(5)
                await until(lambda: caller.sent[-1] in caller.audio)
                silent = {SILENCE}  # a short gap is filled
                assert set(caller.audio) - silent == {
                    *map(numbered, (*range(5, 10), *range(15, 20)))
                }
            assert [gate.open for gate in site.of(GateChanged)] == [False, True, False, True]
            assert (await site.end_of("gate")).counters.gated_in == 10

    run(test)
