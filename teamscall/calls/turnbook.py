"""The turns of a call: those that have begun and are not over.

Owns their numbers and their records. Refuses to know playout and what ends a turn.

Rule: every turn that was announced is recorded as over exactly once.
"""

from __future__ import annotations

from teamscall.audio.pacer import Played
from teamscall.calls.orders import Orders
from teamscall.calls.records import EngineTrouble, TurnBegan, TurnEnded, TurnKind, TurnStatus
from teamscall.calls.turns import Turn
from teamscall.engines import base as engine
from teamscall.wire import events as wire


class TurnBook:
    """See the module.

    Attributes:
        turns: begun and not over, by number, in order.
        count: announced so far.
        rested_at: when the latest was over.
        last_trouble: what was recorded of the engine last.
    """

    def __init__(self, orders: Orders, response_timeout_s: float, now: float) -> None:
        self.turns: dict[int, Turn] = {}
        self.count = 0
        self.rested_at = now
        self.last_trouble = ""
        self._orders = orders
        self._call_id = orders.call_id
        self._response_timeout_s = response_timeout_s
        self._last = 0
        self._emotion: wire.Emotion = "neutral"

    def new(self, kind: TurnKind, now: float, *, interruptible: bool = True) -> Turn:
        """A turn that has begun, and is not shown before it is announced."""
        self._last += 1
        deadline = now + self._response_timeout_s
        turn = Turn(self._last, kind, now, deadline, interruptible=interruptible)
        self.turns[turn.number] = turn
        return turn

    def announce(self, turn: Turn, now: float) -> None:
        """Record that it has begun."""
        self.count += 1
        record = TurnBegan(self._call_id, self._orders.wall(now), turn.number, turn.kind)
        self._orders.add(record)

    def owe(self, turn: Turn, now: float) -> None:
        """The engine was asked for it: it owes its first sound."""
        turn.deadline = now + self._response_timeout_s

    def waiting(self) -> list[Turn]:
        """The turns that the engine has not been given yet, in order."""
        return [turn for turn in self.turns.values() if turn.waiting is not None]

    def cut(self, turn: Turn, line: Played, now: float) -> None:
        """End a turn before its end: the engine must stop, and know what was heard."""
        if turn.waiting is None:  # or the engine knows nothing of it
            if not turn.complete:
                self._orders.tell_engine(engine.CancelAnswer(turn.number))
            self._orders.tell_engine(
                engine.TruncateAnswer(turn.number, line.heard_ms, line.heard_text)
            )
        self.over(turn, "interrupted" if line.sent_ms else "cancelled", line, now)

    def over(self, turn: Turn, status: TurnStatus, line: Played, now: float) -> None:
        """It is over; ``line`` is what the ledger says was heard of it."""
        del self.turns[turn.number]
        self.rested_at = now
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
                usage=tuple(turn.usage),
            )
        )
        if not self.turns:
            self.express("neutral")

    def trouble(self, stage: str, detail: str, now: float, *, fatal: bool = False) -> None:
        """Record that an engine degraded or failed."""
        self.last_trouble = detail
        wall = self._orders.wall(now)
        self._orders.add(EngineTrouble(self._call_id, wall, stage, detail, fatal))

    def express(self, emotion: wire.Emotion) -> None:
        """Show a face, where it changed."""
        if emotion != self._emotion:
            self._emotion = emotion
            self._orders.add(wire.Express(self._call_id, emotion))
