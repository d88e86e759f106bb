"""A bridge in this process with a scripted engine, and a caller whose voice is made of tones."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from teamscall import config as configuration
from teamscall.clock import SystemClock
from teamscall.config import Config, JournalFile, Secret, Serve, StandIn
from teamscall.emulator.plan import Dial
from teamscall.emulator.scenario.file import read_scenario
from teamscall.emulator.scenario.steps import Scenario
from teamscall.engines.scripted import Script, ScriptedEngine, ScriptLine
from teamscall.server.run import Running, running
from teamscall.testing.voice import tone_speech
from teamscall.wire.events import Dialect

SECRET = "a-secret-of-forty-characters-0123456789ab"


def script_of(folder: Path, text: str, name: str = "a.scenario.toml", **more: Any) -> Scenario:
    """A script from its text."""
    path = folder / name
    path.write_text(text, "utf-8")
    return read_scenario(path, **more)


class Tones:
    """A voice: 200 ms of sound per word, which a voice activity detector takes for speech."""

    def __init__(self) -> None:
        self.spoken: list[str] = []

    async def speak(self, text: str, voice: str = "") -> bytes:
        self.spoken.append(text)
        return tone_speech(text, word_ms=200, pause_ms=60, rate=16_000)


class EarsThatSay:
    """Ears that hear what they are told to, in order; the last one again and again."""

    def __init__(self, *texts: str) -> None:
        self._texts = texts
        self.lengths: list[int] = []

    async def words(self, pcm: bytes) -> str:
        self.lengths.append(len(pcm))
        return self._texts[min(len(self.lengths), len(self._texts)) - 1]


def settings(mode: Any, control: str) -> Config:
    return Config(
        engine="scripted",
        bridge=configuration.Bridge(secret=Secret(SECRET)),
        authorization=configuration.Authorization(mode=mode),
        journal=JournalFile(enabled=False),
        serve=Serve(port=0, close_timeout_ms=1000),
        standin=StandIn(enabled=True, port=0, secret=Secret(SECRET)),
        control=configuration.Control(enabled=bool(control), socket=control),
        streaming=configuration.Streaming(silence_duration_ms=300),
    )


@contextlib.asynccontextmanager
async def bridge(
    tmp_path: Path,
    lines: Sequence[ScriptLine] = (),
    digits: dict[str, str] | None = None,
    mode: Any = "open",
    control: str = "",
) -> AsyncIterator[Running]:
    """It answers with these lines, over and over."""
    answers = tuple(lines) or (ScriptLine(heard="hello", answer="It is three o'clock."),)
    engine = ScriptedEngine(Script(lines=answers, digits=digits or {}))
    async with running(settings(mode, control), clock=SystemClock(), engine=engine) as up:
        yield up


def dial(up: Running, dialect: Dialect = "standin") -> Dial:
    for listening in up.listening:
        if dialect in listening.dialects:
            return Dial(listening.urls[0], SECRET.encode(), dialect)
    raise AssertionError(up.listening)
