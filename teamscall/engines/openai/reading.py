"""The voice by a realtime session that reads aloud, because the speech endpoint is ending.

Owns one warm session of one call, what belongs to which clause, and the check that what
was said is what was to be said. Refuses to know calls.

A realtime model is a talker made to read: now and then it begins with words of its own.
Its transcript comes a little before its audio; when that shows it in time, the clause is
asked for again, and otherwise it is counted and told.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import difflib
from collections.abc import AsyncGenerator, Callable

from teamscall.engines.base import Emit, EngineDegraded
from teamscall.engines.openai import messages
from teamscall.engines.openai.messages import ServerEvent
from teamscall.engines.openai.mouth import Voice
from teamscall.engines.openai.socket import Socket
from teamscall.engines.parts import Speech
from teamscall.errors import EngineError

SPEEDS = (0.25, 1.5)  # of a realtime session; the speech endpoint goes to 4
SPEECH_ONLY_VOICES = frozenset({"fable", "onyx", "nova"})
DEFAULT_VOICE = "coral"
MAX_WAITING_CHUNKS = 1_000  # of a clause; 240 characters are some 200 deltas
# Judged by letters: below this likeness a transcript is of another text, and with this many
# before the text's first ones it has a preamble ("Sure").
ALIKE = 0.6
ADDED_LETTERS = 4
# A session that accepts a clause and gives nothing for so long is opened again; less than
# the cascade's own deadlines on audio.
PROGRESS_S = 4.0
JUDGED_LETTERS = 12  # fewer say nothing yet


class _Clause:
    """One clause on its way. ``chunks``: PCM, then None at its end, or why it failed."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.response = ""
        self.transcript = ""
        self.chunks: asyncio.Queue[bytes | EngineError | None] = asyncio.Queue(MAX_WAITING_CHUNKS)
        self.begun = False
        self.over = False

    def end(self, why: EngineError | None = None) -> None:
        if not self.over:
            self.over = True
            if self.chunks.full():
                self.chunks.get_nowait()
            self.chunks.put_nowait(why)


