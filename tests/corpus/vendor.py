"""Run the bridge with an engine that a script plays: ``vendor.py SCRIPT serve ARGS...``.

It takes turns, fails and counts as vendors do and no engine in the box can be told to: what
it does at which moment of the caller's audio is in the script, so the order of things is the
same in every capture that is made with it::

    turn_taking = "engine"     # or local
    direct = false             # it answers what it heard
    settle_ms = 0
    ready_after = 0.0          # seconds; below 0: never

    [[event]]                  # of the engine, at this second of the caller's audio
    at = 1.2
    name = "SpeechStarted"
    with = { utterance = 1 }   # of AnswerAudio: its sound is made of the text

    [[answer]]                 # to the first thing that is to be answered or said
    parts = ["Well well."]     # what is spoken, each part at once
    after = 0.05               # seconds before each part
    end = "completed"          # how it ends; "": it stalls
    used = { model = "m", output_tokens = 9 }

An answer that is asked for when there are no more is a word.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from teamscall.engines import base as engine
from teamscall.engines.scripted import tone_speech
from teamscall.scripts import read_script
from teamscall.wire.events import FRAME_MS, SAMPLE_RATE


class Event(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"fields": "with"}):
    at: float
    name: str
    fields: dict[str, Any] = {}


class Answer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    parts: tuple[str, ...] = ("Well.",)
    after: float = 0.05
    end: str = "completed"
    end_call: bool = False
    error: str = ""
    used: dict[str, Any] = {}


class Script(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    event: tuple[Event, ...] = ()
    answer: tuple[Answer, ...] = ()
    turn_taking: engine.TurnTaking = "engine"
    direct: bool = False
    settle_ms: int = 0
    ready_after: float = 0.0


def _voice(text: str) -> bytes:
    return tone_speech(text, rate=SAMPLE_RATE, word_ms=70, pause_ms=30)


class Session:
    """One call. Events leave from ``run``'s tasks and on the caller's frames."""

    def __init__(self, script: Script, emit: engine.Emit) -> None:
        self._script = script
        self._emit = emit
        self._events = sorted(script.event, key=lambda event: event.at)
        self._answers = list(script.answer)
        self._heard_s = 0.0
        self._asked: asyncio.Queue[tuple[int, Answer]] = asyncio.Queue()  # as many as turns
        self._speaking: dict[int, asyncio.Task[None]] = {}

    async def run(self) -> None:
        script = self._script
        if script.ready_after < 0:
            await asyncio.Event().wait()
        await asyncio.sleep(script.ready_after)
        self._emit(engine.EngineReady(script.turn_taking, script.direct, script.settle_ms))
        async with asyncio.TaskGroup() as group:
            while True:
                turn, answer = await self._asked.get()
                self._speaking[turn] = group.create_task(self._speak(turn, answer))

    def submit(self, command: engine.EngineCommand) -> None:
        match command:
            case engine.Hear():
                self._heard_s += FRAME_MS / 1000
                asyncio.get_running_loop().call_soon(self._tell)
            case engine.Respond(turn=turn) | engine.PressDigit(turn=turn):
                answer = self._answers.pop(0) if self._answers else Answer()
                self._asked.put_nowait((turn, answer))
            case engine.Say(turn=turn, text=text, aloud=True):
                self._asked.put_nowait((turn, Answer((text,))))
            case engine.CancelAnswer(turn=turn) if turn in self._speaking:
                self._speaking.pop(turn).cancel()
            case _:
                pass

    async def close(self) -> None:
        for task in self._speaking.values():
            task.cancel()

    def _tell(self) -> None:
        while self._events and self._events[0].at <= self._heard_s + FRAME_MS / 2000:
            event = self._events.pop(0)
            fields = event.fields
            if event.name == "AnswerAudio":
                fields = {**fields, "pcm": _voice(fields["text"]), "rate": SAMPLE_RATE}
            self._emit(getattr(engine, event.name)(**fields))

    async def _speak(self, turn: int, answer: Answer) -> None:
        for part in answer.parts:
            await asyncio.sleep(answer.after)
            self._emit(engine.AnswerText(turn, part))
            self._emit(engine.AnswerAudio(turn, _voice(part), SAMPLE_RATE, part))
        if answer.used:
            self._emit(engine.EngineUsage(stage="speak", turn=turn, **answer.used))
        if answer.end:
            status: Any = answer.end
            self._emit(engine.AnswerDone(turn, status, answer.end_call, answer.error))


class Vendor:
    """The engine of a script."""

    name = "vendor"

    def __init__(self, script: Script) -> None:
        self._script = script
        self.turn_taking = script.turn_taking

    def describe(self) -> str:
        return "vendor: what a script says"

    def open(self, call: engine.CallBrief, emit: engine.Emit) -> Session:
        return Session(self._script, emit)

    async def start(self) -> None:
        """Nothing has to be loaded."""

    async def stop(self) -> None:
        """Nothing goes on."""

    def warm(self) -> None:
        """Nothing takes time here."""

    async def prepare(self, texts: Sequence[str]) -> None:
        """Nothing is cached: what is said is asked for."""

    def phrase(self, text: str) -> engine.Phrase | None:
        return None


def main() -> None:
    from teamscall.cli.app import app
    from teamscall.server import run

    script = read_script(Path(sys.argv[1]), Script)
    vars(run)["build_engine"] = lambda config: Vendor(script)
    with contextlib.suppress(KeyboardInterrupt):
        app(sys.argv[2:])


if __name__ == "__main__":
    main()
