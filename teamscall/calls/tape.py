"""The seam between a bridge's calls and whatever records them.

``capture`` implements both; sockets and calls are given one or None. Nothing here blocks,
raises or changes what a call does.
"""

from __future__ import annotations

from typing import Protocol

from teamscall.calls.admission import Admission
from teamscall.calls.events import Setup
from teamscall.calls.link import Link
from teamscall.calls.settings import CallSettings
from teamscall.wire.events import Dropped, FromGateway, ToGateway


class Tape(Protocol):
    """What one conversation was told and returned."""

    def opened(self, now: float) -> None:
        """``Conversation.open`` is about to be called."""
        ...

    def step(self, now: float, event: object) -> None:
        """The conversation is about to be given this."""
        ...

    def did(self, command: object) -> None:
        """It returned this, which is about to be carried out."""
        ...

    def close(self, now: float, reason: str) -> None:
        """The call is over."""
        ...


class Tapes(Protocol):
    """One per bridge."""

    def heard(
        self, link: Link, call_id: str, text: bytes, event: FromGateway | Dropped, now: float
    ) -> None:
        """A message came, and is about to be delivered as ``event``; ``call_id`` is the
        socket's own, empty where each message has one."""
        ...

    def said(self, link: Link, text: bytes, message: ToGateway, now: float) -> None:
        """A message was encoded for a socket that is open."""
        ...

    def decided(self, admission: Admission) -> None:
        """A decision was taken on a call that may begin."""
        ...

    def tape(self, setup: Setup, settings: CallSettings, began: float) -> Tape | None:
        """A conversation begins; None: it is not recorded."""
        ...
