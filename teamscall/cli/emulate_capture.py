"""``emulate --capture``: the far side's raw frames to a file.

Owns the file's life around the calls. Refuses to know records.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

from teamscall.capture.far_side import FarSide
from teamscall.capture.writer import Writer
from teamscall.clock import SystemClock
from teamscall.wire.events import Dialect, Direction

MAX_BYTES = 250_000_000  # of one file, as capture.max_mb
STOP_S = 5.0


@contextlib.contextmanager
def captured(
    path: Path | None, dialect: str, direction: str, warn: Callable[[str], None]
) -> Iterator[FarSide | None]:
    """What taps the calls until the exit, which writes what waits. Without a ``path``: None."""
    if path is None:
        yield None
        return
    writer = Writer(lambda detail: warn(f"the capture cannot be written: {detail}"))
    far_side = FarSide(
        path,
        writer,
        cast(Dialect, dialect),
        cast(Direction, direction),
        SystemClock(),
        max_bytes=MAX_BYTES,
    )
    try:
        yield far_side
    finally:
        far_side.close()
        if not writer.stop(STOP_S):
            warn("the capture is not complete: the disk is too slow")
