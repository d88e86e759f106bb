"""One call's conversation with a realtime session: commands in, events out.

Owns how its parts are put together: the line (which session is up), what is heard, what
is answered and what was said. Refuses to know how any of them does it.

Rule 1: events leave from ``run``, never from inside ``submit``; what is sent to the
service leaves inside ``submit``, without waiting for anything.
Rule 2: ``CancelAnswer`` takes effect inside ``submit``: nothing of that turn but its
``AnswerDone`` is emitted after it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from teamscall.engines.base import (
    BeginUtterance,
    CallBrief,
    CancelAnswer,
    CommitUtterance,
    DiscardHeard,
    Emit,
    EngineCommand,
    EngineDegraded,
    EngineReady,
    Hear,
    IgnoreUtterance,
    Phrase,
    PressDigit,
    Respond,
    Say,
    TruncateAnswer,
)
from teamscall.engines.ending import raise_first, until
from teamscall.engines.openai import messages
from teamscall.engines.openai.messages import ServerEvent
from teamscall.engines.openai.realtime_answers import Answers
from teamscall.engines.openai.realtime_dialogue import Dialogue
from teamscall.engines.openai.realtime_hearing import Hearing
from teamscall.engines.openai.realtime_line import RENEWED, Line, Link
from teamscall.engines.openai.realtime_waits import Waits
from teamscall.engines.tools import Tools


class RealtimeSession:
    """An :class:`teamscall.engines.base.EngineSession`.

    Args:
        call: what may be known about the call; its history is told to the model.
        emit: takes the events.
        open_link: makes a link to the service.
        turn_detection: of the service's session; None: the call takes the turns.
        model, transcriber: the models' names, for what is counted.
        speed: of the voice.
        tools: what the model may use.
        phrase: looks a text up in the phrase cache.
        is_speech: tells whether a 640-byte frame holds speech.
        renew_after_s: how old a session may be before it is renewed.
        waits: see :class:`Waits`.
        now: monotonic seconds.
    """

    def __init__(
        self,
        call: CallBrief,
        emit: Emit,
        *,
        open_link: Callable[[], Link],
        turn_detection: object,
        model: str,
        transcriber: str,
        speed: float,
        tools: Tools,
        phrase: Callable[[str], Phrase | None],
        is_speech: Callable[[bytes], bool],
        renew_after_s: float,
        waits: Waits,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._emit = emit
        self._now = now
        self._local = turn_detection is None
        self._line = Line(
            emit,
            open_link,
            opened=self._opened,
            received=self._received,
            lost=self._lost,
            renew_after_s=renew_after_s,
            now=now,
        )
        self._dialogue = Dialogue(call.history)
        self._hearing = Hearing(
            self._line,
            self._dialogue,
            turn_detection=turn_detection,
            transcriber=transcriber,
            is_speech=is_speech,
            answering=lambda: not self._answers.idle,
            backed=call.backed,
            waits=waits,
            now=now,
        )
        self._answers = Answers(
            call,
            self._line,
            self._hearing,
            self._dialogue,
            model=model,
            speed=speed,
            tools=tools,
            phrase=phrase,
            waits=waits,
            now=now,
        )
        self._lost_at: float | None = None
        self._lost_reason = ""
        self._closing = asyncio.Event()
        self._finished = asyncio.Event()
        self._finished.set()

    # --- the call's side -------------------------------------------------------------------

    async def run(self) -> None:
        self._finished.clear()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._line.run(), name="line")
                group.create_task(self._watch(), name="watch")
                group.create_task(until(self._closing), name="closing")
        except BaseExceptionGroup as failures:
            raise_first(failures, stage="session", closing=self._closing, emit=self._emit)
        finally:
            self._closing.set()
            self._finished.set()

    def submit(self, command: EngineCommand) -> None:
        if self._closing.is_set():
            return
        match command:
            case Hear(pcm=pcm):
                self._hearing.hear(pcm)
                return  # fifty times a second, and no deadline comes of it
            case BeginUtterance(utterance=number):
                self._hearing.begin(number)
            case CommitUtterance(utterance=number):
                self._hearing.commit(number)
            case IgnoreUtterance(utterance=number):
                self._hearing.ignore(number)
            case DiscardHeard():
                self._hearing.discard()
            case Say(turn=turn, text=text, aloud=False):
                self._send(self._dialogue.read(turn, text))
            case Respond() | PressDigit() | Say():
                self._answers.ask(command)
            case CancelAnswer(turn=turn, forget=forget):
                self._answers.cancel(turn, forget=forget)
            case TruncateAnswer(turn=turn, heard_ms=heard_ms, heard_text=text):
                self._send(self._dialogue.truncate(turn, heard_ms, text))
            case _:
                return  # PeekUtterance: nobody waits for its transcript
        self._line.wake.set()  # a deadline may be sooner now

    async def close(self) -> None:
        self._closing.set()
        await self._finished.wait()

    def _send(self, many: list[str]) -> None:
        for message in many:
            self._line.send(message)

    # --- the line's side -------------------------------------------------------------------

    def _opened(self) -> None:
        """A new session: it is told what was said, then what it missed."""
        self._send(self._dialogue.seed())
        sent = self._hearing.opened()
        if self._line.sessions == 1:
            self._line.tell(EngineReady("local" if self._local else "engine", direct=True))
        if self._lost_at is not None:
            gap_s, self._lost_at = self._now() - self._lost_at, None
            again = f"; {sent / messages.BYTES_PER_S:.1f} s of audio sent again" if sent else ""
            detail = f"the session was lost ({self._lost_reason}) and back in {gap_s:.1f} s{again}"
            self._line.tell(EngineDegraded("session", detail, round(gap_s * 1000)))
        self._answers.reopened()

    def _lost(self, reason: str) -> None:
        if self._lost_at is None and reason != RENEWED:
            self._lost_at, self._lost_reason = self._now(), reason
        self._hearing.lost()
        self._answers.lost(reason)

    def _received(self, event: ServerEvent) -> None:
        if event.type.startswith("response."):
            self._answers.received(event)
        elif event.type == "error" and event.error is not None:
            self._answers.refused(event.error)
            self._hearing.refused(event.error)
        else:
            self._hearing.received(event)
        if not event.type.endswith(".delta"):
            self._line.wake.set()  # a deadline may be sooner now

    # --- time, and the end -----------------------------------------------------------------

    async def _watch(self) -> None:
        parts = (self._answers, self._hearing, self._line)
        while True:
            self._line.wake.clear()
            self._line.drain()
            self._answers.tick()
            self._hearing.tick()
            self._line.tick(idle=self._answers.idle and self._hearing.idle)
            if self._line.wake.is_set():
                continue
            due = min(part.deadline() for part in parts) - self._now()
            try:
                async with asyncio.timeout(None if due == float("inf") else max(0.01, due)):
                    await self._line.wake.wait()
            except TimeoutError:
                continue
