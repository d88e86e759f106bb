"""A whole call through a chain: the vendor fails while the caller is on the line."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import NamedTuple, TypeVar

import pytest
from engines_openai_rig import Cloud, cloud, configured
from engines_rig import QUESTION_WAV

from teamscall.audio.wav import read_wav
from teamscall.calls import records
from teamscall.clock import SystemClock
from teamscall.config import (
    Authorization,
    BargeIn,
    Bridge,
    Config,
    Inbound,
    JournalFile,
    Secret,
    Serve,
)
from teamscall.emulator.call import run_call
from teamscall.emulator.plan import Dial, Plan
from teamscall.emulator.report import Report
from teamscall.emulator.sources import Pcm, after_lead_in
from teamscall.engines.base import Engine
from teamscall.engines.fallback import FallbackEngine, Limits, Patience
from teamscall.engines.scripted import Script, ScriptedEngine, ScriptLine
from teamscall.engines.select import build_engine
from teamscall.server.run import running
from teamscall.testing import Answer, Drop, Refuse, Settings, Stall
from teamscall.testing import Script as CloudScript
from teamscall.testing.failures import Failure, Stage
from teamscall.wire.events import Caller

R = TypeVar("R")

SECRET = "0123456789abcdef0123456789abcdef"
SAID = "What can you do, and what time is it?"
CLOUD = CloudScript(hears=(SAID,), answer=(Answer(to="", say="The cloud answers you now."),))
ANSWER = "The next engine answers you."
NEXT = Script(lines=(ScriptLine(heard=SAID, answer=ANSWER),), word_ms=100, pause_ms=50)
CALLER = Caller(user_id="caller-1", tenant_id="tenant-1", display_name="Ada Lovelace")
# Short for a test, long for a machine that six calls share with others.
LIMITS = Limits(patience=Patience(ready=4.0, final=3.0))


async def call(there: Cloud, *more: Engine) -> tuple[list[records.CallRecord], Report]:
    """One caller asks the shipped question, and the cloud is first in the chain."""
    of_cloud = configured(there)
    kept = ("engine", "openai", "tts", "streaming")
    config = Config(
        **{name: getattr(of_cloud, name) for name in kept},
        serve=Serve(port=0),
        bridge=Bridge(secret=Secret(SECRET)),
        authorization=Authorization(mode="open"),
        inbound=Inbound(greeting="Welcome!"),
        journal=JournalFile(enabled=False),
        barge_in=BargeIn(enabled=False),
    )
    engine = FallbackEngine([build_engine(config), *more], limits=LIMITS)
    seen: list[records.CallRecord] = []
    async with asyncio.timeout(90), running(config, engine=engine) as up:
        up.switchboard.watch(seen.append)
        plan = Plan(
            dial=Dial(url=up.listening[0].urls[0], secret=SECRET.encode(), dialect="csharp"),
            caller=CALLER,
            silence_s=3.0,
            patience_s=30.0,
        )
        question = after_lead_in(Pcm(read_wav(QUESTION_WAV)))
        report = await run_call(plan, question, clock=SystemClock())
    return seen, report


ALL = "all engines fail"
FAILURES: dict[str, list[tuple[Stage, Failure, int | None]]] = {
    "the model fails": [("think", Refuse(status=500), None)],
    "the key is refused for the voice": [("speak", Refuse(status=401), None)],
    "the recogniser is lost for good": [("hear", Drop(), 1), ("hear", Refuse(status=503), None)],
    "the recogniser refuses the key": [("hear", Refuse(status=401), None)],
    "the recogniser takes audio and says nothing": [("hear", Stall(at="connect"), None)],
    ALL: [("hear", Refuse(status=401), None), ("speak", Refuse(status=401), None)],
}


FEW = ("the model fails", "the recogniser is lost for good")


class Called(NamedTuple):
    """What a call left behind."""

    records: list[records.CallRecord]
    report: Report
    key: str

    def of(self, kind: type[R]) -> list[R]:
        return [record for record in self.records if isinstance(record, kind)]


async def _one(name: str, there: Cloud) -> Called:
    for stage, failure, times in FAILURES[name]:
        there.fake.plan.fail(stage, failure, times=times)
    script = Script(lines=(ScriptLine(heard=SAID, fail="hear"),)) if name == ALL else NEXT
    seen, report = await call(there, ScriptedEngine(script))
    return Called(seen, report, there.fake.api_key)


@pytest.fixture(scope="module")
def called(chosen: Callable[[str], list[str]]) -> dict[str, Called]:
    """All calls at once, each with a bridge and a cloud of its own."""
    names = [*chosen("failure"), ALL]
    with contextlib.ExitStack() as stack:
        clouds = {name: stack.enter_context(cloud(Settings(script=CLOUD))) for name in names}

        async def everything() -> list[Called]:
            return await asyncio.gather(*(_one(name, there) for name, there in clouds.items()))

        return dict(zip(clouds, asyncio.run(everything()), strict=True))


@pytest.mark.parametrize(
    "failure",
    [
        pytest.param(name, marks=() if name in FEW else pytest.mark.long)
        for name in FAILURES
        if name != ALL
    ],
)
def test_the_question_is_answered_by_the_next_engine(
    called: dict[str, Called], failure: str
) -> None:
    here = called[failure]
    turns = here.of(records.TurnEnded)
    answers = [turn for turn in turns if turn.kind == "answer"]
    assert [turn.said_text for turn in answers] == [ANSWER]
    assert answers[0].heard_text == ANSWER
    assert {turn.status for turn in turns} == {"completed"}, "nothing was given up"
    heard = [record.text for record in here.of(records.Heard) if record.final]
    assert heard == [SAID], "a word was lost, or heard twice"
    troubles = here.of(records.EngineTrouble)
    assert any("gave way to scripted" in trouble.detail for trouble in troubles)
    assert not any(trouble.fatal for trouble in troubles)
    assert here.key not in repr(here.records)
    assert here.of(records.CallClosed)[0].ended_by != "engine"
    assert here.report.spoke


def test_when_all_have_failed_the_call_apologises_and_ends(called: dict[str, Called]) -> None:
    here = called[ALL]
    (closed,) = here.of(records.CallClosed)
    assert (closed.reason, closed.ended_by) == ("agent-unavailable", "engine")
    goodbye = here.of(records.TurnEnded)[-1]
    assert (goodbye.kind, goodbye.status) == ("goodbye", "completed")
    assert here.report.spoke
