"""Runs one call: the shell around the conversation.

Owns the call's timer, its link and its engine session. It reads the clock once per event,
gives the event to the conversation and carries out what comes back. It decides nothing.

Rules:

1. ``on_over`` is called exactly once, when the conversation has finished or failed: from
   then on nothing here, and no engine that hangs, holds the call's slot.
2. A bug, in here or in an engine, fails this call and no other.
"""

from __future__ import annotations

import asyncio
import collections
import logging
from collections.abc import Callable

import msgspec

from teamscall.calls.conversation import Conversation
from teamscall.calls.events import Command, EndRequested, Fill, Finish, Phase, Setup, TimePassed
from teamscall.calls.lateness import Lateness
from teamscall.calls.levels import Meter
from teamscall.calls.link import Link
from teamscall.calls.records import AudioLevels, CallClosed, CallCounters, CallRecord, Watch
from teamscall.calls.settings import ENGINE_CANCEL_S, ENGINE_CLOSE_S, CallSettings
from teamscall.calls.tape import Tape, Tapes
from teamscall.calls.tasks import Tasks
from teamscall.clock import Clock
from teamscall.engines import base as engine
from teamscall.engines.spoken import packaged_phrase
from teamscall.errors import TeamscallError
from teamscall.text import printable
from teamscall.wire import events as wire

log = logging.getLogger("teamscall.calls")

_ENGINE_COMMANDS = {
    engine.Hear,
    engine.BeginUtterance,
    engine.PeekUtterance,
    engine.CommitUtterance,
    engine.IgnoreUtterance,
    engine.DiscardHeard,
    engine.Respond,
    engine.ConfirmAnswer,
    engine.PressDigit,
    engine.CancelAnswer,
    engine.TruncateAnswer,
}
_NEVER = float("inf")
_WIRE_MESSAGES = {wire.AudioOut, wire.Flush, wire.HangUp, wire.Express}


class LiveCall(msgspec.Struct, frozen=True):
    """A running call as the operator sees it: facts, nothing that was said."""

    setup: Setup
    phase: Phase
    recording: wire.RecordingStatus | None
    gate_open: bool
    connected: bool  # False: its socket is lost, it may be resumed
    engine: str
    ready: bool  # the engine is up
    duration_ms: int
    counters: CallCounters
    unsaid: int = 0  # messages of the operator that wait to be said


