"""Conversations as playbooks: events in, commands expected, under a manual clock."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec
import numpy as np

from teamscall.calls import records
from teamscall.calls.conversation import Conversation
from teamscall.calls.events import Command, Finish, Setup, TimePassed
from teamscall.calls.settings import CallSettings, Goodbyes
from teamscall.engines import base as engine
from teamscall.wire import events as wire

T = TypeVar("T")
SILENCE = bytes(wire.FRAME_BYTES)
FRAME_S = 0.02
CALL = "call-1"
CALLER = wire.Caller(user_id="u", tenant_id="t", display_name="Ann")


def voice(seconds: float, dbfs: float = -20.0) -> list[bytes]:
    """20 ms frames that a voice activity detector takes for speech: harmonics under two
    formants, in syllables of 200 ms (what is steady it learns to be noise)."""
    t = np.arange(round(seconds * 16_000)) / 16_000
    sound = np.zeros_like(t)
    for k in range(1, 30):
        f = 120 * k
        gain = np.exp(-(((f - 600) / 300) ** 2)) + 0.5 * np.exp(-(((f - 1800) / 400) ** 2))
        sound += (gain + 0.02) * np.sin(2 * np.pi * f * t + k * k)
    sound *= np.sin(np.pi * t / 0.2) ** 2
    sound *= 10 ** (dbfs / 20) / sound.std()
    pcm = np.rint(np.clip(sound, -1, 1) * 32767).astype("<i2").tobytes()
    return [pcm[at : at + 640] for at in range(0, len(pcm) - 639, 640)]


VOICE = voice(1.0)


def tone(ms: int, rate: int = 16_000) -> bytes:
    """Something audible of this length that resembles no voice: a hiss."""
    hiss = np.random.default_rng(1).standard_normal(rate * ms // 1000)
    return np.clip(2500 * hiss, -9000, 9000).astype("<i2").tobytes()


def setup(**changes: Any) -> Setup:
    base = Setup(
        call_id=CALL,
        dialect="csharp",
        direction="inbound",
        caller=CALLER,
        address="127.0.0.1:9",
        lead_ms=60,
        engine_name="test",
        turn_taking="local",
        wall_ms=1_700_000_000_000,
    )
    return msgspec.structs.replace(base, **changes)


def settings(**changes: Any) -> CallSettings:
    base = CallSettings(goodbyes=Goodbyes(time_limit="Time is up.", apology="Sorry."))
    return msgspec.structs.replace(base, **changes)


class Playbook:
    """Drives one conversation and remembers everything, with its moment.

    Time moves only in ``wait``, which gives ``TimePassed`` at every deadline on the way.
    """

    def __init__(self, *, ready: bool = True, **changes: Any) -> None:
        of_setup = {k: v for k, v in changes.items() if k in Setup.__struct_fields__}
        of_settings = {k: v for k, v in changes.items() if k in CallSettings.__struct_fields__}
        assert not changes.keys() - of_setup.keys() - of_settings.keys()
        self.now = 1000.0
        self.began = self.now
        self.script: list[tuple[float, str, Any]] = []
        self.talk = Conversation(setup(**of_setup), settings(**of_settings), self.now)
        self.seq = 0
        self._note("<-", self.talk.open(self.now))
        if ready:
            self(engine.EngineReady())

    # --- acting -----------------------------------------------------------

    def __call__(self, *events: Any) -> list[Command]:
        out: list[Command] = []
        for event in events:
            self.script.append((self.now, "->", event))
            commands = self.talk.on(event, self.now)
            self._note("<-", commands)
            out += commands
        return out

    def wait(self, seconds: float) -> list[Command]:
        """Let time pass, deadline by deadline; a hot loop is an error."""
        end, before, turns = self.now + seconds, len(self.script), 0
        while (due := self.talk.next_deadline()) is not None and due <= end:
            turns = turns + 1 if due <= self.now else 0
            assert turns < 20, f"a hot loop at {self.now - self.began:.3f}\n{self}"
            self.now = max(self.now, due)
            self._note("<-", self.talk.on(TimePassed(), self.now))
        self.now = end
        return [item for _, way, item in self.script[before:] if way == "<-"]

    def frame(self, pcm: bytes = SILENCE) -> None:
        self(wire.AudioIn(CALL, self.seq, pcm))
        self.seq += 1
        self.wait(FRAME_S)

    def hear(self, frames: Sequence[bytes]) -> None:
        for frame in frames:
            self.frame(frame)

    def quiet(self, seconds: float) -> None:
        """The caller is silent; the gateway goes on sending."""
        self.hear([SILENCE] * round(seconds / FRAME_S))

    def speak(self, seconds: float) -> None:
        """The caller speaks."""
        self.hear((VOICE * 30)[: round(seconds / FRAME_S)])

    def ask(self, text: str = "What time is it?") -> int:
        """A whole utterance and its transcript; the turn that is to answer it."""
        self.speak(0.6)
        self.quiet(1.0)
        utterance = self.last(engine.CommitUtterance).utterance
        self(engine.Transcript(utterance, text, True))
        return self.last(engine.Respond).turn

    def answer(self, turn: int, text: str = "one two three four", ms: int = 1000) -> None:
        """The engine answers all at once."""
        self(
            engine.AnswerText(turn, text),
            engine.AnswerAudio(turn, tone(ms), 16_000, text),
            engine.AnswerDone(turn),
        )

    # --- looking -----------------------------------------------------------

    def all(self, kind: type[T], since: float | None = None) -> list[T]:
        """Every command of this kind, in order."""
        return [
            item
            for moment, way, item in self.script
            if way == "<-" and type(item) is kind and (since is None or moment >= since)
        ]

    def last(self, kind: type[T]) -> T:
        found = self.all(kind)
        assert found, f"no {kind.__name__}\n{self}"
        return found[-1]

    def moments(self, kind: type[Any]) -> list[float]:
        return [m for m, way, item in self.script if way == "<-" and type(item) is kind]

    def reason(self) -> str:
        """Why the call is over; it ended once, and nothing came after it."""
        finishes = self.all(Finish)
        assert len(finishes) == 1, f"{len(finishes)} ends\n{self}"
        commands = [item for _, way, item in self.script if way == "<-"]
        assert isinstance(commands[-1], Finish), f"something after the end\n{self}"
        closed = self.last(records.CallClosed)
        assert closed.reason == finishes[0].reason
        began = [t.turn for t in self.all(records.TurnBegan)]
        ended = [t.turn for t in self.all(records.TurnEnded)]
        assert sorted(ended) == began, f"a turn has no end, or two\n{self}"
        assert self.talk.next_deadline() is None
        return closed.reason

    def expect(self, *wanted: Any, among: Callable[[Any], bool] | None = None) -> None:
        """These commands, in this order, somewhere among all that came."""
        came = [item for _, way, item in self.script if way == "<-"]
        rest = iter(came if among is None else filter(among, came))
        for one in wanted:
            if not any(_matches(one, item) for item in rest):
                raise AssertionError(f"expected, and in this order, {one!r}; this came:\n{self}")

    def _note(self, way: str, items: Sequence[Any]) -> None:
        self.script.extend((self.now, way, item) for item in items)

    def __str__(self) -> str:
        """Both sides, moment by moment: events on the left, commands on the right."""
        lines: list[str] = []
        for moment, way, item in self.script:
            if isinstance(item, wire.AudioIn | engine.Hear) and lines[-1:] == [type(item).__name__]:
                continue
            words = repr(item) if not hasattr(item, "pcm") else f"{type(item).__name__}(...)"
            left, right = (words[:58], "") if way == "->" else ("", words[:110])
            lines.append(f"{(moment - self.began) * 1000:8.0f}  {left:58}  {right}")
        return "\n".join(lines[-120:])


def _matches(wanted: Any, item: Any) -> bool:
    return type(item) is wanted if isinstance(wanted, type) else bool(item == wanted)
