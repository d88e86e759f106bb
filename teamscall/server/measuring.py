"""What a scrape reads of a running bridge.

Owns the one place where the server's, the journal's and the webhooks' counters become
readings. Refuses to know metric names and HTTP.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable

from teamscall.calls.switchboard import Switchboard
from teamscall.capture.writer import Counts
from teamscall.config import Config, resolved_models
from teamscall.journal.store import Journal
from teamscall.metrics.readings import (
    CaptureReading,
    JournalReading,
    OutboundReading,
    Readings,
    WebhookReading,
)
from teamscall.outbound.placing import Outbound
from teamscall.server.bridge import Bridge
from teamscall.server.door import Door
from teamscall.webhooks.hooks import Webhooks


def model_names(config: Config) -> Iterable[str]:
    """Every model that this configuration names, or means by leaving it out."""
    yield from config.prices
    yield from resolved_models(config, datetime.date.today()).values()
    yield from (
        config.response_model,
        config.response.model,
        config.streaming.stt_model,
        config.tts.model,
        config.realtime.model,
        config.realtime.transcription_model,
        config.live.model,
    )


def readings(
    switchboard: Switchboard,
    bridge: Bridge,
    config: Config,
    journal: Journal | None,
    outbound: Outbound,
    webhooks: Webhooks,
    door: Door | None,
    captures: Counts | None = None,
) -> Readings:
    """What is so now. On the event loop; another thread will read it, so all is copied."""
    calls = switchboard.calls
    ready = switchboard.readiness()
    lateness = switchboard.lateness
    return Readings(
        calls=tuple((one.setup.direction, one.setup.dialect, one.phase) for one in calls),
        counters=tuple(one.counters for one in calls),
        slots=config.max_concurrent_calls,
        slots_free=ready.slots_free,
        draining=ready.draining,
        sockets={"csharp": bridge.count("csharp", None), "standin": bridge.count("standin", None)},
        drops=dict(switchboard.drops),
        refusals=dict(bridge.refusals),
        late=tuple(lateness.counts),
        late_total_s=lateness.total_s,
        stalls=bridge.watchdog.stalls,
        longest_stall_s=bridge.watchdog.longest_s,
        journal=None
        if journal is None
        else JournalReading(journal.written, journal.lost, journal.failing, journal.queued),
        outbound=OutboundReading(outbound.ringing, outbound.switched_on),
        webhooks=tuple(
            WebhookReading(one.place, one.waiting, one.retries, dict(one.counts))
            for one in webhooks.states()
        ),
        control=None if door is None else door.visits,
        capture=None
        if captures is None
        else CaptureReading(captures.files, captures.failed, captures.records, captures.dropped),
    )
