"""The operator's door of one bridge, with all that answers behind it.

Owns the wiring between the control plane and the rooms that it tells of.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from teamscall.calls.switchboard import Switchboard
from teamscall.clock import Clock
from teamscall.config import Config
from teamscall.control.history import History
from teamscall.control.methods import Methods
from teamscall.control.operator import Operator, Site
from teamscall.control.protocol import Failure, JournalStatus, Listens
from teamscall.control.stream import Stream
from teamscall.engines.base import Engine
from teamscall.journal.store import Journal
from teamscall.outbound.placing import Outbound
from teamscall.server.bridge import Bridge, Listening
from teamscall.server.door import Door
from teamscall.server.reload import Reloading


def the_door(
    config: Config,
    *,
    switchboard: Switchboard,
    outbound: Outbound,
    bridge: Bridge,
    listening: tuple[Listening, ...],
    engine: Callable[[], Engine],
    journal: Journal | None,
    reloading: Reloading | None,
    path: Path | None,
    clock: Clock,
) -> Door:
    """A door that is still shut. From here on it remembers what goes on.

    Args:
        engine: the one that new calls get now.
        path: the configuration's file; None: there is none.
    """

    def of_journal() -> JournalStatus:
        if journal is None:
            return JournalStatus()
        return JournalStatus(
            path=str(journal.path),
            failing=journal.failing,
            written=journal.written,
            lost=journal.lost,
        )

    def at_ms(now: float) -> int:
        return clock.wall_ms() - round((clock.now() - now) * 1000)

    def failures() -> tuple[Failure, ...]:
        return tuple(
            Failure(
                at_ms=at_ms(one.at),
                reason=one.reason,
                address=one.host,
                call_id=one.call_id,
                detail=one.detail,
                times=one.times,
            )
            for one in bridge.refused.last()
        )

    site = Site(
        pid=os.getpid(),
        started_ms=clock.wall_ms(),
        engine=lambda: engine().describe(),
        listening=tuple(Listens(dialects=one.dialects, urls=one.urls) for one in listening),
        config_path=str(path.absolute()) if path else "",
        gateways=lambda: bridge.count("csharp", None),
        refusals=lambda: bridge.refusals,
        journal=of_journal,
        failures=failures,
        taken_ms=lambda: {name: at_ms(when) for name, when in bridge.gate.taken.items()},
    )
    operator = Operator(
        config,
        switchboard,
        outbound,
        History(journal.path if journal else None),
        site,
        clock,
        reload=reloading.reload if reloading else None,
    )
    if reloading is not None:
        reloading.follow(operator.reconfigure)
    stream = Stream(clock, switchboard.measure_levels)
    switchboard.watch(stream.record)
    return Door(config, Methods(operator, stream))
