"""Runs one call: the shell around the conversation.

Owns the call's task group, its one timer and its engine session. It reads the clock once
per event, gives the event to the conversation and carries out what comes back. It decides
nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from teamscall.calls.conversation import (
    Command,
    Conversation,
    EndRequested,
    Finish,
    Setup,
    TimePassed,
)
from teamscall.calls.link import Link
from teamscall.calls.records import CallRecord, Watch
from teamscall.calls.settings import ENGINE_CLOSE_S, CallSettings
from teamscall.clock import Clock
from teamscall.engines import base as engine
from teamscall.errors import TeamscallError
from teamscall.text import printable
from teamscall.wire import events as wire

log = logging.getLogger("teamscall.calls")

_ENGINE_COMMANDS = (
    engine.Hear,
    engine.BeginUtterance,
    engine.CommitUtterance,
    engine.DiscardHeard,
    engine.Respond,
    engine.PressDigit,
    engine.CancelAnswer,
    engine.TruncateAnswer,
)
_WIRE_MESSAGES = (wire.AudioOut, wire.Flush, wire.HangUp, wire.Express)


class Call:
    """A call that is up, or ringing.

    Args:
        on_over: called once, with the reason, when the conversation has finished and
            before the engine session is closed: the slot can be given back.
    """

    def __init__(
        self,
        setup: Setup,
        settings: CallSettings,
        link: Link,
        voice: engine.Engine,
        clock: Clock,
        watch: Watch,
        on_over: Callable[[Call, Finish], None],
    ) -> None:
        self.setup = setup
        self.link: Link | None = link
        self._clock = clock
        self._voice = voice
        self._watch = watch
        self._on_over = on_over
        self._conversation = Conversation(setup, settings, clock.now())
        brief = engine.CallBrief(
            setup.call_id, setup.direction, printable(setup.caller.display_name, 60)
        )
        self._session = voice.open(brief, self.feed)
        self._over = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at: float | None = None
        self._feeding = False
        self._waiting: list[object] = []

    @property
    def call_id(self) -> str:
        return self.setup.call_id

    @property
    def phase(self) -> str:
        return self._conversation.phase

    @property
    def gate_open(self) -> bool:
        return self._conversation.gate_open

    def feed(self, event: object) -> None:
        """Give one event to the conversation and do what it says. Never blocks.

        An engine may answer a command before ``submit`` returns: such an event waits until
        the commands before it have been carried out.
        """
        self._waiting.append(event)
        if self._feeding:
            return
        self._feeding = True
        try:
            while self._waiting:
                now = self._clock.now()
                self._carry_out(self._conversation.on(self._waiting.pop(0), now))
        finally:
            self._feeding = False
        self._rearm()

    async def run(self) -> None:
        """Hold the conversation until it is over. Raises nothing but cancellation."""
        try:
            async with asyncio.TaskGroup() as group:
                serving = group.create_task(self._serve_engine(), name=f"engine {self.call_id}")
                self._feeding = True
                try:
                    self._carry_out(self._conversation.open(self._clock.now()))
                finally:
                    self._feeding = False
                self.feed(TimePassed())
                await self._over.wait()
                serving.cancel()
        finally:
            self.feed(EndRequested("cancelled", "bridge"))
            if self._timer is not None:
                self._timer.cancel()
            await self._close_engine()

    async def _serve_engine(self) -> None:
        try:
            await self._session.run()
        except TeamscallError as error:
            self.feed(engine.EngineFailed("session", error.message, fatal=True))
        except Exception as error:
            log.error(
                "The engine failed in its own task",
                exc_info=error,
                extra={"callId": self.call_id},
            )
            self.feed(engine.EngineFailed("session", type(error).__name__, fatal=True))
        else:
            self.feed(engine.EngineFailed("session", "the session ended by itself", fatal=True))

    async def _close_engine(self) -> None:
        try:
            async with asyncio.timeout(ENGINE_CLOSE_S):
                await self._session.close()
        except TimeoutError:
            log.warning("The engine session did not close in time", extra={"callId": self.call_id})
        except Exception as error:
            log.error(
                "The engine failed at its close", exc_info=error, extra={"callId": self.call_id}
            )

    def _carry_out(self, commands: list[Command]) -> None:
        for command in commands:
            if isinstance(command, _WIRE_MESSAGES):
                if self.link is not None:
                    self.link.send(command)
            elif isinstance(command, _ENGINE_COMMANDS):
                self._session.submit(command)
            elif isinstance(command, engine.Say):
                self._say(command)
            elif isinstance(command, Finish):
                self._over.set()
                self._on_over(self, command)
            else:
                self._observe(command)  # type: ignore[arg-type]

    def _say(self, command: engine.Say) -> None:
        """From the phrase cache at once, even while the engine is not up; else by the engine."""
        phrase = self._voice.phrase(command.text)
        if phrase is None:
            self._session.submit(command)
            return
        self._session.submit(engine.Say(command.turn, command.text, aloud=False))
        self._waiting.append(engine.AnswerText(command.turn, command.text))
        self._waiting.append(
            engine.AnswerAudio(command.turn, phrase.pcm, phrase.rate, command.text)
        )
        self._waiting.append(engine.AnswerDone(command.turn))

    def _observe(self, record: CallRecord) -> None:
        try:
            self._watch(record)
        except Exception as error:
            log.error("A watcher failed", exc_info=error, extra={"callId": self.call_id})

    def _rearm(self) -> None:
        """One timer per call, moved only when the deadline did."""
        deadline = self._conversation.next_deadline()
        if deadline == self._timer_at and self._timer is not None:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._timer_at = deadline
        if deadline is not None:
            delay = max(0.0, deadline - self._clock.now())
            self._timer = asyncio.get_running_loop().call_later(delay, self._ring)

    def _ring(self) -> None:
        self._timer = self._timer_at = None
        self.feed(TimePassed())
