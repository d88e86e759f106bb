"""What a conversation wants done, gathered in order while it takes one event.

Owns the list of commands, the wall time of records, and what is for an engine that is not
up yet. Refuses to know why anything is ordered.
"""

from __future__ import annotations

import collections

from teamscall.calls.events import Command, Setup
from teamscall.calls.settings import KEPT_FRAMES
from teamscall.engines import base as engine


class Orders:
    """See the module.

    Attributes:
        dropped: frames of caller audio that were given up while the engine was not up.
    """

    def __init__(self, setup: Setup, began: float) -> None:
        self.call_id = setup.call_id
        self.engine_ready = False
        self.dropped = 0
        self._began = began
        self._wall_ms = setup.wall_ms
        self._out: list[Command] = []
        self._kept: collections.deque[engine.EngineCommand] = collections.deque()
        self._kept_frames = 0

    def wall(self, now: float) -> int:
        """Epoch milliseconds at ``now``, steady even if the wall clock steps mid-call."""
        return self._wall_ms + round((now - self._began) * 1000)

    def add(self, command: Command) -> None:
        self._out.append(command)

    def take(self) -> list[Command]:
        """What was ordered since last taken."""
        taken, self._out = self._out, []
        return taken

    # --- the engine -----------------------------------------------------------

    def tell_engine(self, command: engine.EngineCommand) -> None:
        """Send it, or keep it until the engine is up: 5 s of audio, oldest dropped first."""
        if self.engine_ready:
            self._out.append(command)
            return
        if type(command) is engine.Hear:
            if self._kept_frames == KEPT_FRAMES:
                oldest = next(i for i, c in enumerate(self._kept) if type(c) is engine.Hear)
                del self._kept[oldest]
                self.dropped += 1
            else:
                self._kept_frames += 1
        self._kept.append(command)

    def engine_is_up(self) -> None:
        """Send what was kept, in order."""
        self.engine_ready = True
        self._out.extend(self._kept)
        self._kept.clear()
        self._kept_frames = 0

    def discard_heard(self) -> None:
        """What was captured and not yet turned into words must not become words."""
        heard = engine.Hear | engine.BeginUtterance | engine.PeekUtterance | engine.CommitUtterance
        kept = [command for command in self._kept if not isinstance(command, heard)]
        self._kept = collections.deque(kept)
        self._kept_frames = 0
        self.tell_engine(engine.DiscardHeard())
