"""What came in, kept for the test that asks."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]
"""One JSON object. The stand-in gives back what it is given, so it stays one."""

MAX_VISITS = 10_000
MAX_EVENTS = 20_000


@dataclass(frozen=True, slots=True)
class Event:
    """One realtime event and the monotonic second at which it came or went.

    Audio is left out of ``body``; its size is in ``audio_bytes``.
    """

    at: float
    type: str
    body: Json = field(default_factory=dict)
    audio_bytes: int = 0


@dataclass(slots=True)
class Visit:
    """One HTTP request, or one socket with all that was said on it.

    ``method`` is ``WS`` for a socket. Times are monotonic seconds. ``close_code`` is the
    peer's. ``hung_up``: the peer left before its answer was complete. ``ended`` is set when
    nothing more will come of this visit.
    """

    at: float
    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Json = field(default_factory=dict)
    status: int = 0
    first_byte_at: float | None = None
    ended_at: float | None = None
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    hung_up: bool = False
    close_code: int | None = None
    request_id: str = ""
    events: deque[Event] = field(default_factory=lambda: deque(maxlen=MAX_EVENTS))
    sent: deque[Event] = field(default_factory=lambda: deque(maxlen=MAX_EVENTS))

    def received(self, type_: str) -> list[Json]:
        """The bodies of the client's events of one type, in order."""
        return [event.body for event in self.events if event.type == type_]

    @property
    def audio_bytes(self) -> int:
        """How much audio came in over this socket."""
        return sum(event.audio_bytes for event in self.events)
