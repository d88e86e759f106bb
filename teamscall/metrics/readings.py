"""What is read at the moment of a scrape: structs of plain numbers.

Whoever runs the bridge fills them in; this room knows no server, no journal and no webhook.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from teamscall.calls.records import CallCounters


class JournalReading(msgspec.Struct, frozen=True):
    """The record on disk. ``queued``: records that wait for it."""

    written: int
    lost: int
    failing: bool
    queued: int


class OutboundReading(msgspec.Struct, frozen=True):
    """Placing calls. ``switched_on``: the operator's switch."""

    ringing: int
    switched_on: bool


class WebhookReading(msgspec.Struct, frozen=True):
    """One webhook. ``results``: events by what became of them."""

    place: str  # webhooks[0]
    queued: int
    retries: int
    results: Mapping[str, int]


class CaptureReading(msgspec.Struct, frozen=True):
    """Captures on disk. ``failed``: files that a disk's error ended."""

    files: int
    failed: int
    records: int
    dropped: int


class Readings(msgspec.Struct, frozen=True):
    """One moment of a bridge.

    Attributes:
        calls: (direction, dialect, phase) of each running call.
        counters: of each running call, so far.
        sockets: open WebSockets by dialect.
        drops: messages that were dropped, by cause; since the start.
        refusals: requests that were refused, by reason; since the start.
        late: frames by bucket of ``teamscall.calls.lateness``, and the sum in seconds.
        stalls: how often the event loop was blocked; ``longest_stall_s``: the longest.
        control: open connections of operators; None without a door.
        capture: None where calls are not captured.
    """

    calls: tuple[tuple[str, str, str], ...] = ()
    counters: tuple[CallCounters, ...] = ()
    slots: int = 0
    slots_free: int = 0
    draining: bool = False
    sockets: Mapping[str, int] = {}
    drops: Mapping[str, int] = {}
    refusals: Mapping[str, int] = {}
    late: tuple[int, ...] = ()
    late_total_s: float = 0.0
    stalls: int = 0
    longest_stall_s: float = 0.0
    journal: JournalReading | None = None
    outbound: OutboundReading | None = None
    webhooks: tuple[WebhookReading, ...] = ()
    control: int | None = None
    capture: CaptureReading | None = None
