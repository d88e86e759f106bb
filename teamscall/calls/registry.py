"""The registry of slots: how many calls at once, and which.

Pure and synchronous: a slot is taken before anything is awaited, so two callers can never
share the last one. A slot is given back exactly once, by whoever took it.
"""

from __future__ import annotations

import collections


class Slots:
    """Bounded slots, each held by one call id."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._held: dict[str, str] = {}
        self._per_address: collections.Counter[str] = collections.Counter()

    @property
    def free(self) -> int:
        return max(0, self.limit - len(self._held))

    @property
    def held(self) -> int:
        return len(self._held)

    def at_address(self, address: str) -> int:
        """Slots held by calls from one host."""
        return self._per_address[address]

    def __contains__(self, call_id: str) -> bool:
        return call_id in self._held

    @property
    def over_limit(self) -> bool:
        """Whether more are held than there are, see ``take``."""
        return len(self._held) > self.limit

    def take(self, call_id: str, address: str = "", *, beyond: int = 0) -> bool:
        """Take a slot; False when all are taken or this call already holds one.

        ``beyond``: so many more than the limit may be held, by legs of which one slot will
        turn out to be held twice.
        """
        if call_id in self._held or len(self._held) >= self.limit + beyond:
            return False
        self._held[call_id] = address
        self._per_address[address] += 1
        return True

    def give_back(self, call_id: str) -> None:
        """Give a slot back; harmless if it is not held."""
        address = self._held.pop(call_id, None)
        if address is None:
            return
        self._per_address[address] -= 1
        if not self._per_address[address]:
            del self._per_address[address]
