"""A recorded call under a manual clock: a real conversation, a scripted far side and engine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from teamscall.calls.conversation import Conversation
from teamscall.calls.events import Finish, Setup, TimePassed
from teamscall.calls.settings import CallSettings, Goodbyes
from teamscall.capture import codec
from teamscall.capture.recording import encode
from teamscall.capture.records import FORMAT_VERSION, Closed, Frame, Header, Record
from teamscall.capture.writer import write
from teamscall.engines import base as engine
from teamscall.wire import csharp, standin
from teamscall.wire import events as wire

CALL = "call-1"
BEGAN = 1000.1
FRAME_S = 0.02
SILENCE = bytes(wire.FRAME_BYTES)
_ENCODERS = {"csharp": csharp.encode_from_gateway, "standin": standin.encode_from_gateway}


def voice(seconds: float) -> list[bytes]:
    """20 ms frames that a voice activity detector takes for speech."""
    t = np.arange(round(seconds * 16_000)) / 16_000
    sound = np.zeros_like(t)
    for k in range(1, 30):
        f = 120 * k
        gain = np.exp(-(((f - 600) / 300) ** 2)) + 0.5 * np.exp(-(((f - 1800) / 400) ** 2))
        sound += (gain + 0.02) * np.sin(2 * np.pi * f * t + k * k)
    sound *= np.sin(np.pi * t / 0.2) ** 2
    sound *= 0.1 / sound.std()
    pcm = np.rint(np.clip(sound, -1, 1) * 32767).astype("<i2").tobytes()
    return [pcm[at : at + 640] for at in range(0, len(pcm) - 639, 640)]


def tone(ms: int, rate: int = 16_000) -> bytes:
    """Something audible of this length that resembles no voice."""
    hiss = np.random.default_rng(1).standard_normal(rate * ms // 1000)
    return np.clip(2500 * hiss, -9000, 9000).astype("<i2").tobytes()


VOICE = voice(1.0)


class Recorded:
    """Drives one conversation and keeps what a tape would."""

    def __init__(self, *, settings: CallSettings | None = None, **changes: Any) -> None:
        base = Setup(
            call_id=CALL,
            dialect="csharp",
            direction="inbound",
            caller=wire.Caller(user_id="u", tenant_id="t", display_name="Ann"),
            address="127.0.0.1:9",
            lead_ms=60,
            engine_name="test",
            turn_taking="local",
            wall_ms=1_700_000_000_000,
        )
        self.setup = msgspec.structs.replace(base, **changes)
        self.settings = settings or CallSettings(goodbyes=Goodbyes(apology="Sorry."))
        self.now = BEGAN
        self.records: list[Record] = []
        self.commands: list[Any] = []
        self.connected = True
        self._frames = 0
        self._seq = 0
        self.talk = Conversation(self.setup, self.settings, self.now)
        self.records.append(codec.opening(self.now))
        self._did(self.talk.open(self.now))
        self.engine(engine.EngineReady())

    # --- events -----------------------------------------------------------

    def gateway(self, event: wire.FromGateway) -> None:
        text = _ENCODERS[self.setup.dialect](event)
        assert text is not None
        number = self.message(text)
        self._give(event, number)

    def message(self, text: bytes) -> int:
        """One from the gateway that the conversation is not given."""
        return self._frame("in", text)

    def engine(self, *events: Any) -> None:
        for event in events:
            self._give(event)

    shell = engine

    def _give(self, event: Any, frame: int = -1) -> None:
        self.records.append(codec.step(self.now, event, frame=frame))
        self._did(self.talk.on(event, self.now))

    def _did(self, commands: Sequence[Any]) -> None:
        for command in commands:
            self.commands.append(command)
            self.records.append(codec.did(command))
            if codec.is_wire_message(type(command).__name__) and self.connected:
                text = encode(command, self.setup.dialect)
                if text is not None:
                    self._frame("out", text)

    def _frame(self, way: Any, text: bytes) -> int:
        number, self._frames = self._frames, self._frames + 1
        self.records.append(Frame(self.now, way, text, 0, number))
        return number

    def wait(self, seconds: float) -> None:
        """Timers ring a little late, as they do."""
        end = self.now + seconds
        while (due := self.talk.next_deadline()) is not None and due <= end:
            self.now = min(end, max(self.now, due) + 0.0003)
            self._give(TimePassed())
        self.now = end

    def hear(self, frames: Sequence[bytes]) -> None:
        for pcm in frames:
            self.gateway(wire.AudioIn(CALL, self._seq, pcm))
            self._seq += 1
            self.wait(FRAME_S)

    def speak(self, seconds: float) -> None:
        self.hear((VOICE * 30)[: round(seconds / FRAME_S)])

    def quiet(self, seconds: float) -> None:
        self.hear([SILENCE] * round(seconds / FRAME_S))

    def last(self, kind: type[Any]) -> Any:
        return next(one for one in reversed(self.commands) if type(one) is kind)

    def ask(self, text: str = "What time is it?", *, quiet_s: float = 1.2) -> None:
        """A whole utterance; the engine answers at once."""
        self.speak(0.6)
        self.quiet(quiet_s)
        utterance = self.last(engine.CommitUtterance).utterance
        self.engine(engine.Transcript(utterance, text, True))

    def answer(self, text: str = "one two three four", ms: int = 1000) -> None:
        turn = self.last(engine.Respond).turn
        self.engine(
            engine.AnswerText(turn, text),
            engine.AnswerAudio(turn, tone(ms), 16_000, text),
            engine.AnswerDone(turn),
        )

    def hang_up(self) -> None:
        self.gateway(wire.CallEnded(CALL, "ended"))
        assert isinstance(self.commands[-1], Finish)

    # --- the capture -----------------------------------------------------------

    @property
    def header(self) -> Header:
        return Header(
            format=FORMAT_VERSION,
            teamscall="0.0.1",
            dialect=self.setup.dialect,
            call_id=CALL,
            direction=self.setup.direction,
            side="bridge",
            content="full",
            why="a test",
            wall_ms=self.setup.wall_ms,
            began=BEGAN,
            config_digest=codec.digest(self.settings),
            engine="test",
            setup=codec.setup_bytes(self.setup),
            settings=codec.settings_bytes(self.settings),
        )

    def save(self, path: Path) -> Path:
        write(path, self.header, [*self.records, Closed(self.now, "ended")])
        return path


def conversation(**changes: Any) -> Recorded:
    """A question, an answer that is interrupted, another one, the end."""
    call = Recorded(**changes)
    call.ask()
    call.answer(ms=3000)
    call.wait(0.5)
    call.ask("And the date?")
    call.answer("It is Monday.", ms=600)
    call.quiet(1.0)
    call.hang_up()
    return call
