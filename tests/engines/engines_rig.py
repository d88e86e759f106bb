"""Runs a session and listens to it, for the tests of the engines."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import teamscall
from teamscall.engines.base import (
    AnswerAudio,
    AnswerDone,
    AnswerText,
    CallBrief,
    Engine,
    EngineCommand,
    EngineEvent,
    EngineSession,
)

E = TypeVar("E")

CALL = CallBrief("call-1", caller_name="Ada Lovelace")
QUESTION_WAV = Path(teamscall.__file__).parent / "assets" / "question.wav"
PATIENCE_S = 60.0  # a hang ends the test; nothing is asserted about time


class Talk:
    """A session with everything it said."""

    def __init__(self, engine: Engine, call: CallBrief = CALL) -> None:
        self.events: list[EngineEvent] = []
        self._news = asyncio.Event()
        self._inside_submit = False
        self.emitted_inside_submit = False
        self.session: EngineSession = engine.open(call, self._emit)

    def _emit(self, event: EngineEvent) -> None:
        self.emitted_inside_submit = self.emitted_inside_submit or self._inside_submit
        self.events.append(event)
        self._news.set()

    def submit(self, *commands: EngineCommand) -> None:
        self._inside_submit = True
        for command in commands:
            self.session.submit(command)
        self._inside_submit = False

    async def until(self, happened: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not happened():
                self._news.clear()
                await self._news.wait()

    async def first(self, kind: type[E], n: int = 1) -> E:
        """Wait for the n-th event of a kind."""
        await self.until(lambda: len(self.all(kind)) >= n)
        return self.all(kind)[n - 1]

    async def done(self, turn: int) -> AnswerDone:
        await self.until(lambda: any(e.turn == turn for e in self.all(AnswerDone)))
        return next(e for e in self.all(AnswerDone) if e.turn == turn)

    def all(self, kind: type[E]) -> list[E]:
        return [event for event in self.events if isinstance(event, kind)]

    def text(self, turn: int) -> str:
        return "".join(e.delta for e in self.all(AnswerText) if e.turn == turn)

    def audio(self, turn: int) -> list[AnswerAudio]:
        return [e for e in self.all(AnswerAudio) if e.turn == turn]

    def pcm(self, turn: int) -> bytes:
        return b"".join(e.pcm for e in self.audio(turn))


@contextlib.asynccontextmanager
async def talking(engine: Engine, call: CallBrief = CALL) -> AsyncIterator[Talk]:
    """A session that runs; closed at the end."""
    talk = Talk(engine, call)
    async with asyncio.TaskGroup() as group:
        run = group.create_task(talk.session.run())
        yield talk
        async with asyncio.timeout(PATIENCE_S):
            await talk.session.close()
            await run


def run(check: Callable[[], Awaitable[None]]) -> None:
    """Run one check on a loop of its own; it may leave no task."""
    with asyncio.Runner() as runner:
        runner.run(leaving_no_task(check))


async def leaving_no_task(check: Callable[[], Awaitable[None]]) -> None:
    before = asyncio.all_tasks()
    await check()
    # The loop closes streams that were let go of in tasks of its own.
    await eventually(lambda: not any(map(_closes_a_stream, asyncio.all_tasks())))
    left = {task.get_name() for task in asyncio.all_tasks() - before}
    assert not left, "tasks were left"


def _closes_a_stream(task: asyncio.Task[Any]) -> bool:
    return type(task.get_coro()).__name__ == "async_generator_athrow"


async def eventually(happened: Callable[[], bool]) -> None:
    """Wait for something that tells nobody."""
    async with asyncio.timeout(PATIENCE_S):
        while not happened():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
