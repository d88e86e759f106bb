"""How long this caller pauses without being done: the pause that ends a turn, learnt.

One ``Pauses`` per caller. It knows nothing of frames and calls: it is told of each pause
and of each end, in milliseconds.

Rules:

1. Without evidence the pause needed is the one configured.
2. A pause after which the caller went on, nearly or really as long as what is needed,
   raises it to the 90th percentile of this caller's pauses and a margin. One that had
   already ended the turn counts twice: it did harm.
3. Every turn that ends without such a pause takes a quarter of the excess back.
4. Only where it is allowed (``shortest_ms``), and after ``ENOUGH`` pauses, all short, it
   goes below what is configured.
"""

from __future__ import annotations

from collections import deque

# Shorter ones are the closures and gaps within words and phrases.
PAUSE_MS = 200
# A pause scatters: one a little longer than any seen must not cut the caller off.
MARGIN_MS = 150
# The pauses remembered: some minutes of conversation.
REMEMBERED = 20
ENOUGH = 8
FALSE_STOP_WEIGHT = 2
TAKEN_BACK = 0.25
# What is left of an excess is dropped below this: less than one frame.
LEAST_EXCESS_MS = 20
# Voice this soon after an end belongs to what the caller had been saying. Later, it is as
# likely to be the next thing.
WENT_ON_MS = 700


class Pauses:
    """The pause that ends this caller's turn. See the module's rules.

    Args:
        silence_ms: what is configured.
        shortest_ms: never below this; 0 or ``silence_ms`` and more: never below the
            configured one.
        longest_ms: never above this (or ``silence_ms``, if that is more).

    Attributes:
        needed_ms: the pause that ends a turn, as of now.
        false_stops: ends after which the caller went on.
    """

    def __init__(self, silence_ms: int, *, shortest_ms: int = 0, longest_ms: int) -> None:
        self._configured = silence_ms
        self._shortest = shortest_ms if 0 < shortest_ms < silence_ms else silence_ms
        self._longest = max(silence_ms, longest_ms)
        self._seen: deque[int] = deque(maxlen=REMEMBERED)
        self._excess = 0.0  # over the base
        self._hesitant = False  # this turn had a pause that was nearly its end
        self.false_stops = 0

    def went_on(self, pause_ms: int) -> None:
        """The caller paused for so long, and went on before the turn ended."""
        if pause_ms >= PAUSE_MS:
            self._learn(pause_ms, 1)

    def false_stop(self, pause_ms: int) -> None:
        """The caller paused for so long, and went on though the turn had ended."""
        self.false_stops += 1
        self._learn(pause_ms, FALSE_STOP_WEIGHT)

    def ended(self) -> None:
        """The turn ended."""
        if not self._hesitant:
            self._excess *= 1.0 - TAKEN_BACK
            if self._excess < LEAST_EXCESS_MS:
                self._excess = 0.0
        self._hesitant = False

    @property
    def needed_ms(self) -> int:
        return round(min(self._longest, self._base + self._excess))

    @property
    def _base(self) -> int:
        """What is needed without an excess: as configured, or less for a fluent caller."""
        if len(self._seen) < ENOUGH:
            return self._configured
        return min(self._configured, max(self._shortest, self._usual + MARGIN_MS))

    @property
    def _usual(self) -> int:
        """The 90th percentile of the pauses seen (of few, the longest)."""
        return sorted(self._seen)[-(-9 * len(self._seen) // 10) - 1]

    def _learn(self, pause_ms: int, times: int) -> None:
        needed = self.needed_ms
        self._seen.extend([pause_ms] * times)
        if pause_ms + MARGIN_MS <= needed:
            return
        self._hesitant = True
        wanted = max(needed, min(self._longest, self._usual + MARGIN_MS))
        self._excess = max(0.0, wanted - self._base)
