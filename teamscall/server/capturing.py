"""Captures of a running bridge: opens the folder, taps sockets and calls, ends in time.

Refuses to know what is in a capture.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncIterator
from pathlib import Path

from teamscall.calls.switchboard import Switchboard
from teamscall.capture.tape import Taps, Wanted
from teamscall.capture.writer import DIRECTORY_MODE, Counts, Writer
from teamscall.config import Capture
from teamscall.errors import ConfigError
from teamscall.server.bridge import Bridge
from teamscall.text import printable

log = logging.getLogger("teamscall.bridge")

# What still waits for the disk when the last call is over.
STOP_S = 5.0
MB = 1_000_000


def open_folder(capture: Capture) -> Path:
    """The folder of the captures, made where it is missing, for this user alone.

    Raises:
        ConfigError: nothing can be written there.
    """
    folder = Path(capture.dir)
    try:
        folder.mkdir(DIRECTORY_MODE, parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(None, "Permission denied")
    except OSError as error:
        raise ConfigError(
            f"No captures can be written to {printable(str(folder))}: {error.strerror or error}.",
            hint="Set capture.dir to a folder of yours, or leave it out.",
        ) from error
    return folder


@contextlib.asynccontextmanager
async def capturing(
    capture: Capture, switchboard: Switchboard, bridge: Bridge, *, emulated: Path | None = None
) -> AsyncIterator[Counts]:
    """Capture every call that starts from enter to exit; the exit writes what waits.

    ``emulated``: the file that the one call of an emulated caller goes to, with everything;
    it replaces an older one.

    Raises:
        ConfigError: see ``open_folder``.
    """
    writer = Writer(_warn)
    max_bytes = capture.max_mb * MB
    if emulated is None:
        wanted = Wanted(capture.content, max_bytes, capture.without_status)
        taps = Taps(open_folder(capture), writer, wanted)
    else:
        wanted, name = Wanted("full", max_bytes, emulated=True), emulated.name
        taps = Taps(emulated.parent, writer, wanted, name=lambda _id, _ms: name, replace=True)
    switchboard.record(taps)
    bridge.record(taps)
    try:
        yield writer.counts
    finally:
        if not await asyncio.to_thread(writer.stop, STOP_S):
            log.error("Captures are not complete: the disk is too slow")


def _warn(detail: str) -> None:
    log.warning("A capture cannot be written; calls go on without", extra={"detail": detail})
