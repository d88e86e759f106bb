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
"""

from __future__ import annotations

import re
from collections import deque

import msgspec

from teamscall.wire.events import FRAME_BYTES, FRAME_MS, SAMPLE_RATE

BYTES_PER_MS = SAMPLE_RATE * 2 // 1000  # 32
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

# Conversational English is 12 to 16 characters per second. Used only while a clause's
# audio is still coming, when its length can only be guessed from its text.
CHARS_PER_SECOND = 15

# A word is one ideograph or kana, or a run of anything else that is not blank.
_WORD = re.compile(r"[\u2e80-\u9fff\uf900-\ufaff]|[^\s\u2e80-\u9fff\uf900-\ufaff]+")


class OutFrame(msgspec.Struct, frozen=True):
    """640 bytes that must leave now: frame ``index`` (from 0) of ``turn``."""

    turn: int
    index: int
    pcm: bytes


class Played(msgspec.Struct, frozen=True):
    """The ledger's line for one turn.

    ``sent_ms`` and ``heard_ms`` are positions in the turn's own audio (padding excluded),
    ``heard_ms <= sent_ms``. ``said_text`` is all text that came with the audio;
    ``heard_text`` is a prefix of it, cut after a word.
    """

    turn: int
    sent_ms: int = 0
    heard_ms: int = 0
    heard_text: str = ""
    said_text: str = ""


class Pacer:
    """The outgoing audio of one call. See the module's rules.

    Args:
        lead_ms: how much audio the far side may hold unplayed; a property of the dialect
            (60 where a flush may be ignored, 160 where it works). At least one frame.
        live: the source speaks in real time (echo), so what came late stays late: the
            backlog beyond the lead is shed, oldest first, instead of becoming latency.
        max_backlog_ms: see ``MAX_BACKLOG_MS``.

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
        self._turns: dict[int, _Utterance] = {}  # begun and not over, in FIFO order
        self._unsent: deque[_Utterance] = deque()  # those of them with audio still to come
        self._in_flight: deque[tuple[int, _Utterance]] = deque()  # (playout end in us, whose)
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
        turn, and with an ``epoch`` other than the current one.
        """
        utterance = self._writable(turn, epoch)
        if utterance is None:
            self.stale_pushes += 1
            return
        room = self._max_backlog - self._backlog
        if utterance.cut or len(pcm) > room:
            kept = b"" if utterance.cut else pcm[:room]
            self._refused += len(pcm) - len(kept)
            utterance.cut = True  # from here on: the end of a turn may be lost, no middle
            if not kept:
                return
            pcm = kept
        utterance.append(pcm, text)
        self._backlog += len(pcm)

    def finish(self, turn: int, *, epoch: int | None = None) -> None:
        """Say that ``turn`` is complete: its last frame may be padded with silence.

        A turn without audio is done as soon as those before it are. Idempotent.
        """
        utterance = self._writable(turn, epoch)
        if utterance is None:
            return
        utterance.finished = True
        if len(utterance.buffer) % 2:  # half a sample
            del utterance.buffer[-1:]
            utterance.received -= 1
            self._backlog -= 1

    def flush(self, now: float) -> list[Played]:
        """Barge-in: end every turn that is not over, raise the epoch; their ledger lines.

        What was sent and not yet heard counts as not heard: the far side is told to drop it.
        """
        now_us = _us(now)
        self._settle(now_us)
        ended = [utterance.line() for utterance in self._turns.values()]
        for line in ended:
            self._remember(line)
        self._turns.clear()
        self._unsent.clear()
        self._in_flight.clear()
        self._backlog = 0
        self._played_until = min(self._played_until, now_us)
        self._epoch += 1
        return ended

    def drop(self, turn: int) -> Played:
        """End one turn, the others go on: what is unsent of it is dropped, later pushes too.

        What the far side has of it plays on, but its ledger line is final: what was not
        heard when ``now`` was last told stays unheard, and ``done`` will not report it.
        """
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
        utterance = self._turns.get(turn)
        return utterance.line() if utterance else self._over.get(turn, Played(turn))

    def speaking(self, now: float) -> int | None:
        """The turn that the far side is playing at ``now``; None when it has nothing."""
        self._settle(_us(now))
        return self._in_flight[0][1].turn if self._in_flight else None

    def turn_sent_anything(self, turn: int) -> bool:
        """Whether at least one frame of ``turn`` has left."""
        utterance = self._turns.get(turn)
        if utterance is not None:
            return utterance.sent_frames > 0
        return turn in self._over and self._over[turn].sent_ms > 0

    @property
    def epoch(self) -> int:
        """The number of flushes so far."""
        return self._epoch

    @property
    def backlog_ms(self) -> int:
        """Audio that waits here, unsent."""
        return self._backlog // BYTES_PER_MS

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

    def _writable(self, turn: int, epoch: int | None) -> _Utterance | None:
        """The utterance to write to, begun if new; None if its epoch or it is over."""
        if epoch not in (None, self._epoch) or turn in self._over:
            return None
        utterance = self._turns.get(turn)
        if utterance is None:
            utterance = self._turns[turn] = _Utterance(turn)
            self._unsent.append(utterance)
        return None if utterance.finished else utterance

    def _sendable(self) -> _Utterance | None:
        """The utterance whose frame is next, None when there is no whole frame."""
        while self._unsent:
            head = self._unsent[0]
            if len(head.buffer) >= FRAME_BYTES or (head.finished and head.buffer):
                return head
            if not head.finished:
                return None
            self._unsent.popleft()
        return None

    def _restart_clock(self, utterance: _Utterance, now_us: int) -> None:
        if utterance.sent_frames:
            self.underruns += 1
            self._underrun_us += now_us - self._played_until
        self._played_until = now_us

    def _settle(self, now_us: int) -> None:
        """Count as heard what the far side has played by now."""
        while self._in_flight and self._in_flight[0][0] <= now_us:
            self._in_flight.popleft()[1].heard_frames += 1

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


class _Clause:
    """Text, and where in its turn's audio it begins."""

    __slots__ = ("start", "text")

    def __init__(self, start: int, text: str) -> None:
        self.start = start  # bytes
        self.text = text


