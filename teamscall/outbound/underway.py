"""One call that is under way, and what belongs to it.

Owns nothing but that: what moves it is in ``ringing``, how it goes in ``attempt``.
"""

from __future__ import annotations

import asyncio

from teamscall.errors import PlacingError
from teamscall.journal.kept import KeptOrder
from teamscall.outbound.attempt import Life
from teamscall.outbound.hanging import Side
from teamscall.outbound.orders import Attempt
from teamscall.outbound.target import Target


class Ringing:
    """One call that is being placed, or was answered and goes on."""

    def __init__(self, order: KeptOrder, target: Target, far: Side, life: Life) -> None:
        self.order = order
        self.target = target
        self.far = far
        self.life = life
        self.ended_ms: int | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.news = asyncio.Event()  # a gateway came, or it is over
        self.adoptable = False  # restored, and nobody will name it but its leg
        self.on_disk = True  # as far as is known
        # Set once it rings, waits or is over; what went wrong, if that was it.
        self.placed: asyncio.Future[PlacingError | None] = (
            asyncio.get_running_loop().create_future()
        )

    def attempt(self) -> Attempt:
        """As others may see it."""
        o = self.order
        return Attempt(
            attempt=o.attempt,
            call_id=self.life.call_id,
            target=o.target,
            mode=o.mode,
            via=o.via,
            state=self.life.state,
            asked_ms=o.asked_ms,
            by=o.asked_by,
            outcome=self.life.outcome,
            detail=self.life.detail,
            ended_ms=self.ended_ms,
        )

    def is_placed(self, error: PlacingError | None = None) -> None:
        """Whoever placed it need not wait any longer."""
        if not self.placed.done():
            self.placed.set_result(error)
