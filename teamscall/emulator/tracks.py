"""Both sides of a call on one clock: what the caller sent and what the caller heard.

Owns two PCM tracks of equal length, one 20 ms frame per tick, and that a report gets what
they say. Refuses to know files.
"""

from __future__ import annotations

import asyncio

import msgspec

from teamscall.audio.measures import Measures
from teamscall.audio.waveform import measure
from teamscall.emulator.report import Report
from teamscall.wire.events import FRAME_BYTES, FRAME_MS

# One hour of two tracks is 230 MB; a longer call keeps its beginning.
MAX_KEPT_MS = 3_600_000

SILENCE = bytes(FRAME_BYTES)


class Tracks:
    """16 kHz mono s16le PCM of each side, from the session start."""

    def __init__(self, max_ms: int = MAX_KEPT_MS) -> None:
        self._caller = bytearray()
        self._bot = bytearray()
        self._limit = max_ms // FRAME_MS * FRAME_BYTES
        self._first: int | None = None  # byte offsets of the bot's first and last frame
        self._last = 0
        self.truncated = False

    def add(self, caller: bytes, bot: bytes | None) -> None:
        """One tick: 640 bytes sent, 640 bytes heard (None: nothing was playing)."""
        if len(self._caller) >= self._limit:
            self.truncated = True
            return
        if bot is not None:
            if self._first is None:
                self._first = len(self._bot)
            self._last = len(self._bot) + FRAME_BYTES
        self._caller += caller
        self._bot += bot or SILENCE

    @property
    def caller(self) -> bytes:
        """What the caller sent, from the session start to the end."""
        return bytes(self._caller)

    @property
    def bot(self) -> bytes:
        """What the caller heard, on the caller's clock."""
        return bytes(self._bot)

    def measures(self) -> Measures | None:
        """What both sides' sound says; None: nothing was kept. 2 ms of work per second."""
        return measure(self.caller, self.bot) if self._caller else None

    @property
    def reply(self) -> bytes:
        """What the caller heard from the bot's first frame to its last, pauses kept."""
        return bytes(self._bot[self._first or 0 : self._last])


async def with_measures(report: Report, tracks: Tracks | None) -> Report:
    """The report of the call whose sound this is, measured off the loop: other calls go on."""
    if tracks is None:
        return report
    found = await asyncio.to_thread(tracks.measures)
    return msgspec.structs.replace(report, measures=found)