class _Utterance:
    """One turn's unsent audio, how far it was sent and heard, and its words."""

    def __init__(self, turn: int) -> None:
        self.turn = turn
        self.buffer = bytearray()  # unsent; deleting from its front is O(1) in CPython
        self.received = 0  # bytes
        self.sent_frames = 0
        self.heard_frames = 0
        self.finished = False
        self.cut = False  # the backlog was full: the rest is refused
        self.clauses: list[_Clause] = []

    def append(self, pcm: bytes, text: str) -> None:
        if text:
            self.clauses.append(_Clause(self.received, text))
        self.buffer += pcm
        self.received += len(pcm)

    def take(self) -> bytes:
        frame = bytes(self.buffer[:FRAME_BYTES])
        del self.buffer[:FRAME_BYTES]
        self.sent_frames += 1
        return frame.ljust(FRAME_BYTES, b"\0")

    def shed(self, frames: int) -> int:
        """Forget up to ``frames`` unsent frames as if they had never come; how many."""
        # Not the bytes of a frame still coming: an odd one would shift every later sample.
        frames = min(frames, max(1, len(self.buffer) // FRAME_BYTES))
        before = len(self.buffer)
        del self.buffer[: frames * FRAME_BYTES]
        self.received -= before - len(self.buffer)
        return frames

    @property
    def all_heard(self) -> bool:
        return self.finished and not self.buffer and self.heard_frames == self.sent_frames

    def line(self) -> Played:
        heard = self._position(self.heard_frames)
        return Played(
            turn=self.turn,
            sent_ms=self._position(self.sent_frames) // BYTES_PER_MS,
            heard_ms=heard // BYTES_PER_MS,
            heard_text=self._text_until(heard),
            said_text=_joined([clause.text for clause in self.clauses]),
        )

    def _position(self, frames: int) -> int:
        """Bytes of this turn's audio after ``frames``; the padding of the last is no audio."""
        return min(frames * FRAME_BYTES, self.received)

    def _text_until(self, position: int) -> str:
        """The words whose audio ends by ``position`` if each clause is spoken evenly."""
        if not self.clauses:
            return ""
        parts: list[str] = []
        ends = [clause.start for clause in self.clauses[1:]]
        for clause, end in zip(self.clauses, [*ends, self._last_end()], strict=True):
            if position >= end and position > clause.start:
                parts.append(clause.text)
                continue
            if position > clause.start:
                spoken = len(clause.text) * (position - clause.start) // (end - clause.start)
                parts.append(_whole_words(clause.text, spoken))
            break
        return _joined(parts)

    def _last_end(self) -> int:
        """Where the last clause ends: known when finished, else at least what its text needs."""
        if self.finished:
            return self.received
        last = self.clauses[-1]
        needed = len(last.text) * 1000 * BYTES_PER_MS // CHARS_PER_SECOND
        return max(self.received, last.start + needed)


def _us(now: float) -> int:
    return round(now * 1e6)


def _whole_words(text: str, characters: int) -> str:
    """The longest prefix of at most ``characters`` characters that ends after a word."""
    end = 0
    for word in _WORD.finditer(text):
        if word.end() > characters:
            break
        end = word.end()
    return text[:end]


def _joined(parts: list[str]) -> str:
    """Clauses as one text: as they came, with a blank where they would run together."""
    text = ""
    for part in parts:
        if text and part and not text[-1].isspace() and not part[0].isspace():
            text += " "
        text += part
    return text
