"""Telling somebody of a message that nobody heard.

Owns one telling. Refuses to know when it is tried again and when it is enough: whoever
places calls keeps the message and asks anew.
"""

from __future__ import annotations

import logging

from teamscall.clock import Clock, SystemClock
from teamscall.config import Outbound
from teamscall.journal.kept import Undelivered
from teamscall.webhooks.delivery import deliver
from teamscall.webhooks.messages import UndeliveredMessage, encode, iso

log = logging.getLogger("teamscall.webhooks")

TYPE = "outbound.undelivered"
# Nobody waits for it, and the message is kept meanwhile.
TELL_S = 10.0


class Teller:
    """Tells ``outbound.undelivered_command`` or ``undelivered_url``.

    The id of what is told is the attempt's, the same whenever it is told again: a receiver
    knows a repetition by it.
    """

    def __init__(self, settings: Outbound, clock: Clock | None = None) -> None:
        self._settings = settings
        self._clock = clock or SystemClock()

    async def __call__(self, undelivered: Undelivered) -> bool:
        """Tell it; whether it was taken. Also True where nobody is to be told. Raises nothing,
        and takes at most ``TELL_S``."""
        settings = self._settings
        if not (settings.undelivered_command or settings.undelivered_url):
            return True
        message = UndeliveredMessage(
            attempt=undelivered.attempt,
            call_id=undelivered.call_id,
            to=undelivered.target,
            message=undelivered.message,
            outcome=undelivered.outcome,
            detail=undelivered.detail,
            asked_at=iso(undelivered.asked_ms),
            ended_at=iso(undelivered.ended_ms),
        )
        tried = await deliver(
            undelivered.attempt,
            encode(undelivered.attempt, TYPE, self._clock.wall_ms(), message),
            url=settings.undelivered_url,
            command=settings.undelivered_command,
            secret=settings.undelivered_secret,
            timeout_s=TELL_S,
            clock=self._clock,
        )
        if tried.result != "taken":
            log.warning(
                "Nobody could be told of an undelivered message",
                extra={"attempt": undelivered.attempt, "detail": tried.detail},
            )
        return tried.result == "taken"