class ReadingMouth:
    """An :class:`teamscall.engines.parts.Mouth` for one call; ``run`` keeps its session.

    Args:
        open_socket: makes the socket, given ``opened``, ``received`` and ``lost``.
        voice: how it shall sound.
        emit: told when it strays from the text.
    """

    def __init__(
        self,
        open_socket: Callable[
            [Callable[[], None], Callable[[ServerEvent], None], Callable[[str], None]], Socket
        ],
        voice: Voice,
        emit: Emit = lambda event: None,
    ) -> None:
        self._socket = open_socket(self._opened, self._received, self._lost)
        self._voice = voice
        self._emit = emit
        self._ready = asyncio.Event()
        self._clauses: dict[str, _Clause] = {}  # by event id, asked for and not over
        self._serial = 0
        self._broken: EngineError | None = None
        self._strayed_text = ""  # the last that was asked for again
        self.strayed = 0

    async def run(self) -> None:
        """Keep the session up until cancelled; a failure for good is told to ``speak``."""
        try:
            await self._socket.run()
        except EngineError as error:
            # The call goes on: what it hears and what is cached still work.
            self._broken = error
            self._ready.set()
            self._end_all(error)

    async def speak(self, text: str) -> AsyncGenerator[Speech]:
        while not self._socket.ready and self._broken is None:
            self._ready.clear()
            await self._ready.wait()
        if self._broken is not None:
            raise self._broken
        self._serial += 1
        name = f"clause-{self._serial}"
        clause = self._clauses[name] = _Clause(text)
        try:
            asked = messages.read_aloud(text.strip(), self._voice.instructions, event_id=name)
            if not self._socket.send(asked):
                raise _error("the voice is being opened again", retryable=True)
            while (chunk := await self._next(clause)) is not None:
                if isinstance(chunk, EngineError):
                    raise chunk
                yield Speech(chunk, messages.RATE)
            self._judge(clause)
        finally:
            self._clauses.pop(name, None)
            if not clause.over and clause.response:
                self._socket.send(messages.cancel(clause.response))

    async def _next(self, clause: _Clause) -> bytes | EngineError | None:
        try:
            async with asyncio.timeout(PROGRESS_S):
                return await clause.chunks.get()
        except TimeoutError:
            reason = f"no audio within {PROGRESS_S:g} s"
            self._socket.restart(reason)
            return _error(f"the voice stalled: {reason}", retryable=True)

    def _opened(self) -> None:
        self._ready.set()

    def _lost(self, reason: str) -> None:
        self._end_all(_error(f"the voice was lost ({reason})", retryable=True))

    def _end_all(self, why: EngineError) -> None:
        for clause in self._clauses.values():
            clause.end(why)

    # --- what comes back -------------------------------------------------------------------

    def _received(self, event: ServerEvent) -> None:
        match event.type:
            case "response.created" if event.response is not None:
                name = (event.response.metadata or {}).get("clause", "")
                clause = self._clauses.get(name) or self._unnamed()
                if clause is not None:
                    clause.response = event.response.id
            case "response.output_audio.delta":
                if (clause := self._clause_of(event.response_id)) is not None:
                    self._take(clause, event.delta or "")
            case "response.output_audio_transcript.delta":
                if (clause := self._clause_of(event.response_id)) is not None:
                    clause.transcript += event.delta or ""
                    self._look_ahead(clause)
            case "response.done" if event.response is not None:
                if (clause := self._clause_of(event.response.id)) is not None:
                    self._done(clause, event.response)
            case "error" if event.error is not None and event.error.event_id in self._clauses:
                self._clauses[event.error.event_id].end(
                    _error(f"the voice refused a clause ({event.error.name})")
                )

    def _clause_of(self, response_id: str | None) -> _Clause | None:
        return next(
            (c for c in self._clauses.values() if c.response and c.response == response_id), None
        )

    def _unnamed(self) -> _Clause | None:
        """Servers that do not give the metadata back answer in order."""
        return next((c for c in self._clauses.values() if not c.response), None)

    def _take(self, clause: _Clause, delta: str) -> None:
        if clause.over:
            return
        try:
            pcm = base64.b64decode(delta, validate=True)
        except (binascii.Error, ValueError):
            clause.end(_error("the voice's audio cannot be read"))
            return
        if clause.chunks.full():
            clause.end(_error("the voice gives more audio than the clause can have"))
            return
        clause.begun = clause.begun or bool(pcm)
        clause.chunks.put_nowait(pcm)

    def _done(self, clause: _Clause, response: messages.Response) -> None:
        if response.status == "completed":
            clause.end()
            return
        details = response.status_details
        name = details.error.name if details is not None and details.error is not None else ""
        what = name or (response.status if response.status in _STATUSES else "unnamed")
        clause.end(_error(f"the voice failed ({what})", retryable=not clause.begun))

    def _look_ahead(self, clause: _Clause) -> None:
        """A begin of its own, seen before anything was heard: have it begin again."""
        if clause.begun or clause.over or clause.text == self._strayed_text:
            return  # too late, or it will not have it otherwise
        if strays(clause.text, clause.transcript):
            self.strayed += 1
            self._strayed_text = clause.text
            if clause.response:
                self._socket.send(messages.cancel(clause.response))
            clause.end(_error("the voice strayed from the text", retryable=True))

    def _judge(self, clause: _Clause) -> None:
        if clause.transcript and strays(clause.text, clause.transcript, complete=True):
            self.strayed += 1
            self._emit(EngineDegraded("speak", "the voice reworded a clause"))


def readable_speed(speed: float) -> float:
    """The nearest that a realtime session can speak at."""
    slowest, fastest = SPEEDS
    return min(max(speed, slowest), fastest)


_STATUSES = ("cancelled", "failed", "incomplete")


def strays(text: str, transcript: str, *, complete: bool = False) -> bool:
    """Whether what is said begins with words of its own, or is another text.

    ``complete``: the transcript is all of it; else it is compared with the text's begin.
    """
    wanted, said = _letters(text), _letters(transcript)
    if not complete:
        if len(said) < JUDGED_LETTERS:
            return False
        wanted = wanted[: len(said)]
    if any(c.isdigit() for c in wanted):
        return False  # 10:05 has many readings, and none of them its letters
    matcher = difflib.SequenceMatcher(None, wanted, said, autojunk=False)
    if matcher.ratio() < ALIKE:
        return True
    first = next((block for block in matcher.get_matching_blocks() if block.size >= 3), None)
    return first is not None and first.a <= 1 and first.b - first.a >= ADDED_LETTERS


def _letters(text: str) -> str:
    return "".join(c for c in text.casefold() if c.isalnum())


def _error(what: str, *, retryable: bool = False) -> EngineError:
    return EngineError(f"{what}.", stage="speak", retryable=retryable)
