"""One answer of a cascade: thought, made speakable, cut into clauses, spoken in order.

Owns the way of one answer from a question to its audio, the deadlines on each stage's
progress, and what is remembered of it. Refuses to know which answer comes when
(:mod:`teamscall.engines.cascade`), and vendors.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager

import msgspec

from teamscall.engines.base import (
    AnswerAudio,
    AnswerText,
    CallBrief,
    Emit,
    EngineDegraded,
    EngineUsage,
    Phrase,
    PressDigit,
    Respond,
    Say,
)
from teamscall.engines.clauses import ClauseCutter, cut, is_speakable
from teamscall.engines.memory import Memory
from teamscall.engines.parts import Mind, Mouth, Question, Speech, Thought
from teamscall.engines.speakable import Speakable
from teamscall.errors import EngineError

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
    # More for what is thought of ahead of time: minds wait until the caller has finished.
    confirmation: float = 15.0
    # Speech this far ahead of its playout is enough: what a caller interrupts, and what
    # would delay another call's first words, need not be synthesised.
    ahead: float = 15.0


class Answer:
    """One turn on its way.

    Attributes:
        command: what asked for it.
        cancelled: nothing of it is emitted any more.
        confirmed: set once the caller is known to have finished.
        end_call: hang up once it has been heard.
        failure: why it failed, None while it did not.
    """

    __slots__ = (
        "_extended",
        "_task",
        "cancelled",
        "command",
        "confirmed",
        "end_call",
        "failure",
        "spoken",
        "turn",
    )

    def __init__(self, command: Respond | PressDigit | Say) -> None:
        self.command = command
        self.turn = command.turn
        self.cancelled = False
        self.confirmed = asyncio.Event()
        if not (isinstance(command, Respond) and command.speculative):
            self.confirmed.set()
        self.end_call = False
        self.failure: EngineError | None = None
        self.spoken = Spoken()
        self._task: asyncio.Task[None] | None = None
        self._extended: tuple[asyncio.Timeout, float] | None = None

    def runs_as(self, task: asyncio.Task[None]) -> None:
        """``cancel`` cancels this task."""
        self._task = task

    def cancel(self) -> None:
        self.cancelled = True
        if self._task is not None:
            self._task.cancel()

    def confirm(self) -> None:
        """The caller had finished: from now on the mind has as long as it always has."""
        self.confirmed.set()
        if self._extended is not None:
            timeout, seconds = self._extended
            timeout.reschedule(asyncio.get_running_loop().time() + seconds)

    @asynccontextmanager
    async def waiting(self, seconds: float, longer: float) -> AsyncIterator[None]:
        """A wait of ``seconds``; ``longer`` while it is not confirmed.

        Raises:
            TimeoutError: it is over.
        """
        unsure = not self.confirmed.is_set()
        try:
            async with asyncio.timeout(seconds + longer * unsure) as timeout:
                self._extended = (timeout, seconds) if unsure else None
                yield
        finally:
            self._extended = None


class Spoken:
    """How much speech of one answer was asked for and came, and how far that is ahead of
    its playout, at best."""

    __slots__ = ("_began", "characters", "seconds")

    def __init__(self) -> None:
        self._began: float | None = None
        self.characters = 0
        self.seconds = 0.0

    def add(self, seconds: float, now: float) -> None:
        if self._began is None:
            self._began = now
        self.seconds += seconds

    def lead(self, now: float) -> float:
        return 0.0 if self._began is None else self.seconds - (now - self._began)


class _Over(msgspec.Struct, frozen=True):
    """The mind's answer is complete, or ended in ``failure``."""

    end_call: bool = False
    failure: EngineError | None = None


