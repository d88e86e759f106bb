"""Engines that fail, lie and hang, under the whole bridge (rows E of the fault matrix)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from faults_rig import SILENCE, Probe, ProbeSession, bridge, calling, until
from playbook import voice
from server_rig import run

from teamscall.calls import call as calls
from teamscall.calls.records import CallClosed, EngineTrouble, TurnEnded
from teamscall.cli.logs import HumanLines, JsonLines
from teamscall.config import Goodbye, Streaming
from teamscall.engines import base as engine
from teamscall.engines.cascade import Deadlines
from teamscall.engines.scripted import Fail, Script, ScriptedEngine, ScriptLine
from teamscall.journal import readers

QUICK = Streaming(silence_duration_ms=200)
NO_APOLOGY = Goodbye(apology="")
UTTERANCE = voice(0.5) + [SILENCE] * 20
SOON = Deadlines(
    final_transcript=0.3, first_thought=0.3, next_thought=0.3, first_audio=0.3, next_audio=0.3
)
KEY = "sk-proj-0123456789abcdef"
FAILS: dict[Fail, list[str]] = {
    # What is recorded of the failing turn, and of the one after it.
    "stall-hear": ["completed"],  # E2, E3: nothing was understood, so nothing is answered
    "think": ["failed", "completed"],  # E4
    "think-midway": ["failed", "completed"],  # E7
    "stall-think": ["failed", "completed"],  # E7
    "speak": ["failed", "completed"],  # E4
    "speak-once": ["completed", "completed"],  # E4: asked for again
    "speak-midway": ["failed", "completed"],  # E5
    "stall-speak": ["failed", "completed"],  # E5
    "speak-nothing": ["failed", "completed"],  # E6
}


def test_a_failure_costs_its_turn_and_the_next_one_is_answered(tmp_path: Path) -> None:
    """E2 to E7: a bridge and a call for each, three at once: a starved loop cuts the
    caller's words in pieces."""

    async def one(fail: Fail, few: asyncio.Semaphore) -> list[str]:
        lines = (
            ScriptLine(heard="one", answer="Well, this one fails.", fail=fail),
            ScriptLine(heard="two", answer="This one is fine."),
        )
        script = Script(lines=lines, word_ms=40, pause_ms=20)
        home = tmp_path / fail
        voices = ScriptedEngine(script, deadlines=SOON)
        async with (
            few,
            bridge(home, voices, streaming=QUICK) as site,
            calling(site.url(), "c") as call,
        ):
            for _ in range(2):
                await call.talk(UTTERANCE)
                await call.talk([SILENCE] * 40)
            answers = len(FAILS[fail])
            await until(lambda: sum(t.kind == "answer" for t in site.of(TurnEnded)) >= answers)
            if fail != "speak-once":
                assert site.of(EngineTrouble)
            assert not any(trouble.fatal for trouble in site.of(EngineTrouble))
            assert not site.of(CallClosed)
            return [turn.status for turn in site.of(TurnEnded) if turn.kind == "answer"]

    async def test() -> None:
        few = asyncio.Semaphore(3)
        async with asyncio.TaskGroup() as group:
            each = {fail: group.create_task(one(fail, few)) for fail in FAILS}
        assert {fail: done.result() for fail, done in each.items()} == FAILS

    run(test)


def raises(error: Exception) -> Callable[[ProbeSession], Any]:
    async def serve(session: ProbeSession) -> None:
        while True:
            await asyncio.sleep(0.01)
            if session.call_id == "bad" and len(session.commands) > 3:
                raise error

    return serve


def echo(session: ProbeSession, command: object) -> None:
    if isinstance(command, engine.Hear):
        session.emit(engine.AnswerAudio(1, command.pcm, 16_000))


def test_an_engine_that_raises_fails_its_call_and_no_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """E9, H14"""
    probe = Probe("none", echo, raises(RuntimeError("a bug")))

    async def test() -> None:
        async with (
            bridge(tmp_path, probe, goodbye=NO_APOLOGY) as site,
            calling(site.url(), "good") as good,
        ):
            async with calling(site.url(), "bad") as bad:
                await bad.count(5)
                assert await bad.ended() == 1000
                assert bad.farewell == "agent-unavailable"
            await good.count(20)
            await good.all_back()
            assert (await site.end_of("bad")).ended_by == "engine"
            async with calling(site.url(), "next") as another:
                await another.count(3)
                await another.all_back()

    run(test)
    rows = {row.call_id: row for row in readers.calls(tmp_path / "journal.sqlite3")}
    assert rows["bad"].reason == "agent-unavailable"
    assert any("own task" in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize("chained", [False, True])
def test_a_providers_words_reach_neither_log_nor_journal(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, chained: bool
) -> None:
    """E10: an exception's text may hold a key, or what the caller said."""
    error: Exception = RuntimeError(f"401 for key {KEY}: \x1b[2J said 'hello'")
    if chained:
        error.__cause__ = ValueError(KEY)
        error = ExceptionGroup(KEY, [error])
    probe = Probe("none", echo, raises(error))

    async def test() -> None:
        async with bridge(tmp_path, probe, goodbye=NO_APOLOGY) as site:
            async with calling(site.url(), "bad") as bad:
                await bad.count(5)
                await bad.ended()
            assert not [record for record in site.records if KEY in repr(record)]

    run(test)
    for file in tmp_path.iterdir():
        assert KEY.encode() not in file.read_bytes()
    [told] = [record for record in caplog.records if record.exc_info]
    for lines in (JsonLines(), HumanLines(colour=False)):
        text = lines.format(told)
        assert KEY not in text
        assert "\x1b" not in text
        assert "RuntimeError" in text
        assert "test_faults_engines.py" in text  # where it was raised


@pytest.mark.parametrize("fault", ["run swallows its cancellation", "close hangs", "submit raises"])
def test_an_engine_that_hangs_holds_up_nobody(
    tmp_path: Path, fault: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """E9, E11: the slot is free at once, and the call's end is bounded."""
    monkeypatch.setattr(calls, "ENGINE_CLOSE_S", 0.2)
    monkeypatch.setattr(calls, "ENGINE_CANCEL_S", 0.1)
    released = asyncio.Event()

    async def serve(session: ProbeSession) -> None:
        while fault.startswith("run") and session.call_id == "bad" and not released.is_set():
            try:
                await released.wait()
            except asyncio.CancelledError:
                continue

    def hear(session: ProbeSession, command: object) -> None:
        if fault.startswith("submit") and session.call_id == "bad":
            raise RuntimeError("a bug")
        echo(session, command)

    class Hanging(Probe):
        def open(self, call: engine.CallBrief, emit: engine.Emit) -> ProbeSession:
            session = super().open(call, emit)
            if fault.startswith("close") and call.call_id == "bad":
                session.close = asyncio.Event().wait  # type: ignore[assignment,method-assign]
            return session

    async def test() -> None:
        async with bridge(tmp_path, Hanging("none", hear, serve), max_concurrent_calls=1) as site:
            async with calling(site.url(), "bad") as bad:
                await bad.count(3)
            closed = await site.end_of("bad")
            assert closed.reason == ("error" if fault.startswith("submit") else "hangup-user")
            async with calling(site.url(), "next") as good:  # there is only one slot
                await good.count(5)
                await good.all_back()
            await asyncio.sleep(0.5)  # the bounds have passed
            released.set()

    run(test)
    late = [r for r in caplog.records if "does not end" in r.getMessage()]
    assert len(late) == fault.startswith("run")
