"""A whole call: the emulator speaks, the bridge answers with the stand-in's words."""

from __future__ import annotations

import asyncio

import pytest
from engines_openai_rig import Cloud, cloud, configured
from engines_rig import QUESTION_WAV

from teamscall.audio.wav import read_wav
from teamscall.calls import records
from teamscall.clock import SystemClock
from teamscall.config import Authorization, BargeIn, Config, Inbound, JournalFile, Secret, Serve
from teamscall.config import Bridge as BridgeSettings
from teamscall.emulator.call import run_call
from teamscall.emulator.plan import Dial, Plan
from teamscall.emulator.report import Report
from teamscall.emulator.sources import Pcm, after_lead_in
from teamscall.server.run import running
from teamscall.testing import Answer, Drop, Refuse, Script, Settings
from teamscall.wire.events import Caller

SECRET = "0123456789abcdef0123456789abcdef"
SAID = "What can you do, and what time is it?"
ANSWER = "I can tell you the time. It is five past ten in the morning."
SCRIPT = Script(hears=(SAID,), answer=(Answer(to="what time", say=ANSWER),))
CALLER = Caller(user_id="caller-1", tenant_id="tenant-1", display_name="Ada Lovelace")


class Called:
    """What a call left behind."""

    def __init__(self) -> None:
        self.records: list[records.CallRecord] = []
        self.report: Report | None = None

    @property
    def closed(self) -> records.CallClosed:
        return next(r for r in self.records if isinstance(r, records.CallClosed))

    @property
    def trouble(self) -> list[records.EngineTrouble]:
        return [r for r in self.records if isinstance(r, records.EngineTrouble)]

    @property
    def turns(self) -> list[records.TurnEnded]:
        return [record for record in self.records if isinstance(record, records.TurnEnded)]

    @property
    def heard(self) -> list[str]:
        return [r.text for r in self.records if isinstance(r, records.Heard) and r.final]


def bridge(there: Cloud, voice: str, **more: object) -> Config:
    config = configured(there, voice)
    fields = {name: getattr(config, name) for name in config.__struct_fields__} | {
        "serve": Serve(port=0),
        "bridge": BridgeSettings(secret=Secret(SECRET)),
        "authorization": Authorization(mode="open"),
        "journal": JournalFile(enabled=False),
        "barge_in": BargeIn(enabled=False),
    }
    return Config(**fields | more)


async def call(config: Config) -> Called:
    """One caller asks the shipped question and listens to the answer."""
    called = Called()
    async with asyncio.timeout(60), running(config) as up:
        up.switchboard.watch(called.records.append)
        plan = Plan(
            dial=Dial(url=up.listening[0].urls[0], secret=SECRET.encode(), dialect="csharp"),
            caller=CALLER,
            silence_s=1.5,
            patience_s=20.0,
        )
        question = Pcm(read_wav(QUESTION_WAV))
        called.report = await run_call(plan, after_lead_in(question), clock=SystemClock())
    return called


@pytest.mark.parametrize("voice", ["speech", pytest.param("reading", marks=pytest.mark.long)])
def test_a_conversation(voice: str) -> None:
    with cloud(Settings(script=SCRIPT)) as there:
        called = asyncio.run(call(bridge(there, voice, inbound=Inbound(greeting="Welcome!"))))
        assert SAID in called.heard
        answers = [turn for turn in called.turns if turn.kind == "answer"]
        assert answers[-1].said_text == ANSWER
        assert answers[-1].status == "completed"
        assert answers[-1].heard_text == ANSWER
        assert called.report is not None
        assert called.report.spoke
        assert called.closed.ended_by != "engine"
        assert not called.trouble


@pytest.mark.parametrize("voice", ["speech", "reading"])
@pytest.mark.load
def test_latency_is_little_more_than_the_vendors(voice: str) -> None:
    """With fake latencies the rest is ours: measured here, bounded generously."""
    slow = Settings(
        script=SCRIPT, hear_ms=200, think_ms=300, speak_first_byte_ms=250, speak_speed=4
    )
    with cloud(slow) as there:
        called = asyncio.run(call(bridge(there, voice)))
        latency = next(turn for turn in called.turns if turn.said_text == ANSWER).latency
        assert latency.endpoint_ms is not None
        assert latency.first_frame_ms is not None
        ours = latency.first_frame_ms - latency.endpoint_ms - 750
        assert -20 <= ours < 1000, latency


def test_a_key_that_is_refused_ends_the_call_in_order() -> None:
    with cloud(Settings(script=SCRIPT)) as there:
        there.fake.plan.fail("hear", Refuse(status=401), times=None)
        called = asyncio.run(call(bridge(there, "speech")))
        closed = called.closed
        assert (closed.reason, closed.ended_by) == ("agent-unavailable", "engine")
        assert "openai.api_key" in closed.detail
        assert there.fake.api_key not in repr(called.records)
        # The apology was synthesised before the call: it can be said all the same.
        assert called.report is not None
        assert called.report.spoke


@pytest.mark.long
def test_a_recogniser_lost_in_the_middle_of_a_call() -> None:
    with cloud(Settings(script=SCRIPT)) as there:
        there.fake.plan.fail("hear", Drop(after=0.5))
        called = asyncio.run(call(bridge(there, "speech")))
        assert called.heard.count(SAID) == 1
        assert [turn.said_text for turn in called.turns if turn.kind == "answer"] == [ANSWER]
