"""Rates, pure: who failed too often, and how much is too much at once.

Time is an argument (monotonic seconds). Refuses to know what is being limited.
"""

from __future__ import annotations

import ipaddress
import math
from collections import OrderedDict, deque

TRACKED_ADDRESSES = 4096  # of failed attempts; the longest unseen is forgotten first


class TokenBucket:
    """``rate`` per second on average, ``burst`` at once."""

    __slots__ = ("_at", "_burst", "_rate", "_tokens")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._at = now

    def take(self, now: float, count: int = 1) -> bool:
        """Take ``count`` tokens if they are there; False (and nothing taken) if not."""
        self._refill(now)
        if self._tokens < count:
            return False
        self._tokens -= count
        return True

    def spend(self, now: float, count: int) -> bool:
        """Take ``count`` tokens even into debt; False while there is a debt."""
        self._refill(now)
        self._tokens -= count
        return self._tokens >= 0

    def empty(self, now: float) -> bool:
        """Whether nothing can be taken now."""
        self._refill(now)
        return self._tokens < 0

    def _refill(self, now: float) -> None:
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
        self._at = now


class FailedAttempts:
    """Failed credentials per address within a sliding window.

    Only failures are counted, and a right secret is never asked about here: an attacker
    who shares the gateway's address (a proxy, a NAT) cannot lock the gateway out.
    """

    def __init__(self, limit: int, window_s: float) -> None:
        self._limit = limit
        self._window = window_s
        self._failures: OrderedDict[str, deque[float]] = OrderedDict()

    def resize(self, limit: int, window_s: float) -> None:
        """Count by these from now on; failures that were counted stay."""
        if limit != self._limit:
            for key, times in self._failures.items():
                self._failures[key] = deque(times, maxlen=limit + 1)
        self._limit = limit
        self._window = window_s

    def fail(self, host: str, now: float) -> int:
        """Count one failure of ``host``.

        Returns 0 while the host is within its limit, else the whole seconds after which
        it may try again (``Retry-After``), at least 1.
        """
        key = _network(host)
        times = self._failures.setdefault(key, deque(maxlen=self._limit + 1))
        self._failures.move_to_end(key)
        times.append(now)
        while times and times[0] <= now - self._window:
            times.popleft()
        while len(self._failures) > TRACKED_ADDRESSES:
            self._failures.popitem(last=False)
        if len(times) <= self._limit:
            return 0
        return max(1, math.ceil(times[0] + self._window - now))

    def prune(self, now: float) -> None:
        """Forget hosts whose failures are all older than the window."""
        while self._failures:
            key, times = next(iter(self._failures.items()))
            if times[-1] > now - self._window:
                return  # the order is that of the last failure
            del self._failures[key]

    def __len__(self) -> int:
        return len(self._failures)


def _network(host: str) -> str:
    """An IPv6 peer owns a /64 of addresses: they count as one."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if address.version == 4:
        return host
    return str(ipaddress.ip_network((address, 64), strict=False))