class Call:
    """A call that is up, or ringing. ``begin``, then ``run``.

    Args:
        tasks: runs the engine's session, which may outlive the call if it hangs.
        on_over: see rule 1.
        lateness: told how late frames left.
        tapes: record what the conversation is told and returns.
    """

    def __init__(
        self,
        setup: Setup,
        settings: CallSettings,
        link: Link,
        voice: engine.Engine,
        clock: Clock,
        tasks: Tasks,
        watch: Watch,
        on_over: Callable[[Call, Finish], None],
        lateness: Lateness | None = None,
        tapes: Tapes | None = None,
    ) -> None:
        self.setup = setup
        self._clock = clock
        self._voice = voice
        self._tasks = tasks
        self._watch = watch
        self._on_over = on_over
        self._began = clock.now()
        self._conversation = Conversation(setup, settings, self._began)
        self._link: Link | None = None
        self._dropped_out = 0  # on links that are gone
        self._dropped_before = 0  # on this link, when it became ours
        self.attach(link)
        name = printable(setup.caller.display_name, 60)
        brief = engine.CallBrief(setup.call_id, setup.direction, name)
        self._session = voice.open(brief, self.feed)
        self._over = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._lateness = lateness or Lateness()
        self._deadline = _NEVER  # of the next event, as the conversation gave it
        self._busy = False
        self._meter: Meter | None = None  # while somebody watches it
        self._waiting: collections.deque[object] = collections.deque()
        self._tape: Tape | None = None
        if tapes is not None:
            self._tape = tapes.tape(setup, settings, self._began)

    @property
    def call_id(self) -> str:
        return self.setup.call_id

    @property
    def phase(self) -> Phase:
        return self._conversation.phase

    @property
    def gate_open(self) -> bool:
        return self._conversation.gate_open

    def facts(self) -> LiveCall:
        """What the operator may know of it now."""
        conversation = self._conversation
        return LiveCall(
            setup=self.setup,
            phase=conversation.phase,
            recording=conversation.gate_status,
            gate_open=conversation.gate_open,
            connected=self._link is not None,
            engine=self.setup.engine_name,
            ready=conversation.engine_is_ready,
            duration_ms=round((self._clock.now() - self._began) * 1000),
            counters=self._with_dropped_out(conversation.counters),
            unsaid=conversation.unsaid,
        )

    # --- meters -----------------------------------------------------------

    def levels(self) -> AudioLevels:
        """How loud it was since the last time, or, the first time, nothing yet."""
        if self._meter is None:
            self._meter = Meter()
        caller, bot = self._meter.take(listens=self._conversation.listens)
        return AudioLevels(self.call_id, self._clock.wall_ms(), caller, bot)

    def _measure(self, meter: Meter, pcm: bytes) -> None:
        if self._conversation.listens:  # the gate lets it in
            meter.heard(pcm)

    def stop_measuring(self) -> None:
        """Nobody watches the meters any more."""
        self._meter = None

    # --- the link -----------------------------------------------------------

    @property
    def link(self) -> Link | None:
        """The socket that the call is on; None while it is lost, and after the end."""
        return self._link

    def attach(self, link: Link) -> None:
        """The call is on this socket now."""
        self._link = link
        self._dropped_before = link.dropped_out

    def detach(self) -> Link | None:
        """The call is on no socket now; the one that it was on."""
        self._dropped_out = self._all_dropped_out()
        link, self._link = self._link, None
        return link

    def _all_dropped_out(self) -> int:
        """A socket that carries several calls counts for all of them alike."""
        here = self._link.dropped_out - self._dropped_before if self._link is not None else 0
        return self._dropped_out + here

    def _with_dropped_out(self, counters: CallCounters) -> CallCounters:
        return msgspec.structs.replace(counters, dropped_out=self._all_dropped_out())

    # --- events in, commands out -----------------------------------------------------------

    def begin(self) -> None:
        """The opening record and the greeting; events may be fed from here on."""
        self._do(self._conversation.open)

    def feed(self, event: object) -> None:
        """Give one event to the conversation and do what it says. Never blocks or raises.

        An engine may answer a command before ``submit`` returns: such an event waits until
        the commands before it have been carried out.
        """
        self._waiting.append(event)
        if not self._busy:
            self._do(None)

    def _do(self, first: Callable[[float], list[Command]] | None) -> None:
        self._busy = True
        try:
            if first is not None:
                now = self._clock.now()
                if self._tape is not None:
                    self._tape.opened(now)
                self._carry_out(first(now))
            while self._waiting:
                event = self._waiting.popleft()
                if self._meter is not None and isinstance(event, wire.AudioIn):
                    self._measure(self._meter, event.pcm)
                now = self._clock.now()
                if self._tape is not None:
                    self._tape.step(now, event)
                commands = self._conversation.on(event, now)
                if now >= self._deadline:
                    self._note_lateness(now - self._deadline, commands)
                self._deadline = _NEVER
                self._carry_out(commands)
        except Exception as error:
            log.error("The call failed", exc_info=error, extra={"callId": self.call_id})
            self._fail()
        finally:
            self._busy = False
        self._rearm()

    def _fail(self) -> None:
        """End after a bug: by the conversation if it still can, else without it."""
        self._waiting.clear()
        if self._over.is_set():
            return
        try:
            end, now = EndRequested("error", "bridge"), self._clock.now()
            if self._tape is not None:
                self._tape.step(now, end)
            last = self._conversation.on(end, now)
        except Exception as error:
            log.error("The call failed again", exc_info=error, extra={"callId": self.call_id})
            last = []
        for command in last:
            try:
                self._carry_out([command])
            except Exception as error:  # what failed the call may fail again
                log.error("The call failed again", exc_info=error, extra={"callId": self.call_id})
        if not self._over.is_set():
            self._finish(Finish("error", "bridge"))

    def _carry_out(self, commands: list[Command]) -> None:
        for command in commands:
            if self._tape is not None:
                self._tape.did(command)
            kind = type(command)  # sets, because this is asked for every frame
            if kind in _WIRE_MESSAGES:
                if self._link is not None:
                    if self._meter is not None and kind is wire.AudioOut:
                        self._meter.sent(command.pcm)  # type: ignore[union-attr]
                    self._link.send(command)  # type: ignore[arg-type]
            elif kind in _ENGINE_COMMANDS:
                self._session.submit(command)  # type: ignore[arg-type]
            elif isinstance(command, engine.Say):
                self._say(command)
            elif isinstance(command, Fill):
                self._play(command.turn, command.text, self._voice.phrase(command.text))
            elif isinstance(command, Finish):
                self._finish(command)
            else:
                self._observe(command)  # type: ignore[arg-type]

    def _finish(self, finish: Finish) -> None:
        self._over.set()
        if self._tape is not None:
            self._tape.close(self._clock.now(), finish.reason)
            self._tape = None
        self._on_over(self, finish)

    def _say(self, command: engine.Say) -> None:
        """From the phrase cache at once, even while the engine is not up; else by the engine."""
        phrase = self._phrase(command.text)
        if phrase is None:
            self._session.submit(command)
            return
        self._session.submit(engine.Say(command.turn, command.text, aloud=False))
        self._play(command.turn, command.text, phrase)

    def _phrase(self, text: str) -> engine.Phrase | None:
        """Cached: in the engine's own voice, else, for the default texts, packaged."""
        return self._voice.phrase(text) or packaged_phrase(text)

    def _play(self, turn: int, text: str, phrase: engine.Phrase | None) -> None:
        if phrase is not None:
            self._waiting.append(engine.AnswerText(turn, text))
            self._waiting.append(engine.AnswerAudio(turn, phrase.pcm, phrase.rate, text))
        self._waiting.append(engine.AnswerDone(turn))

    def _observe(self, record: CallRecord) -> None:
        if isinstance(record, CallClosed):
            counters = self._with_dropped_out(record.counters)
            record = msgspec.structs.replace(record, counters=counters)
        self._watch(record)

    # --- time -----------------------------------------------------------

    def _rearm(self) -> None:
        """One timer per call. A deadline that moved away is left to the timer that is set:
        most move with every frame, and a timer that rings early costs nothing."""
        deadline = self._conversation.next_deadline()
        if deadline is None:
            self._stop_timer()
            return
        self._deadline = deadline
        if self._timer is not None:
            if self._timer_at <= deadline:
                return
            self._timer.cancel()
        self._timer_at = deadline
        delay = max(0.0, deadline - self._clock.now())
        self._timer = asyncio.get_running_loop().call_later(delay, self._ring)

    def _ring(self) -> None:
        self._timer = None
        self.feed(TimePassed())

    def _note_lateness(self, late_s: float, commands: list[Command]) -> None:
        frames = sum(type(command) is wire.AudioOut for command in commands)
        if frames:
            self._lateness.note(late_s, frames)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # --- the engine's session -----------------------------------------------------------

    async def run(self) -> None:
        """Serve the engine's session until the call is over. Raises only cancellation.

        No TaskGroup: its exit waits for a session that swallows its cancellation, for good.
        """
        serving = self._tasks.spawn(self._serve_engine(), f"engine {self.call_id}")
        try:
            await self._over.wait()
        finally:
            self.feed(EndRequested("cancelled", "bridge"))
            await self._close_engine(serving)

    async def _serve_engine(self) -> None:
        detail = "the session ended by itself"
        try:
            await self._session.run()
        except TeamscallError as error:
            detail = error.message
        except Exception as error:
            detail = type(error).__name__
            log.error(
                "The engine failed in its own task",
                exc_info=error,
                extra={"callId": self.call_id},
            )
        finally:  # also when a session cancels itself
            self.feed(engine.EngineFailed("session", detail, fatal=True))

    async def _close_engine(self, serving: asyncio.Task[None]) -> None:
        """Ask it to close, then cancel what is left, then leave it: all of it bounded."""
        closing = self._tasks.spawn(self._session.close(), f"close {self.call_id}")
        await asyncio.wait({closing}, timeout=ENGINE_CLOSE_S)
        for task in (closing, serving):
            task.cancel()
        _, late = await asyncio.wait({closing, serving}, timeout=ENGINE_CANCEL_S)
        if late:
            log.error("The engine's session does not end", extra={"callId": self.call_id})
