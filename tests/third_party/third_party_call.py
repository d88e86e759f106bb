"""Whole calls: the emulator speaks, the bridge answers with what the servers give."""

from __future__ import annotations

import asyncio

import numpy as np
from engines_rig import QUESTION_WAV
from third_party_servers import KEY, Aimock

from teamscall.audio.wav import read_wav
from teamscall.calls import records
from teamscall.clock import SystemClock
from teamscall.config import Authorization, Bridge, Config, JournalFile, OpenAI, Secret, Serve, Tts
from teamscall.emulator.call import run_call
from teamscall.emulator.plan import Dial, Plan
from teamscall.emulator.report import Report
from teamscall.emulator.sources import Pcm, after_lead_in
from teamscall.emulator.tracks import Tracks
from teamscall.server.run import running
from teamscall.wire.events import Caller

SECRET = "0123456789abcdef0123456789abcdef"
CALLER = Caller(user_id="caller-1", tenant_id="tenant-1", display_name="Ada Lovelace")
CALL_S = 60.0

SPEECH_MODEL = Tts(model="gpt-4o-mini-tts")


class Called:
    """What a call left behind."""

    def __init__(self) -> None:
        self.records: list[records.CallRecord] = []
        self.tracks = Tracks()
        self.report: Report | None = None

    @property
    def closed(self) -> records.CallClosed:
        return next(r for r in self.records if isinstance(r, records.CallClosed))

    @property
    def heard(self) -> list[str]:
        return [r.text for r in self.records if isinstance(r, records.Heard) and r.final]

    @property
    def answers(self) -> list[records.TurnEnded]:
        """The answers that were not thrown away unheard."""
        turns = [r for r in self.records if isinstance(r, records.TurnEnded)]
        return [turn for turn in turns if turn.kind == "answer" and turn.status != "cancelled"]

    @property
    def troubles(self) -> list[records.EngineTrouble]:
        return [r for r in self.records if isinstance(r, records.EngineTrouble)]

    @property
    def spoke(self) -> bool:
        return self.report is not None and self.report.spoke


def bridge(parts: OpenAI, **more: object) -> Config:
    """A bridge that hears, thinks and speaks at ``parts``."""
    fields: dict[str, object] = {
        "engine": "openai",
        "openai": parts,
        "tts": SPEECH_MODEL,
        "serve": Serve(port=0),
        "bridge": Bridge(secret=Secret(SECRET)),
        "authorization": Authorization(mode="open"),
        "journal": JournalFile(enabled=False),
    }
    return Config(**fields | more)  # type: ignore[arg-type]


def at(aimock: Aimock, name: str = "") -> OpenAI:
    """All three parts at one aimock, each kept apart from the others, and one ``name``'s
    from another's."""
    return OpenAI(
        hear_base_url=aimock.base_url(f"{name}hear"),
        think_base_url=aimock.base_url(f"{name}think"),
        speak_base_url=aimock.base_url(f"{name}speak"),
        api_key=Secret(KEY),
    )


async def call(config: Config, *, patience_s: float = 15.0, silence_s: float = 1.5) -> Called:
    """One caller asks the shipped question and listens to the answer."""
    called = Called()
    async with asyncio.timeout(CALL_S), running(config) as up:
        up.switchboard.watch(called.records.append)
        plan = Plan(
            dial=Dial(url=up.listening[0].urls[0], secret=SECRET.encode(), dialect="csharp"),
            caller=CALLER,
            silence_s=silence_s,
            patience_s=patience_s,
        )
        question = after_lead_in(Pcm(read_wav(QUESTION_WAV)))
        called.report = await run_call(plan, question, clock=SystemClock(), tracks=called.tracks)
    return called


def tone(seconds: float, rate: int, hz: float = 440.0) -> bytes:
    """s16le mono that no silence detector takes for a pause."""
    times = np.arange(round(seconds * rate)) / rate
    return (np.sin(2 * np.pi * hz * times) * 9_000).astype("<i2").tobytes()
