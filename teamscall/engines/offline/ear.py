"""The offline ear of one call: audio in, transcripts out, through the shared recogniser.

Owns what is kept of the audio and when it is decoded. Refuses to know models and turn
taking: where an utterance begins and ends is told by the call.

The recogniser is not a streaming one and takes 0.2 to 0.5 s whatever the length, so what
is said so far is decoded while the caller still talks: that shows partial transcripts, and
when the last decode began after the last word, it already is the final one. A pause
long enough to end an utterance is longer than a decode, so the answer usually begins
with no recogniser in its way.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable

from teamscall.engines.base import (
    BeginUtterance,
    CommitUtterance,
    DiscardHeard,
    Emit,
    EngineDegraded,
    EngineFailed,
    EngineReady,
    Hear,
    PeekUtterance,
    Transcript,
)
from teamscall.engines.guard import Guard, believable
from teamscall.engines.offline.frames import Finished, Transcribe
from teamscall.engines.offline.mouth import QUEUE_NOTICE_S
from teamscall.engines.offline.worker import Job, Worker
from teamscall.engines.parts import EarCommand
from teamscall.engines.voicing import FRAME_BYTES, FRAME_MS, PRE_ROLL_BYTES, Voicing
from teamscall.errors import EngineError

BYTES_PER_S = 32_000  # 16 kHz, 16 bit
# The recogniser's window is 30 s: longer utterances are decoded in pieces, cut where it
# is quietest within the last three seconds of a piece.
PIECE_BYTES = 28 * BYTES_PER_S
CUT_WINDOW_BYTES = 3 * BYTES_PER_S
MAX_PIECES = 20  # 9 minutes in one breath; then the oldest are lost, and counted
PAUSE_FRAMES = 8  # 160 ms without speech: perhaps the end, so decode now
# Speech frames after a decode began that do not spoil it: voice activity rings on for a
# frame or two after the last word, and fires on a breath.
STRAY_FRAMES = 2
PARTIAL_INTERVAL_S = 1.2  # per talking caller, so that partials never fill the recogniser
MIN_DECODE_BYTES = BYTES_PER_S * 2 // 5  # less than 0.4 s more is not worth a decode


class _Utterance:
    """What is known of one utterance. ``end`` positions are bytes into ``pcm``."""

    def __init__(self, number: int, pcm: bytes, voiced_frames: int = 0) -> None:
        self.number = number
        self.pcm = bytearray(pcm)
        self.pieces: deque[bytes] = deque(maxlen=MAX_PIECES)
        self.texts: list[str] = []  # of the pieces already decoded
        self.guess = ""  # the latest decode of ``pcm``
        self.guess_end = 0  # how much of ``pcm`` it covers
        self.speech_since_guess = 0  # speech frames that it does not cover
        self.voiced_frames = voiced_frames
        self.peeked = False  # a settled transcript of what was said is owed
        self.speech_since_peek = 0
        self.quiet_frames = 0  # in a row, up to now
        self.guessed_at = 0.0
        self.discarded = False

    @property
    def guess_holds(self) -> bool:
        """Whether nothing was said after what the guess covers."""
        return self.guess_end > 0 and self.speech_since_guess <= STRAY_FRAMES

    def count(self, speech: bool) -> None:
        """One more frame of ``pcm`` is speech or not."""
        if not speech:
            self.quiet_frames += 1
            return
        self.quiet_frames = 0
        self.voiced_frames += 1
        self.speech_since_guess += 1
        self.speech_since_peek += 1
        if self.speech_since_peek > STRAY_FRAMES:
            self.peeked = False  # there was more to come

    @property
    def voiced_ms(self) -> int:
        return self.voiced_frames * FRAME_MS

    @property
    def settled(self) -> bool:
        """Whether the peek that is owed can be answered."""
        return self.peeked and self.guess_holds and not self.pieces

    def text(self, last: str) -> str:
        return " ".join(t for t in (*self.texts, last) if t)


class Talkers:
    """How many callers are in the middle of an utterance, over all calls."""

    def __init__(self) -> None:
        self.count = 0


class OfflineEar:
    """An :class:`teamscall.engines.parts.Ear` for ``local`` turn taking.

    Args:
        worker: the recogniser, shared between calls.
        emit: takes the events.
        is_speech: tells whether a 640-byte frame holds speech.
        talkers: shared between the ears of one worker.
        now: monotonic seconds.
    """

    def __init__(
        self,
        worker: Worker,
        emit: Emit,
        *,
        is_speech: Callable[[bytes], bool],
        talkers: Talkers,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._worker = worker
        self._emit = emit
        self._voicing = Voicing(is_speech)
        self._guard = Guard()
        self._talkers = talkers
        self._now = now
        self._before = bytearray()  # the pre-roll
        self._open: _Utterance | None = None
        self._committed: deque[_Utterance] = deque()
        self._guessing: Job | None = None
        self._wake = asyncio.Event()
        self.pieces_lost = 0

    @property
    def made_up(self) -> int:
        """Transcripts of nothing that were dropped."""
        return self._guard.dropped

    # --- what is told ----------------------------------------------------------------------

    def submit(self, command: EarCommand) -> None:
        match command:
            case Hear(pcm=pcm):
                self._hear(pcm)
            case BeginUtterance(utterance=number):
                self._begin(number)
            case PeekUtterance(utterance=number):
                self._peek(number)
            case CommitUtterance(utterance=number):
                self._commit(number)
            case DiscardHeard():
                self._discard()

    def _hear(self, pcm: bytes) -> None:
        said = self._open
        if said is None:
            self._before += pcm
            del self._before[:-PRE_ROLL_BYTES]
        else:
            said.pcm += pcm
        found = self._voicing.push(pcm)
        if said is None:
            return
        for speech in found:
            said.count(speech)
        if len(said.pcm) >= PIECE_BYTES:
            self._cut_piece(said)
        if said.pieces or self._wants_guess(said):
            self._wake.set()

    def _begin(self, number: int) -> None:
        before = bytes(self._before)
        if self._open is not None:  # never committed: what it held is the new one's pre-roll
            before = bytes(self._open.pcm[-PRE_ROLL_BYTES:])
            self._close_open()
        self._before.clear()
        self._open = _Utterance(number, before, self._voicing.recent_frames)
        # The call has heard speech in the pre-roll: no decode holds yet.
        self._open.speech_since_guess = STRAY_FRAMES + 1
        self._open.guessed_at = self._now()
        self._talkers.count += 1

    def _peek(self, number: int) -> None:
        said = self._open
        if said is not None and said.number == number:
            said.peeked, said.speech_since_peek = True, 0
            self._wake.set()

    def _commit(self, number: int) -> None:
        said = self._open
        if said is None or said.number != number:
            said = _Utterance(number, b"")  # the call expects a final all the same
        else:
            self._close_open()
        self._committed.append(said)
        if self._guessing is not None and not self._guessing.started:
            self._guessing.abandon()  # the final decode has more of it
        self._wake.set()

    def _discard(self) -> None:
        self._before.clear()
        self._voicing.forget()
        for said in self._committed:
            said.discarded = True
        if self._open is not None:
            self._open.discarded = True
            self._close_open()

    def _close_open(self) -> None:
        if self._open is not None:
            self._open = None
            self._talkers.count -= 1

    def _cut_piece(self, said: _Utterance) -> None:
        window = said.pcm[PIECE_BYTES - CUT_WINDOW_BYTES : PIECE_BYTES]
        cut = PIECE_BYTES - CUT_WINDOW_BYTES + quietest(bytes(window))
        if len(said.pieces) == MAX_PIECES:
            self.pieces_lost += 1
        said.pieces.append(bytes(said.pcm[:cut]))
        del said.pcm[:cut]
        said.guess, said.guess_end = "", 0
        said.speech_since_guess = STRAY_FRAMES + 1

    # --- what is decoded ---------------------------------------------------------------------

    async def run(self) -> None:
        self._emit(EngineReady())
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._committed:
                await self._finish(self._committed[0])
                self._committed.popleft()
            if (said := self._open) is not None:
                await self._decode_pieces(said)
                if self._wants_guess(said):
                    await self._guess(said)
                self._settle(said)

    async def close(self) -> None:
        self._close_open()
        self._before.clear()
        self._committed.clear()
        if self._guessing is not None:
            self._guessing.abandon()

    def _wants_guess(self, said: _Utterance) -> bool:
        if self._guessing is not None or said.guess_holds:
            return False
        if said.peeked:
            return True
        if len(said.pcm) - said.guess_end < MIN_DECODE_BYTES:
            return False
        if said.quiet_frames >= PAUSE_FRAMES:
            return True
        interval = PARTIAL_INTERVAL_S * max(1, self._talkers.count)
        return self._now() - said.guessed_at >= interval

    async def _guess(self, said: _Utterance) -> None:
        """Decode what was said so far, when nobody needs the recogniser more."""
        pcm = bytes(said.pcm)
        pieces = len(said.pieces)
        said.guessed_at = self._now()
        spoken_before, said.speech_since_guess = said.speech_since_guess, 0
        self._guessing = self._worker.submit(Transcribe(0, pcm), urgent=False)
        try:
            text = (await self._guessing.finished()).text
        except EngineError:
            # A guess costs nothing when it is lost: the final decode will tell.
            said.speech_since_guess += spoken_before
            return
        finally:
            self._guessing = None
        if said.discarded or len(said.pieces) != pieces or len(said.pcm) < len(pcm):
            return  # forgotten, or cut into pieces meanwhile
        said.guess, said.guess_end = text, len(pcm)
        if self._open is said and not said.settled:
            self._emit_unfinished(said)

    def _settle(self, said: _Utterance) -> None:
        if self._open is said and said.settled:
            said.peeked = False
            self._emit_unfinished(said, settled=True)

    def _emit_unfinished(self, said: _Utterance, *, settled: bool = False) -> None:
        if said.guess and (text := believable(said.text(said.guess), said.voiced_ms)):
            self._emit(Transcript(said.number, text, final=False, settled=settled))

    async def _finish(self, said: _Utterance) -> None:
        await self._decode_pieces(said)
        text = ""
        if said.guess_holds:
            text = said.guess
        elif said.pcm and not said.discarded:
            text = await self._decode(bytes(said.pcm))
        final = ""
        if not said.discarded:
            final = self._guard.believe(said.text(text), said.voiced_ms)
        self._emit(Transcript(said.number, final, final=True))

    async def _decode_pieces(self, said: _Utterance) -> None:
        while said.pieces and not said.discarded:
            said.texts.append(await self._decode(said.pieces.popleft()))

    async def _decode(self, pcm: bytes) -> str:
        """Decode in turn with the other calls; "" and a failure told when it fails."""
        job = self._worker.submit(Transcribe(0, pcm))
        try:
            finished: Finished = await job.finished()
        except EngineError as error:
            self._emit(EngineFailed("hear", error.message))
            return ""
        if job.waited_s > QUEUE_NOTICE_S:
            self._emit(EngineDegraded("hear", "turns queue", int(job.waited_s * 1000)))
        return finished.text


def quietest(pcm: bytes, frame_bytes: int = FRAME_BYTES) -> int:
    """The byte offset of the middle of the quietest frame of s16le mono PCM."""
    import numpy as np

    frames = len(pcm) // frame_bytes
    samples = np.frombuffer(pcm[: frames * frame_bytes], "<i2").astype(np.float64)
    energy = np.square(samples.reshape(frames, -1)).sum(axis=1)
    # Over 200 ms: one quiet frame may lie within a word.
    smooth = np.convolve(energy, np.ones(10), mode="valid")
    return (int(smooth.argmin()) + 5) * frame_bytes
