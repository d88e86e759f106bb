"""What the log says of an HTTP request to a vendor that came to nothing: its id above all,
by which the vendor finds it again.

Owns which header that is and what is safe to log. Refuses to know what was asked for.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from teamscall.engines.base import Stage
from teamscall.errors import TeamscallError

log = logging.getLogger("teamscall.engines")

_HEADERS = ("x-request-id", "apim-request-id")  # OpenAI's and its like's; Azure's gateway's
_ID = re.compile(r"[\w.:-]{1,80}", re.ASCII)  # anything else is no id, whatever it is
# A request that is given up sooner after its last byte was not wanted any more: the caller
# interrupted. Later, it stalled.
STALLED_S = 2.0


def request_id(headers: Mapping[str, str]) -> str:
    """What the vendor calls the request that was answered with these headers; "" if unknown."""
    found = (headers.get(name, "") for name in _HEADERS)
    return next((text for text in found if _ID.fullmatch(text)), "")


class Noted:
    """A request on its way."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._moved_at = now()
        self.id = ""

    def answered(self, headers: Mapping[str, str]) -> None:
        """The answer has begun, with these headers."""
        self.id = request_id(headers)
        self.moved()

    def moved(self) -> None:
        """Something of the answer came."""
        self._moved_at = self._now()

    @property
    def silent_s(self) -> float:
        return self._now() - self._moved_at


@contextmanager
def noted(stage: Stage, now: Callable[[], float] = time.monotonic) -> Iterator[Noted]:
    """Around one request: logs that it failed, or was given up while nothing came.

    The vendor's own words are left out: they may quote the key or the caller.
    """
    request = Noted(now)
    try:
        yield request
    except (asyncio.CancelledError, GeneratorExit):
        if request.silent_s >= STALLED_S:
            silent_s = round(request.silent_s, 1)
            extra = {"stage": stage, "request": request.id, "seconds": silent_s}
            log.warning("A request made no progress and was given up", extra=extra)
        raise
    except Exception as error:
        response = getattr(error, "response", None)
        if (headers := getattr(response, "headers", None)) is not None:
            request.answered(headers)
        reason = error.message if isinstance(error, TeamscallError) else type(error).__name__
        extra = {"stage": stage, "request": request.id, "reason": reason}
        if (status := getattr(error, "status_code", None)) is not None:
            extra["status"] = status
        log.warning("A request failed", extra=extra)
        raise
