"""Two secrets at a door: the one in force, and the one that it replaces.

Owns trying a credential with both and telling the operator that the old one is still in
use. Refuses to know requests and what follows from a refusal.

Rules:

1. Both secrets are always tried: neither an answer nor its time tells which one fitted.
2. Words for a refusal are the same whichever secret they rest on.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from typing import Literal

from teamscall.config import Secret
from teamscall.wire.signature import Verdict, secrets_match

# While an old secret is in use, one line of it per table and this long.
PREVIOUS_LINE_S = 60.0

Table = Literal["bridge", "standin"]

# How far a credential got before it failed, furthest first.
_FURTHEST = ("ok", "stale", "mismatch", "malformed", "missing")


class Secrets:
    """The secrets of one table of the configuration. An empty one fits nothing."""

    def __init__(self, current: Secret, previous: Secret) -> None:
        self.current = _utf8(current)
        self.previous = _utf8(previous) if previous != current else b""

    def match(self, given: bytes) -> tuple[bool, bool]:
        """Whether ``given`` is either secret, and whether it is the previous one."""
        fits = secrets_match(given, self.current)
        fits_previous = secrets_match(given, self.previous)
        return fits | fits_previous, fits_previous

    def verify(self, check: Callable[[bytes], Verdict]) -> tuple[Verdict, bool]:
        """The better of the verdicts of ``check`` with each secret, and whether it is an
        ``ok`` that rests on the previous one."""
        verdicts = check(self.current), check(self.previous)
        best = min(verdicts, key=lambda verdict: _FURTHEST.index(verdict.reason))
        return best, best.ok and best is verdicts[1]

    def explain(self, diagnose: Callable[[bytes], str]) -> str:
        """The words of ``diagnose`` for what neither secret fits."""
        words, of_previous = diagnose(self.current), ""
        if self.previous:
            of_previous = diagnose(self.previous)
        return of_previous if words.endswith("secrets differ") and of_previous else words


class PreviousUse:
    """How often the old secrets were used: counted, and logged at a bounded rate.

    A rotation is over once the far side has the new secret: when these lines stop. Time is
    an argument (monotonic seconds).
    """

    def __init__(self, log: logging.Logger) -> None:
        self.counts: Counter[str] = Counter()  # by table, since start
        self._log = log
        self._told: dict[str, tuple[float, int]] = {}  # when, and the count then

    def note(self, table: Table, address: str, now: float) -> None:
        """A credential that the previous secret made was taken."""
        self.counts[table] += 1
        at, count = self._told.get(table, (now - PREVIOUS_LINE_S, 0))
        if now - at < PREVIOUS_LINE_S:
            return
        self._told[table] = now, self.counts[table]
        self._log.info(
            "The previous secret is still in use",
            extra={
                "secret": f"{table}.previous_secret",
                "address": address,
                "times": self.counts[table] - count,
            },
        )


def _utf8(secret: Secret) -> bytes:
    # surrogateescape: environment variables may hold bytes that are not UTF-8.
    return secret.reveal().encode("utf-8", "surrogateescape")
