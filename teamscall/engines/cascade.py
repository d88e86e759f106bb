"""One call's session made of an ear, a mind and a mouth.

Owns which command goes where, the order of the answers, the deadline of a transcript, and
how a session ends. Refuses to know how one answer is made
(:mod:`teamscall.engines.answering`), which vendor is behind a part, and calls.

Rule 1: events leave from ``run`` or from a timer, never from inside ``submit``.
Rule 2: ``CancelAnswer`` takes effect inside ``submit``: nothing of that turn but its
``AnswerDone`` is emitted after it.
Rule 3: every ``Respond``, ``PressDigit`` and audible ``Say`` gets exactly one
``AnswerDone`` while the session runs.
Rule 4: answers are spoken one after the other, in the order they were asked for.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TypedDict

from teamscall.engines.answering import Answer, Answering, Deadlines
from teamscall.engines.base import (
    AnswerDone,
    AnswerStatus,
    BeginUtterance,
    CallBrief,
    CancelAnswer,
    CommitUtterance,
    ConfirmAnswer,
    DiscardHeard,
    Emit,
    EngineCommand,
    EngineEvent,
    EngineFailed,
    EngineReady,
    Hear,
    IgnoreUtterance,
    PeekUtterance,
    Phrase,
    PressDigit,
    Respond,
    Say,
    SpeechStopped,
    Stage,
    Transcript,
    TruncateAnswer,
)
from teamscall.engines.ending import raise_first, until
from teamscall.engines.memory import Memory
from teamscall.engines.parts import Ear, Mind, Mouth
from teamscall.errors import EngineError

__all__ = ["MAX_WAITING_ANSWERS", "CascadeSession", "Deadlines"]

_STAGES: dict[str, Stage] = {"hear": "hear", "think": "think", "speak": "speak"}

MAX_WAITING_ANSWERS = 16  # a call asks for one or two at a time; more is a fault


class Manners(TypedDict, total=False):
    """What the sessions of one engine have in common; see ``CascadeSession``."""

    phrase: Callable[[str], Phrase | None]
    speak_model: str
    speakable: bool
    language: str
    deadlines: Deadlines | None


class CascadeSession:
    """An :class:`teamscall.engines.base.EngineSession` over three parts.

    Args:
        call: what may be known about the call.
        emit: takes the events.
        open_ear: opens this call's ear, given the ``emit`` for it.
        mind: this call's mind; closed with the session.
        mouth: may be shared between calls; not closed here.
        phrase: looks a text up in the phrase cache.
        speak_model: the voice's name in ``EngineUsage``; "" reports none for it.
        speakable: whether text is made speakable before it is spoken.
        language: what is spoken, ISO 639-1; "" tells by the words of each answer.
        deadlines: see :class:`Deadlines`.
        now, sleep: the clock, for tests and replay.
    """

    def __init__(
        self,
        call: CallBrief,
        emit: Emit,
        *,
        open_ear: Callable[[Emit], Ear],
        mind: Mind,
        mouth: Mouth,
        phrase: Callable[[str], Phrase | None] = lambda text: None,
        speak_model: str = "",
        speakable: bool = True,
        language: str = "",
        deadlines: Deadlines | None = None,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._emit = emit
        self._ear = open_ear(self._from_ear)
        self._mind = mind
        self._deadlines = deadlines or Deadlines()
        self._memory = Memory(call.history)
        self._answering = Answering(
            call,
            emit,
            self._memory,
            mind=mind,
            mouth=mouth,
            phrase=phrase,
            speak_model=speak_model,
            speakable=speakable,
            language=language,
            deadlines=self._deadlines,
            now=now,
            sleep=sleep,
        )
        self._answers: dict[int, Answer] = {}  # asked for and not done
        self._waiting: deque[Answer] = deque()
        self._finals: dict[int, asyncio.TimerHandle] = {}  # utterances without their final
        self._given_up: set[int] = set()  # utterances whose final came too late
        self._asked = asyncio.Event()
        self._ready = asyncio.Event()
        self._closing = asyncio.Event()
        self._finished = asyncio.Event()
        self._finished.set()

    # --- the call's side ---------------------------------------------------------------

    async def run(self) -> None:
        self._finished.clear()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._ear.run(), name="ear")
                group.create_task(self._answer_all(group), name="answers")
                group.create_task(until(self._closing), name="closing")
        except BaseExceptionGroup as failures:
            raise_first(failures, stage="hear", closing=self._closing, emit=self._emit)
        finally:
            for timer in self._finals.values():
                timer.cancel()
            self._finals.clear()
            self._finished.set()

    def submit(self, command: EngineCommand) -> None:
        if self._closing.is_set():
            return
        match command:
            case Hear() | BeginUtterance() | PeekUtterance() | DiscardHeard():
                self._ear.submit(command)
            case IgnoreUtterance():
                pass  # what was heard is remembered when it is answered, and not before
            case CommitUtterance(utterance=utterance):
                self._expect_final(utterance)
                self._ear.submit(command)
            case Say(turn=turn, text=text, aloud=False):
                self._memory.said(turn, text)
            case Respond() | PressDigit() | Say():
                self._ask(command)
            case ConfirmAnswer(turn=turn):
                if answer := self._answers.get(turn):
                    answer.confirm()
            case CancelAnswer(turn=turn, forget=forget):
                if answer := self._answers.get(turn):
                    answer.cancel()
                if forget:
                    self._memory.forget(turn)
            case TruncateAnswer(turn=turn, heard_text=heard_text):
                self._memory.truncate(turn, heard_text)

    async def close(self) -> None:
        if not self._closing.is_set():
            self._closing.set()
            await self._ear.close()
            await self._mind.close()
        await self._finished.wait()

    # --- hearing -----------------------------------------------------------------------

    def _from_ear(self, event: EngineEvent) -> None:
        match event:
            case EngineReady():
                self._ready.set()
            case SpeechStopped(utterance=utterance):
                self._expect_final(utterance)
            case Transcript(utterance=utterance, final=final):
                if utterance in self._given_up:
                    return  # the call was told that nothing was understood
                if final and (timer := self._finals.pop(utterance, None)):
                    timer.cancel()
            case _:
                pass
        self._emit(event)

    def _expect_final(self, utterance: int) -> None:
        if utterance not in self._finals:
            self._finals[utterance] = asyncio.get_running_loop().call_later(
                self._deadlines.final_transcript, self._give_up, utterance
            )

    def _give_up(self, utterance: int) -> None:
        """The hard stop of a turn whose final transcript never came."""
        self._finals.pop(utterance, None)
        self._given_up.add(utterance)
        seconds = self._deadlines.final_transcript
        self._emit(EngineFailed("hear", f"no transcript within {seconds:g} s"))
        self._emit(Transcript(utterance, "", final=True))

    # --- answering ---------------------------------------------------------------------

    def _ask(self, command: Respond | PressDigit | Say) -> None:
        if command.turn in self._answers:
            return  # a turn is answered once
        answer = Answer(command)
        self._answers[command.turn] = answer
        if len(self._waiting) >= MAX_WAITING_ANSWERS:
            answer.failure = EngineError("too many answers are waiting", stage="session")
        self._waiting.append(answer)
        self._asked.set()

    async def _answer_all(self, group: asyncio.TaskGroup) -> None:
        await self._ready.wait()
        while True:
            while not self._waiting:
                self._asked.clear()
                await self._asked.wait()
            answer = self._waiting.popleft()
            if not answer.cancelled and answer.failure is None:
                giving = self._answering.give(answer)
                task = group.create_task(giving, name=f"turn {answer.turn}")
                answer.runs_as(task)
                await asyncio.wait({task})
            self._finish(answer)

    def _finish(self, answer: Answer) -> None:
        del self._answers[answer.turn]
        self._answering.usage(answer)
        status: AnswerStatus = "completed"
        error = ""
        if answer.cancelled:
            status = "cancelled"
        elif answer.failure is not None:
            status, error = "failed", answer.failure.message
            self._emit(EngineFailed(_STAGES.get(answer.failure.stage, "session"), error))
        end_call = answer.end_call and status == "completed"
        self._emit(AnswerDone(answer.turn, status, end_call=end_call, error=error))
