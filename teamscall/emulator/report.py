"""What came of an emulated call, measured: one JSON-able, versioned struct.

Owns the report's shape, the outcomes and their exit codes, and the tallies that are
collected on the way (bounded, no clock: times are arguments in seconds). Refuses to know
how a report is printed.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from teamscall.audio.measures import Measures
from teamscall.emulator.answering import Answer
from teamscall.emulator.impairments import Toll
from teamscall.errors import (
    DeadlinePassed,
    ExitCode,
    HandshakeRefused,
    TeamscallError,
)
from teamscall.wire.events import FRAME_BYTES, FRAME_MS, Dialect, Direction

REPORT_VERSION = 1

Outcome = Literal[
    "completed",  # we hung up: duration, silence, a key
    "ended-by-bot",  # hangup, session.end, or a clean close
    "not-answered",  # called: it rang, or was turned away, as it was asked for
    "refused",  # denied by policy, or hung up at once without a word
    "auth-timeout",  # no auth_response in time
    "lost",  # the socket broke, or no pong came
    "handshake-refused",  # the upgrade was answered with something other than 101
    "unreachable",  # nothing answers there
    "failed",  # it cannot be played: a file, a device, an option
    "no-speech",  # expected to speak, the bot never did
    "interrupted",  # Ctrl-C
]

EXIT_CODES: dict[Outcome, ExitCode] = {
    "completed": ExitCode.OK,
    "ended-by-bot": ExitCode.OK,
    "not-answered": ExitCode.OK,
    "refused": ExitCode.REFUSED,
    "auth-timeout": ExitCode.TIMEOUT,
    "lost": ExitCode.UNAVAILABLE,
    "handshake-refused": ExitCode.REFUSED,
    "unreachable": ExitCode.UNAVAILABLE,
    "failed": ExitCode.FAILED,
    "no-speech": ExitCode.FAILED,
    "interrupted": ExitCode.INTERRUPTED,
}

# Samples beyond this are counted and not kept: one hour of frames is 180,000.
MAX_SAMPLES = 200_000

# Two frames further apart than this belong to two utterances.
UTTERANCE_GAP_S = 0.3

# Frames this soon after a flush were in flight, or the bridge does not stop.
AFTER_FLUSH_S = 0.2

MAX_REPLIES = 1000


class Spread(msgspec.Struct, frozen=True):
    """A distribution in milliseconds."""

    count: int = 0
    p50: float = 0.0
    p95: float = 0.0
    max: float = 0.0


class Auth(msgspec.Struct, frozen=True):
    """C#: the answer to ``auth_request``."""

    authorized: bool
    strategy: str
    reason: str
    latency_ms: float
    skew_ms: int  # the bridge's clock minus ours; a gateway rejects more than 5 s


class Reply(msgspec.Struct, frozen=True):
    """The bot began to speak."""

    at_ms: int  # since the session start, as heard
    latency_ms: float | None  # its first voiced frame arrived after the caller's last one
    heard_ms: float | None  # and was heard, behind the far side's buffer


class Sent(msgspec.Struct, frozen=True):
    """What we sent, and how well we kept time."""

    frames: int = 0
    unsent_frames: int = 0  # while the link was down; their ``seq`` is spent
    skipped_ms: int = 0  # the clock was moved on after a stall of ours
    lateness: Spread = Spread()
    pictures: int = 0
    digits: int = 0


class Received(msgspec.Struct, frozen=True):
    """What the bridge sent, and how well it kept time."""

    messages: int = 0
    frames: int = 0
    audio_ms: int = 0
    first_seq: int | None = None
    last_seq: int | None = None
    seq_gaps: int = 0  # frames missing by ``seq``
    seq_backwards: int = 0  # repeated or out of order
    odd_sizes: int = 0  # frames that are not 640 bytes
    interval: Spread = Spread()  # between frames of one utterance
    buffered: Spread = Spread()  # of the far side's playout, when a frame arrives
    flushes: int = 0
    flushed_ms: int = 0
    frames_after_flush: int = 0  # within 200 ms of a flush
    expressions: int = 0
    speech_marks: int = 0
    images: int = 0
    dropped: dict[str, int] = {}  # undecodable, foreign or unexpected, by cause


class Heard(msgspec.Struct, frozen=True):
    """What a human on the far side heard."""

    speech_ms: int = 0  # frames louder than the speech threshold
    gaps: int = 0  # holes inside an utterance
    gap_ms: int = 0
    late_frames: int = 0
    overflow_frames: int = 0
    seq_restarts: int = 0


class Pings(msgspec.Struct, frozen=True):
    """Keepalive of the dialect (not of the WebSocket)."""

    sent: int = 0
    answered: int = 0
    rtt: Spread = Spread()


class Rung(msgspec.Struct, frozen=True):
    """A call that the bridge placed: who was rung, and what came of it."""

    target_type: Literal["user", "phone"]
    target: str
    tenant_id: str
    message: str  # what came along for the callee (C#)
    answer: Answer  # what the emulator was to do
    rang_ms: int = 0
    picked_up: bool = False
    late: bool = False  # picked up after the bridge had stopped the ringing
    ended_by: Literal["bridge", "callee", "link", ""] = ""
    outcome: str = ""  # StandIn: what was posted to the bridge
    outcome_status: int | None = None  # and its answer; 0: none


