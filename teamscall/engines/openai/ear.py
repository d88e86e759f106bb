"""The ear of one call over a transcription session that is told of utterances.

Owns what is kept of the audio until its transcript is there, and which item of the
service is which utterance. Refuses to know where an utterance begins and ends: the call
tells (``local`` turn taking), because not every model detects speech itself, and barge-in
needs our own detection anyway. Only utterances are sent, so silence costs nothing.

A peek is answered by models that transcribe while the caller speaks, when their words have
stood still for a moment. The others would have to be asked by a commit, and a sentence cut
at every pause for breath is heard worse than a whole one.

Rule: every committed utterance gets exactly one final transcript, empty at worst.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from teamscall.engines.base import (
    BeginUtterance,
    CommitUtterance,
    DiscardHeard,
    Emit,
    EngineFailed,
    Hear,
    PeekUtterance,
    Transcript,
)
from teamscall.engines.guard import believable
from teamscall.engines.openai import messages
from teamscall.engines.openai.messages import ServerEvent
from teamscall.engines.openai.transcription import OpenSocket, TranscriptionEar
from teamscall.engines.parts import EarCommand
from teamscall.engines.voicing import FRAME_MS, PRE_ROLL_BYTES

# The service refuses to commit less than 100 ms.
MIN_COMMIT_BYTES = messages.BYTES_PER_S // 10
# An utterance this long is committed piece by piece, at the first pause of 200 ms, or
# wherever it is when there is none: what is sent again after a loss stays bounded, and a
# final transcript does not wait for minutes of audio.
PIECE_BYTES = 20 * messages.BYTES_PER_S
MAX_PIECE_BYTES = 40 * messages.BYTES_PER_S
PIECE_PAUSE_FRAMES = 10
# A transcript that has not moved for this long, in a pause, holds all that was said.
STABLE_S = 0.15
# Voice after a peek that is more than voice activity ringing on: the utterance goes on.
MORE_FRAMES = 3
MAX_UNFINISHED = 8  # utterances without their final; a service so far behind is down
_EMPTY = "input_audio_buffer_commit_empty"


class _Piece:
    """What is transcribed as one item."""

    __slots__ = (
        *("committed", "done", "item", "moved_at", "pcm", "serial", "text", "tries"),
        "voiced_frames",
    )

    def __init__(self, serial: int, voiced_frames: int) -> None:
        self.serial = serial
        self.pcm = bytearray()  # 24 kHz
        self.voiced_frames = voiced_frames
        self.committed = False
        self.done = False
        self.item = ""
        self.text = ""
        self.moved_at = 0.0  # when something about it last moved
        self.tries = 0

    @property
    def event_id(self) -> str:
        return f"commit-{self.serial}"

    @property
    def voiced_ms(self) -> int:
        return self.voiced_frames * FRAME_MS


class _Utterance:
    def __init__(self, number: int) -> None:
        self.number = number
        self.pieces: list[_Piece] = []
        self.committed = False
        self.discarded = False
        self.peeked = False  # a settled transcript is owed
        self.voiced_since_peek = 0  # frames
        self.quiet_frames = 0  # in a row, up to now

    @property
    def text(self) -> str:
        """What was said, as far as it is known and believed."""
        found = (believable(piece.text, piece.voiced_ms) for piece in self.pieces)
        return " ".join(text for text in found if text)

    @property
    def finished(self) -> bool:
        return self.committed and all(piece.done for piece in self.pieces)

    @property
    def stable_at(self) -> float | None:
        """When a peek can be answered; None: there is none, or nothing to answer it with."""
        *before, last = self.pieces or [_Piece(0, 0)]
        known = self.peeked and last.text and all(piece.done for piece in before)
        return last.moved_at + STABLE_S if known and not last.committed else None


class OpenAIEar(TranscriptionEar):
    """An :class:`teamscall.engines.parts.Ear` for ``local`` turn taking.

    ``streams``: the model transcribes while the caller speaks.
    """

    def __init__(
        self,
        open_socket: OpenSocket,
        emit: Emit,
        *,
        is_speech: Callable[[bytes], bool],
        model: str = "",
        streams: bool = False,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(open_socket, emit, is_speech=is_speech, model=model, now=now)
        self._streams = streams
        self._before = bytearray()  # the pre-roll
        self._open: _Utterance | None = None
        self._unfinished: deque[_Utterance] = deque()  # the open one is the last
        self._serial = 0
        self._items: dict[str, _Piece] = {}
        self._unnamed: deque[_Piece] = deque()  # sent, no item of theirs is known
        self._unacknowledged: deque[_Piece] = deque()  # committed in this session
        self.given_up = 0  # utterances whose transcript never came

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
        self._before += pcm
        del self._before[:-PRE_ROLL_BYTES]
        found = self._voicing.push(pcm)
        if (said := self._open) is None:
            return
        piece = said.pieces[-1]
        for speech in found:
            said.quiet_frames = 0 if speech else said.quiet_frames + 1
            piece.voiced_frames += speech
            said.voiced_since_peek += speech
            if said.voiced_since_peek >= MORE_FRAMES:
                said.peeked = False
        self._send(said, pcm)

    def _begin(self, number: int) -> None:
        if self._open is not None:  # never committed: it becomes the new one's pre-roll
            self._forget_open()
        waiting = [said for said in self._unfinished if not said.finished]
        if len(waiting) >= MAX_UNFINISHED:
            self._give_up(waiting[0])
        said = _Utterance(number)
        self._open = said
        self._unfinished.append(said)
        self._resampler.reset()
        self._new_piece(said, self._voicing.recent_frames)
        self._send(said, bytes(self._before))

    def _peek(self, number: int) -> None:
        said = self._open
        if self._streams and said is not None and said.number == number:
            said.peeked, said.voiced_since_peek = True, 0
            self._wake.set()

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
        self._voicing.forget()
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
        for piece in said.pieces:
            piece.done = True
            if piece in self._unnamed and not piece.committed:
                self._unnamed.remove(piece)
        self._socket.send(messages.CLEAR)

    # --- what is sent ----------------------------------------------------------------------

    def _new_piece(self, said: _Utterance, voiced_frames: int = 0) -> None:
        self._serial += 1
        piece = _Piece(self._serial, voiced_frames)
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

    def _resume(self) -> int:
        self._items.clear()
        self._unnamed.clear()
        self._unacknowledged.clear()
        sent = 0
        for piece in self._pieces():
            if piece.done:
                continue
            piece.item, piece.text, piece.moved_at = "", "", self._now()
            self._unnamed.append(piece)
            sent += self._send_again(bytes(piece.pcm))
            if piece.committed:
                self._socket.send(messages.commit(piece.event_id))
                self._unacknowledged.append(piece)
        return sent

    # --- what comes back -------------------------------------------------------------------

    def _received(self, event: ServerEvent) -> None:
        match event.type:
            case "input_audio_buffer.committed":
                self._acknowledged(event.item_id or "")
            case "conversation.item.input_audio_transcription.delta":
                if piece := self._piece_of(event.item_id or ""):
                    piece.text += event.delta or ""
                    piece.moved_at = self._now()
                    self._emit_partial(piece)
                    self._wake.set()
            case "conversation.item.input_audio_transcription.completed":
                self._tell_usage(event)
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
        piece.moved_at = self._now()

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

    async def close(self) -> None:
        self._open = None
        self._unfinished.clear()
        self._before.clear()

    def _step(self) -> float | None:
        for said in list(self._unfinished):
            if said.finished:
                self._finish(said)
            elif (stable := said.stable_at) is not None and stable <= self._now():
                said.peeked = False
                if text := said.text:
                    self._emit(Transcript(said.number, text, final=False, settled=True))
        for piece in self._waiting():
            if piece.moved_at + self._progress_s <= self._now():
                self._failed(piece, f"no transcript within {self._progress_s:g} s")
        due = [piece.moved_at + self._progress_s for piece in self._waiting()]
        due += [stable for said in self._unfinished if (stable := said.stable_at) is not None]
        return min(due, default=None)

    def _pieces(self) -> list[_Piece]:
        return [piece for said in self._unfinished for piece in said.pieces]

    def _waiting(self) -> list[_Piece]:
        """Pieces whose transcript is owed by a session that is there."""
        if not self._socket.ready:
            return []
        return [piece for piece in self._pieces() if piece.committed and not piece.done]

    def _finish(self, said: _Utterance) -> None:
        self._unfinished.remove(said)
        texts: list[str] = []
        for piece in said.pieces:
            self._items.pop(piece.item, None)
            texts.append(self._guard.believe(piece.text, piece.voiced_ms))
        text = "" if said.discarded else " ".join(text for text in texts if text)
        self._emit(Transcript(said.number, text, final=True))

    def _give_up(self, said: _Utterance) -> None:
        """Make room; its final, of what was understood, leaves from ``run``."""
        self.given_up += 1
        for piece in said.pieces:
            piece.done = True
        self._wake.set()
