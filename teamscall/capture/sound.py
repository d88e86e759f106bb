"""Both sides of a captured call as sound, on one clock.

Owns where on the time axis a frame belongs: the caller's where it was heard first, the
bot's where the far side plays it. Pure.

A caller's frame comes late, never early: the least delayed of those that follow says when
the ones before it were spoken. The bot's are sent ahead, and play one after the other; a
flush ends what has not been played.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec
import numpy as np
import numpy.typing as npt

from teamscall.capture.eliding import kind_of
from teamscall.capture.reader import Capture
from teamscall.capture.records import Dropped, Frame, Side
from teamscall.errors import CaptureError
from teamscall.text import printable
from teamscall.wire import csharp, standin
from teamscall.wire.events import FRAME_BYTES, FRAME_MS, SAMPLE_RATE, AudioIn, AudioOut, Flush

# How long a frame is looked ahead for a less delayed one: a stall is rarely longer.
LOOK_AHEAD = 250  # frames, 5 s
# A gap of less than this between two frames is jitter: they stay together.
JOIN_S = 0.02
# Of a call: more is no capture of one.
LONGEST_S = 4 * 3600.0
# What is audio on the wire.
_AUDIO = frozenset({"audio.frame", "audio_in", "audio_out"})

Samples = npt.NDArray[np.int16]


class Tracks(msgspec.Struct, frozen=True):
    """s16le mono at 16 kHz; both begin with the conversation. ``left_out``: frames whose
    audio is not in the capture; they are silence. ``unknown``: where of that side it is not
    known what was to be heard, in milliseconds."""

    caller: bytes
    bot: bytes
    left_out: int
    unknown: tuple[Unknown, ...] = ()


class Unknown(msgspec.Struct, frozen=True):
    """Frames that were left out, that got lost, or whose records were dropped."""

    side: Literal["caller", "bot", "both"]
    start_ms: float
    end_ms: float


class _Piece(msgspec.Struct, frozen=True, gc=False):
    at: float  # seconds since the beginning
    pcm: bytes
    seq: int


def tracks(capture: Capture, side: Side | None = None) -> Tracks:
    """The sound of both sides, from the messages to and from the gateway.

    ``side``: who saw them; of a merged capture, one of both. None: the header's.

    Raises:
        CaptureError: there is none in it.
    """
    header = capture.header
    codec = standin if header.dialect == "standin" else csharp
    callers: dict[str, list[_Piece]] = {}
    bot = _Bot()
    audible = left_out = 0
    unknown = _Unknowns()
    for record in capture.records:
        if isinstance(record, Dropped) and side in (None, header.side):
            unknown.dropped(max(0.0, record.at - header.began))
        if not isinstance(record, Frame) or (record.side or header.side) != (side or header.side):
            continue
        at = max(0.0, record.at - header.began)
        if at > LONGEST_S:
            continue
        unknown.seen(at)
        if record.elided:
            if kind_of(record.text) in _AUDIO:
                left_out += 1
                if record.way == "out":
                    unknown.add("bot", bot.play(at, bytes(FRAME_BYTES)), FRAME_MS)
                else:
                    # It was spoken before it came.
                    unknown.add("caller", at * 1000 - FRAME_MS, FRAME_MS)
            continue
        if record.way == "in":
            heard = codec.decode_from_gateway(record.text, call_id=header.call_id)
            if isinstance(heard, AudioIn):
                callers.setdefault(heard.speaker, []).append(_Piece(at, heard.pcm, heard.seq))
                audible += 1
        else:
            said = codec.decode_to_gateway(record.text, call_id=header.call_id)
            if isinstance(said, AudioOut):
                bot.play(at, said.pcm)
                audible += 1
            elif isinstance(said, Flush):
                bot.flush(at)
    if not audible:
        what = "only its length" if left_out else "none"
        raise CaptureError(
            f"{printable(str(capture.path))} has no audio in it, {what}.",
            hint="Captures hold audio with capture.content = full; emulate's and demo's do.",
        )
    unknown.end()
    sound = _caller(list(callers.values()), unknown)
    return Tracks(sound, bot.track(), left_out, unknown.all())


def bot_track(commands: Iterable[tuple[float, object]]) -> bytes:
    """What the far side plays of what a conversation returned, each with its second."""
    bot = _Bot()
    for at_s, command in commands:
        if isinstance(command, AudioOut):
            bot.play(max(0.0, at_s), command.pcm)
        elif isinstance(command, Flush):
            bot.flush(max(0.0, at_s))
    return bot.track()


def _caller(speakers: Sequence[Sequence[_Piece]], unknown: _Unknowns) -> bytes:
    """Speakers that come unmixed are mixed."""
    mixed = np.zeros(0, np.int32)
    for pieces in speakers:
        track = _placed(pieces, unknown)
        if len(track) > len(mixed):
            mixed = np.pad(mixed, (0, len(track) - len(mixed)))
        mixed[: len(track)] += track
    return np.clip(mixed, -32768, 32767).astype("<i2").tobytes()


def _placed(pieces: Sequence[_Piece], unknown: _Unknowns) -> Samples:
    lengths = np.array([len(piece.pcm) / 2 / SAMPLE_RATE for piece in pieces])
    spoken = np.cumsum(lengths) - lengths
    offsets = np.array([piece.at for piece in pieces]) - spoken
    ahead = np.concatenate([offsets, np.full(LOOK_AHEAD - 1, np.inf)])
    least = np.lib.stride_tricks.sliding_window_view(ahead, LOOK_AHEAD).min(axis=1)
    out: list[bytes] = []
    cursor = 0  # samples
    seq = pieces[0].seq - 1
    for piece, at in zip(pieces, spoken + least, strict=True):
        gap = round(at * SAMPLE_RATE) - cursor
        if gap > JOIN_S * SAMPLE_RATE or not out:
            if piece.seq > seq + 1:  # else nothing was said meanwhile
                unknown.add("caller", cursor * 1000 / SAMPLE_RATE, gap * 1000 / SAMPLE_RATE)
            out.append(bytes(2 * max(0, gap)))
            cursor += max(0, gap)
        elif piece.seq > seq + 1:
            unknown.add("caller", cursor * 1000 / SAMPLE_RATE, 0.0)
        seq = max(seq, piece.seq)
        out.append(piece.pcm)
        cursor += len(piece.pcm) // 2
    return np.frombuffer(b"".join(out), "<i2").astype(np.int16)


class _Unknowns:
    """Where it is not known what was to be heard; what touches is one."""

    def __init__(self) -> None:
        self._found: list[Unknown] = []
        self._last_s = 0.0  # of the last message seen
        self._since_s: float | None = None  # records are missing

    def add(self, side: Literal["caller", "bot"], start_ms: float, length_ms: float) -> None:
        start_ms = max(0.0, start_ms)
        self._found.append(Unknown(side, start_ms, start_ms + max(0.0, length_ms)))

    def dropped(self, at_s: float) -> None:
        """Records are missing, after the message before and up to the next."""
        if self._since_s is None:
            self._since_s = min(self._last_s, at_s)

    def seen(self, at_s: float) -> None:
        if self._since_s is not None:
            self._found.append(Unknown("both", self._since_s * 1000, at_s * 1000))
            self._since_s = None
        self._last_s = at_s

    def end(self) -> None:
        if self._since_s is not None:
            self._found.append(Unknown("both", self._since_s * 1000, LONGEST_S * 1000))

    def all(self) -> tuple[Unknown, ...]:
        out: list[Unknown] = []
        for one in sorted(self._found, key=lambda u: (u.side, u.start_ms)):
            last = out[-1] if out else None
            if last is None or last.side != one.side or one.start_ms > last.end_ms + FRAME_MS:
                out.append(one)
            elif one.end_ms > last.end_ms:
                out[-1] = Unknown(one.side, last.start_ms, one.end_ms)
        return tuple(out)


class _Bot:
    """What the far side plays."""

    def __init__(self) -> None:
        self._track = bytearray()

    def play(self, at: float, pcm: bytes) -> float:
        """Its millisecond."""
        start = round(at * SAMPLE_RATE) * 2
        gap = start - len(self._track)
        # The first frame after a pause begins to play when it comes.
        if gap > 0 and (gap > FRAME_BYTES or not self._track):
            self._track += bytes(gap)
        start = len(self._track)
        self._track += pcm
        return start / 2 / SAMPLE_RATE * 1000

    def flush(self, at: float) -> None:
        del self._track[round(at * SAMPLE_RATE) * 2 :]

    def track(self) -> bytes:
        return bytes(self._track)
