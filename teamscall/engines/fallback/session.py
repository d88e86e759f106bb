"""One call's conversation with a chain of engines: one at a time, the next when it fails.

Owns when the call moves on, and what the next session must be told so that no word is
lost and none is said or heard twice. Refuses to know vendors, and how an engine works.

Rule 1: nothing of a session is emitted after the call has moved on from it.
Rule 2: an answer of which nothing was audible is asked for again, once per engine; one
that was partly audible has failed, and the call moves on for the next.
Rule 3: when no engine is left, a failure passes as it is.
Rule 4: a vendor that detects speech counts utterances, and so does the call where it does:
the vendor's have negative numbers here, also for a session that is to hear them again.
Rule 5: events leave from a session's own, from ``run`` or from the loop, never from inside
``submit``; every answer gets exactly one ``AnswerDone`` while the session runs.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence

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
    ConfirmAnswer,
    DiscardHeard,
    Emit,
    Engine,
    EngineCommand,
    EngineDegraded,
    EngineEvent,
    EngineFailed,
    EngineReady,
    EngineSwitched,
    Hear,
    IgnoreUtterance,
    PeekUtterance,
    PressDigit,
    Respond,
    Say,
    SpeechStarted,
    SpeechStopped,
    Stage,
    Transcript,
    TruncateAnswer,
    TurnTaking,
)
from teamscall.engines.fallback.leg import Leg, Patience
from teamscall.engines.fallback.turns import MAX_OWED, Asking, Turn, Turns
from teamscall.engines.fallback.unheard import Unheard
from teamscall.text import printable

log = logging.getLogger("teamscall.engines")

# A recogniser may miss one utterance; one that misses two in a row is broken.
DEAF_AFTER = 2
MAX_EARLY_FINALS = 16  # transcripts that came before their answer was asked for
MAX_DETAIL_CHARS = 200


# Of a question that nobody can be asked again: the caller is asked to say it again.
_NOT_KEPT = "what was said is not known any more"


class FallbackSession:
    """An :class:`teamscall.engines.base.EngineSession` over several engines'.

    Args:
        call: what may be known about the call.
        emit: takes the events.
        engines: in the order they are tried.
        expected: the one that the call believes it talks to.
        on_failure: told, once per session, of an engine that failed.
        patience: see :class:`Patience`.
    """

    def __init__(
        self,
        call: CallBrief,
        emit: Emit,
        engines: Sequence[Engine],
        *,
        expected: Engine,
        on_failure: Callable[[Engine], None] = lambda engine: None,
        patience: Patience | None = None,
    ) -> None:
        self._call = call
        self._emit = emit
        self._left = deque(engines)
        self._expected = expected
        self._on_failure = on_failure
        self._patience = patience or Patience()
        self._leg: Leg | None = None  # whose session serves the call, or will once it is ready
        self._open: list[Leg] = []  # not let go of yet
        self._turns = Turns()
        self._unheard = Unheard()
        self._finals: dict[int, str] = {}  # of direct sessions, until their answer is asked for
        self._latest = 0  # utterance that the call knows of
        self._was_ready = False
        self._turn_taking: TurnTaking = expected.turn_taking  # as the call knows it
        self._why = f"{expected.name} is left alone for a while: it failed in several calls"
        self._closing = asyncio.Event()
        self._finished = asyncio.Event()
        self._finished.set()

    # --- one engine after the other -------------------------------------------------------

    async def run(self) -> None:
        self._finished.clear()
        error: Exception | None = None
        try:
            async with asyncio.TaskGroup() as group:
                error = await self._serve(group)
        finally:
            self._finished.set()
        if error is not None:
            raise error

    async def _serve(self, group: asyncio.TaskGroup) -> Exception | None:
        """Until the call is over for us; the error, if no engine was left for it."""
        loop = asyncio.get_running_loop()
        ready_by = loop.time() + self._patience.ready
        while self._left and not self._closing.is_set():
            leg = self._leg = Leg(self._left.popleft())
            try:
                self._begin(leg)
            except Exception as error:
                log.error("An engine's session cannot be opened", exc_info=error)
                leg.error = error
                self._died(leg, type(error).__name__)
            else:
                leg.task = group.create_task(self._run(leg), name=f"session of {leg.name}")
                try:
                    async with asyncio.timeout(self._limit(ready_by - loop.time())):
                        await leg.news.wait()
                except TimeoutError:
                    self._died(leg, "it did not get ready in time")
                await leg.over.wait()
                if leg.ready:
                    ready_by = loop.time() + self._patience.ready
            if self._closing.is_set():
                break
            if not leg.lost:
                return leg.error
            group.create_task(self._let_go(leg), name=f"close {leg.name}")
        return None

    def _limit(self, seconds: float) -> float | None:
        """How long the session that was just opened may take to get ready."""
        if self._left:
            return max(0.0, seconds) / len(self._left)
        # The last one. For the first event of all the call has a deadline of its own.
        return self._patience.ready if self._was_ready else None

    def _begin(self, leg: Leg) -> None:
        history, leg.since = self._turns.history()
        history = self._call.history + history
        call = msgspec.structs.replace(self._call, history=history, backed=bool(self._left))
        leg.session = leg.engine.open(call, lambda event: self._on_event(leg, event))
        self._open.append(leg)

    async def _run(self, leg: Leg) -> None:
        try:
            self._died(leg, await leg.outcome())
        finally:
            leg.news.set()
            leg.over.set()

    async def _let_go(self, leg: Leg) -> None:
        try:
            await leg.let_go(self._patience.close)
        finally:
            if leg in self._open:
                self._open.remove(leg)

    async def close(self) -> None:
        self._closing.set()
        async with asyncio.TaskGroup() as group:
            for leg in self._open:
                group.create_task(self._let_go(leg), name=f"close {leg.name}")
        try:
            async with asyncio.timeout(self._patience.close):
                await self._finished.wait()
        except TimeoutError:
            log.warning("An engine's session does not end")

    # --- moving on -----------------------------------------------------------------------

    def _move_on(self, leg: Leg, stage: Stage, detail: str) -> bool:
        """The engine failed. False if there is no other, and the call must be told."""
        if self._closing.is_set() or self._finished.is_set() or leg is not self._leg:
            return True
        if not leg.failed:
            leg.failed = True
            self._on_failure(leg.engine)
        if not self._left:
            return False
        leg.lost = True
        leg.news.set()
        leg.over.set()
        self._leg = None
        if self._turn_taking == "engine":
            self._unheard.keep_all()
        detail = printable(detail, MAX_DETAIL_CHARS)
        self._why = f"{leg.name} gave way to {self._left[0].name}: {detail}"
        self._emit(EngineDegraded(stage, self._why))
        for turn in self._turns.owed():
            if turn.cancelled:
                self._finish(turn, "cancelled")
            elif turn.audible:
                self._finish(turn, "failed", f"{leg.name} failed in mid-answer")
        return True

    def _expect_words(self, leg: Leg, utterance: int) -> None:
        """Its final transcript is owed from now on."""
        loop = asyncio.get_running_loop()
        loop.call_later(self._patience.final, self._no_words, leg, utterance)

    def _no_words(self, leg: Leg, utterance: int) -> None:
        if self._left and utterance in self._unheard:
            self._move_on(leg, "hear", f"no transcript within {self._patience.final:g} s")

    def _died(self, leg: Leg, detail: str) -> None:
        """Its session is over, or as good as that, whatever it said itself."""
        if not self._move_on(leg, "session", detail) and not leg.told:
            leg.told = True
            self._emit(EngineFailed("session", printable(detail, MAX_DETAIL_CHARS), fatal=True))

    def _take_over(self, leg: Leg, ready: EngineReady) -> None:
        """The session can hear: tell it what it missed, then tell the call."""
        leg.ready = True
        leg.news.set()
        leg.turn_taking = ready.turn_taking or leg.engine.turn_taking
        leg.direct = ready.direct
        for said in self._turns.said_since(leg.since):
            leg.turns.add(said.turn)
            leg.tell(said)
        if leg.turn_taking == "local":
            # Before the first event the call has kept its audio, and all of it is to come.
            join = self._was_ready and self._turn_taking == "engine"
            commands = self._unheard.marked(join=join)
        else:
            leg.base = self._latest
            commands = self._unheard.unmarked()
        if leg.turn_taking != "none":
            for command in commands:
                leg.tell(command)
                if isinstance(command, CommitUtterance):
                    self._expect_words(leg, command.utterance)
        again = self._was_ready
        self._was_ready = True
        self._turn_taking = leg.turn_taking
        self._ask_what_is_owed(leg, again=again)
        if not again:
            self._emit(EngineReady(leg.turn_taking, leg.direct, ready.settle_ms))
        if again or leg.engine is not self._expected:
            self._emit(
                EngineSwitched(
                    leg.name, leg.turn_taking, leg.direct, ready.settle_ms, detail=self._why
                )
            )

    def _ask_what_is_owed(self, leg: Leg, *, again: bool) -> None:
        for turn in self._turns.owed():
            if turn.cancelled:
                self._finish(turn, "cancelled")
            elif not again or not turn.wordless:
                self._ask(leg, turn, turn.command)
            elif turn.asked.strip():
                self._ask_in_words(leg, turn)
            elif leg.turn_taking != "local":
                self._finish(turn, "cancelled")  # what detects speech itself hears it anew
            elif turn.utterance not in self._unheard:
                self._finish(turn, "failed" if turn.utterance else "cancelled", _NOT_KEPT)

    def _ask_in_words(self, leg: Leg, turn: Turn) -> None:
        """What another session was asked to answer as it heard it."""
        self._ask(leg, turn, Respond(turn.number, turn.asked, speculative=turn.speculative))

    def _ask(self, leg: Leg, turn: Turn, command: Asking) -> None:
        if isinstance(command, Respond) and command.utterance:
            own = max(0, command.utterance - leg.base)
            command = msgspec.structs.replace(command, utterance=own)
        turn.reset()
        leg.turns.add(turn.number)
        leg.tell(command)

    def _finish(self, turn: Turn, status: AnswerStatus, error: str = "") -> None:
        """End a turn that no session will end."""
        if turn.over or self._closing.is_set() or self._finished.is_set():
            return
        turn.over = True
        self._unheard.settle(turn.utterance)
        self._emit(AnswerDone(turn.number, status, error=error))

    def _finish_soon(self, turn: Turn, status: AnswerStatus, error: str = "") -> None:
        """As rule 5 wants it."""
        asyncio.get_running_loop().call_soon(self._finish, turn, status, error)

    # --- the call's side -------------------------------------------------------------------

    def submit(self, command: EngineCommand) -> None:
        if self._closing.is_set():
            return
        leg = self._leg if self._leg is not None and self._leg.ready else None
        match command:
            case Hear(pcm=pcm):
                self._pass(leg, *map(Hear, self._unheard.hear(pcm)))
            case BeginUtterance(utterance=utterance):
                self._latest = max(self._latest, utterance)
                self._pass(leg, *self._unheard.begin(utterance))
            case PeekUtterance(utterance=utterance):
                self._unheard.peek(utterance)
                self._pass(leg, command)
            case CommitUtterance(utterance=utterance):
                self._latest = max(self._latest, utterance)
                self._unheard.commit(utterance)
                self._pass(leg, command)
                if leg is not None:
                    self._expect_words(leg, utterance)
            case IgnoreUtterance(utterance=utterance):
                self._unheard.settle(-utterance)
                if leg is not None and utterance > leg.base:
                    leg.tell(IgnoreUtterance(utterance - leg.base))
            case DiscardHeard():
                self._discard_heard(leg)
            case Respond() | PressDigit() | Say():
                self._on_asked(leg, command)
            case ConfirmAnswer(turn=number):
                self._turns.confirm(number)
                self._pass_of(leg, number, command)
            case CancelAnswer(turn=number):
                self._cancel(leg, command)
            case TruncateAnswer(turn=number, heard_text=heard_text):
                if (turn := self._turns.get(number)) is not None:
                    turn.heard = heard_text
                self._pass_of(leg, number, command)

    def _pass(self, leg: Leg | None, *commands: EngineCommand) -> None:
        if leg is not None:
            for command in commands:
                leg.tell(command)

    def _pass_of(self, leg: Leg | None, number: int, command: EngineCommand) -> None:
        """A session is told only of turns that it knows."""
        if leg is not None and number in leg.turns:
            leg.tell(command)

    def _on_asked(self, leg: Leg | None, command: Asking) -> None:
        turn = self._turns.add(command)
        if turn is None:
            return
        if turn.over:  # being played already
            if leg is not None:
                leg.turns.add(turn.number)
                leg.tell(command)
            return
        if turn.utterance:
            turn.asked = self._finals.pop(turn.utterance, "")
        if leg is not None:
            self._ask(leg, turn, command)
        elif len(self._turns.owed()) > MAX_OWED:
            self._finish_soon(turn, "failed", "too many answers are waiting")

    def _cancel(self, leg: Leg | None, command: CancelAnswer) -> None:
        turn = self._turns.get(command.turn)
        if turn is None:
            return
        turn.cancelled = True
        if command.forget:
            turn.forget()
        if leg is not None and turn.number in leg.turns:
            leg.tell(command)
        else:
            self._finish_soon(turn, "cancelled")

    def _discard_heard(self, leg: Leg | None) -> None:
        self._unheard.discard()
        self._finals.clear()
        for turn in self._turns.owed():
            if turn.utterance and (leg is None or turn.number not in leg.turns):
                turn.cancelled = True  # it was to be heard again
                self._finish_soon(turn, "cancelled")
        self._pass(leg, DiscardHeard())

    # --- a session's side ------------------------------------------------------------------

    def _on_event(self, leg: Leg, event: EngineEvent) -> None:
        if self._closing.is_set() or leg is not self._leg:
            return
        match event:
            case EngineReady():
                if not leg.ready:
                    self._take_over(leg, event)
            case Transcript():
                self._on_transcript(leg, event)
            case SpeechStarted(utterance=own):
                self._latest = utterance = leg.base + own
                self._unheard.begin(-utterance)
                self._emit(SpeechStarted(utterance))
            case SpeechStopped(utterance=own):
                self._unheard.commit(-leg.base - own)
                if not leg.direct:
                    self._expect_words(leg, -leg.base - own)
                self._emit(SpeechStopped(leg.base + own))
            case AnswerText() | AnswerAudio() | AnswerDone():
                turn = self._turns.get(event.turn)
                if turn is None:  # a stream, which answers nothing
                    self._emit(event)
                elif not turn.over:
                    self._on_answer(leg, turn, event)
            case EngineFailed(stage=stage, detail=detail, fatal=True):
                if not self._move_on(leg, stage, detail):
                    leg.told = True
                    self._emit(event)
            case EngineFailed(stage="hear", detail=detail):
                leg.misses += 1
                if leg.misses < DEAF_AFTER or not self._move_on(leg, "hear", detail):
                    self._emit(event)
            case _:
                self._emit(event)

    def _on_transcript(self, leg: Leg, event: Transcript) -> None:
        utterance = event.utterance
        if leg.turn_taking == "engine":
            utterance = -leg.base - utterance
        turn = self._turns.answering(utterance)
        if event.final:
            self._unheard.settle(utterance)
            if event.text.strip():
                leg.misses = 0
            if turn is not None:
                turn.asked = turn.asked or event.text
            elif leg.direct:
                self._finals[utterance] = event.text
                if len(self._finals) > MAX_EARLY_FINALS:
                    del self._finals[next(iter(self._finals))]
        if turn is None or leg.turn_taking != "local":
            self._emit(msgspec.structs.replace(event, utterance=abs(utterance)))
        elif event.final and not turn.cancelled:  # the call has asked for its answer before
            if turn.asked.strip():
                self._ask_in_words(leg, turn)
            else:
                self._finish(turn, "cancelled")

    def _on_answer(
        self, leg: Leg, turn: Turn, event: AnswerText | AnswerAudio | AnswerDone
    ) -> None:
        match event:
            case _ if turn.cancelled:
                if isinstance(event, AnswerDone):
                    self._finish(turn, "cancelled")
            case AnswerText(delta=delta):
                turn.thought += delta
                if turn.audible or not self._left:
                    self._emit(event)
                else:
                    if not turn.held:  # the first word was thought now, whatever it is
                        self._emit(AnswerText(turn.number, ""))
                    turn.held.append(delta)
            case AnswerAudio(text=text):
                self._release(turn)
                turn.audible = True
                turn.spoken += text
                self._emit(event)
            case AnswerDone(status="failed", error=error):
                stage: Stage = "speak" if turn.thought else "think"
                if turn.audible:
                    turn.over = True
                    self._emit(event)
                    self._move_on(leg, stage, error)
                elif not self._move_on(leg, stage, error):
                    turn.over = True
                    self._emit(event)
            case AnswerDone():
                self._release(turn)
                turn.over = True
                self._unheard.settle(turn.utterance)
                self._emit(event)

    def _release(self, turn: Turn) -> None:
        if turn.held:
            self._emit(AnswerText(turn.number, "".join(turn.held)))
            turn.held.clear()
