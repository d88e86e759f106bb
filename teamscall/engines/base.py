"""What a call asks of an engine, and what an engine tells a call.

An ``Engine`` is one per bridge; it opens one ``EngineSession`` per call. Between a call
and its session only the structs of this module pass: commands in by ``submit`` (never
blocks), events out by the ``emit`` callback given to ``open``. That is the whole engine
leg, so recording those structs records the engine.

Audio in is 16 kHz s16le mono, any even number of bytes; audio out is s16le mono at the
rate it says.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, Protocol

import msgspec

TurnTaking = Literal[
    "local",  # the call detects speech and commits utterances; the engine transcribes them
    "engine",  # the engine detects speech itself and emits SpeechStarted / SpeechStopped
    "none",  # no turns: whatever the engine emits is played (echo)
]
AnswerStatus = Literal["completed", "cancelled", "failed"]
Stage = Literal["hear", "think", "speak", "session"]


class Line(msgspec.Struct, frozen=True):
    """One line of a conversation, as far as it was really said and heard."""

    role: Literal["caller", "bot"]
    text: str


class CallBrief(msgspec.Struct, frozen=True):
    """What an engine may know about a call. Names are for addressing the caller.

    ``history``: what was said before this session, when it takes over from another one.
    ``backed``: another one would take over from it, so a stall is not waited for twice.
    """

    call_id: str
    direction: Literal["inbound", "outbound"] = "inbound"
    caller_name: str = ""
    history: tuple[Line, ...] = ()
    backed: bool = False


# --- commands: call -> engine -------------------------------------------------------


class Hear(msgspec.Struct, frozen=True):
    """Caller audio, in order, gaps already silence. Sent whether or not there is speech."""

    pcm: bytes


class BeginUtterance(msgspec.Struct, frozen=True):
    """``local`` turn taking: the caller began to speak (some frames ago: keep a pre-roll)."""

    utterance: int


class PeekUtterance(msgspec.Struct, frozen=True):
    """``local`` turn taking: the caller paused, perhaps for good. A ``settled`` transcript
    of what was said so far is wanted, soon or never; more of the utterance may follow."""

    utterance: int


class CommitUtterance(msgspec.Struct, frozen=True):
    """``local`` turn taking: the caller stopped; a final ``Transcript`` must follow."""

    utterance: int


class IgnoreUtterance(msgspec.Struct, frozen=True):
    """``engine`` turn taking: this is not answered ("mhm" over the bot's speech), and the
    session goes on as if it had not been said."""

    utterance: int


class DiscardHeard(msgspec.Struct, frozen=True):
    """Forget audio not yet transcribed (noise, or the recording gate closed)."""


class Respond(msgspec.Struct, frozen=True):
    """Answer the caller: emits AnswerText and AnswerAudio, then AnswerDone, for ``turn``.

    ``text``: what the caller said; the session remembers it. A ``direct`` session is asked
    to answer ``utterance`` as it heard it, and ``text`` is ``""``.

    ``speculative``: the caller may not have finished. Nothing with an effect on the world
    (a tool, a process that is told of turns) may be done before ``ConfirmAnswer``.
    """

    turn: int
    text: str
    utterance: int = 0
    speculative: bool = False


class ConfirmAnswer(msgspec.Struct, frozen=True):
    """The caller had finished: ``turn`` is speculative no more."""

    turn: int


class PressDigit(msgspec.Struct, frozen=True):
    """The caller pressed a key: answer it as ``turn`` (AnswerDone at once if nothing to say)."""

    turn: int
    digit: str


class Say(msgspec.Struct, frozen=True):
    """Speak exactly this as ``turn``; the session remembers having said it.

    ``aloud`` false: it is being played from the phrase cache already, only remember it
    (nothing is emitted).
    """

    turn: int
    text: str
    aloud: bool = True


class CancelAnswer(msgspec.Struct, frozen=True):
    """Stop thinking and speaking ``turn``; nothing of it may be emitted afterwards except
    ``AnswerDone(status="cancelled")``. Harmless if it is over.

    ``forget``: it answered half a question ahead of time; the session remembers neither
    that question nor the answer.
    """

    turn: int
    forget: bool = False


class TruncateAnswer(msgspec.Struct, frozen=True):
    """The caller heard only this much of ``turn``: memory must hold it and no more.

    May come again for the same turn with more, when what was cut is played after all.
    """

    turn: int
    heard_ms: int
    heard_text: str


EngineCommand = (
    Hear
    | BeginUtterance
    | PeekUtterance
    | CommitUtterance
    | IgnoreUtterance
    | DiscardHeard
    | Respond
    | ConfirmAnswer
    | PressDigit
    | Say
    | CancelAnswer
    | TruncateAnswer
)


# --- events: engine -> call ---------------------------------------------------------


class EngineReady(msgspec.Struct, frozen=True):
    """The session can hear; audio kept until now may be sent.

    ``turn_taking``: this session's, where it is not the engine's own. ``direct``: it
    answers what it heard, so nobody needs to wait for a transcript. ``settle_ms``: how
    much longer than the pause the recogniser needs to have heard the last word.
    """

    turn_taking: TurnTaking | None = None
    direct: bool = False
    settle_ms: int = 0


class EngineSwitched(msgspec.Struct, frozen=True):
    """Another engine has taken over in the middle of the call (after ``EngineReady`` of its
    own). Utterances that a ``direct`` session was to answer get no final transcript any more;
    those of others do, and answers that were asked for are still given. ``detail`` is safe to
    log."""

    name: str
    turn_taking: TurnTaking
    direct: bool = False
    settle_ms: int = 0
    detail: str = ""


class SpeechStarted(msgspec.Struct, frozen=True):
    """``engine`` turn taking only."""

    utterance: int


class SpeechStopped(msgspec.Struct, frozen=True):
    """``engine`` turn taking only."""

    utterance: int


class Transcript(msgspec.Struct, frozen=True):
    """What the caller said so far; a final one may be empty (nothing intelligible).

    ``settled``: not final, but all that was said up to the pause that was peeked into.
    """

    utterance: int
    text: str
    final: bool
    settled: bool = False


class AnswerBegan(msgspec.Struct, frozen=True):
    """The session speaks of its own accord (``engine`` turn taking). The call answers with
    ``Respond`` and a turn, under which the speech is then emitted, or not at all."""


class AnswerText(msgspec.Struct, frozen=True):
    """More of the answer's text, as it is thought. Concatenated as they come."""

    turn: int
    delta: str


class AnswerAudio(msgspec.Struct, frozen=True):
    """More of the answer's speech. ``text`` is what this and the following chunks speak,
    given once, on the first chunk of each clause; ``""`` continues the clause."""

    turn: int
    pcm: bytes
    rate: int
    text: str = ""


class AnswerDone(msgspec.Struct, frozen=True):
    """Nothing more comes for ``turn``. ``end_call``: hang up once it has been heard."""

    turn: int
    status: AnswerStatus = "completed"
    end_call: bool = False
    error: str = ""  # safe to log: no keys, none of the caller's words


class EngineDegraded(msgspec.Struct, frozen=True):
    """Still working, worse: turns queue, a worker was restarted. ``detail`` is safe to log."""

    stage: Stage
    detail: str
    waited_ms: int = 0


class EngineUsage(msgspec.Struct, frozen=True):
    """What a stage used, as the vendor counts it; ``turn`` 0: of no one turn.

    Audio is in seconds. ``input_tokens`` includes ``cached_tokens``; tokens of audio are
    counted in both and again in their own fields.
    """

    stage: Stage
    model: str
    turn: int = 0
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    audio_input_tokens: int = 0
    audio_output_tokens: int = 0
    audio_in_s: float = 0.0
    audio_out_s: float = 0.0
    characters: int = 0


class EngineFailed(msgspec.Struct, frozen=True):
    """A stage failed. ``fatal``: the session cannot go on. ``detail`` is safe to log."""

    stage: Stage
    detail: str
    fatal: bool = False


EngineEvent = (
    EngineReady
    | EngineSwitched
    | SpeechStarted
    | SpeechStopped
    | Transcript
    | AnswerBegan
    | AnswerText
    | AnswerAudio
    | AnswerDone
    | EngineUsage
    | EngineDegraded
    | EngineFailed
)

Emit = Callable[[EngineEvent], None]


class Phrase(msgspec.Struct, frozen=True):
    """A cached synthesis."""

    text: str
    pcm: bytes
    rate: int


class EngineSession(Protocol):
    """One call's conversation with the engine."""

    async def run(self) -> None:
        """Serve until cancelled or closed. Emits ``EngineReady`` first.

        An exception that leaves here fails the call, never the bridge.
        """
        ...

    def submit(self, command: EngineCommand) -> None:
        """Take a command. Never blocks, never raises for a command that comes too late."""
        ...

    async def close(self) -> None:
        """Let go of everything. Idempotent; the caller puts a deadline on it."""
        ...


class Engine(Protocol):
    """A vendor, or several behind one face."""

    @property
    def name(self) -> str: ...

    @property
    def turn_taking(self) -> TurnTaking: ...

    def describe(self) -> str:
        """One line for the start-up banner: what hears, thinks and speaks."""
        ...

    async def start(self) -> None:
        """Load models, start workers, check keys.

        Raises:
            EngineError: it cannot work; the message says what to do.
            MissingPackageError: an extra is not installed.
        """
        ...

    async def stop(self) -> None:
        """Stop workers. Idempotent."""
        ...

    def open(self, call: CallBrief, emit: Emit) -> EngineSession:
        """A new session; nothing happens until its ``run`` is awaited.

        ``emit`` must be called on the event loop's thread only.
        """
        ...

    def warm(self) -> None:
        """A call may come within seconds: open what takes time to open, ready to be taken
        by the next ``open``, and let go of it if none comes. Never blocks, never raises."""
        ...

    async def prepare(self, texts: Sequence[str]) -> None:
        """Synthesise fixed phrases ahead of need. A failure costs the cache, not the call."""
        ...

    def phrase(self, text: str) -> Phrase | None:
        """The cached synthesis of ``text``, or None."""
        ...
