"""The emulator's side of its calls: one file per call, of raw frames alone.

Owns which message is whose. Refuses to know the emulator.
"""

from __future__ import annotations

from pathlib import Path

from teamscall import __version__
from teamscall.capture.content import Rule
from teamscall.capture.records import FORMAT_VERSION, Header, Way
from teamscall.capture.tape import CallTape, Message
from teamscall.capture.writer import Writer
from teamscall.clock import Clock
from teamscall.wire.events import Dialect, Direction, Dropped, PlaceCall

# A socket that carries several calls: so many are told apart.
MAX_FILES = 1000


class FarSide:
    """Call ``tap`` for every message; ``close`` once at the end.

    ``path`` is the first call's file, those after it get a number. A message that belongs
    to no call goes to the first that is up.
    """

    def __init__(
        self,
        path: Path,
        writer: Writer,
        dialect: Dialect,
        direction: Direction,
        clock: Clock,
        *,
        max_bytes: int,
    ) -> None:
        self._path = path
        self._writer = writer
        self._dialect: Dialect = dialect
        self._direction: Direction = direction
        self._clock = clock
        self._max_bytes = max_bytes
        self._tapes: dict[str, CallTape] = {}
        self._ended: set[str] = set()
        self._files = 0

    def tap(self, way: Way, text: bytes, message: Message) -> None:
        """One text message, ``in`` is to the bridge."""
        now = self._clock.now()
        tape = None if isinstance(message, Dropped) else self._tapes.get(message.call_id)
        if tape is None and (way == "in" or isinstance(message, PlaceCall)):
            tape = self._begin(message, now)
        if tape is None:
            tape = next(iter(self._tapes.values()), None)
        if tape is not None:
            tape.frame(now, way, text, message)

    def over(self, call_id: str) -> None:
        """One call is over."""
        if (tape := self._tapes.pop(call_id, None)) is not None:
            tape.close(self._clock.now(), "over")
            self._ended.add(call_id)  # MAX_FILES at most

    def close(self) -> None:
        """All are."""
        for call_id in list(self._tapes):
            self.over(call_id)

    def _begin(self, message: Message, now: float) -> CallTape | None:
        """None: the bridge named a call that is over, or none."""
        if isinstance(message, Dropped) or message.call_id in self._ended:
            return None
        if self._files >= MAX_FILES:
            return None
        call_id = message.call_id
        self._files += 1
        path = self._path
        if self._files > 1:
            path = path.with_stem(f"{path.stem}-{self._files}")
        rule = Rule("full", self._dialect, emulated=True)
        header = Header(
            FORMAT_VERSION,
            __version__,
            self._dialect,
            call_id,
            self._direction,
            "emulator",
            rule.content,
            rule.why,
            self._clock.wall_ms(),
            now,
        )
        track = self._writer.open(path, header, max_bytes=self._max_bytes, replace=True)
        tape = self._tapes[call_id] = CallTape(track, rule, lambda _: None)
        return tape
