"""`serve` with an engine whose sessions swallow their cancellation, for the test of its end.

Argument: the journal's directory. The rigs must be on PYTHONPATH. Every bound is shortened:
what is tested is that there is one.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from unittest.mock import patch

from faults_rig import Probe, ProbeSession, calling, make_config

from teamscall.calls import call, switchboard
from teamscall.cli import logs
from teamscall.config import Shutdown
from teamscall.server import run


async def never_end(session: ProbeSession) -> None:
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            continue


def ready(up: run.Running) -> None:
    """Call, and be hung up on by the signal."""

    async def one_call() -> None:
        url = next(one.urls[0] for one in up.listening if "standin" in one.dialects)
        async with calling(url, "c") as caller:
            await caller.count(5)
            os.kill(os.getpid(), signal.SIGTERM)
            await caller.ended()

    asyncio.get_running_loop().run_in_executor(None, asyncio.run, one_call())


logs.set_up("json", "info")
with (
    patch.object(call, "ENGINE_CLOSE_S", 0.2),
    patch.object(call, "ENGINE_CANCEL_S", 0.2),
    patch.object(switchboard, "DRAIN_CLOSE_S", 0.2),
    patch.object(run, "EXIT_S", 0.5),
    patch.object(run, "build_engine", lambda config: Probe("none", None, never_end)),
):
    config = make_config(Path(sys.argv[1]), shutdown=Shutdown(drain_seconds=0.2))
    run.serve_process(config, on_ready=ready)
