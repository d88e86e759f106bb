"""The outgoing frames of one call: resampled, paced, numbered, and sent again on a resume.

Owns the way from an engine's chunk to ``AudioOut``, and every reason to send nothing for
now. Refuses to know turns, words and who may speak.

Rules:

1. ``seq`` goes up by one per frame for the whole call; a frame sent again keeps its own.
2. What was flushed never leaves, not even on a resume.
3. What is sent again is paced like the rest, and goes before anything new.
4. What is on the shelf was stopped and may go on: it leaves only after ``unshelve``.
"""

from __future__ import annotations

import collections
from collections.abc import Callable

from teamscall.audio.pacer import Pacer, Played
from teamscall.audio.resample import Resampler
from teamscall.calls.settings import RESEND_FRAMES
from teamscall.wire.events import FRAME_MS, SAMPLE_RATE, AudioOut, Dialect

FRAME_S = FRAME_MS / 1000
FAR_FUTURE = float("inf")

Sent = tuple[int, AudioOut]  # the turn that a frame belongs to, and the frame


class Playout:
    """See the module. A turn number below zero is the engine's own stream (echo).

    Attributes:
        on_sent: told of every frame that leaves, and when the far side plays it.
        on_flushed: told when the far side drops what it has not played.
    """

    def __init__(self, call_id: str, dialect: Dialect, lead_ms: int) -> None:
        self._call_id = call_id
        self._lead_s = lead_ms / 1000
        # Nothing is shed, not even of an echo after a burst: it must come back whole.
        self._pacer = Pacer(lead_ms)
        self._resamplers: dict[int, tuple[int, Resampler]] = {}  # by turn: its rate, its state
        self._stream = -1
        self._seq = 0
        # Only the C# dialect can resume a call.
        kept = RESEND_FRAMES if dialect == "csharp" else 0
        self._sent: collections.deque[Sent] = collections.deque(maxlen=kept)
        self._again: collections.deque[Sent] = collections.deque()
        self._again_until: float | None = None  # when the far side has played what came again
        self.on_sent: Callable[[bytes, float], None] = lambda pcm, plays_at: None
        self.on_flushed: Callable[[float], None] = lambda now: None
        self._plays_until = 0.0  # when the far side has played what was sent
        self._lost = self._held = self._doubted = self._paused = False
        self._shelved: int | None = None

    # --- in -----------------------------------------------------------

    def push(self, turn: int, pcm: bytes, rate: int, text: str = "") -> None:
        """More of a turn: s16le mono at ``rate``, any number of bytes."""
        known, resampler = self._resamplers.get(turn, (0, None))
        if resampler is None or known != rate:
            resampler = Resampler(rate, SAMPLE_RATE)
            self._resamplers[turn] = rate, resampler
        self._pacer.push(turn, resampler.push(pcm), text)

    def push_stream(self, pcm: bytes, rate: int) -> None:
        """More of what an engine without turns says."""
        self.push(self._stream, pcm, rate)

    def end_stream(self) -> None:
        """A turn has something to say: the stream ends here, and begins anew after it."""
        if self._stream in self._resamplers:
            self.finish(self._stream)
            self._stream -= 1

    def finish(self, turn: int) -> None:
        """Nothing more comes for this turn."""
        if (entry := self._resamplers.pop(turn, None)) is not None:
            self._pacer.push(turn, entry[1].flush())
        self._pacer.finish(turn)

    def drop(self, turn: int) -> Played:
        """End one turn; what is unsent of it never leaves."""
        self._resamplers.pop(turn, None)
        return self._pacer.drop(turn)

    def flush(self, now: float, keep: int | None = None) -> list[Played]:
        """End everything that is not over, sent again or new.

        ``keep``: this turn goes on the shelf, from what was heard of it onwards.
        """
        kept = self._resamplers.get(keep) if keep is not None else None
        self._resamplers.clear()
        if keep is not None and kept is not None:
            self._resamplers[keep] = kept
        self._shelved = keep
        self._stream -= 1
        self._sent.clear()
        self._again.clear()
        self._again_until = None
        lines = self._pacer.flush(now, keep)
        self._plays_until = min(self._plays_until, now)
        self.on_flushed(now)
        self._settle(now)
        return lines

    @property
    def shelved(self) -> int | None:
        """The turn on the shelf."""
        return self._shelved

    @property
    def shelf_ms(self) -> int:
        """How much of the turn on the shelf was not heard."""
        return self._pacer.shelf_ms

    def unshelve(self, now: float) -> bool:
        """Go on with the turn on the shelf; False: there is none."""
        self._shelved = None
        return self._pacer.unshelve(now)

    def discard_shelf(self) -> None:
        """What is on the shelf never leaves."""
        if self._shelved is not None:
            self._resamplers.pop(self._shelved, None)
            self._shelved = None
            self._pacer.discard_shelf()

    # --- reasons to wait -----------------------------------------------------------

    def hold(self, now: float) -> None:
        """Begin nothing while the caller speaks."""
        self._held = True
        self._settle(now)

    def release(self, now: float) -> None:
        self._held = False
        self._settle(now)

    def doubt(self, now: float) -> None:
        """Send nothing while it is seen whether the caller speaks."""
        self._doubted = True
        self._settle(now)

    def trust(self, now: float) -> None:
        """The doubt is over."""
        self._doubted = False
        self._settle(now)

    def lose(self, now: float) -> None:
        """The link is gone."""
        self._lost = True
        self._again.clear()
        self._again_until = None
        self._settle(now)

    def regain(self, last_received_seq: int, now: float) -> None:
        """Another link: go on after the frame that the gateway got last.

        A number from the future means that it got everything; one further back than what
        is kept here costs the frames between.
        """
        self._lost = False
        self._again.extend(sent for sent in self._sent if sent[1].seq > last_received_seq)
        self._again_until = now if self._again else None
        self._settle(now)

    @property
    def lost(self) -> bool:
        return self._lost

    def _settle(self, now: float) -> None:
        again = self._again_until is not None
        wait = self._lost or self._held or self._doubted or again
        if wait and not self._paused:
            self._pacer.pause(now)
        elif self._paused and not wait:
            self._pacer.resume(now)
        self._paused = wait

    # --- out -----------------------------------------------------------

    def due(self, now: float) -> list[Sent]:
        """The frames that must leave now, each with its turn."""
        out = [] if self._again_until is None else self._due_again(now)
        for frame in self._pacer.due(now):
            sent = frame.turn, AudioOut(self._call_id, self._seq, frame.pcm, self._seq * FRAME_MS)
            self._seq += 1
            plays_at = max(self._plays_until, now)
            self._plays_until = plays_at + FRAME_S
            self.on_sent(frame.pcm, plays_at)
            self._sent.append(sent)
            out.append(sent)
        return out

    def _due_again(self, now: float) -> list[Sent]:
        """The far side ran dry when the link was lost; it is fed up to the lead."""
        until = max(self._again_until or 0.0, now)
        out: list[Sent] = []
        while self._again and until + FRAME_S - self._lead_s <= now:
            out.append(self._again.popleft())
            until += FRAME_S
        self._again_until = until
        if not self._again and until <= now:
            self._again_until = None
            self._settle(now)
        return out

    def done(self, now: float) -> list[Played]:
        """The turns that have been heard to their end since last asked."""
        return self._pacer.done(now)

    def next_deadline(self) -> float:
        """When to ask ``due`` and ``done`` next; infinite when nothing will happen."""
        if self._again_until is not None:
            if self._again:
                return self._again_until + FRAME_S - self._lead_s
            return self._again_until
        pacing = self._pacer.next_deadline()
        return FAR_FUTURE if pacing is None else pacing

    # --- the ledger -----------------------------------------------------------

    def speaking(self, now: float) -> int | None:
        """The turn that the far side is playing; None when it has nothing."""
        if self._again_until is not None and not self._lost:
            return self._again[0][0] if self._again else self._sent[-1][0]
        return self._pacer.speaking(now)

    @property
    def busy_elsewhere(self) -> bool:
        """Whether something other than the newest turn is, or would be, on its way."""
        return self._lost or self._again_until is not None

    def idle(self, now: float) -> bool:
        """Whether the far side plays nothing and something new would be played at once."""
        waits = self._held or self._doubted or self.busy_elsewhere
        return not waits and self.speaking(now) is None and not self._pacer.backlog_ms

    def played(self, turn: int, now: float) -> Played:
        return self._pacer.played(turn, now)

    def has_begun(self, turn: int) -> bool:
        """Whether a frame of this turn has left."""
        return self._pacer.turn_sent_anything(turn)

    @property
    def unsent_s(self) -> float:
        return self._pacer.backlog_ms / 1000

    @property
    def frames(self) -> int:
        """Frames made so far; sent again ones are not counted again."""
        return self._seq

    @property
    def underruns(self) -> int:
        return self._pacer.underruns
