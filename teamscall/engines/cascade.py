"""One call's session made of an ear, a mind and a mouth.

Owns the way of an answer: think, cut into clauses, speak them in order ahead of need;
what is remembered of it; and the deadlines on each stage's progress. Refuses to know which
vendor is behind a part, and calls.

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
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import TypeVar

import msgspec

from teamscall.engines.base import (
    AnswerAudio,
    AnswerDone,
    AnswerStatus,
    AnswerText,
    BeginUtterance,
    CallBrief,
    CancelAnswer,
    CommitUtterance,
    DiscardHeard,
    Emit,
    EngineCommand,
    EngineDegraded,
    EngineEvent,
    EngineFailed,
    EngineReady,
    Hear,
    Phrase,
    PressDigit,
    Respond,
    Say,
    SpeechStopped,
    Stage,
    Transcript,
    TruncateAnswer,
)
from teamscall.engines.clauses import ClauseCutter, cut, is_speakable
from teamscall.engines.memory import Memory
from teamscall.engines.parts import Ear, Mind, Mouth, Question
from teamscall.errors import EngineError

_T = TypeVar("_T")
_STAGES: dict[str, Stage] = {"hear": "hear", "think": "think", "speak": "speak"}

MAX_WAITING_ANSWERS = 16  # a call asks for one or two at a time; more is a fault
CLAUSES_AHEAD = 8  # thought but not yet spoken; beyond it the mind waits
MAX_ANSWER_CHARS = 6_000  # about six minutes of speech: nobody listens longer
PHRASE_CHUNK_MS = 200  # a cached phrase is handed over in pieces, so that a cancel can bite


class Deadlines(msgspec.Struct, frozen=True):
    """How long each stage may go without progress, in seconds."""

    final_transcript: float = 10.0  # from the end of the utterance (E3)
    first_thought: float = 30.0  # response_timeout_ms
    next_thought: float = 8.0  # a stream that stalls in mid-sentence (E7)
    first_audio: float = 10.0  # of each clause (E4)
    next_audio: float = 5.0  # within a clause
    # Speech this far ahead of its playout is enough: what a caller interrupts, and what
    # would delay another call's first words, need not be synthesised.
    ahead: float = 15.0


class _Over(msgspec.Struct, frozen=True):
    """The mind's answer is complete, or ended in ``failure``."""

    end_call: bool = False
    failure: EngineError | None = None


class _Answer:
    """One turn on its way."""

    __slots__ = ("cancelled", "command", "end_call", "failure", "task", "turn")

    def __init__(self, command: Respond | PressDigit | Say) -> None:
        self.command = command
        self.turn = command.turn
        self.cancelled = False
        self.end_call = False
        self.failure: EngineError | None = None
        self.task: asyncio.Task[None] | None = None

    def cancel(self) -> None:
        self.cancelled = True
        if self.task is not None:
            self.task.cancel()


class _Closed(Exception):
    """Ends the session's task group; no failure."""


