"""A script as data: the call, its steps, what must hold, and the thresholds of many calls.

Owns the structs. Refuses to know files: sound and pictures are bytes here, times are seconds
unless the name says otherwise. ``file`` says what each of them means.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import msgspec

from teamscall.emulator.impairments import NO_IMPAIRMENTS, Impairments
from teamscall.emulator.plan import Video
from teamscall.wire.events import Dialect, Emotion, RecordingStatus

Sound = Literal["speech", "silence", "answer"]
SOUNDS: tuple[str, ...] = get_args(Sound)
EventName = Literal["flush", "hangup", "express", "image", "marks"]
EVENTS: tuple[str, ...] = get_args(EventName)
EndedBy = Literal["bot", "caller", "link"]
ENDED_BY: tuple[str, ...] = get_args(EndedBy)

# Every wait has a bound; this one where the script names none.
WITHIN_S = 15.0
# So much silence ends an answer: longer than a pause between two sentences.
QUIET_S = 1.0
# A script that never comes to its end.
LIMIT_S = 300.0
# Keys pressed one after the other, as fast as a person does.
PRESS_EVERY_S = 0.3


class Say(msgspec.Struct, frozen=True, tag="say"):
    """``voice``: a model file, or "" for the usual one."""

    text: str
    voice: str = ""


class PlaySound(msgspec.Struct, frozen=True, tag="play"):
    """16 kHz s16le mono."""

    name: str
    pcm: bytes


class Wait(msgspec.Struct, frozen=True, tag="wait"):
    seconds: float


class WaitForSound(msgspec.Struct, frozen=True, tag="wait-for-sound"):
    sound: Sound
    within_s: float = WITHIN_S
    quiet_s: float = QUIET_S


class WaitForWord(msgspec.Struct, frozen=True, tag="wait-for-word"):
    words: str
    within_s: float = WITHIN_S


class WaitForEvent(msgspec.Struct, frozen=True, tag="wait-for-event"):
    event: EventName
    within_s: float = WITHIN_S


class Interrupt(msgspec.Struct, frozen=True, tag="interrupt"):
    after_s: float
    speech: Say | PlaySound
    within_s: float = WITHIN_S


class PressKeys(msgspec.Struct, frozen=True, tag="press"):
    digits: str


class AskBot(msgspec.Struct, frozen=True, tag="ask-bot"):
    """StandIn's ``assistant.say``."""

    text: str


class MuteLine(msgspec.Struct, frozen=True, tag="mute"):
    on: bool


class Show(msgspec.Struct, frozen=True, tag="show"):
    name: str
    video: Video


class ReportRecording(msgspec.Struct, frozen=True, tag="recording"):
    status: RecordingStatus


class ReportParticipants(msgspec.Struct, frozen=True, tag="participants"):
    count: int


class Drop(msgspec.Struct, frozen=True, tag="drop"):
    seconds: float


class HangUpStep(msgspec.Struct, frozen=True, tag="hang-up"):
    pass


class Expectation(msgspec.Struct, frozen=True, tag="expect"):
    """Empty or None: nothing is asked."""

    said: tuple[str, ...] = ()
    not_said: tuple[str, ...] = ()
    heard: tuple[str, ...] = ()
    not_heard: tuple[str, ...] = ()
    latency_under_ms: float | None = None
    flush_within_ms: float | None = None
    silent_for_s: float | None = None
    spoke: bool | None = None
    ended_by: EndedBy | None = None
    end_reason: str | None = None
    image: bool | None = None
    expression: Emotion | None = None
    max_gaps: int | None = None
    within_s: float = WITHIN_S


Action = (
    Say
    | PlaySound
    | Wait
    | WaitForSound
    | WaitForWord
    | WaitForEvent
    | Interrupt
    | PressKeys
    | AskBot
    | MuteLine
    | Show
    | ReportRecording
    | ReportParticipants
    | Drop
    | HangUpStep
    | Expectation
)


class Step(msgspec.Struct, frozen=True):
    """``number`` counts from 1; ``line`` of the script, 0 where that is not known."""

    number: int
    what: str  # as the script says it, for people; printable
    action: Action
    line: int = 0
    note: str = ""


class Thresholds(msgspec.Struct, frozen=True):
    """Over all calls of a run; None: not asked."""

    response_p50_ms: float | None = None
    response_p95_ms: float | None = None
    response_max_ms: float | None = None
    barge_in_p95_ms: float | None = None
    barge_in_max_ms: float | None = None
    first_sound_p95_ms: float | None = None
    pacing_p95_ms: float | None = None
    gaps: int | None = None
    failed_calls: int | None = None


class Scenario(msgspec.Struct, frozen=True):
    """One script. ``call`` has what its ``[call]`` table sets, by the table's own keys."""

    name: str
    steps: tuple[Step, ...]
    dialect: Dialect = "standin"
    description: str = ""
    call: dict[str, Any] = {}
    expect: Expectation | None = None
    expect_line: int = 0
    impairments: Impairments = NO_IMPAIRMENTS
    thresholds: Thresholds = Thresholds()
    limit_s: float = LIMIT_S

    @property
    def needs_voice(self) -> bool:
        return any(self.texts())

    @property
    def needs_ears(self) -> bool:
        asked = (*(step.action for step in self.steps), self.expect)
        return any(
            isinstance(one, WaitForWord)
            or (isinstance(one, Expectation) and bool(one.said or one.not_said))
            for one in asked
        )

    @property
    def needs_witness(self) -> bool:
        asked = (*(step.action for step in self.steps), self.expect)
        return any(isinstance(a, Expectation) and (a.heard or a.not_heard) for a in asked)

    def texts(self) -> tuple[Say, ...]:
        """Everything that a voice has to say, each once."""
        found: dict[Say, None] = {}
        for step in self.steps:
            action = step.action
            if isinstance(action, Interrupt):
                action = action.speech
            if isinstance(action, Say):
                found[action] = None
        return tuple(found)
