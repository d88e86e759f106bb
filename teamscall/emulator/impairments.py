"""A bad network between a far side and its bridge, the same one every time.

Owns which frames are lost, late, twice or out of order, by a seed and the frame's number
alone: the same seed hits the same frames, whatever else happens. Refuses to know clocks and
sockets: ``now`` is monotonic seconds; ``impaired_link`` carries it out.

Rule 1: ``seq`` is what a gateway would have sent; a lost frame has spent its own.
Rule 2: only audio is impaired. What else a gateway says is never lost on its TCP.
Rule 3: jitter and bursts keep the order; only ``reorder`` changes it.
"""

from __future__ import annotations

import random
from typing import Generic, Literal, TypeVar

import msgspec

from teamscall.wire.events import FRAME_MS

FRAME_S = FRAME_MS / 1000
T = TypeVar("T")

# A frame that leaves this much after its time is late: its slot has passed.
LATE_S = FRAME_S

# One direction's frames that wait, a minute of them; what comes on top is lost.
MAX_WAITING = 3_000


class Impairment(msgspec.Struct, frozen=True):
    """One direction. Shares are 0 to 1; a burst holds everything back for ``burst_s`` and
    then lets it go at once, every ``burst_every_s`` seconds."""

    loss: float = 0.0
    jitter_s: float = 0.0
    reorder: float = 0.0
    duplicate: float = 0.0
    burst_s: float = 0.0
    burst_every_s: float = 0.0

    @property
    def none(self) -> bool:
        return self == NO_IMPAIRMENT


NO_IMPAIRMENT = Impairment()


class Impairments(msgspec.Struct, frozen=True):
    """Both directions; ``skew_ppm``: how much faster the far side's clock runs than ours;
    ``read_pause_s``: after each message that it reads, as a slow peer does."""

    to_bridge: Impairment = NO_IMPAIRMENT
    from_bridge: Impairment = NO_IMPAIRMENT
    skew_ppm: float = 0.0
    read_pause_s: float = 0.0
    seed: int = 1

    @property
    def on_the_way(self) -> bool:
        """Whether the link has anything to do."""
        return not self.to_bridge.none or not self.from_bridge.none or self.read_pause_s > 0


NO_IMPAIRMENTS = Impairments()


class Hit(msgspec.Struct, frozen=True):
    """What was done to the frames of one direction."""

    frames: int = 0
    lost: int = 0
    late: int = 0
    duplicated: int = 0
    reordered: int = 0


class Fate(msgspec.Struct, frozen=True):
    """Of one frame: how often it leaves, how late, and whether behind its successor."""

    copies: int
    delay_s: float
    swapped: bool


def fate(spec: Impairment, seed: int, way: Literal["in", "out"], number: int) -> Fate:
    """What happens to frame ``number`` (0, 1, ...) of this direction, bursts left out.

    The draws of one frame depend on nothing else, and each kind has its own: more jitter
    does not lose other frames.
    """
    draw = random.Random(f"{seed}:{way}:{number}")
    lost, late, twice, swapped = draw.random(), draw.random(), draw.random(), draw.random()
    if lost < spec.loss:
        return Fate(0, 0.0, False)
    return Fate(2 if twice < spec.duplicate else 1, late * spec.jitter_s, swapped < spec.reorder)


class Channel(Generic[T]):
    """One direction of one call: frames in, frames out when they are due.

    ``put`` a frame, take what is ``due``; ``next_due`` says when there is something.
    """

    def __init__(self, spec: Impairment, seed: int, way: Literal["in", "out"]) -> None:
        self._spec = spec
        self._seed = seed
        self._way: Literal["in", "out"] = way
        self._number = 0
        self._origin: float | None = None
        self._last_due = float("-inf")
        self._waiting: list[tuple[float, T]] = []  # in the order in which they leave
        self._held: list[tuple[float, T]] = []  # until a successor has passed them
        self._lost = self._late = self._duplicated = self._reordered = 0

    @property
    def next_due(self) -> float | None:
        """Monotonic seconds; None: nothing waits."""
        return self._waiting[0][0] if self._waiting else None

    def put(self, item: T, now: float) -> None:
        """The next frame comes."""
        number, self._number = self._number, self._number + 1
        if self._origin is None:
            self._origin = now
        what = fate(self._spec, self._seed, self._way, number)
        if not what.copies or len(self._waiting) + len(self._held) >= MAX_WAITING:
            self._lost += 1
            return
        due = max(now + what.delay_s, self._last_due, self._let_go(now))
        if what.swapped:
            self._reordered += 1
            self._held += [(due, item)] * what.copies
            self._duplicated += what.copies - 1
            return
        self._last_due = due
        self._duplicated += what.copies - 1
        self._late += due - now > LATE_S
        self._waiting += [(due, item)] * what.copies
        if self._held:
            for at, held in self._held:
                self._last_due = max(self._last_due, at)
                self._waiting.append((self._last_due, held))
            self._held.clear()

    def due(self, now: float) -> list[T]:
        """What leaves until ``now``."""
        count = 0
        while count < len(self._waiting) and self._waiting[count][0] <= now:
            count += 1
        out = [item for _, item in self._waiting[:count]]
        del self._waiting[:count]
        return out

    def clear(self) -> None:
        """What waits is not wanted any more."""
        self._waiting.clear()
        self._held.clear()

    def hit(self) -> Hit:
        return Hit(self._number, self._lost, self._late, self._duplicated, self._reordered)

    def _let_go(self, now: float) -> float:
        """The end of the burst that ``now`` is in, or ``now``."""
        spec = self._spec
        if spec.burst_s <= 0 or spec.burst_every_s <= 0 or self._origin is None:
            return now
        into = (now - self._origin) % spec.burst_every_s
        quiet = spec.burst_every_s - spec.burst_s  # the stall is at the end of each period
        return now if into < quiet else now + spec.burst_every_s - into


class Toll(msgspec.Struct, frozen=True):
    """What a bad network did to a call."""

    to_bridge: Hit = Hit()
    from_bridge: Hit = Hit()