class Report(msgspec.Struct, frozen=True):
    """Everything measured in one emulated call."""

    outcome: Outcome
    exit_code: int
    reason: str
    call_id: str
    url: str
    dialect: Dialect
    direction: Direction
    hint: str = ""
    handshake_ms: float | None = None
    auth: Auth | None = None
    duration_ms: int = 0  # since the session start
    sent: Sent = Sent()
    received: Received = Received()
    heard: Heard = Heard()
    replies: tuple[Reply, ...] = ()
    first_audio_ms: float | None = None  # session start (or pick-up) to the bot's first frame
    pings: Pings = Pings()
    resumes: int = 0
    close_code: int | None = None
    close_reason: str = ""
    tracks_truncated: bool = False
    measures: Measures | None = None  # from the sound of both sides; None: none was kept
    warnings: tuple[str, ...] = ()
    rung: Rung | None = None  # of a call that the bridge placed
    impaired: Toll | None = None  # what a bad network did, where one was asked for
    v: int = REPORT_VERSION

    @property
    def spoke(self) -> bool:
        """Whether a human would have heard the bot."""
        return self.heard.speech_ms > 0


def failed(
    error: TeamscallError, *, url: str, call_id: str, dialect: Dialect, direction: Direction
) -> Report:
    """The report of a call that an error prevented. The error's own exit code is kept."""
    outcome: Outcome = "failed"
    if isinstance(error, HandshakeRefused):
        outcome = "handshake-refused"
    elif isinstance(error, DeadlinePassed) or error.exit_code is ExitCode.UNAVAILABLE:
        outcome = "unreachable"
    return Report(
        outcome=outcome,
        exit_code=int(error.exit_code),
        reason=error.message,
        hint=error.hint,
        call_id=call_id,
        url=url,
        dialect=dialect,
        direction=direction,
    )


class Samples:
    """Durations in seconds, summed up as milliseconds. Bounded: later ones only move max."""

    def __init__(self) -> None:
        self._kept: list[float] = []
        self._count = 0
        self._max = 0.0

    def add(self, seconds: float) -> None:
        self._count += 1
        self._max = max(self._max, seconds)
        if len(self._kept) < MAX_SAMPLES:
            self._kept.append(seconds)

    @property
    def max_ms(self) -> float:
        return round(self._max * 1000, 2)

    def spread(self) -> Spread:
        if not self._kept:
            return Spread()
        ordered = sorted(self._kept)

        def at(share: float) -> float:
            return round(ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000, 2)

        return Spread(self._count, at(0.5), at(0.95), self.max_ms)


class Arrivals:
    """Counts what the bridge sends as it arrives."""

    def __init__(self) -> None:
        self.frames = 0
        self.bytes = 0
        self.first_seq: int | None = None
        self.last_seq: int | None = None
        self.seq_gaps = 0
        self.seq_backwards = 0
        self.odd_sizes = 0
        self.flushes = 0
        self.flushed_ms = 0
        self.frames_after_flush = 0
        self.messages = 0
        self.expressions = 0
        self.speech_marks = 0
        self.images = 0
        self.interval = Samples()
        self.buffered = Samples()
        self._last_at: float | None = None
        self._flushed_at: float | None = None

    def frame(self, seq: int, size: int, buffered_ms: int, now: float) -> None:
        """One audio message; ``buffered_ms`` includes it."""
        self.frames += 1
        self.bytes += size
        if size != FRAME_BYTES:
            self.odd_sizes += 1
        if self.last_seq is None:
            self.first_seq = seq
        elif seq <= self.last_seq:
            self.seq_backwards += 1
        else:
            self.seq_gaps += seq - self.last_seq - 1
        self.last_seq = seq
        if self._last_at is not None and now - self._last_at <= UTTERANCE_GAP_S:
            self.interval.add(now - self._last_at)
        self._last_at = now
        self.buffered.add(buffered_ms / 1000)
        if self._flushed_at is not None and now - self._flushed_at <= AFTER_FLUSH_S:
            self.frames_after_flush += 1

    def flush(self, dropped_ms: int, now: float) -> None:
        self.flushes += 1
        self.flushed_ms += dropped_ms
        self._flushed_at = now
        self._last_at = None

    def received(self, dropped: dict[str, int]) -> Received:
        return Received(
            messages=self.messages,
            frames=self.frames,
            audio_ms=self.bytes * FRAME_MS // FRAME_BYTES,
            first_seq=self.first_seq,
            last_seq=self.last_seq,
            seq_gaps=self.seq_gaps,
            seq_backwards=self.seq_backwards,
            odd_sizes=self.odd_sizes,
            interval=self.interval.spread(),
            buffered=self.buffered.spread(),
            flushes=self.flushes,
            flushed_ms=self.flushed_ms,
            frames_after_flush=self.frames_after_flush,
            expressions=self.expressions,
            speech_marks=self.speech_marks,
            images=self.images,
            dropped=dict(dropped),
        )
