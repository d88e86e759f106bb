"""The ear of one call over a transcription session that hears itself where speech ends.

Owns which item of the service is which utterance, and the audio that has no transcript
yet. All audio is sent, speech or not. Refuses to know how the service decides.

Rule 1: every ``SpeechStarted`` gets one ``SpeechStopped``, and that one final transcript,
empty at worst.
Rule 2: what a session detected and did not transcribe is found again by its place when
the next one detects it: the call is not told twice.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from teamscall.engines.base import (
    DiscardHeard,
    Emit,
    EngineFailed,
    EngineReady,
    Hear,
    SpeechStarted,
    SpeechStopped,
    Transcript,
)
from teamscall.engines.guard import believable
from teamscall.engines.openai import messages
from teamscall.engines.openai.messages import ServerEvent
from teamscall.engines.openai.tape import BYTES_PER_MS, Tape
from teamscall.engines.openai.transcription import OpenSocket, TranscriptionEar
from teamscall.engines.parts import EarCommand
from teamscall.engines.voicing import CERTAIN_FRAMES, FRAME_MS

# Before speech is detected, its begin is kept: a soft first consonant, what the detector
# needs to be sure, and what is on its way.
KEPT_BYTES = 2 * messages.BYTES_PER_S
# Another session may find the begin of the same speech elsewhere by so much.
ELSEWHERE_BYTES = messages.BYTES_PER_S
# What was sent again is not forgotten before the service had time to detect speech in it.
DETECT_S = 2.0
# So much voice in a row of seconds without a word from the service: perhaps it is deaf.
UNHEARD_FRAMES = 50
SEMANTIC_PAUSE_S = 8.0  # the longest that semantic detection waits


class _Utterance:
    __slots__ = (
        *("done", "end", "found", "item", "moved_at", "number", "start", "stopped", "text"),
        *("discarded", "tries"),
    )

    def __init__(self, number: int, item: str, start: int, now: float) -> None:
        self.number = number
        self.item = item
        self.start = start  # positions on the tape
        self.end: int | None = None
        self.found = True  # by the session that is up
        self.stopped = False  # the call was told
        self.done = False
        self.discarded = False
        self.text = ""
        self.moved_at = now
        self.tries = 0


class ServerEar(TranscriptionEar):
    """An :class:`teamscall.engines.parts.Ear` for ``engine`` turn taking.

    Args:
        pause_s: the longest pause that the service takes for a part of speech.
    """

    ready = EngineReady(turn_taking="engine")

    def __init__(
        self,
        open_socket: OpenSocket,
        emit: Emit,
        *,
        is_speech: Callable[[bytes], bool],
        model: str = "",
        pause_s: float = SEMANTIC_PAUSE_S,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(open_socket, emit, is_speech=is_speech, model=model, now=now)
        self._pause_s = pause_s
        self._tape = Tape()
        self._base = 0  # the position of the session's first byte
        self._resumed_at = self._now()
        self._count = 0
        self._unfinished: list[_Utterance] = []
        self._items: dict[str, _Utterance] = {}
        self._voiced_at = self._now()
        self._unheard_frames = 0
        self._unheard_since = self._now()
        self._suspicions = 0

    # --- what is told ----------------------------------------------------------------------

    def submit(self, command: EarCommand) -> None:
        match command:
            case Hear(pcm=pcm):
                self._hear(pcm)
            case DiscardHeard():
                self._discard()
            case _:
                pass  # where an utterance begins and ends is not the call's to tell

    def _hear(self, pcm: bytes) -> None:
        found = self._voicing.push(pcm)
        audio = self._resampler.push(pcm)
        self._tape.push(audio, found)
        if audio:
            self._socket.send(messages.append(audio))
        if any(found):
            self._voiced(sum(found))
        self._trim()

    def _voiced(self, frames: int) -> None:
        now = self._now()
        if now - self._voiced_at > self._progress_s:
            self._unheard_frames = 0
        self._voiced_at = now
        if any(said.end is None for said in self._unfinished):
            return
        if not self._unheard_frames:
            self._unheard_since = now
        self._unheard_frames += frames
        if self._unheard_frames >= UNHEARD_FRAMES > self._unheard_frames - frames:
            self._wake.set()

    def _discard(self) -> None:
        self._voicing.forget()
        self._tape.forget(self._tape.end)
        self._unheard_frames = 0
        self._socket.send(messages.CLEAR)
        for said in self._unfinished:
            said.discarded = said.done = True
        self._wake.set()

    def _trim(self) -> None:
        """Keep what has no transcript, and the begin of what may be speech."""
        if not self._socket.ready or self._now() - self._resumed_at < DETECT_S:
            return
        keep = self._tape.end - KEPT_BYTES
        self._tape.forget(min((said.start for said in self._unfinished), default=keep))

    def _resume(self) -> int:
        self._items.clear()
        for said in self._unfinished:
            said.found, said.item, said.text, said.moved_at = False, "", "", self._now()
        if self._unfinished:
            self._tape.forget(min(said.start for said in self._unfinished))
        self._unheard_frames = 0
        self._resumed_at = self._now()
        self._base = self._tape.start
        return self._send_again(self._tape.read())

    # --- what comes back -------------------------------------------------------------------

    def _received(self, event: ServerEvent) -> None:
        item = event.item_id or ""
        match event.type:
            case "input_audio_buffer.speech_started":
                self._started(item, self._position(event.audio_start_ms))
            case "input_audio_buffer.speech_stopped":
                self._stopped(self._of(item), self._position(event.audio_end_ms))
            case "input_audio_buffer.committed":
                self._moved(self._of(item))
            case "conversation.item.input_audio_transcription.delta":
                said = self._of(item)
                said.text += event.delta or ""
                self._moved(said)
                if not said.done and (text := believable(said.text, self._voiced_ms(said))):
                    self._emit(Transcript(said.number, text, final=False))
            case "conversation.item.input_audio_transcription.completed":
                self._tell_usage(event)
                said = self._of(item)
                if not said.done:
                    said.text, said.done = event.transcript or "", True
                    self._wake.set()
            case "conversation.item.input_audio_transcription.failed":
                name = event.error.name if event.error is not None else "unnamed"
                self._failed(self._of(item), f"the transcription failed ({name})")

    def _position(self, session_ms: float | None) -> int:
        """On the tape; not said is now."""
        if session_ms is None:
            return self._tape.end
        place = self._base + int(session_ms) * BYTES_PER_MS
        return min(max(self._base, place), self._tape.end)

    def _of(self, item: str) -> _Utterance:
        """Whose item this is; a service that tells of no beginning begins here."""
        if item not in self._items:
            self._started(item, self._tape.end)
        return self._items[item]

    def _started(self, item: str, place: int) -> None:
        self._unheard_frames = self._suspicions = 0
        said = next((s for s in self._unfinished if not s.found and _is_at(s, place)), None)
        if said is None:
            self._count += 1
            said = _Utterance(self._count, item, place, self._now())
            self._unfinished.append(said)
            self._emit(SpeechStarted(said.number))
        said.found, said.item = True, item
        self._items[item] = said
        self._moved(said)

    def _stopped(self, said: _Utterance, place: int) -> None:
        said.end = max(said.start, place)
        self._moved(said)
        self._tell_stop(said)

    def _tell_stop(self, said: _Utterance) -> None:
        if not said.stopped:
            said.stopped = True
            self._emit(SpeechStopped(said.number))

    def _moved(self, said: _Utterance) -> None:
        said.moved_at = self._now()
        self._wake.set()

    def _failed(self, said: _Utterance, detail: str) -> None:
        """Try an utterance once more, in a new session; then do without it."""
        if said.done:
            return
        if said.tries == 0 and said.found:
            said.tries = 1
            self._socket.restart(detail)
            return
        self._emit(EngineFailed("hear", detail))
        said.done = True
        self._wake.set()

    # --- deadlines and finals --------------------------------------------------------------

    async def close(self) -> None:
        self._unfinished.clear()
        self._items.clear()

    def _step(self) -> float | None:
        for said in [said for said in self._unfinished if said.done]:
            self._finish(said)
        if not self._socket.ready:
            return None
        now = self._now()
        for said in self._unfinished:
            if self._deadline(said) <= now:
                self._failed(said, f"no transcript within {self._progress_s:g} s")
        if (suspicion := self._suspicion_at()) is not None and suspicion <= now:
            self._suspect()
        due = [self._deadline(said) for said in self._unfinished if not said.done]
        if (suspicion := self._suspicion_at()) is not None:
            due.append(suspicion)
        return min(due, default=None)

    def _deadline(self, said: _Utterance) -> float:
        if said.found and said.end is None:  # the caller speaks, or the service missed the end
            return max(said.moved_at, self._voiced_at) + self._pause_s + self._progress_s
        return said.moved_at + self._progress_s

    def _suspicion_at(self) -> float | None:
        if self._unheard_frames < UNHEARD_FRAMES or self._suspicions > 1:
            return None
        return self._unheard_since + self._progress_s

    def _suspect(self) -> None:
        """Voice that the service says nothing of: a new session hears it, or it is noise."""
        self._unheard_frames = 0
        self._suspicions += 1
        detail = f"no speech was detected in {UNHEARD_FRAMES * FRAME_MS} ms of voice"
        if self._suspicions == 1:
            self._socket.restart(detail)
        else:
            self._emit(EngineFailed("hear", detail))

    def _voiced_ms(self, said: _Utterance) -> int:
        end = self._tape.end if said.end is None else said.end
        return max(CERTAIN_FRAMES * FRAME_MS, self._tape.voiced_ms(said.start, end))

    def _finish(self, said: _Utterance) -> None:
        text = "" if said.discarded else self._guard.believe(said.text, self._voiced_ms(said))
        self._unfinished.remove(said)
        self._tape.blank(said.start, self._tape.end if said.end is None else said.end)
        self._trim()
        self._tell_stop(said)
        self._emit(Transcript(said.number, text, final=True))


def _is_at(said: _Utterance, place: int) -> bool:
    """Whether speech that begins at ``place`` can be this."""
    last = said.end if said.end is not None else place
    return said.start - ELSEWHERE_BYTES <= place <= max(last, said.start + ELSEWHERE_BYTES)
