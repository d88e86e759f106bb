"""The scripted engine: hears and answers what a script says, for tests and replay.

Owns the script's format, a voice made of tones, and failures on demand. It is a cascade
of scripted parts, so what a test sees of order, cancellation and deadlines is what every
other cascade does. Delays go through the ``sleep`` that the engine was made with.

A script is a :class:`Script`, or a TOML file (``scripted.path``)::

    repeat = true              # start again after the last line (else: nothing is heard)
    rate = 16000               # of the voice, in Hz
    word_ms = 200              # one tone per word, then a pause
    pause_ms = 100
    chunk_bytes = 3200         # what one AnswerAudio carries; odd sizes are allowed
    speed = 0                  # times real time at which speech comes; 0: all at once

    [digits]                   # what is answered to a key
    1 = "You pressed one."

    [[line]]                   # the first utterance, the first answer
    heard = "hello"            # the final transcript
    partials = ["hel"]         # transcripts before it, emitted when the utterance begins
    answer = "Hi, how are you?"
    settles = false            # what was heard is known in a pause already, where it is asked for
    hear_ms = 0                # from the end of the utterance to the transcript
    think_ms = 0               # from the question to the first text
    speak_ms = 0               # from a clause's text to its first audio
    end_call = false
    fail = ""                  # see Fail
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from teamscall.engines.base import (
    BeginUtterance,
    CallBrief,
    CommitUtterance,
    Emit,
    EngineReady,
    PeekUtterance,
    Phrase,
    Transcript,
    TurnTaking,
)
from teamscall.engines.cascade import CascadeSession, Deadlines
from teamscall.engines.parts import EarCommand, Question, Speech, Thought
from teamscall.engines.phrases import Phrases
from teamscall.errors import EngineError
from teamscall.scripts import read_script

Fail = Literal[
    "",
    "hear",  # the ear is lost for good when this utterance ends
    "think",  # the mind fails before the first word
    "think-midway",  # the mind fails after half of the answer
    "speak",  # the voice fails before the first byte of every clause
    "speak-once",  # the same, but only once: asking again helps
    "speak-midway",  # the voice fails after half of the first clause
    "speak-nothing",  # the voice says that it is done and gave no audio
    "stall-hear",  # the transcript never comes
    "stall-think",  # the mind says half of the answer and then nothing more
    "stall-speak",  # the voice gives half of the first clause and then nothing more
    "raise",  # a bug: an exception that is no EngineError leaves run
]
Sleep = Callable[[float], Awaitable[None]]

_Ms = Annotated[float, msgspec.Meta(ge=0, le=3_600_000)]
_FREQUENCIES_HZ = (220.0, 277.2, 329.6, 415.3, 493.9)  # neighbouring words differ audibly
_AMPLITUDE = 9_000  # of 32,767: about -14 dBFS RMS, as loud as a speaking voice
_RAMP_MS = 5  # the tones fade in and out, so that a click in a test is never ours


class ScriptLine(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One utterance of the caller and its answer. Times in milliseconds."""

    heard: str = ""
    partials: tuple[str, ...] = ()
    answer: str = ""
    settles: bool = False
    hear_ms: _Ms = 0
    think_ms: _Ms = 0
    speak_ms: _Ms = 0
    end_call: bool = False
    fail: Fail = ""


