"""What one realtime session hears: the caller's audio on its way, and its utterances.

Owns the audio that a new session would have to be sent again, which item of the service
is which utterance, and the transcripts for the record. Refuses to know answers and who
decides what is answered.

Rule 1: every utterance that was neither discarded nor forgotten gets one final transcript.
Rule 2: what a lost session did not finish is sent again to the next one, once: a whole
utterance is committed by hand, one that goes on is detected anew and keeps its number.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from teamscall.audio.resample import Resampler
from teamscall.engines.base import (
    EngineDegraded,
    EngineFailed,
    SpeechStarted,
    SpeechStopped,
    Transcript,
)
from teamscall.engines.guard import Guard
from teamscall.engines.openai import messages
from teamscall.engines.openai.messages import ServerEvent
from teamscall.engines.openai.realtime_dialogue import Dialogue
from teamscall.engines.openai.realtime_line import Line
from teamscall.engines.openai.realtime_waits import Waits
from teamscall.engines.openai.usage import usage_event
from teamscall.engines.voicing import FRAME_MS, PRE_ROLL_MS, Voicing

SOURCE_RATE = 16_000
BYTES_PER_MS = messages.BYTES_PER_S // 1000
# Kept while nobody is known to speak: detection and the network take a second, and a
# session that turns out to be deaf some more.
KEPT_BYTES = 6 * messages.BYTES_PER_S
# Of an utterance that goes on, or while there is no session: the oldest is lost first.
MAX_KEPT_BYTES = 30 * messages.BYTES_PER_S
MIN_COMMIT_BYTES = messages.BYTES_PER_S // 10  # the service refuses less
MAX_UNFINISHED = 16  # utterances without their final; the oldest is given up
FLAGS = KEPT_BYTES // BYTES_PER_MS // FRAME_MS
# So much voice within two seconds is no noise: the service must have heard it.
CERTAIN_MS, CERTAIN_WINDOW_MS = 600, 2_000
PAUSE_MS = 300  # without voice: a renewal cuts into no word
MAX_DEAF = 6  # doublings of the patience with a session that hears nothing
FAR_FUTURE = float("inf")


class _Utterance:
    __slots__ = ("dropped", "ended_at", "item", "number", "pcm", "start", "text", "voiced_ms")

    def __init__(self, number: int, start: int, voiced_ms: int) -> None:
        self.number = number
        self.start = start  # in the call's audio, bytes
        self.voiced_ms = voiced_ms
        self.item = ""
        self.text = ""
        self.pcm = b""  # all of it, once it has ended
        self.ended_at = FAR_FUTURE
        self.dropped = False


class Hearing:
    """See the module.

    Args:
        turn_detection: of the session; None: the call says where utterances are.
        transcriber: the model's name; "": nothing is transcribed.
        is_speech: tells whether a 640-byte frame holds speech.
        answering: whether an answer is asked for or on its way.
        backed: another engine would hear what this session does not.
    """

    def __init__(
        self,
        line: Line,
        dialogue: Dialogue,
        *,
        turn_detection: object,
        transcriber: str,
        is_speech: Callable[[bytes], bool],
        answering: Callable[[], bool],
        backed: bool = False,
        waits: Waits,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._line = line
        self._dialogue = dialogue
        self._detection = turn_detection
        self._transcriber = transcriber
        self._answering = answering
        self._backed = backed
        self._waits = waits
        self._now = now
        self._voicing = Voicing(is_speech)
        self._flags: deque[bool] = deque(maxlen=FLAGS)
        self._guard = Guard()
        self._resampler = Resampler(SOURCE_RATE, messages.RATE)
        self._kept = bytearray()  # the latest audio, 24 kHz
        self._total = 0  # bytes heard in this call
        self._shift = 0  # from a position in the session's audio to one in the call's
        self._open: _Utterance | None = None
        self._again_until = FAR_FUTURE  # the open one must be detected anew by then
        self._unfinished: deque[_Utterance] = deque()  # ended, without their final
        self._items: dict[str, _Utterance] = {}
        self._unacknowledged: deque[_Utterance] = deque()  # committed by hand
        self._unanswered: list[int] = []
        self._silent: deque[int] = deque(maxlen=MAX_UNFINISHED)
        self._ignored = 0  # the last that was
        self._numbers = 0
        self._suspected_at: float | None = None
        self._deaf = 0  # sessions in a row that should have heard the caller and did not
        self._heard_once = False
        self.given_up = 0  # finals that never came

    @property
    def idle(self) -> bool:
        """Nobody speaks, and no transcript is owed."""
        pause = list(self._flags)[-PAUSE_MS // FRAME_MS :]
        return self._open is None and not self._unfinished and not any(pause)

    def silent(self, utterance: int) -> bool:
        """Whether nothing of this utterance was sent."""
        return utterance in self._silent

    def answering(self) -> None:
        """The answer to what was heard has begun."""
        self._unanswered.clear()

    # --- the call's side -------------------------------------------------------------------

    def hear(self, pcm: bytes) -> None:
        flags = self._voicing.push(pcm)
        self._flags.extend(flags)
        if self._open is not None:
            self._open.voiced_ms += FRAME_MS * sum(flags)
        pcm = self._resampler.push(pcm)
        if not pcm:
            return
        self._kept += pcm
        self._total += len(pcm)
        if self._line.ready and (self._detection is not None or self._open is not None):
            self._line.send(messages.append(pcm))
        self._forget_old()
        self._suspect()

    def _forget_old(self) -> None:
        most = MAX_KEPT_BYTES if self._open is not None or not self._line.ready else KEPT_BYTES
        if len(self._kept) > most:
            del self._kept[: len(self._kept) - most]

    def begin(self, number: int) -> None:
        """``local``: an utterance begins, with its pre-roll."""
        if self._detection is not None:
            return
        if self._open is not None:
            self._line.send(messages.CLEAR)  # never committed: it is the new one's pre-roll
        start = max(self._total - PRE_ROLL_MS * BYTES_PER_MS, self._kept_from)
        self._open = _Utterance(number, start, self._voicing.recent_frames * FRAME_MS)
        self._append(self._since(start))

    def commit(self, number: int) -> None:
        """``local``: it is complete."""
        if self._detection is not None:
            return
        said, self._open = self._open, None
        if said is None or said.number != number:
            said = _Utterance(number, self._total, 0)
        said.pcm = self._since(said.start)
        self._kept.clear()
        said.ended_at = self._now()
        if len(said.pcm) < MIN_COMMIT_BYTES:
            self._line.send(messages.CLEAR)
            self._silent.append(number)
            self._line.post(Transcript(number, "", final=True))
            return
        self._ended(said)
        self._commit(said)
        if not self._transcriber:
            self._finish(said, "")

    def ignore(self, number: int) -> None:
        """The session goes on as if this had not been said."""
        self._ignored = number
        self._send(self._dialogue.ignore(number))
        if number in self._unanswered:
            self._unanswered.remove(number)

    def discard(self) -> None:
        """Forget what was heard and not answered."""
        self._kept.clear()
        self._flags.clear()
        self._voicing.forget()
        self._suspected_at = None
        self._line.send(messages.CLEAR)
        for said in (*self._unfinished, *([self._open] if self._open is not None else [])):
            said.dropped = True
        self._open = None
        self._again_until = FAR_FUTURE
        self._unfinished.clear()
        for number in self._unanswered:
            self._send(self._dialogue.ignore(number))
        self._unanswered.clear()

    # --- the session -----------------------------------------------------------------------

    def lost(self) -> None:
        """The session is over, with the items that it had."""
        if self._open is None and not self._deaf:
            # The rest was heard, and there was nothing in it.
            del self._kept[: -messages.BYTES_PER_S]

    def opened(self) -> int:
        """Send a new session, which knows the dialogue, what the last one did not finish.

        Returns:
            how many bytes of audio were sent again.
        """
        self._items.clear()
        self._unacknowledged.clear()
        # What the last session should have heard, this one is sent again.
        self._suspected_at = self._now() if self._deaf == 1 else None
        sent = 0
        owed = [said for said in self._unfinished if said.number in self._unanswered]
        for said in [said for said in self._unfinished if said not in owed]:
            # Answered already: only its words were still to come, for the record.
            self._finish(said, said.text)
        if owed and self._detection is not None:
            self._line.send(messages.detect(None))
        for said in owed:
            said.text, said.item = "", ""
            said.ended_at = self._now()
            sent += self._append(said.pcm)
            self._commit(said)
        if owed and self._detection is not None:
            self._line.send(messages.detect(self._detection))
        start = self._open.start if self._open is not None else self._kept_from
        if self._detection is not None or self._open is not None:
            again = self._since(start)
            self._shift = self._total - len(again) - sent
            sent += self._append(again)
        if self._open is not None and self._detection is not None:
            self._open.item = ""
            self._again_until = self._now() + self._waits.heard
        return sent

    def received(self, event: ServerEvent) -> None:
        item = event.item_id or ""
        match event.type:
            case "input_audio_buffer.speech_started":
                self._started(item, event.audio_start_ms)
            case "input_audio_buffer.speech_stopped":
                self._stopped(item, event.audio_end_ms)
            case "input_audio_buffer.committed":
                self._committed(item)
            case "conversation.item.input_audio_transcription.delta":
                if (said := self._of(item)) is not None and event.delta:
                    said.text += event.delta
                    self._line.tell(Transcript(said.number, said.text.strip(), final=False))
            case "conversation.item.input_audio_transcription.completed":
                if (used := messages.used(event.usage)) is not None:
                    self._line.tell(usage_event("hear", self._transcriber, used))
                if (said := self._of(item)) is not None:
                    self._finish(said, event.transcript or "")
            case "conversation.item.input_audio_transcription.failed":
                if (said := self._of(item)) is not None:
                    name = event.error.name if event.error is not None else "unnamed"
                    self._line.tell(EngineFailed("hear", f"the transcription failed ({name})"))
                    self._finish(said, said.text)

    def refused(self, trouble: messages.Trouble) -> None:
        """The service would not have something; perhaps a commit."""
        for said in list(self._unacknowledged):
            if trouble.event_id == _commit_id(said):
                self._unacknowledged.remove(said)
                if said in self._unfinished:
                    self._finish(said, said.text)

    def _started(self, item: str, at_ms: float | None) -> None:
        self._suspected_at, self._deaf = None, 0
        if self._detection is None:
            return
        self._heard_once = True
        if self._again_until != FAR_FUTURE and self._open is not None:
            self._again_until = FAR_FUTURE
            self._name(self._open, item)
            return
        if self._open is not None:
            if self._open.item == item:
                return
            self._end_open(self._total)
        start = min(max(self._position(at_ms), self._kept_from), self._total)
        frames = (self._total - start) // (FRAME_MS * BYTES_PER_MS)
        voiced = sum(list(self._flags)[-frames:]) if frames else 0
        self._numbers += 1
        self._open = _Utterance(self._numbers, start, voiced * FRAME_MS)
        self._name(self._open, item)
        self._line.tell(SpeechStarted(self._numbers))

    def _stopped(self, item: str, at_ms: float | None) -> None:
        said = self._items.get(item)
        if said is not None and said.dropped:
            self._line.send(messages.delete(item))
        elif said is not None and said is self._open:
            self._end_open(self._position(at_ms))

    def _end_open(self, end: int) -> None:
        """The open utterance ended there; what came after it may be the next one's."""
        said, self._open = self._open, None
        if said is None:
            return
        self._again_until = FAR_FUTURE
        whole = self._since(said.start)
        end = min(max(end, said.start), self._total)
        said.pcm = whole[: max(0, len(whole) - (self._total - end))]
        after = self._total - end
        del self._kept[: max(0, len(self._kept) - after)]
        frames = after // (FRAME_MS * BYTES_PER_MS)
        self._flags = deque(list(self._flags)[-frames:] if frames else [], FLAGS)
        said.ended_at = self._now()
        self._ended(said)
        self._line.tell(SpeechStopped(said.number))
        if not self._transcriber and not said.dropped:
            self._finish(said, "")

    def _ended(self, said: _Utterance) -> None:
        if len(self._unfinished) >= MAX_UNFINISHED:
            self.given_up += 1
            oldest = self._unfinished.popleft()
            self._line.post(Transcript(oldest.number, oldest.text.strip(), final=True))
        self._unfinished.append(said)
        self._dialogue.heard(said.number, said.item)
        self._unanswered.append(said.number)
        if said.number == self._ignored:
            self.ignore(said.number)

    def _committed(self, item: str) -> None:
        """Commits are acknowledged in order, so this says for sure whose the item is."""
        if not self._unacknowledged or (item in self._items and self._detection is not None):
            return
        said = self._unacknowledged.popleft()
        self._name(said, item)
        if said.dropped:
            self._line.send(messages.delete(item))
        elif said in self._unfinished:
            self._dialogue.heard(said.number, item)

    def _of(self, item: str) -> _Utterance | None:
        """Whose transcript this is. Some models begin before the commit."""
        if item and item not in self._items and self._detection is None:
            unnamed = [s for s in self._unacknowledged if not s.item]
            if self._open is not None and not self._open.item:
                unnamed.append(self._open)
            if unnamed:
                self._name(unnamed[0], item)
        said = self._items.get(item)
        if (
            said is None
            or said.dropped
            or (said not in self._unfinished and said is not self._open)
        ):
            return None
        return said

    def _name(self, said: _Utterance, item: str) -> None:
        said.item = item
        self._items[item] = said
        while len(self._items) > 4 * MAX_UNFINISHED:
            del self._items[next(iter(self._items))]

    def _finish(self, said: _Utterance, text: str) -> None:
        if said in self._unfinished:
            self._unfinished.remove(said)
        text = self._guard.believe(text, said.voiced_ms)
        self._dialogue.transcribed(said.number, text)
        # Some finals are owed from inside ``submit``, where nothing may be emitted.
        self._line.post(Transcript(said.number, text, final=True))

    # --- time ------------------------------------------------------------------------------

    def deadline(self) -> float:
        """When ``tick`` is due; infinite when nothing is awaited."""
        oldest = self._unfinished[0].ended_at if self._unfinished else FAR_FUTURE
        return min(self._deaf_at, self._again_until, oldest + self._waits.transcript)

    @property
    def _deaf_at(self) -> float:
        if self._suspected_at is None:
            return FAR_FUTURE
        return self._suspected_at + self._waits.heard * (1 << max(0, self._deaf - 1))

    def tick(self) -> None:
        now = self._now()
        if not self._line.ready:
            return
        while self._unfinished and self._unfinished[0].ended_at + self._waits.transcript <= now:
            said = self._unfinished[0]
            self.given_up += 1
            seconds = f"{self._waits.transcript:g} s"
            self._line.tell(EngineFailed("hear", f"no transcript within {seconds}"))
            self._finish(said, said.text)
        if self._again_until <= now and self._open is not None:
            # What was speech to the last session is none to this one: take it as it is.
            said = self._open
            self._end_open(self._total)
            self._commit(said)
        if self._suspected_at is not None and self._answering():
            self._suspected_at = None
        if self._suspected_at is not None and self._deaf_at <= now:
            self._suspected_at = None
            self._deaf = min(self._deaf + 1, MAX_DEAF)
            if self._deaf > 1:
                self._tell_deaf()
            self._line.restart("it takes audio and hears nothing")

    def _tell_deaf(self) -> None:
        """Two sessions did not hear the same words: they must be said again."""
        self._kept.clear()
        self._flags.clear()
        detail = "the session does not hear the caller"
        if self._heard_once and not self._backed:
            # It did hear before: what our detection is sure of may be music on hold.
            self._line.tell(EngineDegraded("hear", detail))
            return
        self._line.tell(EngineFailed("hear", detail))
        if self._backed:
            self._line.tell(EngineFailed("session", detail, fatal=True))

    def _suspect(self) -> None:
        """Note since when the service should have heard the caller (E2)."""
        if self._detection is None or self._suspected_at is not None or self._open is not None:
            return
        if not self._line.ready or self._answering():
            return
        window = list(self._flags)[-CERTAIN_WINDOW_MS // FRAME_MS :]
        if sum(window) * FRAME_MS >= CERTAIN_MS:
            self._suspected_at = self._now()
            self._line.wake.set()

    # --- inside ----------------------------------------------------------------------------

    @property
    def _kept_from(self) -> int:
        return self._total - len(self._kept)

    def _position(self, at_ms: float | None) -> int:
        """In the call's audio, of an instant in the session's; the present if not known."""
        return self._total if at_ms is None else int(at_ms) * BYTES_PER_MS + self._shift

    def _since(self, start: int) -> bytes:
        return bytes(self._kept[max(0, start - self._kept_from) :])

    def _append(self, pcm: bytes) -> int:
        """In messages of a second each."""
        for start in range(0, len(pcm), messages.BYTES_PER_S):
            self._line.send(messages.append(pcm[start : start + messages.BYTES_PER_S]))
        return len(pcm)

    def _commit(self, said: _Utterance) -> None:
        if self._line.send(messages.commit(_commit_id(said))):
            self._unacknowledged.append(said)

    def _send(self, many: list[str]) -> None:
        for message in many:
            self._line.send(message)


def _commit_id(said: _Utterance) -> str:
    return f"commit-{said.number}"
