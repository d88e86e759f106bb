"""What one turn has of audio and words, and how much of it was sent and heard.

Owns positions in a turn's own audio and the text that belongs to them. Refuses to know
time, other turns and when anything leaves: the pacer says what happened.
"""

from __future__ import annotations

import math
import re
from array import array
from collections import deque

import msgspec

from teamscall.wire.events import FRAME_BYTES, SAMPLE_RATE

BYTES_PER_MS = SAMPLE_RATE * 2 // 1000  # 32

# What goes on after an interruption rises over this long.
FADE_MS = 5
FADE_SAMPLES = FADE_MS * SAMPLE_RATE // 1000
_FADE = [0.5 - 0.5 * math.cos(math.pi * (n + 0.5) / FADE_SAMPLES) for n in range(FADE_SAMPLES)]

# Conversational English is 12 to 16 characters per second. Used only while a clause's
# audio is still coming, when its length can only be guessed from its text.
CHARS_PER_SECOND = 15

# A word is one ideograph or kana, or a run of anything else that is not blank.
_WORD = re.compile(r"[\u2e80-\u9fff\uf900-\ufaff]|[^\s\u2e80-\u9fff\uf900-\ufaff]+")


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


class _Clause:
    """Text, and where in its turn's audio it begins."""

    __slots__ = ("start", "text")

    def __init__(self, start: int, text: str) -> None:
        self.start = start  # bytes
        self.text = text


class Utterance:
    """One turn's unsent audio, how far it was sent and heard, and its words."""

    def __init__(self, turn: int, epoch: int = 0) -> None:
        self.turn = turn
        self.epoch = epoch  # in which it began
        self.buffer = bytearray()  # unsent; deleting from its front is O(1) in CPython
        self.received = 0  # bytes
        self.sent_frames = 0  # the index of the next frame to send
        self.heard_frames = 0
        self.finished = False
        self.cut = False  # the backlog was full: the rest is refused
        self.interrupted = False  # nothing has been sent since it was taken back
        self.clauses: list[_Clause] = []
        self._unheard: deque[bytes] = deque()  # sent, without padding: at most the lead
        self._sent_most = 0  # frames, before any were taken back

    def append(self, pcm: bytes, text: str) -> None:
        if text:
            self.clauses.append(_Clause(self.received, text))
        self.buffer += pcm
        self.received += len(pcm)

    def finish(self) -> None:
        self.finished = True
        if len(self.buffer) % 2:  # half a sample
            del self.buffer[-1:]
            self.received -= 1

    def take(self) -> bytes:
        """The next frame, which leaves now: padded if it is the last, faded in if it goes on
        where the turn was interrupted."""
        frame = bytes(self.buffer[:FRAME_BYTES])
        del self.buffer[:FRAME_BYTES]
        self._unheard.append(frame)
        self.sent_frames += 1
        if self.interrupted:
            self.interrupted = False
            frame = _faded_in(frame)
        return frame.ljust(FRAME_BYTES, b"\0")

    def hear(self) -> None:
        """The far side has played one more frame to its end."""
        self._unheard.popleft()
        self.heard_frames += 1

    def take_back(self) -> None:
        """The far side was told to drop what it had not played: that is unsent again."""
        self.buffer[:0] = b"".join(self._unheard)
        self._unheard.clear()
        self._sent_most = max(self._sent_most, self.sent_frames)
        self.sent_frames = self.heard_frames
        self.interrupted = self.heard_frames > 0

    def shed(self, frames: int) -> int:
        """Forget up to ``frames`` unsent frames as if they had never come; how many."""
        # Not the bytes of a frame still coming: an odd one would shift every later sample.
        frames = min(frames, max(1, len(self.buffer) // FRAME_BYTES))
        before = len(self.buffer)
        del self.buffer[: frames * FRAME_BYTES]
        self.received -= before - len(self.buffer)
        return frames

    @property
    def has_begun(self) -> bool:
        """Whether a frame has ever left."""
        return max(self.sent_frames, self._sent_most) > 0

    @property
    def pending(self) -> bool:
        """Whether it has audio here, or may still get some."""
        return bool(self.buffer) or not self.finished

    @property
    def all_heard(self) -> bool:
        return self.finished and not self.buffer and self.heard_frames == self.sent_frames

    def line(self) -> Played:
        heard = self._position(self.heard_frames)
        return Played(
            turn=self.turn,
            sent_ms=self._position(max(self.sent_frames, self._sent_most)) // BYTES_PER_MS,
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


def _faded_in(frame: bytes) -> bytes:
    """A raised cosine over the first ``FADE_MS``: no click where speech begins in a vowel."""
    samples = array("h", frame)
    for at in range(min(FADE_SAMPLES, len(samples))):
        samples[at] = round(samples[at] * _FADE[at])
    return samples.tobytes()


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