class Answering:
    """What gives answers in one call, one at a time.

    Args:
        call: what may be known about the call.
        emit: takes the events.
        memory: what was said before; gets what is said.
        mind, mouth: the parts.
        phrase: looks a text up in the phrase cache.
        speak_model: the voice's name in ``EngineUsage``; "" reports none.
        speakable: whether text is made speakable before it is spoken.
        language: what is spoken, ISO 639-1; "" tells by the words of each answer.
        deadlines: see :class:`Deadlines`.
        now, sleep: the clock.
    """

    def __init__(
        self,
        call: CallBrief,
        emit: Emit,
        memory: Memory,
        *,
        mind: Mind,
        mouth: Mouth,
        phrase: Callable[[str], Phrase | None],
        speak_model: str = "",
        speakable: bool = True,
        language: str = "",
        deadlines: Deadlines,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._call = call
        self._emit = emit
        self._memory = memory
        self._mind = mind
        self._mouth = mouth
        self._phrase = phrase
        self._speak_model = speak_model
        self._speakable = speakable
        self._language = language
        self._deadlines = deadlines
        self._now = now
        self._sleep = sleep

    async def give(self, answer: Answer) -> None:
        """Think and speak; what fails is left in ``answer.failure``."""
        try:
            match answer.command:
                case Say(text=text):
                    await self._say(answer, text)
                case Respond(text=text):
                    question = self._asked(answer, text)
                    await self._think_and_speak(answer, question)
                case PressDigit(digit=digit):
                    question = self._asked(answer, f"(pressed {digit})")
                    question = msgspec.structs.replace(question, text="", digit=digit)
                    await self._think_and_speak(answer, question)
        except EngineError as error:
            answer.failure = error

    def usage(self, answer: Answer) -> None:
        """Emit what the answer's speech used, also when it was cancelled: it is paid for.
        Nothing may be said of a cancelled turn then, so it is of no one turn."""
        spoken = answer.spoken
        if self._speak_model and spoken.characters:
            self._emit(
                EngineUsage(
                    "speak",
                    self._speak_model,
                    0 if answer.cancelled else answer.turn,
                    audio_out_s=round(spoken.seconds, 3),
                    characters=spoken.characters,
                )
            )

    # --- thinking ----------------------------------------------------------------------

    def _asked(self, answer: Answer, text: str) -> Question:
        """Remember what the caller said; the question with what was said before it."""
        history, turns = self._memory.lines(), self._memory.turns()
        self._memory.heard(answer.turn, text)
        return Question(
            self._call,
            answer.turn,
            text,
            history=history,
            turns=turns,
            confirmed=answer.confirmed,
        )

    async def _think_and_speak(self, answer: Answer, question: Question) -> None:
        clauses: asyncio.Queue[str | _Over] = asyncio.Queue(CLAUSES_AHEAD)
        failure: EngineError | None = None
        async with asyncio.TaskGroup() as group:
            thinking = group.create_task(self._think(answer, question, clauses), name="think")
            try:
                while not isinstance(clause := await clauses.get(), _Over):
                    await self._speak(answer, clause)
                answer.end_call = clause.end_call
                failure = clause.failure
            except EngineError as error:
                failure = error
                thinking.cancel()
        if failure is not None:
            raise failure

    async def _think(
        self, answer: Answer, question: Question, clauses: asyncio.Queue[str | _Over]
    ) -> None:
        """Put the answer's clauses, then ``_Over``: what was thought is spoken first."""
        cutter = ClauseCutter()
        said = Speakable(self._language) if self._speakable else _AsItIs()
        length = 0
        end_call = False
        limit = self._deadlines.first_thought
        try:
            async with aclosing(self._mind.reply(question)) as thoughts:
                while (thought := await self._next_thought(answer, thoughts, limit)) is not None:
                    # A tool at work, and then the next first word, take as long as a first one.
                    busy = thought.busy
                    limit = self._deadlines.first_thought if busy else self._deadlines.next_thought
                    end_call = end_call or thought.end_call
                    text = thought.text[: MAX_ANSWER_CHARS - length]
                    length += len(text)
                    if text:
                        self._emit_of(answer, AnswerText(answer.turn, text))
                    if thought.usage is not None:
                        self._emit_of(answer, thought.usage)
                    for clause in cutter.push(said.push(text)):
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
        for clause in [*cutter.push(said.flush()), *cutter.flush()]:
            await clauses.put(clause)
        await clauses.put(_Over(end_call))

    async def _next_thought(
        self, answer: Answer, thoughts: AsyncGenerator[Thought], seconds: float
    ) -> Thought | None:
        """The next one, None at the end.

        Raises:
            EngineError: the mind failed or made no progress for ``seconds``.
        """
        try:
            async with answer.waiting(seconds, self._deadlines.confirmation):
                return await anext(thoughts, None)
        except TimeoutError:
            raise _NoProgress(seconds, "think") from None

    # --- speaking ----------------------------------------------------------------------

    async def _say(self, answer: Answer, text: str) -> None:
        if phrase := self._phrase(text):
            await self._play(answer, phrase, text)
            return
        self._emit_of(answer, AnswerText(answer.turn, text))
        said = Speakable(self._language) if self._speakable else _AsItIs()
        for clause in cut(said.push(text) + said.flush()):
            await self._speak(answer, clause)

    async def _play(self, answer: Answer, phrase: Phrase, text: str) -> None:
        self._memory.said(answer.turn, text)
        self._emit_of(answer, AnswerText(answer.turn, text))
        size = phrase.rate * PHRASE_CHUNK_MS // 1000 * 2
        for start in range(0, len(phrase.pcm), size):
            pcm = phrase.pcm[start : start + size]
            self._emit_of(answer, AnswerAudio(answer.turn, pcm, phrase.rate, "" if start else text))
            await asyncio.sleep(0)

    async def _speak(self, answer: Answer, clause: str) -> None:
        """Speak one clause; tried twice while nothing of it was emitted (E4, E5).

        A stall is waited for once only where another engine would take over.
        """
        if not is_speakable(clause):
            return
        if (early := answer.spoken.lead(self._now()) - self._deadlines.ahead) > 0:
            await self._sleep(early)
        try:
            await self._speak_once(answer, clause)
        except _NothingSpoken as attempt:
            waited_for = isinstance(attempt.cause, _NoProgress) and self._call.backed
            if waited_for or not attempt.cause.retryable:
                raise attempt.cause from None
            self._emit_of(answer, EngineDegraded("speak", "a clause was asked for again"))
            try:
                await self._speak_once(answer, clause)
            except _NothingSpoken as second:
                raise second.cause from None

    async def _speak_once(self, answer: Answer, clause: str) -> None:
        """Raises ``_NothingSpoken`` when it failed before the first byte."""
        limit = self._deadlines.first_audio
        begun = False
        try:
            async with aclosing(self._mouth.speak(clause)) as chunks:
                while (speech := await self._next_chunk(chunks, limit)) is not None:
                    if not speech.pcm:
                        continue
                    limit = self._deadlines.next_audio
                    if not begun:
                        answer.spoken.characters += len(clause)
                        if not answer.cancelled:
                            self._memory.said(answer.turn, clause)
                    self._emit_of(
                        answer,
                        AnswerAudio(answer.turn, speech.pcm, speech.rate, "" if begun else clause),
                    )
                    begun = True
                    answer.spoken.add(len(speech.pcm) / 2 / speech.rate, self._now())
            if not begun:
                raise EngineError("the voice gave no audio", stage="speak", retryable=True)
        except EngineError as error:
            if begun:
                raise
            raise _NothingSpoken(error) from None

    async def _next_chunk(self, chunks: AsyncGenerator[Speech], seconds: float) -> Speech | None:
        """As ``_next_thought``, of the voice."""
        try:
            async with asyncio.timeout(seconds):
                return await anext(chunks, None)
        except TimeoutError:
            raise _NoProgress(seconds, "speak") from None

    def _emit_of(
        self, answer: Answer, event: AnswerText | AnswerAudio | EngineUsage | EngineDegraded
    ) -> None:
        if not answer.cancelled:
            self._emit(event)


class _NoProgress(EngineError):
    """A part took longer than it may."""

    def __init__(self, seconds: float, stage: str) -> None:
        super().__init__(f"no progress within {seconds:g} s", stage=stage, retryable=True)


class _AsItIs:
    """In the place of ``Speakable`` where text is spoken as it is written."""

    def push(self, delta: str) -> str:
        return delta

    def flush(self) -> str:
        return ""


class _NothingSpoken(Exception):
    """A clause failed before its first byte; ``cause`` says why."""

    def __init__(self, cause: EngineError) -> None:
        super().__init__(cause)
        self.cause = cause
