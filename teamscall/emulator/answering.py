"""What the emulated far side does when the bridge asks it to ring somebody.

Owns the frozen description only. Refuses to know sockets, clocks and what is said once
somebody has picked up (that is ``plan``'s).
"""

from __future__ import annotations

from typing import Literal, get_args

import msgspec

Answer = Literal["pick-up", "no-answer", "busy", "declined", "failed"]
ANSWERS: tuple[str, ...] = get_args(Answer)

# A person needs about this long to take a phone out of a pocket.
RING_S = 2.0

# What rings "until the bridge stops it" ends all the same: longer than any ring timeout
# that a bridge of ours can be given.
MAX_RING_S = 660.0

# Calls at the same time: no more than one process can speak in without losing its pace.
MAX_LINES = 16


class Answering(msgspec.Struct, frozen=True):
    """How calls are answered.

    ``ring_s`` None: two seconds, but ``no-answer`` rings until the bridge stops it.
    ``late_s``: ring until the bridge stops it, and pick up that much later all the same.
    """

    answer: Answer = "pick-up"
    ring_s: float | None = None
    late_s: float | None = None
    calls: int = 1  # how many are taken; 0: until stopped
    lines: int = MAX_LINES  # at the same time
    listen: tuple[str, int] | None = None  # the control endpoint; port 0: any free one
    leg_first: bool = False  # StandIn: dial before the request is answered
    own_socket: bool = False  # C#: a call comes on a socket of its own
    hold_socket: bool = True  # C#: keep one open to be asked on

    @property
    def ring_for_s(self) -> float:
        """Seconds from the first ring to what ends it."""
        if self.late_s is not None:
            return MAX_RING_S
        if self.ring_s is not None:
            return min(self.ring_s, MAX_RING_S)
        return MAX_RING_S if self.answer == "no-answer" else RING_S

    @property
    def rings(self) -> bool:
        """Whether a phone rings at all: a busy line and a failure do not."""
        return self.answer not in ("busy", "failed")


class Asked(msgspec.Struct, frozen=True):
    """Who is to be rung, as the bridge said it. ``message``: what it wants to tell (C#)."""

    call_id: str
    target_type: Literal["user", "phone"]
    target: str
    tenant_id: str = ""
    message: str = ""
