"""The bot's side of a conversation: its turns, from the first order to what was heard.

Owns turns, their deadlines, what ends them and what is recorded of them. Refuses to know
the caller's audio, the recording gate, links and why a call ends.

Rules:

1. Every turn that begins is recorded as over exactly once.
2. A turn that does not end by itself is cancelled at the engine and truncated in its
   memory to what was heard.
3. An engine that owes the next sound of a turn has a deadline.
"""

from __future__ import annotations

from typing import Literal

from teamscall.audio.pacer import Played
from teamscall.calls import settings as limits
from teamscall.calls.events import Setup
from teamscall.calls.orders import Orders
from teamscall.calls.playout import FAR_FUTURE, Playout
from teamscall.calls.records import (
    EngineTrouble,
    Interrupted,
    Said,
    TurnBegan,
    TurnEnded,
    TurnKind,
    TurnStatus,
)
from teamscall.calls.settings import CallSettings
from teamscall.calls.turns import Turn
from teamscall.engines import base as engine
from teamscall.wire import events as wire


class Speaking:
    """See the module. What has to be done goes into ``orders``.

    Attributes:
        count, interruptions: turns begun, and those that were cut short while heard.
    """

    def __init__(self, setup: Setup, settings: CallSettings, orders: Orders) -> None:
        self.playout = Playout(setup.call_id, setup.dialect, setup.lead_ms)
        self.count = self.interruptions = 0
        self._call_id = setup.call_id
        self._streams = setup.turn_taking == "none"
        self._response_timeout_s = settings.response_timeout_s
        self._orders = orders
        self._turns: dict[int, Turn] = {}  # begun and not over, in order
        self._emotion: wire.Emotion = "neutral"
        self._held_until = FAR_FUTURE

    # --- beginning -----------------------------------------------------------

    def say(self, text: str, kind: TurnKind, now: float, *, interruptible: bool = True) -> Turn:
        """Speak exactly this, whether or not the caller is speaking."""
        self.release(now)
        turn = self._begin(kind, now, interruptible=interruptible)
        # Not kept for the engine: the shell may have it in the phrase cache.
        self._orders.add(engine.Say(turn.number, text))
        return turn

    def answer(self, text: str, last_voiced: float, endpointed: float, now: float) -> None:
        """Answer what the caller said; what the caller has not begun to hear is void."""
        self._cancel_unheard(now)
        turn = self._begin("answer", now)
        turn.speech_ended, turn.endpointed, turn.transcribed = last_voiced, endpointed, now
        self._orders.tell_engine(engine.Respond(turn.number, text))
        self._express("thinking")

    def press(self, digit: str, now: float) -> None:
        """Answer a key; it interrupts like speech does."""
        if self._turns and all(turn.interruptible for turn in self._turns.values()):
            self.interrupt("caller", now, now)
        turn = self._begin("digit", now)
        self._orders.tell_engine(engine.PressDigit(turn.number, digit))

    def _begin(self, kind: TurnKind, now: float, *, interruptible: bool = True) -> Turn:
        self.playout.end_stream()
        self.count += 1
        deadline = now + self._response_timeout_s
        turn = Turn(self.count, kind, now, deadline, interruptible=interruptible)
        self._turns[turn.number] = turn
        record = TurnBegan(self._call_id, self._orders.wall(now), turn.number, kind)
        self._orders.add(record)
        return turn

    # --- the caller speaks -----------------------------------------------------------

    def hold(self, now: float) -> None:
        """The caller speaks: what has not begun waits, for a bounded time."""
        if self.playout.speaking(now) is None:
            self.playout.hold(now)
            self._held_until = now + limits.HOLD_LIMIT_S

    def release(self, now: float) -> None:
        self.playout.release(now)
        self._held_until = FAR_FUTURE

    def barge_in(self, onset: float, detected: float, now: float) -> None:
        """The caller speaks, since ``onset``: interrupt what the far side is playing.

        Unless it may not be interrupted, or was begun over speech that had been
        ``detected`` by then: that was meant (a say, an answer that waited too long).
        """
        speaking = self.playout.speaking(now)
        if speaking is None:
            return
        turn = self._turns.get(speaking)
        if turn is not None:
            over_speech = turn.first_frame is not None and turn.first_frame > detected
            if over_speech or not turn.interruptible:
                return
        self.interrupt("caller", onset, now)
        self.hold(now)

    def interrupt(
        self, by: Literal["caller", "say", "operator", "gate"], onset: float, now: float
    ) -> None:
        """Flush here, at the gateway and at the engine, and say what was heard."""
        speaking = self.playout.speaking(now)
        played = {line.turn: line for line in self.playout.flush(now)}
        if not self._turns and speaking is None:
            return
        wall = self._orders.wall(now)
        # What plays may be a turn that is over for us (sent again), or the engine's stream.
        current = max(speaking or 0, 0) or max(self._turns, default=self.count)
        self._orders.add(wire.Flush(self._call_id, current, wall))
        for turn in list(self._turns.values()):
            line = played.get(turn.number, Played(turn.number))
            if line.sent_ms:
                self.interruptions += 1
                late_ms = round((now - onset) * 1000, 1)
                self._orders.add(
                    Interrupted(self._call_id, wall, turn.number, by, line.heard_ms, late_ms)
                )
            self._cut(turn, line, now)

    def _cancel_unheard(self, now: float) -> None:
        """The caller went on: answers not begun, and one that stalled, are thrown away."""
        silent = not self.playout.lost and self.playout.speaking(now) is None
        for turn in list(self._turns.values()):
            stalled = silent and not turn.complete
            if turn.kind == "answer" and (stalled or not self.playout.has_begun(turn.number)):
                self._cut(turn, self.playout.drop(turn.number), now)

    def _cut(self, turn: Turn, line: Played, now: float) -> None:
        """End a turn before its end: the engine must stop, and know what was heard."""
        if not turn.complete:
            self._orders.tell_engine(engine.CancelAnswer(turn.number))
        self._orders.tell_engine(engine.TruncateAnswer(turn.number, line.heard_ms, line.heard_text))
        self._over(turn, "interrupted" if line.sent_ms else "cancelled", line, now)

    # --- the engine -----------------------------------------------------------

    def on_text(self, event: engine.AnswerText, now: float) -> None:
        turn = self._turns.get(event.turn)
        if turn is None or not event.delta:
            return
        if turn.first_text is None:
            turn.first_text = now
        turn.said.append(event.delta)
        self._orders.add(Said(self._call_id, self._orders.wall(now), turn.number, event.delta))

    def on_audio(self, event: engine.AnswerAudio, now: float) -> None:
        turn = self._turns.get(event.turn)
        if turn is None:
            # Flushed, cancelled or over; or the stream of an engine without turns, which is
            # silent while a turn is spoken.
            if self._streams and not self._turns:
                self.playout.push_stream(event.pcm, event.rate)
            return
        if turn.complete:
            return
        if turn.first_audio is None:
            turn.first_audio = now
            self._express("neutral")
        self.playout.push(turn.number, event.pcm, event.rate, event.text)
        turn.deadline = now + self.playout.unsent_s + limits.ANSWER_STALL_S

    def on_done(self, event: engine.AnswerDone, now: float) -> None:
        turn = self._turns.get(event.turn)
        if turn is None or turn.complete:
            return
        turn.complete = True
        turn.deadline = FAR_FUTURE
        turn.end_call = turn.end_call or event.end_call
        turn.failed = event.status == "failed"
        self.playout.finish(turn.number)
        if turn.failed:
            self.trouble("speak" if turn.first_audio else "think", event.error, now)
            if turn.first_audio is None:
                self._give_up(turn, now)

    def trouble(self, stage: str, detail: str, now: float, *, fatal: bool = False) -> None:
        """Record that an engine degraded or failed."""
        wall = self._orders.wall(now)
        self._orders.add(EngineTrouble(self._call_id, wall, stage, detail, fatal))

    def _give_up(self, turn: Turn, now: float) -> None:
        """Nothing came of an answer: say so instead of falling silent."""
        if turn.kind == "answer":
            self._over(turn, "failed", self.playout.drop(turn.number), now)
            self.say(limits.RETRY_PHRASE, "say", now)

    # --- time -----------------------------------------------------------

    def next_deadline(self) -> float:
        """When ``advance`` is due; infinite when nothing is awaited."""
        earliest = min(self.playout.next_deadline(), self._held_until)
        for turn in self._turns.values():
            earliest = min(earliest, turn.deadline)
        return earliest

    def advance(self, now: float) -> bool:
        """Send what is due and close what was heard; whether the call is to end with it."""
        if self._held_until <= now:
            self.release(now)
        for turn in list(self._turns.values()):
            if turn.deadline <= now:
                self._overdue(turn, now)
        for number, frame in self.playout.due(now):
            if (sending := self._turns.get(number)) is not None and sending.first_frame is None:
                sending.first_frame = now
            self._orders.add(frame)
        end_call = False
        for line in self.playout.done(now):
            if (heard := self._turns.get(line.turn)) is not None:
                self._over(heard, "failed" if heard.failed else "completed", line, now)
                end_call = end_call or heard.end_call
        return end_call

    def _overdue(self, turn: Turn, now: float) -> None:
        """The engine owes a sound. What it gave is played to its end, then the turn is over."""
        if turn.first_audio is not None and self.playout.unsent_s > 0:
            turn.deadline = now + self.playout.unsent_s + limits.ANSWER_STALL_S
            return
        silent = turn.first_audio is None
        detail = "no answer within response_timeout_ms" if silent else "an answer stopped midway"
        self._orders.tell_engine(engine.CancelAnswer(turn.number))
        turn.complete = turn.failed = True
        turn.deadline = FAR_FUTURE
        self.playout.finish(turn.number)
        self.trouble("think" if silent else "speak", detail, now)
        if silent:
            self._give_up(turn, now)

    def stop(self, now: float) -> None:
        """The call is over: end every turn, as far as it was heard by now."""
        for turn in list(self._turns.values()):
            line = self.playout.played(turn.number, now)
            if not turn.complete:
                self._orders.add(engine.CancelAnswer(turn.number))
            self._over(turn, "interrupted" if line.sent_ms else "cancelled", line, now)
        self.playout.flush(now)

    # --- inside -----------------------------------------------------------

    def _over(self, turn: Turn, status: TurnStatus, line: Played, now: float) -> None:
        del self._turns[turn.number]
        said = turn.said_text or line.said_text
        self._orders.add(
            TurnEnded(
                call_id=self._call_id,
                wall_ms=self._orders.wall(now),
                turn=turn.number,
                kind=turn.kind,
                status=status,
                said_text=said,
                heard_text=said if status == "completed" else line.heard_text,
                said_ms=line.sent_ms,
                heard_ms=line.heard_ms,
                latency=turn.latency(),
            )
        )
        if not self._turns:
            self._express("neutral")

    def _express(self, emotion: wire.Emotion) -> None:
        if emotion != self._emotion:
            self._emotion = emotion
            self._orders.add(wire.Express(self._call_id, emotion))
