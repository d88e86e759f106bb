"""Both sides of a captured call as sound, on one clock.

Owns where on the time axis a frame belongs: the caller's where it was heard first, the
bot's where the far side plays it. Pure.

A caller's frame comes late, never early: the least delayed of those that follow says when
the ones before it were spoken. The bot's are sent ahead, and play one after the other; a
flush ends what has not been played.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from teamscall.capture.eliding import kind_of
from teamscall.capture.reader import Capture
from teamscall.capture.records import Frame
from teamscall.errors import CaptureError
from teamscall.text import printable
from teamscall.wire import csharp, standin
from teamscall.wire.events import FRAME_BYTES, SAMPLE_RATE, AudioIn, AudioOut, Flush

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
    audio is not in the capture; they are silence."""

    caller: bytes
    bot: bytes
    left_out: int


class _Piece(msgspec.Struct, frozen=True):
    at: float  # seconds since the beginning
    pcm: bytes


def tracks(capture: Capture) -> Tracks:
    """The sound of both sides, from the messages to and from the gateway.

    Raises:
        CaptureError: there is none in it.
    """
    header = capture.header
    codec = standin if header.dialect == "standin" else csharp
    callers: dict[str, list[_Piece]] = {}
    bot = _Bot()
    audible = left_out = 0
    for record in capture.records:
        if not isinstance(record, Frame) or record.side not in ("", header.side):
            continue
        at = max(0.0, record.at - header.began)
        if at > LONGEST_S:
            continue
        if record.elided:
            if kind_of(record.text) in _AUDIO:
                left_out += 1
                if record.way == "out":
                    bot.play(at, bytes(FRAME_BYTES))
            continue
        if record.way == "in":
            heard = codec.decode_from_gateway(record.text, call_id=header.call_id)
            if isinstance(heard, AudioIn):
                callers.setdefault(heard.speaker, []).append(_Piece(at, heard.pcm))
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
    return Tracks(_caller(list(callers.values())), bot.track(), left_out)


def _caller(speakers: Sequence[Sequence[_Piece]]) -> bytes:
    """Speakers that come unmixed are mixed."""
    mixed = np.zeros(0, np.int32)
    for pieces in speakers:
        track = _placed(pieces)
        if len(track) > len(mixed):
            mixed = np.pad(mixed, (0, len(track) - len(mixed)))
        mixed[: len(track)] += track
    return np.clip(mixed, -32768, 32767).astype("<i2").tobytes()


def _placed(pieces: Sequence[_Piece]) -> Samples:
    lengths = np.array([len(piece.pcm) / 2 / SAMPLE_RATE for piece in pieces])
    spoken = np.cumsum(lengths) - lengths
    offsets = np.array([piece.at for piece in pieces]) - spoken
    ahead = np.concatenate([offsets, np.full(LOOK_AHEAD - 1, np.inf)])
    least = np.lib.stride_tricks.sliding_window_view(ahead, LOOK_AHEAD).min(axis=1)
    out: list[bytes] = []
    cursor = 0  # samples
    for piece, at in zip(pieces, spoken + least, strict=True):
        gap = round(at * SAMPLE_RATE) - cursor
        if gap > JOIN_S * SAMPLE_RATE or not out:
            out.append(bytes(2 * max(0, gap)))
            cursor += max(0, gap)
        out.append(piece.pcm)
        cursor += len(piece.pcm) // 2
    return np.frombuffer(b"".join(out), "<i2").astype(np.int16)


class _Bot:
    """What the far side plays."""

    def __init__(self) -> None:
        self._track = bytearray()

    def play(self, at: float, pcm: bytes) -> None:
        start = round(at * SAMPLE_RATE) * 2
        gap = start - len(self._track)
        # The first frame after a pause begins to play when it comes.
        if gap > 0 and (gap > FRAME_BYTES or not self._track):
            self._track += bytes(gap)
        self._track += pcm

    def flush(self, at: float) -> None:
        del self._track[round(at * SAMPLE_RATE) * 2 :]

    def track(self) -> bytes:
        return bytes(self._track)
