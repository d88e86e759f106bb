"""Sends speech in real time, and knows how much of it was heard.

One ``Pacer`` per call: a queue of utterances (each one ``turn``) cut into 20 ms frames,
the deadlines at which those frames leave, and the playout ledger. It owns the model of
the far side's playout clock and refuses to know wires, engines, tasks and clocks: time
is the argument ``now`` (monotonic seconds).

Rules:

1. The far side plays what it was sent without a pause: the frame that was sent n-th after
   it had run dry ends n * 20 ms after that moment. Instants are whole microseconds, so
   nothing drifts.
2. A frame leaves as soon as what the far side holds, that frame included, is not more
   than the lead. Everything unsent stays here, where a flush can drop it.
3. When the far side ran dry (idle, engine late, our loop stalled), its clock starts again
   at ``now`` with the full lead. Nothing is sent faster to make up for the gap: that would
   leave the gap's length standing in the far side's buffer for good. Dry for less than a
   frame is not dry: the timeline stands, and jitter adds up to nothing.
4. A flush ends every utterance at once and raises the epoch; what belongs to an ended
   utterance or an older epoch is dropped when it is pushed.
5. A flush may keep one utterance on the shelf, with all of it that was not heard, for a
   caller who did not mean to interrupt. It still takes audio, and sends nothing until it
   is put back: then it goes on with the first frame not heard to its end.
"""

from __future__ import annotations

from collections import deque

import msgspec

from teamscall.audio.ledger import BYTES_PER_MS, Played, Utterance
from teamscall.wire.events import FRAME_BYTES, FRAME_MS

__all__ = ["MAX_BACKLOG_MS", "OutFrame", "Pacer", "Played"]

FRAME_US = FRAME_MS * 1000

# Being late by less than this does not restart the far side's clock. Every receiver holds
# at least one frame of its own (the C# gateway's reorder buffer: three), so it plays on.
JITTER_US = FRAME_US

# Ten minutes: longer than any answer worth hearing, 19 MB. The end of what exceeds it is
# refused, since the beginning is what the caller is listening to.
MAX_BACKLOG_MS = 600_000

# A live source (echo) that got ahead by more than this has its oldest audio shed. Less
# than that is ordinary jitter: shedding it would cut audio 50 times a second.
LIVE_SLACK_MS = 60

# Turns that are over whose ledger entry can still be asked for, and whose late audio is
# recognised. A call has one or two alive; the rest is slack for engines that lag behind.
REMEMBERED_TURNS = 64


class OutFrame(msgspec.Struct, frozen=True):
    """640 bytes that must leave now: frame ``index`` (from 0) of ``turn``.

    What is sent again of a turn put back from the shelf has the index it had.
    """

    turn: int
    index: int
    pcm: bytes


