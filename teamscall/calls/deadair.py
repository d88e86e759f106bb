"""Dead air: when nobody has said anything for too long.

Owns the two moments of a silence, the question and the hang-up. Pure. Refuses to know what
is said then, and what counts as somebody speaking.
"""

from __future__ import annotations

import math
from typing import Literal

from teamscall.calls.settings import Silence


class DeadAir:
    """See the module. One question per silence; a silence ends when the caller is heard."""

    def __init__(self, settings: Silence, now: float) -> None:
        self._settings = settings
        self._since = now
        self._heard_at = now
        self._asked_at: float | None = None
        self._next = math.inf

    def heard(self, now: float) -> None:
        """A sign of life other than a voice: a key."""
        self._heard_at = now

    def pause(self) -> None:
        """Somebody speaks or is about to: nothing is due."""
        self._next = math.inf

    def advance(
        self, last_voice: float, rested_at: float, now: float
    ) -> Literal["reprompt", "hangup"] | None:
        """Nobody speaks: what is due at ``now``, once.

        ``last_voice``: of the caller; ``rested_at``: when the bot fell silent.
        """
        alive = max(last_voice, self._heard_at)
        if self._asked_at is not None and alive > self._asked_at:
            self._asked_at = None
        if self._asked_at is None:
            self._since = max(alive, rested_at)
        s = self._settings
        asks = s.reprompt_after_s > 0 and s.reprompt and self._asked_at is None
        ask_at = self._since + s.reprompt_after_s if asks else math.inf
        hang_up_at = self._since + s.hangup_after_s if s.hangup_after_s > 0 else math.inf
        if hang_up_at <= now:
            self._next = math.inf
            return "hangup"
        if ask_at <= now:
            self._asked_at = now
            self._next = hang_up_at
            return "reprompt"
        self._next = min(ask_at, hang_up_at)
        return None

    def next_deadline(self) -> float:
        return self._next
