"""What the caller's voice does to the bot's speech: pause it, stop it, let it go on.

Owns the flush, here, at the gateway and at the engine, and the turn that was stopped and
may still go on. Refuses to know how it is decided what the voice meant.

Rule 1: a turn that was stopped is over, or goes on, exactly once.
Rule 2: once the engine was told of the cut, its memory holds what was heard and no more;
what is heard later, because the turn went on after all, is told to it again.
Rule 3: an engine that is not the one to decide goes on with an answer that was stopped until
words, or a voice that goes on, say that the caller wants the turn: what it has not spoken
yet is needed after an "uh-huh".
"""

from __future__ import annotations

from typing import Literal

from teamscall.audio.pacer import Played
from teamscall.calls import settings as limits
from teamscall.calls.orders import Orders
from teamscall.calls.playout import Playout
from teamscall.calls.records import CarriedOn, Interrupted
from teamscall.calls.turnbook import TurnBook
from teamscall.calls.turns import Stopped, Turn
from teamscall.engines import base as engine
from teamscall.wire import events as wire

Who = Literal["caller", "say", "operator", "gate"]
Why = Literal["speech", "words", "key", "vendor", "order"]


class Interruption:
    """See the module.

    Attributes:
        count: turns that were stopped while they were heard. carried_on: those that went on.
        patient: see rule 3.
    """

    def __init__(self, book: TurnBook, playout: Playout, orders: Orders) -> None:
        self.count = self.carried_on = 0
        self.patient = False
        self._book = book
        self._playout = playout
        self._orders = orders
        self._call_id = orders.call_id
        self._doubted: int | None = None  # what played when the playout was paused
        self._paused_at: float | None = None

    def interruptible(self, detected: float, now: float) -> bool:
        """Whether the far side is playing what the caller may interrupt.

        Not what was begun over speech that had been ``detected`` by then: that was meant
        (a say, an answer that waited too long).
        """
        speaking = self._playout.speaking(now)
        if speaking is None:
            return False
        turn = self._book.turns.get(speaking)
        if turn is None:
            return True
        over_speech = turn.first_frame is not None and turn.first_frame > detected
        return turn.interruptible and not over_speech

    def nothing_owed(self, now: float) -> bool:
        """Whether the engine has given all of what the far side plays."""
        turn = self._book.turns.get(self._playout.speaking(now) or self._doubted or 0)
        return turn is None or turn.complete

    def pause(self, now: float) -> None:
        """The caller may have begun to speak: send nothing until it is known."""
        self._doubted = self._playout.speaking(now)
        self._paused_at = now
        self._playout.doubt(now)

    def go_on(self, now: float) -> None:
        """It was nothing: what was paused goes on."""
        self._doubted = self._paused_at = None
        self._playout.trust(now)

    def interrupt(
        self,
        by: Who,
        onset: float,
        now: float,
        *,
        why: Why = "order",
        shelve: bool = False,
        told: bool = True,
    ) -> None:
        """Flush here and at the gateway, and say what was heard.

        ``shelve``: what was speaking may go on later. ``told``: the engine is flushed too.
        """
        self.drop(now)
        speaking = self._playout.speaking(now)
        if speaking is None:
            speaking = self._doubted
        keep = self._shelvable(speaking) if shelve else None
        detected = now if self._paused_at is None else self._paused_at
        played = {line.turn: line for line in self._playout.flush(now, keep)}
        self.go_on(now)
        if not self._book.turns and speaking is None:
            return
        wall = self._orders.wall(now)
        # What plays may be a turn that is over for us (sent again), or the engine's stream.
        current = max(speaking or 0, 0) or max(self._book.turns, default=self._book.count)
        self._orders.add(wire.Flush(self._call_id, current, wall))
        flushed_ms, detected_ms = (round((at - onset) * 1000, 1) for at in (now, detected))
        for turn in list(self._book.turns.values()):
            if by == "caller" and turn.kind == "answer" and turn.first_audio is None:
                continue  # still being thought of: what the caller says decides about it
            if keep is not None and turn.waiting is not None:
                continue  # goes on with what is on the shelf, or is over with it
            line = played.get(turn.number, Played(turn.number))
            stop = Stopped(line, now, flushed_ms, detected_ms)
            if turn.number == keep:
                turn.stopped = stop
                if told:
                    self._tell_stopped(turn, stop, by, why, now)
                continue
            if line.sent_ms:
                self._record_interruption(turn, stop, by, why, now)
            self._book.cut(turn, line, now)

    def _shelvable(self, speaking: int | None) -> int | None:
        """The turn that speaks, when nothing else is on its way to the far side."""
        turn = self._book.turns.get(speaking or 0)
        others = any(t is not turn and t.first_audio is not None for t in self._book.turns.values())
        if turn is None or others or turn.kind == "filler" or self._playout.busy_elsewhere:
            return None
        return turn.number

    def _record_interruption(
        self, turn: Turn, stop: Stopped, by: Who, why: Why, now: float
    ) -> None:
        self.count += 1
        self._orders.add(
            Interrupted(
                call_id=self._call_id,
                wall_ms=self._orders.wall(now),
                turn=turn.number,
                by=by,
                heard_ms=stop.line.heard_ms,
                onset_to_flush_ms=stop.onset_to_flush_ms,
                why=why,
                onset_to_detected_ms=stop.onset_to_detected_ms,
            )
        )

    def _tell_stopped(self, turn: Turn, stop: Stopped, by: Who, why: Why, now: float) -> None:
        stop.told = True
        self._record_interruption(turn, stop, by, why, now)
        if not self.patient:
            self._cancel(turn)
        line = stop.line
        self._orders.tell_engine(engine.TruncateAnswer(turn.number, line.heard_ms, line.heard_text))

    def _cancel(self, turn: Turn) -> None:
        if not turn.complete and not turn.cancelled:
            turn.cancelled = True
            self._orders.tell_engine(engine.CancelAnswer(turn.number))

    # --- the shelf -----------------------------------------------------------

    @property
    def stopped(self) -> Turn | None:
        """The turn on the shelf."""
        return self._book.turns.get(self._playout.shelved or 0)

    @property
    def may_carry_on(self) -> bool:
        """Whether the turn on the shelf can be spoken to its end."""
        turn = self.stopped
        return turn is not None and turn.stopped is not None and not turn.cancelled

    @property
    def far_from_its_end(self) -> bool:
        """Whether the turn on the shelf has so much more to say that a "yeah" is not meant
        as an answer to it."""
        return self.may_carry_on and self._playout.shelf_ms >= limits.LAST_WORDS_MS

    def cut(self, why: Why, now: float) -> None:
        """The caller does want the turn: the engine is told now."""
        turn = self.stopped
        if turn is None or turn.stopped is None:
            return
        self._cancel(turn)
        if not turn.stopped.told:
            self._tell_stopped(turn, turn.stopped, "caller", why, now)

    def carry_on(self, why: Literal["noise", "backchannel"], now: float) -> None:
        """The caller did not want the turn: go on where it was stopped."""
        turn = self.stopped
        if turn is None or turn.stopped is None or not self._playout.unshelve(now):
            return
        stop, turn.stopped = turn.stopped, None
        turn.retold = turn.retold or stop.told
        if not turn.complete:
            turn.deadline = now + limits.ANSWER_STALL_S
        self.carried_on += 1
        stopped_ms = round((now - stop.at) * 1000, 1)
        wall = self._orders.wall(now)
        self._orders.add(CarriedOn(self._call_id, wall, turn.number, why, stopped_ms))

    def drop(self, now: float) -> None:
        """What is on the shelf is over."""
        turn = self.stopped
        self.cut("words", now)
        self._playout.discard_shelf()
        if turn is None or turn.stopped is None:
            return
        stop, turn.stopped = turn.stopped, None
        self._book.over(turn, "interrupted", stop.line, now)
        for waiting in self._book.waiting():
            self._book.cut(waiting, Played(waiting.number), now)
