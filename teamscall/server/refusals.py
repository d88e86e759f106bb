"""What was turned away: counted by reason, logged at a bounded rate.

The field's complaint number one is a secret mismatch that nobody can see, so every
refusal is one structured line in operator words. An attacker must not be able to fill a
disk with them: per reason and address a few lines are written, the rest is counted and
summed up in one line per window. Owns the reasons and what each answers. Refuses to know
why anything is refused, and never sees a secret.
"""

from __future__ import annotations

import logging
from collections import Counter, OrderedDict
from typing import Literal

import msgspec

from teamscall.text import printable

WINDOW_S = 10.0  # one burst of lines, then one summary, per window
LINES_PER_WINDOW = 5  # per reason and address: enough to read a pattern off
LINES_PER_WINDOW_TOTAL = 200  # over all addresses: a /64 has many
TRACKED = 1024  # (reason, address) pairs remembered within one window
LAST = 24  # of each kind, for ``teamscall doctor --last-failures``

Refusal = Literal[
    "wrong-path",
    "bad-call-id",
    "wrong-method",
    "plain-http",
    "draining",
    "capacity",
    "address-capacity",
    "signature-missing",
    "signature-malformed",
    "signature-stale",
    "signature-mismatch",
    "replayed",
    "secret-missing",
    "secret-mismatch",
    "too-many-attempts",
    "duplicate-call",
    "bad-upgrade",
    "malformed",
    "head-too-large",
    "http-version",
    "open-timeout",
    "body-too-large",
    "bad-outcome",
]

# A drained process is replaced, which takes its time; a slot is freed by any hang-up.
RETRY_AFTER_S: dict[Refusal, int] = {"draining": 30, "capacity": 5, "address-capacity": 5}

# What each refusal answers. The body is the status's alone.
STATUS: dict[Refusal, int] = {
    "wrong-path": 404,
    "bad-call-id": 400,
    "wrong-method": 405,
    "plain-http": 426,
    "draining": 503,
    "capacity": 503,
    "address-capacity": 503,
    "signature-missing": 401,
    "signature-malformed": 401,
    "signature-stale": 401,
    "signature-mismatch": 401,
    "replayed": 401,
    "secret-missing": 401,
    "secret-mismatch": 401,
    "too-many-attempts": 429,
    "duplicate-call": 409,
    "bad-upgrade": 400,
    "malformed": 400,
    "head-too-large": 431,
    "http-version": 505,
    "open-timeout": 408,
    "body-too-large": 413,
    "bad-outcome": 400,
}
BODIES = {
    400: "bad request",
    401: "unauthorized",
    404: "not found",
    405: "method not allowed",
    408: "request timeout",
    409: "call is live",
    413: "body too large",
    426: "websocket upgrade required",
    429: "too many attempts",
    431: "request head too large",
    503: "unavailable",
    505: "http version not supported",
}


# What somebody who should be let in is told when the two sides do not agree. They are kept
# apart: a scan of the internet must not wash them away.
_CREDENTIALS = frozenset(
    {
        "signature-missing",
        "signature-malformed",
        "signature-stale",
        "signature-mismatch",
        "replayed",
        "secret-missing",
        "secret-mismatch",
        "too-many-attempts",
    }
)


class Turned(msgspec.Struct, frozen=True):
    """One who was turned away, ``times`` in a row for the same; ``at`` monotonic seconds."""

    at: float
    reason: str
    host: str
    call_id: str
    detail: str
    times: int = 1


class Refusals:
    """Count refusals by reason; log the first few per address, then a sum per window.

    Time is an argument (monotonic seconds).
    """

    def __init__(self, log: logging.Logger) -> None:
        self.counts: Counter[str] = Counter()  # by reason, since start
        self.log = log
        self._window_ends = 0.0
        self._lines = 0
        self._seen: OrderedDict[tuple[str, str], int] = OrderedDict()
        self._untracked = 0
        self._last: dict[bool, OrderedDict[tuple[str, str, str], Turned]] = {
            True: OrderedDict(),
            False: OrderedDict(),
        }

    def last(self) -> list[Turned]:
        """Who was turned away last, newest first; not the doctor."""
        both = [turned for kept in self._last.values() for turned in kept.values()]
        return sorted(both, key=lambda turned: -turned.at)

    def note(
        self,
        reason: str,
        address: str,
        now: float,
        *,
        status: int = 0,
        call_id: str = "",
        detail: str = "",
        doctor: bool = False,
    ) -> None:
        """Count one refusal and log it if this window still has room.

        ``call_id`` may be anything a peer sent; it is made printable here. ``doctor``: one of
        our own dials, which nobody has to be told of again.
        """
        self.counts[reason] += 1
        if not doctor:
            self._keep(reason, address, now, printable(call_id, 128), detail)
        if now >= self._window_ends:
            self.tick(now)
            self._window_ends = now + WINDOW_S
        key = (reason, address.rpartition(":")[0] or address)
        seen = self._seen.get(key, 0)
        if not seen and len(self._seen) >= TRACKED:
            self._untracked += 1
            return
        self._seen[key] = seen + 1
        if seen >= LINES_PER_WINDOW or self._lines >= LINES_PER_WINDOW_TOTAL:
            return
        self._lines += 1
        fields: dict[str, object] = {"reason": reason, "address": address}
        if status:
            fields["status"] = status
        if call_id:
            fields["callId"] = printable(call_id, 128)
        if detail:
            fields["detail"] = detail
        self.log.warning("Refused", extra=fields)

    def _keep(self, reason: str, address: str, now: float, call_id: str, detail: str) -> None:
        kept = self._last[reason in _CREDENTIALS]
        host = address.rpartition(":")[0] or address
        # A skew differs by milliseconds each time: the reason alone says that it is the same.
        key = (reason, host, "" if reason == "signature-stale" else detail)
        before = kept.pop(key, None)
        times = before.times + 1 if before else 1
        kept[key] = Turned(now, reason, host, call_id, detail, times)
        if len(kept) > LAST:
            kept.popitem(last=False)

    def tick(self, now: float) -> None:
        """Write the sums of a window that has ended; at most a handful of lines."""
        if now < self._window_ends or not (self._seen or self._untracked):
            return
        hidden: Counter[str] = Counter()
        hosts: dict[str, set[str]] = {}
        budget = LINES_PER_WINDOW_TOTAL
        for (reason, host), seen in self._seen.items():
            shown = min(seen, LINES_PER_WINDOW, budget)
            budget -= shown
            if seen > shown:
                hidden[reason] += seen - shown
                hosts.setdefault(reason, set()).add(host)
        if self._untracked:
            hidden["other"] += self._untracked
        for reason, count in hidden.items():
            where = hosts.get(reason, set())
            self.log.warning(
                "Refused more, not logged one by one",
                extra={
                    "reason": reason,
                    "count": count,
                    "addresses": len(where),
                    "address": next(iter(where)) if len(where) == 1 else "",
                },
            )
        self._seen.clear()
        self._untracked = 0
        self._lines = 0
