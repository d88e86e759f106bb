"""Slots of calls that may come: granted ones, and those that we placed.

Owns who was promised a slot and until when. Pure: time is an argument. Refuses to know
messages, sockets and policy.

Rules:

1. A booking holds exactly one slot; when the call starts, the slot goes with it.
2. A promise has an end: its slot is given back then, whether or not anybody asks.
3. A call that the far side is still to name may come before its name: its leg is let in
   beyond the limit, and until the name is known the two hold a slot each.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from teamscall.calls.registry import Slots
from teamscall.wire.events import Caller

# Bounded against a gateway that asks and never calls.
MAX_BOOKINGS = 1024

_MET = float("inf")


class Grant(msgspec.Struct, frozen=True):
    """An ``auth_request`` that was granted; its slot waits for the ``session_start``."""

    caller: Caller
    until: float
    settings: Mapping[str, object] = {}


class Placed(msgspec.Struct, frozen=True):
    """A call that we asked for and that has not come up yet."""

    opening: str
    notify: bool
    until: float  # of the ringing
    attempt: str = ""  # who asked for it


class Bookings:
    """See the module."""

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self._asked: dict[str, int] = {}  # decisions under way, by call
        self._grants: dict[str, Grant] = {}
        self._placed: dict[str, Placed] = {}
        self._unnamed: dict[str, Placed] = {}  # by attempt

    def __len__(self) -> int:
        return len(self._asked) + len(self._grants) + len(self._placed) + len(self._unnamed)

    @property
    def awaits_leg(self) -> bool:
        """Whether a call that we placed may come up: it needs no free slot."""
        return bool(self._placed or self._unnamed)

    @property
    def unnamed(self) -> int:
        """Calls that we placed and that the far side is still to name."""
        return len(self._unnamed)

    # --- granted -----------------------------------------------------------

    def ask(self, call_id: str, address: str) -> bool:
        """Take the slot of a call about which a decision is to be made.

        Followed by exactly one ``decided``. A call may be asked about again while it is, or
        once it was, granted: the latest decision counts. False: there is no slot.
        """
        known = call_id in self._asked or call_id in self._grants
        if not known and (len(self) >= MAX_BOOKINGS or not self._slots.take(call_id, address)):
            return False
        self._asked[call_id] = self._asked.get(call_id, 0) + 1
        return True

    def decided(self, call_id: str, grant: Grant | None) -> None:
        """What came of one ``ask``; None: it was denied. Too late once the call started."""
        if call_id not in self._asked:
            return
        self._asked[call_id] -= 1
        if not self._asked[call_id]:
            del self._asked[call_id]
        if grant is not None:
            self._grants[call_id] = grant
        else:
            self._grants.pop(call_id, None)
        self._give_back_unless_booked(call_id)

    def revoke(self, call_id: str) -> None:
        """A later decision denied what was granted."""
        if self._grants.pop(call_id, None) is not None:
            self._give_back_unless_booked(call_id)

    def redeem(self, call_id: str) -> Grant | None:
        """Take the grant for a starting call. Its slot is the caller's to keep or give back."""
        grant = self._grants.pop(call_id, None)
        if grant is not None:
            self._asked.pop(call_id, None)  # what is still being decided comes too late
        return grant

    # --- placed -----------------------------------------------------------

    def place(self, call_id: str, placed: Placed) -> bool:
        """Book a call that we ask for; False: no slot, or the id is in use."""
        if len(self) >= MAX_BOOKINGS or not self._slots.take(call_id):
            return False
        self._placed[call_id] = placed
        return True

    def place_unnamed(self, placed: Placed) -> bool:
        """Book a call whose id the far side will choose; ``named`` or ``unplace`` follows."""
        if len(self) >= MAX_BOOKINGS or not self._slots.take(placed.attempt):
            return False
        self._unnamed[placed.attempt] = placed
        return True

    def named(self, attempt: str, call_id: str) -> bool:
        """The far side has named it. False: it is not awaited, or the id is in use."""
        placed = self._unnamed.pop(attempt, None)
        if placed is None:
            return False
        self._slots.give_back(attempt)
        if call_id in self._placed or call_id in self._grants or call_id in self._asked:
            return False
        if call_id in self._slots:  # its leg came first, and has a slot
            placed = msgspec.structs.replace(placed, until=_MET)
        else:  # the one it had; a leg that is nobody's may hold one beyond the limit meanwhile
            self._slots.take(call_id, beyond=self._slots.held)
        self._placed[call_id] = placed
        return True

    def unplace(self, attempt: str) -> None:
        """The far side will not ring: nothing came of it."""
        if self._unnamed.pop(attempt, None) is not None:
            self._slots.give_back(attempt)

    def is_placed(self, call_id: str) -> bool:
        """Whether this call was placed, is named and has not come up."""
        return call_id in self._placed

    def reserve(self, call_id: str, address: str) -> bool:
        """A slot for a leg that is here: the one of its booking, or one of its own."""
        return self.meet(call_id) or self._slots.take(call_id, address, beyond=self.unnamed)

    def meet(self, call_id: str) -> bool:
        """A socket for a placed call is here: no ring timeout any more, its own deadline
        counts. False: no such call, or it has a socket."""
        placed = self._placed.get(call_id)
        if placed is None or placed.until == _MET:
            return False
        self._placed[call_id] = msgspec.structs.replace(placed, until=_MET)
        return True

    def arrive(self, call_id: str) -> Placed | None:
        """Take the booking of a placed call whose leg is here; its slot goes with it."""
        return self._placed.pop(call_id, None)

    # --- ends -----------------------------------------------------------

    def forget(self, call_id: str) -> bool:
        """A call that was granted or placed will not come; whether there was one."""
        known = self._grants.pop(call_id, None) or self._placed.pop(call_id, None)
        if known is not None:
            self._give_back_unless_booked(call_id)
        return known is not None

    def expire(self, now: float) -> list[str]:
        """Give back the slots of what is overdue; the ids of those that we placed."""
        for call_id in [c for c, grant in self._grants.items() if grant.until <= now]:
            self.forget(call_id)
        overdue = [c for c, placed in self._placed.items() if placed.until <= now]
        for call_id in overdue:
            self.forget(call_id)
        return overdue

    def _give_back_unless_booked(self, call_id: str) -> None:
        if call_id not in self._asked and call_id not in self._grants:
            self._slots.give_back(call_id)
