"""The seam between a call and its transport.

The server implements ``Link`` (one per socket); the switchboard implements what the
server calls. Neither imports the other's inside.
"""

from __future__ import annotations

from typing import Literal, Protocol

import msgspec

from teamscall.wire.events import Dialect, Dropped, FromGateway, Outcome, ToGateway

Unavailable = Literal["draining", "capacity", "address-capacity"]


class Link(Protocol):
    """One open WebSocket, seen from the calls."""

    @property
    def dialect(self) -> Dialect: ...

    @property
    def address(self) -> str:
        """The peer's ``host:port``."""
        ...

    @property
    def lead_ms(self) -> int:
        """How far ahead of its playout this dialect's far side may be fed, in milliseconds."""
        ...

    @property
    def dropped_out(self) -> int:
        """Audio frames not sent because the peer reads too slowly."""
        ...

    def send(self, message: ToGateway) -> None:
        """Encode and write. Never blocks; after ``close`` it does nothing.

        Audio above the send cap is dropped oldest first; a ``Flush`` also drops what is
        still queued here.
        """
        ...

    def close(self, code: int, reason: str) -> None:
        """Start the close handshake; bounded, idempotent. The first call wins."""
        ...


class Readiness(msgspec.Struct, frozen=True):
    """What ``GET /readyz`` says."""

    ready: bool
    draining: bool
    active_calls: int
    slots_free: int


class Exchange(Protocol):
    """What the server may ask of the calls. All methods are synchronous and never block."""

    def unavailable(self, dialect: Dialect, address: str) -> Unavailable | None:
        """Why no further StandIn call can come from this host now; None when one can.

        Asked before a signature is spent. ``address`` is the peer's host without port.
        """
        ...

    def reserve(self, call_id: str, address: str) -> bool:
        """Take a slot for a verified StandIn upgrade; False when a live call has this id."""
        ...

    def connected(self, link: Link, call_id: str | None) -> None:
        """The upgrade is done. ``call_id``: the StandIn path's id, whose slot is reserved."""
        ...

    def received(self, link: Link, event: FromGateway) -> None:
        """One decoded message."""
        ...

    def dropped(self, link: Link, dropped: Dropped) -> None:
        """One message that could not be decoded."""
        ...

    def disconnected(self, link: Link, reason: str) -> None:
        """The socket is gone, for whatever reason; called exactly once per ``connected``."""
        ...

    def outcome(self, call_id: str, outcome: Outcome) -> None:
        """StandIn reported how a placed call ended."""
        ...

    def readiness(self) -> Readiness: ...
