"""One call's conversation with a Live session: commands in, events out.

Owns how its parts are put together: the line (which session is up), what is said
(:mod:`teamscall.engines.openai.live_speech`), what was heard, and what is remembered for
the next session. Refuses to know how a session is started.

The model takes its turns itself and nothing makes it speak or stop: what it says is cut
into answers here, what was cancelled is dropped here, and of what the caller heard it is
told. Events leave from ``run``, never from inside ``submit``.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from teamscall.engines.base import (
    AnswerAudio,
    AnswerDone,
    AnswerText,
    CallBrief,
    CancelAnswer,
    DiscardHeard,
    Emit,
    EngineCommand,
    EngineDegraded,
    EngineEvent,
    EngineReady,
    EngineUsage,
    Hear,
    Line,
    Phrase,
    PressDigit,
    Respond,
    Say,
    Transcript,
    TruncateAnswer,
)
from teamscall.engines.ending import raise_first, until
from teamscall.engines.memory import Memory
from teamscall.engines.openai import live_messages
from teamscall.engines.openai.live_delegating import Delegate
from teamscall.engines.openai.live_line import RENEWED, LiveLine, OpenSocket
from teamscall.engines.openai.live_messages import BYTES_PER_MS, Context
from teamscall.engines.openai.live_speech import Speech
from teamscall.engines.openai.messages import ServerEvent, used
from teamscall.engines.tools import Tools
from teamscall.errors import EngineError

# Fragments of what the caller said that are further apart are two utterances.
UTTERANCE_GAP_S = 0.8
MAX_UTTERANCE_CHARS = 4_000
MAX_GAP_BYTES = 10_000 * BYTES_PER_MS  # of audio while there is no session: oldest lost
MAX_POSTS = 5_000  # more is a call that is not run
PHRASE_CHUNK_MS = 200
NOTE_BYTES = 300  # of what was heard, in the note that tells the model
FAR_FUTURE = float("inf")

# Which of the service's reasons to end a session are not mended by another one.
_FINAL = frozenset({"content", "remote_hangup"})


class LiveSession:
    """An :class:`teamscall.engines.base.EngineSession`.

    Args:
        call: what may be known about the call; its history is told to the model.
        emit: takes the events.
        open_socket, start: what makes a socket, and its first message from the history.
        model, thinker: their names, for what is counted.
        tools: what the backend may use.
        phrase: looks a text up in the phrase cache.
        now: monotonic seconds.
    """

    def __init__(
        self,
        call: CallBrief,
        emit: Emit,
        *,
        open_socket: OpenSocket,
        start: Callable[[Sequence[Line]], str],
        model: str,
        thinker: str,
        tools: Tools,
        phrase: Callable[[str], Phrase | None],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._emit = emit
        self._model = model
        self._phrase = phrase
        self._now = now
        self._memory = Memory(call.history)
        self._line = LiveLine(
            open_socket,
            lambda: start(self._memory.lines()),
            opened=self._opened,
            received=self._received,
            lost=self._lost,
            now=now,
        )
        self._delegate = Delegate(call, self._line.send, self._post, self._spawn, thinker, tools)
        self._speech = Speech(self._began, self._post, end_call=self._delegate.end_call)
        self._posts: deque[EngineEvent] = deque(maxlen=MAX_POSTS)
        self._says: dict[int, str] = {}  # asked of the model and not begun
        self._utterance = 0
        self._heard = ""  # of the utterance that goes on
        self._heard_at = 0.0
        self._spoilt = False  # the session knows of what was discarded
        self._gap: deque[bytes] = deque()  # audio while there is no session
        self._gap_bytes = 0
        self._lost_at: float | None = None
        self._lost_reason = ""
        self._used_s = 0.0  # by this session, as last told
        self._wake = asyncio.Event()
        self._group: asyncio.TaskGroup | None = None
        self._closing = asyncio.Event()
        self._finished = asyncio.Event()
        self._finished.set()

    # --- the call's side -------------------------------------------------------------------

    async def run(self) -> None:
        self._finished.clear()
        try:
            async with asyncio.TaskGroup() as self._group:
                self._group.create_task(self._line.run(), name="line")
                self._group.create_task(self._watch(), name="watch")
                self._group.create_task(until(self._closing), name="closing")
        except BaseExceptionGroup as failures:
            raise_first(failures, stage="session", closing=self._closing, emit=self._emit)
        finally:
            self._closing.set()
            self._finished.set()

    def submit(self, command: EngineCommand) -> None:
        if self._closing.is_set():
            return
        match command:
            case Hear(pcm=pcm):
                self._hear(pcm)
                return  # fifty times a second, and no deadline comes of it
            case DiscardHeard():
                self._discard()
            case Respond(turn=turn):
                self._speech.give(turn)
            case PressDigit(turn=turn, digit=digit):
                self._tell("instructions", f"The caller pressed the key {digit}.")
                self._post(AnswerDone(turn))
            case Say(turn=turn, text=text, aloud=aloud):
                self._say(turn, text, aloud=aloud)
            case CancelAnswer(turn=turn, forget=forget):
                self._cancel(turn, forget=forget)
            case TruncateAnswer(turn=turn, heard_text=text):
                self._truncate(turn, text)
            case _:
                return  # of the local turn taking
        self._wake.set()

    async def close(self) -> None:
        self._closing.set()
        await self._finished.wait()

    def _discard(self) -> None:
        """Nothing takes back what the session was sent: the next words go to another one,
        and what comes of this one's until then is no words."""
        self._gap.clear()
        self._gap_bytes = 0
        self._heard = ""
        self._spoilt = True

    def _hear(self, pcm: bytes) -> None:
        if self._spoilt:
            self._line.replace(RENEWED)
            self._spoilt = False
        if self._line.send(live_messages.append(pcm)):
            return
        self._gap.append(pcm)
        self._gap_bytes += len(pcm)
        while self._gap_bytes > MAX_GAP_BYTES:
            self._gap_bytes -= len(self._gap.popleft())

    def _say(self, turn: int, text: str, *, aloud: bool) -> None:
        phrase = self._phrase(text) if aloud else None
        if aloud and phrase is None:
            # In its own words: the service promises no wording.
            self._says[turn] = text
            self._speech.ask(turn, self._now())
            self._tell("commentary", text)
            return
        self._tell("instructions", f"You have just said to the caller: {text}")
        if phrase is None:
            self._memory.said(turn, text)
        else:
            self._post(AnswerText(turn, text))
            size = PHRASE_CHUNK_MS * phrase.rate * 2 // 1000
            for at in range(0, len(phrase.pcm), size):
                words = "" if at else text
                self._post(AnswerAudio(turn, phrase.pcm[at : at + size], phrase.rate, words))
            self._post(AnswerDone(turn))

    def _cancel(self, turn: int, *, forget: bool) -> None:
        mine = [event for event in self._posts if _turn_of(event) == turn]
        done = any(isinstance(event, AnswerDone) for event in mine)
        for event in mine:
            self._posts.remove(event)
        self._says.pop(turn, None)
        if self._speech.cancel(turn) or done:
            self._post(AnswerDone(turn, "cancelled"))
        if forget:
            self._memory.forget(turn)

    def _truncate(self, turn: int, heard: str) -> None:
        self._memory.truncate(turn, heard)
        tail = list(live_messages.pieces(heard[::-1], NOTE_BYTES))
        if tail:
            note = f"The caller interrupted you and heard no further than: … {tail[0][::-1]}"
        else:
            note = "The caller interrupted you and heard nothing of what you were saying."
        self._tell("thinking", note)

    def _tell(self, kind: Context, text: str) -> None:
        for piece in live_messages.pieces(text):
            self._line.send(live_messages.tell(kind, piece))

    # --- the line's side -------------------------------------------------------------------

    def _opened(self) -> None:
        self._used_s = 0.0
        if self._line.sessions == 1:
            self._emit(EngineReady("engine", direct=True))
        elif self._lost_at is not None:
            gap_s = self._now() - self._lost_at
            detail = f"the session was lost ({self._lost_reason}) and back in {gap_s:.1f} s"
            self._post(EngineDegraded("session", detail, round(gap_s * 1000)))
        self._lost_at = None
        for pcm in self._gap:
            self._line.send(live_messages.append(pcm))
        self._gap.clear()
        self._gap_bytes = 0
        for turn in self._speech.waiting():
            self._tell("commentary", self._says[turn])
        self._wake.set()

    def _lost(self, reason: str) -> None:
        if reason != RENEWED:
            self._lost_at, self._lost_reason = self._now(), reason
        self._end_utterance()
        self._speech.lost("the session was lost")
        self._delegate.lost()
        self._wake.set()

    def _received(self, event: ServerEvent) -> None:
        now = self._now()
        match event.type:
            case "session.output_audio.delta":
                if (pcm := live_messages.sound(event)) is None:
                    self._line.replace("unreadable audio")
                else:
                    self._speech.audio(pcm, now)
            case "session.output_transcript.delta":
                self._speech.text(event.delta or "", now)
            case "session.input_transcript.delta" if not self._spoilt:
                self._heard = (self._heard + (event.delta or ""))[:MAX_UTTERANCE_CHARS]
                self._heard_at = now
            case "session.usage.updated":
                self._count(event)
            case "session.closed":
                self._count(event)
                self._ended(event.reason or "")
            case "session.delegation.created" | "response.event":
                self._delegate.received(event)
        self._wake.set()

    def _ended(self, reason: str) -> None:
        if reason in _FINAL:
            raise EngineError(f"the service ended the session ({reason}).", stage="session")
        known = reason in ("expired", "connection_lost", "close_requested")
        self._line.replace(f"{reason if known else 'closed'} by the service")

    def _count(self, event: ServerEvent) -> None:
        """What is told is what this session used so far; what is emitted, since the last."""
        usage = used(event.usage)
        if usage is None or usage.seconds is None or usage.seconds <= self._used_s:
            return
        more_s, self._used_s = usage.seconds - self._used_s, usage.seconds
        self._post(EngineUsage("session", self._model, audio_in_s=more_s))

    # --- events ----------------------------------------------------------------------------

    def _began(self, event: EngineEvent) -> None:
        """An answer begins: what the caller had said before it is complete."""
        self._end_utterance()
        self._drain()
        self._emit(event)

    def _end_utterance(self) -> None:
        text, self._heard = self._heard.strip(), ""
        if text:
            self._utterance += 1
            self._memory.heard(-self._utterance, text)
            self._post(Transcript(self._utterance, text, final=True))

    def _post(self, event: EngineEvent) -> None:
        """Emit from inside ``run``, soon and in order."""
        self._posts.append(event)
        self._wake.set()

    def _drain(self) -> None:
        while self._line.sessions and self._posts:
            event = self._posts.popleft()
            if isinstance(event, AnswerText | AnswerDone):
                self._says.pop(event.turn, None)
            if isinstance(event, AnswerText):
                self._memory.said(event.turn, event.delta)
            self._emit(event)

    # --- time, and the end -----------------------------------------------------------------

    @property
    def _idle(self) -> bool:
        return self._speech.idle and not self._heard and self._delegate.idle

    async def _watch(self) -> None:
        while True:
            self._wake.clear()
            self._drain()
            now = self._now()
            self._speech.tick(now)
            if self._heard and now >= self._heard_at + UTTERANCE_GAP_S:
                self._end_utterance()
            self._line.tick(idle=self._idle)
            if self._wake.is_set():
                continue
            due = min(self._speech.deadline(), self._line.deadline(idle=self._idle))
            if self._heard:
                due = min(due, self._heard_at + UTTERANCE_GAP_S)
            wait_s = due - self._now()
            try:
                async with asyncio.timeout(None if due == FAR_FUTURE else max(0.01, wait_s)):
                    await self._wake.wait()
            except TimeoutError:
                continue

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        assert self._group is not None, "the session does not run"
        return self._group.create_task(work, name=name)


def _turn_of(event: EngineEvent) -> int:
    return event.turn if isinstance(event, AnswerText | AnswerAudio | AnswerDone) else 0
