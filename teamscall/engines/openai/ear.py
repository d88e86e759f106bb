"""The ear of one call over a transcription session: audio in, transcripts out.

Owns what is kept of the audio until its transcript is there, and which item of the
service is which utterance. Refuses to know where an utterance begins and ends: the call
tells (``local`` turn taking), because not every model detects speech itself, and barge-in
needs our own detection anyway. Only utterances are sent, so silence costs nothing.

Rule 1: every committed utterance gets exactly one final transcript, empty at worst.
Rule 2: what a lost session did not finish is sent again, whole, to the next one, whose
buffer is empty: no word is lost and none comes twice.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable

from teamscall.audio.resample import Resampler
from teamscall.engines.base import (
    BeginUtterance,
    CommitUtterance,
    DiscardHeard,
    Emit,
    EngineDegraded,
    EngineFailed,
    EngineReady,
    Hear,
    Transcript,
)
from teamscall.engines.openai import messages
from teamscall.engines.openai.guard import made_up
from teamscall.engines.openai.messages import ServerEvent
from teamscall.engines.openai.socket import Socket
from teamscall.engines.parts import EarCommand
from teamscall.errors import EngineError

log = logging.getLogger("teamscall.engines.openai")

SOURCE_RATE = 16_000
FRAME_BYTES = 640
FRAME_MS = 20
# Before the utterance is said to have begun: what the call needed to be sure (100 ms and
# more) and 300 ms in which a soft first consonant lies.
PRE_ROLL_BYTES = SOURCE_RATE * 2 // 2
# The service refuses to commit less than 100 ms.
MIN_COMMIT_BYTES = messages.BYTES_PER_S // 10
# An utterance this long is committed piece by piece, at the first pause of 200 ms, or
# wherever it is when there is none: what is sent again after a loss stays bounded, and a
# final transcript does not wait for minutes of audio.
PIECE_BYTES = 20 * messages.BYTES_PER_S
MAX_PIECE_BYTES = 40 * messages.BYTES_PER_S
PIECE_PAUSE_FRAMES = 10
MAX_UNFINISHED = 8  # utterances without their final; a service so far behind is down
# From a commit, or the latest sign of life about it, to the next one. Twice this is less
# than the cascade's own hard stop.
PROGRESS_S = 4.0
_EMPTY = "input_audio_buffer_commit_empty"
RESEND_BYTES = messages.BYTES_PER_S  # one message per second of audio


class _Piece:
    """What is transcribed as one item."""

    __slots__ = ("committed", "done", "item", "moved_at", "pcm", "serial", "text", "tries")

    def __init__(self, serial: int) -> None:
        self.serial = serial
        self.pcm = bytearray()  # 24 kHz
        self.committed = False
        self.done = False
        self.item = ""
        self.text = ""
        self.moved_at = 0.0  # when something about it last moved
        self.tries = 0

    @property
    def event_id(self) -> str:
        return f"commit-{self.serial}"


class _Utterance:
    def __init__(self, number: int) -> None:
        self.number = number
        self.pieces: list[_Piece] = []
        self.committed = False
        self.discarded = False
        self.voiced_frames = 0
        self.quiet_frames = 0  # in a row, up to now

    @property
    def text(self) -> str:
        return " ".join(text for piece in self.pieces if (text := piece.text.strip()))

    @property
    def finished(self) -> bool:
        return self.committed and all(piece.done for piece in self.pieces)


class OpenAIEar:
    """An :class:`teamscall.engines.parts.Ear` for ``local`` turn taking.

    Args:
        open_socket: makes the socket, given ``opened``, ``received`` and ``lost``.
        emit: takes the events.
        is_speech: tells whether a 640-byte frame holds speech.
        now: monotonic seconds.
    """

    def __init__(
        self,
        open_socket: Callable[
            [Callable[[], None], Callable[[ServerEvent], None], Callable[[str], None]], Socket
        ],
        emit: Emit,
        *,
        is_speech: Callable[[bytes], bool],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._socket = open_socket(self._opened, self._received, self._lost)
        self._emit = emit
        self._is_speech = is_speech
        self._progress_s = PROGRESS_S
        self._now = now
        self._before = bytearray()  # the pre-roll
        self._frame = bytearray()  # towards the next whole frame
        self._resampler = Resampler(SOURCE_RATE, messages.RATE)
        self._open: _Utterance | None = None
        self._unfinished: deque[_Utterance] = deque()  # the open one is the last
        self._serial = 0
        self._items: dict[str, _Piece] = {}
        self._unnamed: deque[_Piece] = deque()  # sent, no item of theirs is known
        self._unacknowledged: deque[_Piece] = deque()  # committed in this session
        self._lost_at: float | None = None
        self._lost_reason = ""
        self._wake = asyncio.Event()
        self.made_up = 0  # transcripts of nothing that were dropped
        self.given_up = 0  # utterances whose transcript never came

    # --- what is told ----------------------------------------------------------------------

    def submit(self, command: EarCommand) -> None:
        match command:
            case Hear(pcm=pcm):
                self._hear(pcm)
            case BeginUtterance(utterance=number):
                self._begin(number)
            case CommitUtterance(utterance=number):
                self._commit(number)
            case DiscardHeard():
                self._discard()

    def _hear(self, pcm: bytes) -> None:
        said = self._open
        self._before += pcm
        del self._before[:-PRE_ROLL_BYTES]
        # Also between utterances: voice activity learns the noise floor from the pauses.
        self._frame += pcm
        while len(self._frame) >= FRAME_BYTES:
            speech = self._is_speech(bytes(self._frame[:FRAME_BYTES]))
            del self._frame[:FRAME_BYTES]
            if said is not None:
                said.voiced_frames += speech
                said.quiet_frames = 0 if speech else said.quiet_frames + 1
        if said is not None:
            self._send(said, pcm)

    def _begin(self, number: int) -> None:
        if self._open is not None:  # never committed: it becomes the new one's pre-roll
            self._forget_open()
        waiting = [said for said in self._unfinished if not said.finished]
        if len(waiting) >= MAX_UNFINISHED:
            self._give_up(waiting[0])
        said = _Utterance(number)
        # What the call was sure by lies in the pre-roll; all of it counts as voice.
        said.voiced_frames = 5
        self._open = said
        self._unfinished.append(said)
        self._resampler.reset()
        self._new_piece(said)
        self._send(said, bytes(self._before))

    def _commit(self, number: int) -> None:
        said = self._open
        if said is None or said.number != number:
            said = _Utterance(number)  # the call expects a final all the same
            self._unfinished.append(said)
        else:
            piece = said.pieces[-1]
            self._add(piece, self._resampler.flush())
            self._commit_piece(piece)
            self._open = None
            self._before.clear()
        said.committed = True
        self._wake.set()

    def _discard(self) -> None:
        self._before.clear()
        self._frame.clear()
        if self._open is not None:
            self._forget_open()
        for said in self._unfinished:
            said.discarded = True
            for piece in said.pieces:
                piece.done = True
        self._wake.set()

    def _forget_open(self) -> None:
        """The utterance that is going on never was."""
        said, self._open = self._open, None
        if said is None:
            return
        self._unfinished.remove(said)
        last = said.pieces[-1]
        if last in self._unnamed:
            self._unnamed.remove(last)
        self._socket.send(messages.CLEAR)

    # --- what is sent ----------------------------------------------------------------------

    def _new_piece(self, said: _Utterance) -> None:
        self._serial += 1
        piece = _Piece(self._serial)
        said.pieces.append(piece)
        self._unnamed.append(piece)

    def _send(self, said: _Utterance, pcm: bytes) -> None:
        piece = said.pieces[-1]
        self._add(piece, self._resampler.push(pcm))
        long = len(piece.pcm) >= PIECE_BYTES and said.quiet_frames >= PIECE_PAUSE_FRAMES
        if long or len(piece.pcm) >= MAX_PIECE_BYTES:
            self._commit_piece(piece)
            self._new_piece(said)

    def _add(self, piece: _Piece, pcm: bytes) -> None:
        if pcm:
            piece.pcm += pcm
            self._socket.send(messages.append(pcm))

    def _commit_piece(self, piece: _Piece) -> None:
        piece.committed = True
        piece.moved_at = self._now()
        if len(piece.pcm) < MIN_COMMIT_BYTES:
            # Too little for a word, and refused by the service.
            piece.done = True
            if piece in self._unnamed:
                self._unnamed.remove(piece)
            self._socket.send(messages.CLEAR)
        elif self._socket.send(messages.commit(piece.event_id)):
            self._unacknowledged.append(piece)

    def _opened(self) -> None:
        """A new session: send what is unfinished, in order."""
        self._items.clear()
        self._unnamed.clear()
        self._unacknowledged.clear()
        sent = 0
        for said in self._unfinished:
            for piece in said.pieces:
                if piece.done:
                    continue
                piece.item, piece.text, piece.moved_at = "", "", self._now()
                self._unnamed.append(piece)
                for start in range(0, len(piece.pcm), RESEND_BYTES):
                    self._socket.send(
                        messages.append(bytes(piece.pcm[start : start + RESEND_BYTES]))
                    )
                sent += len(piece.pcm)
                if piece.committed:
                    self._socket.send(messages.commit(piece.event_id))
                    self._unacknowledged.append(piece)
        if self._socket.sessions == 1:
            self._emit(EngineReady())
        if self._lost_at is not None:
            gap_s, self._lost_at = self._now() - self._lost_at, None
            again = f"; {sent / messages.BYTES_PER_S:.1f} s of audio sent again" if sent else ""
            detail = f"the recogniser was lost ({self._lost_reason}) and back in {gap_s:.1f} s"
            self._emit(EngineDegraded("hear", detail + again, round(gap_s * 1000)))
        self._wake.set()

    def _lost(self, reason: str) -> None:
        if self._lost_at is None and self._socket.sessions:
            self._lost_at, self._lost_reason = self._now(), reason

    # --- what comes back -------------------------------------------------------------------

    def _received(self, event: ServerEvent) -> None:
        match event.type:
            case "input_audio_buffer.committed":
                self._acknowledged(event.item_id or "")
            case "conversation.item.input_audio_transcription.delta":
                if piece := self._piece_of(event.item_id or ""):
                    piece.text += event.delta or ""
                    self._moved(piece)
                    self._emit_partial(piece)
            case "conversation.item.input_audio_transcription.completed":
                if piece := self._piece_of(event.item_id or ""):
                    piece.text = event.transcript or ""
                    piece.done = True
                    self._wake.set()
            case "conversation.item.input_audio_transcription.failed":
                if piece := self._piece_of(event.item_id or ""):
                    name = event.error.name if event.error is not None else "unnamed"
                    self._failed(piece, f"the transcription failed ({name})")
            case "error" if event.error is not None:
                for piece in list(self._unacknowledged):
                    if piece.event_id == event.error.event_id:
                        self._unacknowledged.remove(piece)
                        if event.error.name == _EMPTY:
                            piece.done = True
                            self._wake.set()
                        else:
                            self._failed(piece, f"a commit was refused ({event.error.name})")

    def _acknowledged(self, item: str) -> None:
        """Commits are acknowledged in order, so this says for sure whose the item is."""
        if not self._unacknowledged:
            return
        piece = self._unacknowledged.popleft()
        if piece.item != item:
            self._items.pop(piece.item, None)
            piece.text = ""
            self._name(piece, item)
        self._moved(piece)

    def _piece_of(self, item: str) -> _Piece | None:
        """Some models transcribe before the commit: a new item is the oldest piece's."""
        if item not in self._items and self._unnamed:
            self._name(self._unnamed[0], item)
        piece = self._items.get(item)
        return None if piece is None or piece.done else piece

    def _name(self, piece: _Piece, item: str) -> None:
        piece.item = item
        self._items[item] = piece
        if piece in self._unnamed:
            self._unnamed.remove(piece)

    def _moved(self, piece: _Piece) -> None:
        piece.moved_at = self._now()

    def _emit_partial(self, piece: _Piece) -> None:
        for said in self._unfinished:
            if piece in said.pieces and not said.discarded:
                if text := said.text:
                    self._emit(Transcript(said.number, text, final=False))
                return

    def _failed(self, piece: _Piece, detail: str) -> None:
        """Try a piece once more, in a new session; then do without it."""
        if piece.tries == 0:
            piece.tries = 1
            self._socket.restart(detail)
            return
        self._emit(EngineFailed("hear", detail))
        piece.done = True
        self._wake.set()

    # --- deadlines and finals --------------------------------------------------------------

    async def run(self) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._socket.run(), name="ear socket")
                group.create_task(self._watch(), name="ear watch")
        except BaseExceptionGroup as failures:
            for failure in failures.exceptions:
                if not isinstance(failure, EngineError):
                    raise failure from None
            raise failures.exceptions[0] from None

    async def close(self) -> None:
        self._open = None
        self._unfinished.clear()
        self._before.clear()

    async def _watch(self) -> None:
        while True:
            self._wake.clear()
            for said in [said for said in self._unfinished if said.finished]:
                self._finish(said)
            stalled = [piece for piece in self._waiting() if self._deadline(piece) <= self._now()]
            for piece in stalled:
                self._failed(piece, f"no transcript within {self._progress_s:g} s")
            if self._wake.is_set():
                continue
            soonest = min((self._deadline(piece) for piece in self._waiting()), default=None)
            try:
                async with asyncio.timeout(
                    None if soonest is None else max(0.01, soonest - self._now())
                ):
                    await self._wake.wait()
            except TimeoutError:
                continue

    def _waiting(self) -> list[_Piece]:
        """Pieces whose transcript is owed by a session that is there."""
        if not self._socket.ready:
            return []
        return [
            piece
            for said in self._unfinished
            for piece in said.pieces
            if piece.committed and not piece.done
        ]

    def _deadline(self, piece: _Piece) -> float:
        return piece.moved_at + self._progress_s

    def _finish(self, said: _Utterance) -> None:
        self._unfinished.remove(said)
        for piece in said.pieces:
            self._items.pop(piece.item, None)
        text = "" if said.discarded else said.text
        if made_up(text, said.voiced_frames * FRAME_MS):
            self.made_up += 1
            log.info("A transcript of noise was dropped", extra={"dropped": self.made_up})
            text = ""
        self._emit(Transcript(said.number, text, final=True))

    def _give_up(self, said: _Utterance) -> None:
        """Make room; its final, of what was understood, leaves from ``run``."""
        self.given_up += 1
        for piece in said.pieces:
            piece.done = True
        self._wake.set()
