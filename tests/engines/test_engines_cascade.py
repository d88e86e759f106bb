"""Failures of the parts, and what must come of them (faults E1 to E11)."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncGenerator, AsyncIterator

import msgspec
import pytest
from engines_rig import CALL, Talk, eventually, run, talking

from teamscall.engines.answering import MAX_ANSWER_CHARS
from teamscall.engines.base import (
    AnswerAudio,
    AnswerDone,
    CallBrief,
    CancelAnswer,
    CommitUtterance,
    ConfirmAnswer,
    DiscardHeard,
    Emit,
    EngineDegraded,
    EngineEvent,
    EngineFailed,
    EngineReady,
    EngineUsage,
    IgnoreUtterance,
    PeekUtterance,
    Respond,
    Say,
    Transcript,
    TruncateAnswer,
)
from teamscall.engines.cascade import MAX_WAITING_ANSWERS, CascadeSession, Deadlines
from teamscall.engines.parts import EarCommand, Line, Question, Speech, Thought
from teamscall.engines.scripted import Fail, Script, ScriptedEngine, ScriptLine
from teamscall.errors import EngineError

SOON = Deadlines(
    final_transcript=0.05, first_thought=0.05, next_thought=0.05, first_audio=0.05,
    next_audio=0.05, ahead=float("inf"),
)  # fmt: skip
ANSWER = "This is one sentence. And this is another one."


def failing(fail: Fail, deadlines: Deadlines | None = None) -> ScriptedEngine:
    lines = (ScriptLine(heard="hi", answer=ANSWER, fail=fail), ScriptLine(answer="Fine again."))
    return ScriptedEngine(Script(lines=lines), deadlines=deadlines)


@pytest.mark.parametrize(
    ("fail", "stage", "speaks"),
    [
        ("think", "think", False),
        ("think-midway", "think", True),
        ("stall-think", "think", True),
        ("speak", "speak", False),
        ("speak-nothing", "speak", False),
        ("speak-midway", "speak", True),
        ("stall-speak", "speak", True),
    ],
)
def test_a_failed_answer_fails_alone(fail: Fail, stage: str, speaks: bool) -> None:
    async def check() -> None:
        async with talking(failing(fail, SOON)) as talk:
            talk.submit(Respond(1, "hi"))
            done = await talk.done(1)
            assert done.status == "failed"
            assert done.error
            assert [(e.stage, e.fatal) for e in talk.all(EngineFailed)] == [(stage, False)]
            assert bool(talk.pcm(1)) == speaks
            talk.submit(Respond(2, "again"))
            assert (await talk.done(2)).status == "completed"
            assert talk.pcm(2)

    run(check)


def test_a_clause_that_fails_before_its_first_byte_is_tried_once_more() -> None:
    async def check() -> None:
        async with talking(failing("speak-once")) as talk:
            talk.submit(Respond(1, "hi"))
            assert (await talk.done(1)).status == "completed"
            assert len(talk.all(EngineDegraded)) == 1
            assert "".join(e.text for e in talk.audio(1)) == ANSWER

    run(check)


def test_a_clause_that_fails_after_its_first_byte_is_not_tried_again() -> None:
    async def check() -> None:
        async with talking(failing("speak-midway")) as talk:
            talk.submit(Respond(1, "hi"))
            await talk.done(1)
            assert not talk.all(EngineDegraded)
            assert [e.text for e in talk.audio(1) if e.text] == ["This is one sentence. "]

    run(check)


def test_a_final_that_never_comes_ends_the_turn_and_comes_too_late() -> None:
    async def check() -> None:
        async with talking(failing("stall-hear", SOON)) as talk:
            talk.submit(CommitUtterance(1))
            assert await talk.first(Transcript) == Transcript(1, "", final=True)
            assert talk.all(EngineFailed)[0].stage == "hear"
            assert isinstance(talk.session, CascadeSession)
            talk.session._from_ear(Transcript(1, "late", final=True))
            assert len(talk.all(Transcript)) == 1

    run(check)


def test_an_ear_lost_for_good_ends_the_session() -> None:
    async def check() -> None:
        talk = Talk(failing("hear"))
        talk.submit(CommitUtterance(1))
        with pytest.raises(EngineError, match="lost its ear"):
            await talk.session.run()
        assert talk.all(EngineFailed)[0].fatal
        await talk.session.close()

    run(check)


def test_a_bug_leaves_run_as_it_is() -> None:
    async def check() -> None:
        talk = Talk(failing("raise"))
        talk.submit(CommitUtterance(1))
        with pytest.raises(RuntimeError, match="asked for a bug"):
            await talk.session.run()
        await talk.session.close()

    run(check)


class Parts:
    """An ear that is only ready, a mind that streams what it is given, a plain mouth."""

    def __init__(
        self, *thoughts: str | Thought, rate: int = 16_000, ready: EngineEvent | None = None
    ) -> None:
        self.thoughts = [Thought(t) if isinstance(t, str) else t for t in thoughts]
        self.ready = ready or EngineReady()
        self.commands: list[EarCommand] = []
        self.speakable = True
        self.questions: list[Question] = []
        self.spoken: list[str] = []
        self.rate = rate
        self.closed = 0

    def session(
        self, emit: Emit, deadlines: Deadlines = SOON, call: CallBrief = CALL
    ) -> CascadeSession:
        def open_ear(emit: Emit) -> Parts:
            self.emit = emit
            return self

        return CascadeSession(
            call,
            emit,
            open_ear=open_ear,
            mind=self,
            mouth=self,
            speak_model="voice-1",
            speakable=self.speakable,
            deadlines=deadlines,
        )

    async def run(self) -> None:
        self.emit(self.ready)
        await asyncio.Event().wait()

    def submit(self, command: EarCommand) -> None:
        self.commands.append(command)

    async def reply(self, question: Question) -> AsyncGenerator[Thought]:
        self.questions.append(question)
        for thought in self.thoughts:
            yield thought

    async def speak(self, text: str) -> AsyncGenerator[Speech]:
        self.spoken.append(text)
        yield Speech(bytes(self.rate * 2 // 10 * len(text.split())), self.rate)

    async def close(self) -> None:
        self.closed += 1


def conversation(parts: Parts, deadlines: Deadlines = SOON, call: CallBrief = CALL) -> Talk:
    class OneSession(ScriptedEngine):
        def open(self, _call: object, emit: Emit) -> CascadeSession:
            return parts.session(emit, deadlines, call)

    return Talk(OneSession())


async def finishing(talk: Talk, turn: int) -> AnswerDone:
    async with asyncio.TaskGroup() as group:
        group.create_task(talk.session.run())
        done = await talk.done(turn)
        await talk.session.close()
    return done


def test_an_answer_without_words_is_an_answer() -> None:
    async def check() -> None:
        talk = conversation(Parts())
        talk.submit(Respond(1, "hi"))
        assert (await finishing(talk, 1)).status == "completed"
        assert not talk.all(AnswerAudio)

    run(check)


def test_an_endless_answer_is_cut() -> None:
    async def check() -> None:
        parts = Parts("blah " * 40_000, "more")
        talk = conversation(parts)
        talk.submit(Respond(1, "hi"))
        assert (await finishing(talk, 1)).status == "completed"
        assert len(talk.text(1)) == MAX_ANSWER_CHARS
        assert sum(map(len, parts.spoken)) == MAX_ANSWER_CHARS
        assert talk.all(EngineDegraded)[0].stage == "think"

    run(check)


def test_the_first_clause_is_spoken_before_the_answer_is_complete() -> None:
    async def check() -> None:
        talk = conversation(Parts("The first sentence. ", "The second, ", "the third."))
        talk.submit(Respond(1, "hi"))
        await finishing(talk, 1)
        assert [e.text for e in talk.audio(1)] == ["The first sentence. ", "The second, the third."]

    run(check)


def test_speech_is_not_made_far_ahead_of_its_playout() -> None:
    async def check() -> None:
        parts = Parts("One two three four five. " * 20)  # 500 ms a sentence
        talk = conversation(parts, Deadlines(ahead=1.0))
        talk.submit(Respond(1, "hi"))
        async with asyncio.TaskGroup() as group:
            group.create_task(talk.session.run())
            await talk.first(AnswerAudio, 2)
            await asyncio.sleep(0.05)
            assert 2 <= len(parts.spoken) < 6
            await talk.session.close()

    run(check)


def test_the_mind_is_told_what_was_said_and_heard() -> None:
    async def check() -> None:
        parts = Parts("Answer number one. It is long.")
        talk = conversation(parts)
        async with asyncio.TaskGroup() as group:
            group.create_task(talk.session.run())
            talk.submit(Say(1, "Welcome.", aloud=False), Respond(2, "first"))
            await talk.done(2)
            talk.submit(TruncateAnswer(2, 900, "Answer number"), Respond(3, "second"))
            await talk.done(3)
            await talk.session.close()
        assert parts.questions[1].history == (
            Line("bot", "Welcome."),
            Line("caller", "first"),
            Line("bot", "Answer number"),
        )
        assert parts.closed == 2  # the ear and the mind; the mouth is shared

    run(check)


def test_too_many_waiting_answers_are_refused() -> None:
    async def check() -> None:
        talk = conversation(Parts("Yes."))
        count = MAX_WAITING_ANSWERS + 3
        for turn in range(1, count + 1):
            talk.submit(Say(turn, "Hello."))
        await finishing(talk, count)
        statuses = [e.status for e in talk.all(AnswerDone)]
        assert statuses == ["completed"] * MAX_WAITING_ANSWERS + ["failed"] * 3

    run(check)


@contextlib.asynccontextmanager
async def running(talk: Talk) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as group:
        group.create_task(talk.session.run())
        yield
        await talk.session.close()


def test_a_session_that_takes_over_knows_what_was_said_before() -> None:
    async def check() -> None:
        before = (Line("bot", "Welcome."), Line("caller", "My name is Ada."))
        parts = Parts("Hello.")
        talk = conversation(parts, call=CallBrief("c", history=before))
        talk.submit(Respond(1, "Who am I?"))
        await finishing(talk, 1)
        assert parts.questions[0].history == before
        assert all(turn < 0 for turn in parts.questions[0].turns)

    run(check)


def test_marks_in_the_audio_reach_the_ear_and_an_ignored_utterance_nobody() -> None:
    async def check() -> None:
        parts = Parts()
        talk = conversation(parts)
        async with running(talk):
            talk.submit(PeekUtterance(1), IgnoreUtterance(1), DiscardHeard())
        assert parts.commands == [PeekUtterance(1), DiscardHeard()]

    run(check)


def test_what_the_ear_says_of_itself_reaches_the_call() -> None:
    async def check() -> None:
        ready = EngineReady("engine", direct=True, settle_ms=120)
        used = EngineUsage("hear", "ear-1", audio_in_s=2.5)
        parts = Parts("Yes.", ready=ready)
        talk = conversation(parts)
        async with running(talk):
            await talk.first(EngineReady)
            parts.emit(used)
        assert talk.events[0] == ready
        assert used in talk.events

    run(check)


def test_an_answer_that_is_forgotten_was_never_asked_for() -> None:
    async def check() -> None:
        parts = Parts("Answer number one.")
        talk = conversation(parts)
        async with running(talk):
            talk.submit(Respond(1, "I would like"))
            await talk.done(1)
            # It was done already, and the call tells what was heard of it as well.
            talk.submit(CancelAnswer(1, forget=True), TruncateAnswer(1, 0, ""))
            talk.submit(Respond(2, "I would like to pay"), CancelAnswer(2, forget=True))
            assert (await talk.done(2)).status == "cancelled"
            talk.submit(TruncateAnswer(2, 500, "Answer"), Respond(3, "I would like to pay now"))
            await talk.done(3)
        assert parts.questions[-1].history == ()

    run(check)


def test_what_is_played_after_all_was_heard_after_all() -> None:
    async def check() -> None:
        parts = Parts("Answer number one. It is long.")
        talk = conversation(parts)
        async with running(talk):
            talk.submit(Respond(1, "first"))
            await talk.done(1)
            talk.submit(TruncateAnswer(1, 300, "Answer"))
            talk.submit(TruncateAnswer(1, 900, "Answer number one. It"))
            talk.submit(Respond(2, "second"))
            await talk.done(2)
        assert parts.questions[1].history[1] == Line("bot", "Answer number one. It")
        assert parts.questions[1].turns == (1, 1)

    run(check)


def test_what_an_answer_used_is_told_before_it_is_done() -> None:
    async def check() -> None:
        tokens = EngineUsage("think", "mind-1", 1, input_tokens=90, output_tokens=4)
        talk = conversation(Parts("One two.", Thought(usage=tokens)))
        talk.submit(Respond(1, "hi"))
        await finishing(talk, 1)
        assert talk.all(EngineUsage) == [
            tokens,
            EngineUsage("speak", "voice-1", 1, audio_out_s=0.2, characters=8),
        ]
        assert isinstance(talk.events[-1], AnswerDone)

    run(check)


def test_speech_that_was_cut_off_is_paid_for_all_the_same() -> None:
    async def check() -> None:
        talk = conversation(Parts("One two three. " * 30), Deadlines(ahead=0.5))
        async with running(talk):
            talk.submit(Respond(1, "hi"))
            await talk.first(AnswerAudio)
            talk.submit(CancelAnswer(1))
            heard = len(talk.events)
            await talk.done(1)
        (used,) = talk.all(EngineUsage)
        assert (used.turn, used.characters > 0) == (0, True)
        assert talk.events[heard:] == [used, AnswerDone(1, "cancelled")]

    run(check)


class Slow(Parts):
    """Answers after a tool was at work for a while."""

    async def reply(self, question: Question) -> AsyncGenerator[Thought]:
        yield Thought("One moment. ", busy=bool(self.thoughts))
        await asyncio.sleep(0.2)
        yield Thought("Here it is.")


@pytest.mark.parametrize(("parts", "status"), [(Slow("busy"), "completed"), (Slow(), "failed")])
def test_a_tool_at_work_may_take_as_long_as_a_first_thought(parts: Slow, status: str) -> None:
    async def check() -> None:
        talk = conversation(parts, msgspec.structs.replace(SOON, first_thought=30.0))
        talk.submit(Respond(1, "hi"))
        assert (await finishing(talk, 1)).status == status

    run(check)


class Careful(Parts):
    """Does nothing before the caller has finished; then takes its time."""

    async def reply(self, question: Question) -> AsyncGenerator[Thought]:
        self.questions.append(question)
        await question.until_confirmed()
        await asyncio.sleep(0.15)
        yield Thought("Done.")


def test_a_mind_may_wait_until_the_caller_has_finished() -> None:
    async def check() -> None:
        parts = Careful()
        talk = conversation(parts, Deadlines(first_thought=0.3, confirmation=30.0))
        async with running(talk):
            talk.submit(Respond(1, "I would like", speculative=True))
            await eventually(lambda: bool(parts.questions))
            await asyncio.sleep(0.3)
            assert not talk.all(AnswerDone)
            talk.submit(ConfirmAnswer(1), ConfirmAnswer(7))
            assert (await talk.done(1)).status == "completed"
            talk.submit(Respond(2, "Tea"))
            assert (await talk.done(2)).status == "completed"

    run(check)


@pytest.mark.parametrize("confirms", [True, False])
def test_a_confirmed_answer_has_its_deadline_from_then_on(confirms: bool) -> None:
    async def check() -> None:
        parts = Careful()
        deadlines = Deadlines(first_thought=0.05, confirmation=30.0 if confirms else 0.05)
        talk = conversation(parts, deadlines)
        async with running(talk):
            talk.submit(Respond(1, "I would like", speculative=True))
            await eventually(lambda: bool(parts.questions))
            if confirms:
                talk.submit(ConfirmAnswer(1))
            done = await talk.done(1)
        assert (done.status, done.error) == ("failed", "no progress within 0.05 s")

    run(check)


MARKED_UP = "You have **3** [messages](http://a.b). They cost $5."
SPOKEN = "You have three messages. They cost five dollars."


@pytest.mark.parametrize(
    "command", [Respond(1, "hi"), Say(1, MARKED_UP)], ids=lambda command: type(command).__name__
)
def test_the_text_is_the_models_and_the_speech_is_speakable(command: Respond | Say) -> None:
    async def check() -> None:
        parts = Parts(*re.findall(r"..?", MARKED_UP))
        talk = conversation(parts)
        async with running(talk):
            talk.submit(command)
            await talk.done(1)
            talk.submit(Respond(2, "again"))
            await talk.done(2)
        assert talk.text(1) == MARKED_UP
        assert "".join(parts.spoken).startswith(SPOKEN)
        assert "".join(event.text for event in talk.audio(1)) == SPOKEN
        assert parts.questions[-1].history[-1] == Line("bot", SPOKEN)

    run(check)


def test_text_may_be_spoken_as_it_is_written() -> None:
    async def check() -> None:
        parts = Parts(MARKED_UP)
        parts.speakable = False
        talk = conversation(parts)
        talk.submit(Respond(1, "hi"), Say(2, MARKED_UP))
        await finishing(talk, 2)
        assert "".join(parts.spoken) == MARKED_UP * 2

    run(check)
