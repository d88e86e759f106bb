"""The life of one call to be: what it is waiting for, and how it ends.

Pure: events in, what has to be done out. Refuses to know time, sockets, far sides'
protocols and what is to be said.

Rules:

1. It ends once, with one outcome; whatever comes after that changes nothing.
2. Whenever it ends without an answer and the far side may still be ringing, the far side is
   told to stop.
3. It counts as answered when somebody listens, not when the far side says so.
"""

from __future__ import annotations

from collections import OrderedDict

import msgspec

from teamscall.calls.placing import FarProgress, FarWord
from teamscall.calls.records import CallClosed, OutboundOutcome, OutboundState

# What the far side says of its own accord: it does not ring any more.
_FINAL: dict[str, OutboundOutcome] = {
    "no-answer": "no-answer",
    "busy": "busy",
    "declined": "declined",
    "failed": "failed",
}

# Words about calls that nobody knows: most are of calls that are long over.
MAX_EARLY_WORDS = 256


class Change(msgspec.Struct, frozen=True):
    """What an event did. ``hang_up``: the far side must be told to stop."""

    state: OutboundState
    outcome: OutboundOutcome | None = None
    detail: str = ""
    hang_up: bool = False


class Life:
    """See the module.

    Attributes:
        call_id: blank until it is known.
        asked: the far side may be ringing.
        lingers: the leg is gone without an answer, and the far side may still say why.
    """

    def __init__(
        self, call_id: str = "", *, state: OutboundState = "requested", asked: bool = False
    ) -> None:
        self.call_id = call_id
        self.state: OutboundState = state
        self.outcome: OutboundOutcome | None = None
        self.detail = ""
        self.asked = asked
        self.lingers = False
        self._answered_there = False  # the far side says so, and no leg has come
        self._why_gone = ""

    @property
    def over(self) -> bool:
        return self.state == "ended"

    @property
    def rings(self) -> bool:
        """Nobody listens yet."""
        return self.state in ("requested", "waiting", "ringing")

    # --- what happens -----------------------------------------------------------

    def wait(self) -> Change | None:
        """There is no gateway to ask."""
        return self._to("waiting") if self.rings and self.state != "waiting" else None

    def ask(self) -> None:
        """The far side is about to be asked: from here on it may be ringing."""
        self.asked = True

    def ringing(self) -> Change | None:
        """The far side was asked, and took it."""
        return self._to("ringing") if self.rings and self.state != "ringing" else None

    def not_asked(self, detail: str, *, may_ring: bool, refused: bool = False) -> Change | None:
        """It was asked and gave no call. ``may_ring``: its answer was lost. ``refused``: it
        does not want to."""
        self.asked = self.asked and may_ring
        return self._end("refused", detail) if refused and self.rings else self.fail(detail)

    def word(self, word: FarWord, detail: str) -> Change | None:
        """The far side says how it goes."""
        if word == "answered":
            self._answered_there = True
        elif self.rings and word in _FINAL:
            self.asked = False
            return self._end(_FINAL[word], detail)
        return None

    def answered(self) -> Change | None:
        """Somebody listens."""
        return self._to("answered") if self.rings else None

    def closed(self, record: CallClosed) -> Change | None:
        """Its leg is gone."""
        why = f"{record.reason}: {record.detail}" if record.detail else record.reason
        if self.state == "answered":
            return self._end("answered", why)
        if not self.rings:
            return None
        if record.reason in _FINAL:
            self.asked = self.asked and record.ended_by != "gateway"
            return self._end(_FINAL[record.reason], record.detail)
        self.lingers = True
        self._why_gone = why
        return None

    def lingered(self) -> Change | None:
        """The far side has not said why the leg went."""
        if not (self.lingers and self.rings):
            return None
        return self._end("failed", f"It ended before anybody answered ({self._why_gone}).")

    def ring_timed_out(self, seconds: float) -> Change | None:
        """The time for ringing, or for waiting, is over."""
        if not self.rings:
            return None
        if self.state == "waiting":
            return self._end("failed", f"No C# gateway connected within {seconds:g} s.")
        if self.lingers:
            return self.lingered()
        if self._answered_there:
            return self._end("failed", "It was answered, but the call's media never came.")
        return self._end("no-answer", f"Nobody answered within {seconds:g} s.")

    def cancel(self, detail: str) -> Change | None:
        """The operator does not want it any more."""
        return self._end("cancelled", detail) if self.rings else None

    def fail(self, detail: str) -> Change | None:
        """It cannot go on."""
        return self._end("failed", detail) if self.rings else None

    def interrupted(self, ended: Change) -> Change:
        """It was answered in a process that is gone."""
        self.state, self.outcome, self.detail = "ended", ended.outcome, ended.detail
        return ended

    def _to(self, state: OutboundState) -> Change:
        self.state = state
        return Change(state)

    def _end(self, outcome: OutboundOutcome, detail: str) -> Change | None:
        if self.over:
            return None
        self.state, self.outcome, self.detail = "ended", outcome, detail
        hang_up = self.asked and outcome != "answered"
        return Change("ended", outcome, detail, hang_up)


class EarlyWords:
    """What the far side said of calls that it is still to name: that they ring no more may
    overtake the answer that names them. Bounded, the oldest is forgotten first."""

    def __init__(self) -> None:
        self._words: OrderedDict[str, FarProgress] = OrderedDict()

    def keep(self, event: FarProgress) -> None:
        """Keep it if it is final; of several the first."""
        if event.word in _FINAL:
            self._words.setdefault(event.call_id, event)
            if len(self._words) > MAX_EARLY_WORDS:
                self._words.popitem(last=False)

    def take(self, call_id: str) -> FarProgress | None:
        """What was said of this call, once."""
        return self._words.pop(call_id, None)
