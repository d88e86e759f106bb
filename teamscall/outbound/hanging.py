"""Makes far sides stop ringing, also those that cannot be told at this moment.

Owns what is known of calls that were given up: whom to tell again when a leg of theirs comes
all the same. Refuses to know why a call was given up.

Rule 1: a call that was given up is hung up at its far side, and once more for every leg that
comes late.
Rule 2: what is remembered is bounded, the oldest is forgotten first.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from typing import Literal, TypeVar

from teamscall.calls.switchboard import Switchboard
from teamscall.calls.tasks import Tasks
from teamscall.clock import Clock
from teamscall.journal.kept import KeptOrder
from teamscall.outbound.dialling import Dialling, Far

Side = Far | Literal["socket"]
T = TypeVar("T")

# Calls that were given up: their legs are hung up again when they come all the same.
MAX_GONE = 256
# A far side whose answer was lost may still send a leg for this long.
DOUBT_S = 600.0


class HangingUp:
    """See the module."""

    def __init__(
        self, switchboard: Switchboard, clock: Clock, dialling: Dialling, tasks: Tasks
    ) -> None:
        self._switchboard = switchboard
        self._clock = clock
        self._dialling = dialling
        self._tasks = tasks
        self._gone: OrderedDict[str, Far] = OrderedDict()
        self._later: OrderedDict[str, None] = OrderedDict()  # no gateway was there to tell
        self._doubts: dict[Far, float] = {}  # until when

    def hang_up(self, side: Side, call_id: str) -> None:
        """Make it stop. With a blank ``call_id``: once its answer or its leg names it."""
        if side != "socket" and not call_id:
            self.doubt(side)
        elif side != "socket":
            _remember(self._gone, call_id, side)
            self._tell(side, call_id)
        elif not self._switchboard.hang_up(call_id):
            _remember(self._later, call_id, None)

    def doubt(self, side: Side) -> None:
        """Its answer was lost: a leg that nobody knows may be of that call."""
        if side != "socket":
            self._doubts[side] = self._clock.now() + DOUBT_S

    def gateway_opened(self) -> None:
        """Somebody is there to tell what could not be told before."""
        while self._later:
            self._switchboard.hang_up(self._later.popitem(last=False)[0])

    def leg_refused(self, call_id: str) -> None:
        """A leg came that nobody waits for; its socket was told, its far side is too."""
        far = self._gone.get(call_id)
        if far is not None:
            self._tell(far, call_id)
            return
        now = self._clock.now()
        for far, until in self._doubts.items():
            if until > now:
                self._tell(far, call_id)

    def _tell(self, far: Far, call_id: str) -> None:
        self._tasks.spawn(self._ask(far, call_id), f"hang up {call_id}")

    async def _ask(self, far: Far, call_id: str) -> None:
        await self._dialling.hang_up(far, call_id)


def side_of(order: KeptOrder) -> Side:
    """Who was asked: our own ids go over a gateway's socket."""
    if order.via == "standin":
        return "standin"
    return "socket" if is_ours(order.call_id) else "rest"


def our_call_id(digits: str) -> str:
    """The id that we give a call: ``teams-`` and 16 hex digits."""
    return f"teams-{digits}"


def is_ours(call_id: str) -> bool:
    """Whether we gave a call its id."""
    return re.fullmatch("teams-[0-9a-f]{16}", call_id) is not None


def _remember(these: OrderedDict[str, T], call_id: str, what: T) -> None:
    these[call_id] = what
    while len(these) > MAX_GONE:
        these.popitem(last=False)