class Script(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is heard and answered, and how the voice sounds."""

    lines: tuple[ScriptLine, ...] = msgspec.field(default=(ScriptLine(),), name="line")
    digits: dict[str, str] = {}
    repeat: bool = True
    rate: Annotated[int, msgspec.Meta(ge=8_000, le=48_000)] = 16_000
    word_ms: Annotated[int, msgspec.Meta(ge=10, le=10_000)] = 200
    pause_ms: Annotated[int, msgspec.Meta(ge=0, le=10_000)] = 100
    chunk_bytes: Annotated[int, msgspec.Meta(ge=1, le=10_000_000)] = 3_200
    speed: Annotated[float, msgspec.Meta(ge=0, le=1_000)] = 0.0


DEFAULT_SCRIPT = Script(lines=(ScriptLine(heard="hello", answer="Hello. This is a script."),))


def load_script(path: str | Path) -> Script:
    """Read a script from a TOML file. Raises as ``read_script``."""
    return read_script(path, Script)


def tone_speech(text: str, *, rate: int, word_ms: int, pause_ms: int) -> bytes:
    """Audible PCM whose length is a function of the text: one tone per word, then a pause.

    Returns:
        s16le mono at ``rate``: exactly ``words * (word_ms + pause_ms)`` long.
    """
    import numpy as np

    n_tone = rate * word_ms // 1000
    n_pause = rate * pause_ms // 1000
    ramp = np.minimum(1.0, np.arange(n_tone) / max(1, rate * _RAMP_MS // 1000))
    envelope = _AMPLITUDE * ramp * ramp[::-1]
    phase = 2.0 * np.pi * np.arange(n_tone) / rate
    pause = bytes(2 * n_pause)
    out = bytearray()
    for word in text.split():
        pitch = _FREQUENCIES_HZ[sum(word.encode()) % len(_FREQUENCIES_HZ)]
        out += (envelope * np.sin(pitch * phase)).astype("<i2").tobytes() + pause
    return bytes(out)


class _Place:
    """Where one call is in the script: ears and answers advance on their own."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self.heard = 0
        self.answered = 0
        self.speaking = ScriptLine()
        self.failed_once = False

    def line(self, index: int) -> ScriptLine:
        lines = self._script.lines
        if not lines or (index >= len(lines) and not self._script.repeat):
            return ScriptLine()
        return lines[index % len(lines)]


_Mark = BeginUtterance | PeekUtterance | CommitUtterance


class _ScriptedEar:
    def __init__(self, place: _Place, emit: Emit, sleep: Sleep) -> None:
        self._place = place
        self._emit = emit
        self._sleep = sleep
        self._marks: deque[_Mark] = deque(maxlen=256)
        self._wake = asyncio.Event()

    async def run(self) -> None:
        self._emit(EngineReady())
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._marks:
                await self._follow(self._marks.popleft())

    def submit(self, command: EarCommand) -> None:
        if isinstance(command, BeginUtterance | PeekUtterance | CommitUtterance):
            self._marks.append(command)
            self._wake.set()

    async def close(self) -> None:
        self._marks.clear()

    async def _follow(self, mark: _Mark) -> None:
        line = self._place.line(self._place.heard)
        if isinstance(mark, BeginUtterance):
            for text in line.partials:
                self._emit(Transcript(mark.utterance, text, final=False))
            return
        if isinstance(mark, PeekUtterance):
            if line.settles:
                self._emit(Transcript(mark.utterance, line.heard, final=False, settled=True))
            return
        self._place.heard += 1
        if line.hear_ms:
            await self._sleep(line.hear_ms / 1000)
        if line.fail == "raise":
            raise RuntimeError("the script asked for a bug")
        if line.fail == "hear":
            raise EngineError("the script lost its ear", stage="hear")
        if line.fail != "stall-hear":
            self._emit(Transcript(mark.utterance, line.heard, final=True))


class _ScriptedMind:
    def __init__(self, place: _Place, script: Script, sleep: Sleep) -> None:
        self._place = place
        self._script = script
        self._sleep = sleep

    async def reply(self, question: Question) -> AsyncGenerator[Thought]:
        if question.digit:
            self._place.speaking = ScriptLine()
            if text := self._script.digits.get(question.digit):
                yield Thought(text)
            return
        line = self._place.line(self._place.answered)
        self._place.answered += 1
        self._place.speaking = line
        self._place.failed_once = False
        if line.think_ms:
            await self._sleep(line.think_ms / 1000)
        if line.fail == "think":
            raise EngineError("the script failed to think", stage="think")
        half = len(line.answer) // 2
        yield Thought(line.answer[:half])
        if line.fail == "think-midway":
            raise EngineError("the script failed to think on", stage="think")
        if line.fail == "stall-think":
            await asyncio.Event().wait()
        yield Thought(line.answer[half:], end_call=line.end_call)

    async def close(self) -> None:
        return


class _ScriptedMouth:
    def __init__(self, script: Script, place: _Place, sleep: Sleep) -> None:
        self._script = script
        self._place = place
        self._sleep = sleep

    async def speak(self, text: str) -> AsyncGenerator[Speech]:
        script, line = self._script, self._place.speaking
        if line.speak_ms:
            await self._sleep(line.speak_ms / 1000)
        if line.fail == "speak" or (line.fail == "speak-once" and not self._place.failed_once):
            self._place.failed_once = True
            raise EngineError("the script failed to speak", stage="speak", retryable=True)
        if line.fail == "speak-nothing":
            return
        pcm = tone_speech(text, rate=script.rate, word_ms=script.word_ms, pause_ms=script.pause_ms)
        stop = len(pcm) // 2 if line.fail in ("speak-midway", "stall-speak") else len(pcm)
        for start in range(0, stop, script.chunk_bytes):
            chunk = pcm[start : min(stop, start + script.chunk_bytes)]
            yield Speech(chunk, script.rate)
            if script.speed:
                await self._sleep(len(chunk) / 2 / script.rate / script.speed)
        if line.fail == "speak-midway":
            raise EngineError("the script failed to speak on", stage="speak", retryable=True)
        if line.fail == "stall-speak":
            await asyncio.Event().wait()


class ScriptedEngine:
    """Plays ``script`` to each call, from its beginning.

    Args:
        script: a script, the path of one, or None for a short default.
        sleep, now: the clock; a test may pass its own.
        deadlines: of the cascade; speech is never held back (``ahead``) unless given.
    """

    def __init__(
        self,
        script: Script | str | Path | None = None,
        *,
        sleep: Sleep = asyncio.sleep,
        now: Callable[[], float] = time.monotonic,
        deadlines: Deadlines | None = None,
    ) -> None:
        if isinstance(script, str | Path):
            script = load_script(script) if str(script) else None
        self._script = script if script is not None else DEFAULT_SCRIPT
        self._sleep = sleep
        self._now = now
        self._deadlines = deadlines or Deadlines(ahead=float("inf"))
        self._phrases = Phrases(
            lambda: _ScriptedMouth(self._script, _Place(self._script), self._sleep)
        )

    @property
    def name(self) -> str:
        return "scripted"

    @property
    def turn_taking(self) -> TurnTaking:
        return "local"

    def describe(self) -> str:
        return f"scripted: {len(self._script.lines)} line(s), a voice made of tones"

    async def start(self) -> None:
        return

    async def stop(self) -> None:
        return

    def open(self, call: CallBrief, emit: Emit) -> CascadeSession:
        place = _Place(self._script)
        return CascadeSession(
            call,
            emit,
            open_ear=lambda emit: _ScriptedEar(place, emit, self._sleep),
            mind=_ScriptedMind(place, self._script, self._sleep),
            mouth=_ScriptedMouth(self._script, place, self._sleep),
            phrase=self.phrase,
            deadlines=self._deadlines,
            now=self._now,
            sleep=self._sleep,
        )

    def warm(self) -> None:
        """Nothing takes time here."""

    async def prepare(self, texts: Sequence[str]) -> None:
        await self._phrases.prepare(texts)

    def phrase(self, text: str) -> Phrase | None:
        return self._phrases.get(text)