class CascadeSession:
    """An :class:`teamscall.engines.base.EngineSession` over three parts.

    Args:
        call: what may be known about the call.
        emit: takes the events.
        open_ear: opens this call's ear, given the ``emit`` for it.
        mind: this call's mind; closed with the session.
        mouth: may be shared between calls; not closed here.
        phrase: looks a text up in the phrase cache.
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
        deadlines: Deadlines | None = None,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._call = call
        self._emit = emit
        self._ear = open_ear(self._from_ear)
        self._mind = mind
        self._mouth = mouth
        self._phrase = phrase
        self._deadlines = deadlines or Deadlines()
        self._now = now
        self._sleep = sleep
        self._memory = Memory()
        self._answers: dict[int, _Answer] = {}  # asked for and not done
        self._waiting: deque[_Answer] = deque()
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
                group.create_task(self._until_closed(), name="closing")
        except BaseExceptionGroup as failures:
            self._raise_first(failures)
        finally:
            for timer in self._finals.values():
                timer.cancel()
            self._finals.clear()
            self._finished.set()

    def submit(self, command: EngineCommand) -> None:
        if self._closing.is_set():
            return
        match command:
            case Hear() | BeginUtterance() | DiscardHeard():
                self._ear.submit(command)
            case CommitUtterance(utterance=utterance):
                self._expect_final(utterance)
                self._ear.submit(command)
            case Say(turn=turn, text=text, aloud=False):
                self._memory.said(turn, text)
            case Respond() | PressDigit() | Say():
                self._ask(command)
            case CancelAnswer(turn=turn):
                if answer := self._answers.get(turn):
                    answer.cancel()
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
        answer = _Answer(command)
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
                answer.task = group.create_task(self._answer(answer), name=f"turn {answer.turn}")
                await asyncio.wait({answer.task})
            self._finish(answer)

    def _finish(self, answer: _Answer) -> None:
        del self._answers[answer.turn]
        status: AnswerStatus = "completed"
        error = ""
        if answer.cancelled:
            status = "cancelled"
        elif answer.failure is not None:
            status, error = "failed", answer.failure.message
            self._emit(EngineFailed(_STAGES.get(answer.failure.stage, "session"), error))
        end_call = answer.end_call and status == "completed"
        self._emit(AnswerDone(answer.turn, status, end_call=end_call, error=error))

    def _emit_of(self, answer: _Answer, event: AnswerText | AnswerAudio | EngineDegraded) -> None:
        if not answer.cancelled:
            self._emit(event)

    async def _answer(self, answer: _Answer) -> None:
        try:
            match answer.command:
                case Say(text=text):
                    await self._say(answer, text)
                case Respond(text=text):
                    history = self._memory.lines()
                    self._memory.heard(answer.turn, text)
                    await self._think_and_speak(
                        answer, Question(self._call, answer.turn, text, history=history)
                    )
                case PressDigit(digit=digit):
                    history = self._memory.lines()
                    self._memory.heard(answer.turn, f"(pressed {digit})")
                    await self._think_and_speak(
                        answer, Question(self._call, answer.turn, digit=digit, history=history)
                    )
        except EngineError as error:
            answer.failure = error

    async def _say(self, answer: _Answer, text: str) -> None:
        if phrase := self._phrase(text):
            await self._play(answer, phrase, text)
            return
        self._emit_of(answer, AnswerText(answer.turn, text))
        pace = _Pace()
        for clause in cut(text):
            await self._speak(answer, clause, pace)

    async def _play(self, answer: _Answer, phrase: Phrase, text: str) -> None:
        self._memory.said(answer.turn, text)
        self._emit_of(answer, AnswerText(answer.turn, text))
        size = phrase.rate * PHRASE_CHUNK_MS // 1000 * 2
        for start in range(0, len(phrase.pcm), size):
            pcm = phrase.pcm[start : start + size]
            self._emit_of(answer, AnswerAudio(answer.turn, pcm, phrase.rate, "" if start else text))
            await asyncio.sleep(0)

    async def _think_and_speak(self, answer: _Answer, question: Question) -> None:
        clauses: asyncio.Queue[str | _Over] = asyncio.Queue(CLAUSES_AHEAD)
        pace = _Pace()
        failure: EngineError | None = None
        async with asyncio.TaskGroup() as group:
            thinking = group.create_task(self._think(answer, question, clauses), name="think")
            try:
                while not isinstance(clause := await clauses.get(), _Over):
                    await self._speak(answer, clause, pace)
                answer.end_call = clause.end_call
                failure = clause.failure
            except EngineError as error:
                failure = error
                thinking.cancel()
        if failure is not None:
            raise failure

    async def _think(
        self, answer: _Answer, question: Question, clauses: asyncio.Queue[str | _Over]
    ) -> None:
        """Put the answer's clauses, then ``_Over``: what was thought is spoken first."""
        cutter = ClauseCutter()
        length = 0
        end_call = False
        limit = self._deadlines.first_thought
        try:
            async with aclosing(self._mind.reply(question)) as thoughts:
                while (thought := await self._next(thoughts, limit, "think")) is not None:
                    limit = self._deadlines.next_thought
                    end_call = end_call or thought.end_call
                    text = thought.text[: MAX_ANSWER_CHARS - length]
                    length += len(text)
                    if text:
                        self._emit_of(answer, AnswerText(answer.turn, text))
                    for clause in cutter.push(text):
                        await clauses.put(clause)
                    if length >= MAX_ANSWER_CHARS:
                        self._emit_of(
                            answer,
                            EngineDegraded("think", f"answer cut at {MAX_ANSWER_CHARS} characters"),
                        )
                        break
        except EngineError as error:
            await clauses.put(_Over(failure=error))
            return
        for clause in cutter.flush():
            await clauses.put(clause)
        await clauses.put(_Over(end_call))

    async def _speak(self, answer: _Answer, clause: str, pace: _Pace) -> None:
        """Speak one clause; tried twice while nothing of it was emitted (E4, E5)."""
        if not is_speakable(clause):
            return
        if (early := pace.lead(self._now()) - self._deadlines.ahead) > 0:
            await self._sleep(early)
        try:
            await self._speak_once(answer, clause, pace)
        except _NothingSpoken as attempt:
            if not attempt.cause.retryable:
                raise attempt.cause from None
            self._emit_of(answer, EngineDegraded("speak", "a clause was asked for again"))
            try:
                await self._speak_once(answer, clause, pace)
            except _NothingSpoken as second:
                raise second.cause from None

    async def _speak_once(self, answer: _Answer, clause: str, pace: _Pace) -> None:
        """Raises ``_NothingSpoken`` when it failed before the first byte."""
        limit = self._deadlines.first_audio
        begun = False
        try:
            async with aclosing(self._mouth.speak(clause)) as chunks:
                while (speech := await self._next(chunks, limit, "speak")) is not None:
                    if not speech.pcm:
                        continue
                    limit = self._deadlines.next_audio
                    if not begun and not answer.cancelled:
                        self._memory.said(answer.turn, clause)
                    self._emit_of(
                        answer,
                        AnswerAudio(answer.turn, speech.pcm, speech.rate, "" if begun else clause),
                    )
                    begun = True
                    pace.spoke(len(speech.pcm) / 2 / speech.rate, self._now())
            if not begun:
                raise EngineError("the voice gave no audio", stage="speak", retryable=True)
        except EngineError as error:
            if begun:
                raise
            raise _NothingSpoken(error) from None

    async def _next(self, stream: AsyncGenerator[_T], seconds: float, stage: str) -> _T | None:
        """The stream's next item, None at its end.

        Raises:
            EngineError: the stream failed or made no progress for ``seconds``.
        """
        try:
            async with asyncio.timeout(seconds):
                return await anext(stream, None)
        except TimeoutError:
            raise EngineError(
                f"no progress within {seconds:g} s", stage=stage, retryable=True
            ) from None

    # --- ending ------------------------------------------------------------------------

    async def _until_closed(self) -> None:
        await self._closing.wait()
        raise _Closed

    def _raise_first(self, failures: BaseExceptionGroup[BaseException]) -> None:
        """Re-raise what failed, unwrapped; ``_Closed`` alone is a normal end."""
        leaves = list(_leaves(failures))
        for leaf in leaves:
            if not isinstance(leaf, EngineError | _Closed):
                raise leaf from None
        for leaf in leaves:
            if isinstance(leaf, EngineError) and not self._closing.is_set():
                self._emit(EngineFailed("hear", leaf.message, fatal=True))
                raise leaf from None


class _NothingSpoken(Exception):
    """A clause failed before its first byte; ``cause`` says why."""

    def __init__(self, cause: EngineError) -> None:
        super().__init__(cause)
        self.cause = cause


class _Pace:
    """How far the speech of one answer is ahead of its playout, at best."""

    __slots__ = ("_began", "_seconds")

    def __init__(self) -> None:
        self._began: float | None = None
        self._seconds = 0.0

    def spoke(self, seconds: float, now: float) -> None:
        if self._began is None:
            self._began = now
        self._seconds += seconds

    def lead(self, now: float) -> float:
        return 0.0 if self._began is None else self._seconds - (now - self._began)


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    flat: list[BaseException] = []
    for error in group.exceptions:
        flat.extend(_leaves(error) if isinstance(error, BaseExceptionGroup) else [error])
    return flat