class Pacer:
    """The outgoing audio of one call. See the module's rules.

    Args:
        lead_ms: how much audio the far side may hold unplayed; a property of the dialect
            (60 where a flush may be ignored, 160 where it works). At least one frame.
        live: the source speaks in real time (echo), so what came late stays late: the
            backlog beyond the lead is shed, oldest first, instead of becoming latency.
        max_backlog_ms: see ``MAX_BACKLOG_MS``; what is on the shelf counts.

    Attributes:
        underruns: how often the far side ran dry in the middle of an utterance.
        underrun_ms: the sum of those gaps.
        refused_ms: audio refused by ``push`` because the backlog was full.
        stale_pushes: pushes dropped because their epoch or turn was over.
        shed_ms: audio of a live source dropped to stay in real time.
    """

    def __init__(
        self, lead_ms: int, *, live: bool = False, max_backlog_ms: int = MAX_BACKLOG_MS
    ) -> None:
        self._lead_us = max(1, lead_ms // FRAME_MS) * FRAME_US
        self._live = live
        self._max_backlog = max_backlog_ms * BYTES_PER_MS
        self._epoch = 0
        self._paused = False
        self._played_until = 0  # us: when the far side will have played all that was sent
        self._turns: dict[int, Utterance] = {}  # begun and not over, in FIFO order
        self._unsent: deque[Utterance] = deque()  # those of them with audio still to come
        self._in_flight: deque[tuple[int, Utterance]] = deque()  # (playout end in us, whose)
        self._shelf: Utterance | None = None
        self._over: dict[int, Played] = {}  # the last REMEMBERED_TURNS
        self._backlog = 0  # bytes
        self._underrun_us = 0
        self._refused = 0  # bytes
        self._shed = 0  # bytes
        self.underruns = 0
        self.stale_pushes = 0

    # --- in -----------------------------------------------------------------------

    def push(self, turn: int, pcm: bytes, text: str = "", *, epoch: int | None = None) -> None:
        """Append 16 kHz s16le mono audio to ``turn``, which begins with its first push.

        Any number of bytes: partial frames and odd bytes are carried, never padded in the
        middle. ``text`` is what this and the following chunks speak, given with the first
        of them. Turns play in the order in which they began; a turn waits until those
        before it are finished. Dropped and counted: what comes for a finished or flushed
        turn, and with an ``epoch`` other than the current one. A turn that was kept on the
        shelf takes what was made for it in any epoch since it began.
        """
        utterance = self._writable(turn, epoch)
        if utterance is None:
            self.stale_pushes += 1
            return
        shelved = len(self._shelf.buffer) if self._shelf else 0
        room = max(0, self._max_backlog - self._backlog - shelved)
        if utterance.cut or len(pcm) > room:
            kept = b"" if utterance.cut else pcm[:room]
            self._refused += len(pcm) - len(kept)
            utterance.cut = True  # from here on: the end of a turn may be lost, no middle
            if not kept:
                return
            pcm = kept
        utterance.append(pcm, text)
        if utterance is not self._shelf:
            self._backlog += len(pcm)

    def finish(self, turn: int, *, epoch: int | None = None) -> None:
        """Say that ``turn`` is complete: its last frame may be padded with silence.

        A turn without audio is done as soon as those before it are. Idempotent.
        """
        utterance = self._writable(turn, epoch)
        if utterance is None:
            return
        before = len(utterance.buffer)
        utterance.finish()
        if utterance is not self._shelf:
            self._backlog -= before - len(utterance.buffer)

    def flush(self, now: float, keep: int | None = None) -> list[Played]:
        """Barge-in: end every turn that is not over, raise the epoch; their ledger lines.

        What was sent and not yet heard counts as not heard: the far side is told to drop it.

        The turn ``keep`` goes to the shelf instead of ending, or stays there; its line is
        among those returned, and not final. Another turn on the shelf ends. Not kept: a
        turn that is not begun or over, and a live source's, which goes on by itself.
        """
        now_us = _us(now)
        self._settle(now_us)
        if self._shelf is not None and self._shelf.turn != keep:
            self.discard_shelf()
        lines = [utterance.line() for utterance in self._turns.values()]
        kept = None if keep is None or self._live else self._turns.pop(keep, None)
        if kept is not None:
            kept.take_back()
            self._shelf = kept
        for utterance in self._turns.values():
            self._remember(utterance.line())
        self._turns.clear()
        self._unsent.clear()
        self._in_flight.clear()
        self._backlog = 0
        self._played_until = min(self._played_until, now_us)
        self._epoch += 1
        return lines

    def unshelve(self, now: float) -> bool:
        """Put the turn on the shelf back; False when there is none.

        It goes on with the first frame not heard to its end, faded in over ``FADE_MS``,
        before every turn that has not begun to leave and after those that have. Its ledger
        goes on too: what is sent again counts once.
        """
        self._settle(_us(now))
        kept, self._shelf = self._shelf, None
        if kept is None:
            return False
        self._backlog += len(kept.buffer)
        begun = [other for other in self._turns.values() if other.sent_frames]
        waiting = [other for other in self._turns.values() if not other.sent_frames]
        self._turns = {each.turn: each for each in (*begun, kept, *waiting)}
        self._unsent = deque(each for each in self._turns.values() if each.pending)
        return True

    def discard_shelf(self) -> Played | None:
        """End the turn on the shelf: its final line; None when there is none."""
        kept, self._shelf = self._shelf, None
        if kept is None:
            return None
        line = kept.line()
        self._remember(line)
        return line

    def drop(self, turn: int) -> Played:
        """End one turn, the others go on: what is unsent of it is dropped, later pushes too.

        What the far side has of it plays on, but its ledger line is final: what was not
        heard when ``now`` was last told stays unheard, and ``done`` will not report it.
        """
        if self._shelf is not None and self._shelf.turn == turn:
            self.discard_shelf()
        utterance = self._turns.pop(turn, None)
        if utterance is None:
            line = self._over.get(turn, Played(turn))
        else:
            line = utterance.line()
            self._backlog -= len(utterance.buffer)
            utterance.buffer.clear()
            utterance.finished = True
        self._remember(line)
        return line

    def pause(self, now: float) -> None:
        """The link is lost: send nothing until ``resume``. What was sent plays on."""
        self._settle(_us(now))
        self._paused = True

    def resume(self, now: float) -> None:
        """The link is back: go on with the first unsent frame. No underrun is counted."""
        now_us = _us(now)
        self._settle(now_us)
        self._paused = False
        self._played_until = max(self._played_until, now_us)

    # --- out ----------------------------------------------------------------------

    def due(self, now: float) -> list[OutFrame]:
        """The frames that must leave now, in order. Never more than the lead at once."""
        now_us = _us(now)
        self._settle(now_us)
        frames: list[OutFrame] = []
        while not self._paused and (utterance := self._sendable()) is not None:
            if self._played_until + JITTER_US <= now_us:
                self._restart_clock(utterance, now_us)
            if self._played_until + FRAME_US > now_us + self._lead_us:
                break
            self._played_until += FRAME_US
            self._in_flight.append((self._played_until, utterance))
            index, before = utterance.sent_frames, len(utterance.buffer)
            frames.append(OutFrame(utterance.turn, index, utterance.take()))
            self._backlog -= before - len(utterance.buffer)
        if self._live:
            self._shed_late_audio()
        return frames

    def next_deadline(self) -> float | None:
        """When to call ``due`` and ``done`` next; in the past means at once.

        The instant at which the next frame must leave, or, with nothing to send, at which
        all that was sent has been heard. None: nothing will happen without a push,
        ``finish`` or ``resume``.
        """
        if not self._paused and self._sendable() is not None:
            return max(0, self._played_until + FRAME_US - self._lead_us) / 1e6
        return self._in_flight[-1][0] / 1e6 if self._in_flight else None

    # --- ledger -------------------------------------------------------------------

    def done(self, now: float) -> list[Played]:
        """The turns whose last frame has been heard since last asked. Flushed ones are not
        among them. Ask after ``finish`` too: a turn without audio is done at once."""
        self._settle(_us(now))
        lines: list[Played] = []
        for utterance in list(self._turns.values()):
            if not utterance.all_heard:
                break
            lines.append(utterance.line())
            del self._turns[utterance.turn]
            self._remember(lines[-1])
        return lines

    def played(self, turn: int, now: float) -> Played:
        """The ledger's line for ``turn`` at ``now``; zeros for a turn never pushed.

        A frame counts as heard when the far side has played it to its end. Of a turn that
        is over this is the final line (the last ``REMEMBERED_TURNS`` are kept).
        """
        self._settle(_us(now))
        utterance = self._known(turn)
        return utterance.line() if utterance else self._over.get(turn, Played(turn))

    def speaking(self, now: float) -> int | None:
        """The turn that the far side is playing at ``now``; None when it has nothing."""
        self._settle(_us(now))
        return self._in_flight[0][1].turn if self._in_flight else None

    def turn_sent_anything(self, turn: int) -> bool:
        """Whether at least one frame of ``turn`` has left."""
        utterance = self._known(turn)
        if utterance is not None:
            return utterance.has_begun
        return turn in self._over and self._over[turn].sent_ms > 0

    @property
    def shelved(self) -> int | None:
        """The turn on the shelf."""
        return self._shelf.turn if self._shelf else None

    @property
    def epoch(self) -> int:
        """The number of flushes so far."""
        return self._epoch

    @property
    def backlog_ms(self) -> int:
        """Audio that waits here to be sent; the shelf's does not."""
        return self._backlog // BYTES_PER_MS

    @property
    def shelf_ms(self) -> int:
        """Audio on the shelf."""
        return len(self._shelf.buffer) // BYTES_PER_MS if self._shelf else 0

    @property
    def underrun_ms(self) -> int:
        return self._underrun_us // 1000

    @property
    def refused_ms(self) -> int:
        return self._refused // BYTES_PER_MS

    @property
    def shed_ms(self) -> int:
        return self._shed // BYTES_PER_MS

    # --- inside -------------------------------------------------------------------

    def _known(self, turn: int) -> Utterance | None:
        if self._shelf is not None and self._shelf.turn == turn:
            return self._shelf
        return self._turns.get(turn)

    def _writable(self, turn: int, epoch: int | None) -> Utterance | None:
        """The utterance to write to, begun if new; None if its epoch or it is over."""
        utterance = self._known(turn)
        oldest = self._epoch if utterance is None else utterance.epoch
        if turn in self._over or not (epoch is None or oldest <= epoch <= self._epoch):
            return None
        if utterance is None:
            utterance = self._turns[turn] = Utterance(turn, self._epoch)
            self._unsent.append(utterance)
        return None if utterance.finished else utterance

    def _sendable(self) -> Utterance | None:
        """The utterance whose frame is next, None when there is no whole frame."""
        while self._unsent:
            head = self._unsent[0]
            if len(head.buffer) >= FRAME_BYTES or (head.finished and head.buffer):
                return head
            if not head.finished:
                return None
            self._unsent.popleft()
        return None

    def _restart_clock(self, utterance: Utterance, now_us: int) -> None:
        if utterance.sent_frames and not utterance.interrupted:
            self.underruns += 1
            self._underrun_us += now_us - self._played_until
        self._played_until = now_us

    def _settle(self, now_us: int) -> None:
        """Count as heard what the far side has played by now."""
        while self._in_flight and self._in_flight[0][0] <= now_us:
            self._in_flight.popleft()[1].hear()

    def _shed_late_audio(self) -> None:
        """What a live source has here beyond the slack would be heard ever later."""
        late = (self._backlog - LIVE_SLACK_MS * BYTES_PER_MS) // FRAME_BYTES
        while late > 0 and (utterance := self._sendable()) is not None:
            before = len(utterance.buffer)
            late -= utterance.shed(late)
            self._backlog -= before - len(utterance.buffer)
            self._shed += before - len(utterance.buffer)

    def _remember(self, line: Played) -> None:
        self._over[line.turn] = line
        if len(self._over) > REMEMBERED_TURNS:
            del self._over[next(iter(self._over))]


def _us(now: float) -> int:
    return round(now * 1e6)
