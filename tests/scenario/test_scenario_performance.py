"""The steps of a script on the audio clock, without a socket and without waiting."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from scenario_rig import script_of

from teamscall.emulator.controls import Controls
from teamscall.emulator.far_side import FarSide
from teamscall.emulator.plan import Dial, Plan
from teamscall.emulator.scenario.performance import Performance, StepBegan, StepEnded
from teamscall.emulator.tracks import Tracks
from teamscall.testing.voice import tone_speech
from teamscall.wire.events import (
    AudioIn,
    AudioOut,
    CallEnded,
    DigitPressed,
    Dropped,
    Flush,
    FromGateway,
    HangUp,
    ParticipantsChanged,
    RecordingChanged,
    SayRequested,
    ShowImage,
    ToGateway,
    VideoIn,
)

SOUND = tone_speech("one", word_ms=200, pause_ms=0, rate=16_000)
FRAME = SOUND[3200:3840]
PNG = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", 4, 3) + b"rest"


class Stage:
    """A far side that plays a script, and a bot that does what it is told, 20 ms at a time."""

    def __init__(self, folder: Path, *steps: str, dialect: str = "standin") -> None:
        text = f'[call]\ndialect = "{dialect}"\n' + "".join(f"[[step]]\n{s}\n" for s in steps)
        scenario = script_of(folder, text)
        speech = dict.fromkeys(scenario.texts(), SOUND)
        self.controls = Controls()
        self.tracks = Tracks()
        self.told: list[StepBegan | StepEnded] = []
        self.sent: list[FromGateway] = []
        self.script = Performance(scenario.steps, speech, self.controls, self.told.append)
        self.now, self.seq = 50.0, 0
        self.side = FarSide(
            Plan(Dial("x", b"s", scenario.dialect), ask_auth=False, duration_s=60.0),
            "call",
            "ws://x/call",
            self.script,
            self.controls,
            began=self.now,
            handshake_ms=1.0,
            on_event=self.script.event,
            tracks=self.tracks,
            play=self.script.heard,
        )
        self.sent += self.side.begin(self.now)

    def run(self, seconds: float, *, bot: bool = False) -> None:
        for _ in range(round(seconds / 0.02)):
            if self.side.over:
                break
            if bot:
                self.get(AudioOut("call", self.seq, FRAME))
                self.seq += 1
            self.now += 0.02
            self.sent += self.side.tick(self.now, 1_700_000_000_000)
        if self.side.over:
            self.script.call_over()

    def until(self, met: Callable[[], object], *, bot: bool = False) -> None:
        for _ in range(3000):
            if met():
                return
            self.run(0.02, bot=bot)
        raise AssertionError(self.told)

    def get(self, message: ToGateway | Dropped) -> None:
        self.sent += self.side.received(message, self.now, 1_700_000_000_000)

    def states(self) -> list[str]:
        return [took.state for took in self.script.took]

    def why(self, number: int) -> str:
        return self.script.took[number - 1].why

    def began(self, number: int) -> bool:
        return any(isinstance(e, StepBegan) and e.number == number for e in self.told)

    def of(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.sent if isinstance(event, kind)]


def test_steps_come_one_after_the_other_and_then_the_caller_hangs_up(tmp_path: Path) -> None:
    stage = Stage(tmp_path, "wait = 0.5", 'say = "hello"', "wait = 0.1", 'say = "again"')
    stage.run(3)
    assert stage.states() == ["done"] * 4
    assert stage.of(CallEnded)
    # Sound for sound where the script says: silence, 200 ms, silence, 200 ms.
    caller = stage.tracks.caller
    assert caller.startswith(bytes(16_000) + SOUND + bytes(3_200) + SOUND)
    assert [type(e).__name__ for e in stage.told[:2]] == ["StepBegan", "StepEnded"]


def test_a_caller_interrupts_after_so_much_of_the_bots_speech(tmp_path: Path) -> None:
    stage = Stage(tmp_path, 'interrupt = { after_ms = 600, say = "stop" }')
    stage.run(1)
    stage.until(lambda: stage.states() == ["done"], bot=True)
    bot = stage.tracks.bot.index(FRAME)
    spoke = stage.tracks.caller.index(SOUND[:640].lstrip(b"\0") or SOUND[:640])
    assert abs((spoke - bot) / 32 - 600) <= 20


def test_an_interruption_fails_when_the_bot_says_too_little(tmp_path: Path) -> None:
    stage = Stage(tmp_path, 'interrupt = { after_ms = 900, say = "x" }\nwithin = 2', "wait = 1")
    stage.run(0.4, bot=True)
    stage.run(5)
    assert stage.states() == ["failed", "skipped"]
    assert "within 2 s" in stage.why(1)
    assert stage.of(CallEnded)  # it is over for the caller too


def test_silence_waits_for_the_end_of_what_the_bot_says(tmp_path: Path) -> None:
    stage = Stage(tmp_path, 'say = "hello"', 'wait_for = "silence"', "wait = 5")
    stage.run(1.0)
    assert not stage.began(3)  # nothing was said yet: that is no end of it
    stage.run(1.0, bot=True)
    stage.run(0.8)
    assert not stage.began(3)  # a pause is no end
    stage.run(0.6)
    assert stage.began(3)


def test_an_answer_has_to_begin_after_the_question(tmp_path: Path) -> None:
    stage = Stage(tmp_path, "wait = 0.5", 'say = "hello"', 'wait_for = "answer"', "wait = 9")
    stage.run(0.8, bot=True)  # it speaks on into the question
    stage.run(2)
    assert not stage.began(4)
    stage.run(0.5, bot=True)
    stage.run(1.6)
    assert stage.began(4)


def test_a_wait_that_passes_its_bound_says_what_was_missing(tmp_path: Path) -> None:
    for step, why in (
        ('wait_for = "speech"', "the bot was not heard within 1 s"),
        ('wait_for = "answer"', "the bot was not heard within 1 s"),
        ('wait_for = { event = "flush" }', "no flush came within 1 s"),
        ('wait_for = { event = "hangup" }', "no hangup came within 1 s"),
    ):
        stage = Stage(tmp_path, f"{step}\nwithin = 1")
        stage.run(3)
        assert stage.states() == ["failed"]
        assert stage.why(1) == why


def test_events_are_waited_for_and_kept(tmp_path: Path) -> None:
    stage = Stage(
        tmp_path,
        'wait_for = { event = "image" }',
        'wait_for = { event = "flush" }',
        'wait_for = { event = "hangup" }',
    )
    stage.get(ShowImage("call", b"x", "image/png", caption="a chart"))
    stage.run(0.1)
    stage.get(Flush("call", 1, 0))
    stage.run(0.1)
    assert stage.states() == ["done", "done", "skipped"]
    stage.get(AudioOut("call", 0, FRAME))
    stage.get(HangUp("call", "time-limit"))
    stage.run(2)
    assert stage.states() == ["done"] * 3
    assert [one.detail for one in stage.script.noted] == ["a chart", "", "time-limit"]


def test_the_switches_of_a_gateway_are_said(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(PNG)
    stage = Stage(
        tmp_path, 'show = "a.png"\nsource = "screenshare"', 'ask_bot_to_say = "Goodbye now"',
        'press = "1#"', 'recording = "inactive"', "participants = 3", "mute = true",
        'say = "unheard"', "hang_up = true",
    )  # fmt: skip
    stage.run(3)
    assert [e.digit for e in stage.of(DigitPressed)] == ["1", "#"]
    assert stage.of(RecordingChanged)[-1].status == "inactive"
    assert stage.of(ParticipantsChanged)[-1].count == 3
    assert not any(any(e.pcm) for e in stage.of(AudioIn))  # muted
    assert [(e.source, e.data) for e in stage.of(VideoIn)] == [("screenshare", PNG)]
    assert [e.text for e in stage.of(SayRequested)] == ["Goodbye now"]
    assert stage.states() == ["done"] * 8


def test_a_call_that_is_over_fails_what_still_needs_it(tmp_path: Path) -> None:
    stage = Stage(tmp_path, "wait = 1", 'say = "hello"', "wait = 1")
    stage.run(0.2, bot=True)
    stage.get(HangUp("call", "time-limit"))
    stage.run(3)
    assert stage.states() == ["failed", "skipped", "skipped"]
    assert stage.why(1) == "the call was over: time-limit"
    stage = Stage(tmp_path, 'wait_for = "answer"')
    stage.run(0.2)
    stage.get(HangUp("call", "time-limit"))
    stage.run(1)
    assert stage.why(1).startswith("the bot was not heard before the call was over (time-limit")


def test_silence_that_is_expected_is_broken_by_the_first_sound(tmp_path: Path) -> None:
    stage = Stage(tmp_path, "expect = { silent_for = 2 }", "wait = 1")
    stage.run(1)
    stage.run(0.2, bot=True)
    assert stage.began(2)
    assert stage.script.took[0].trouble.startswith("the bot spoke after 1.")
    for silent, trouble in ((0.1, ""), (0.0, "the bot spoke on")):  # before the step begins
        late = Stage(tmp_path, "wait = 0.5", "expect = { silent_for = 2 }")
        late.run(0.5 - silent, bot=True)
        late.run(silent)
        late.run(0.1, bot=not silent)
        late.run(3)
        assert (late.states()[1], late.script.took[1].trouble) == ("done", trouble)
    quiet = Stage(tmp_path, "expect = { silent_for = 2 }")
    quiet.run(4)
    assert (quiet.states(), quiet.script.took[0].trouble) == (["done"], "")


def test_words_are_asked_of_the_ears_until_they_come(tmp_path: Path) -> None:
    stage = Stage(tmp_path, 'wait_for = { word = "the time", within = 6 }', "wait = 1")
    asked: list[int] = []
    stage.script.on_request = lambda: asked.append(1)
    assert stage.script.take_request() is None
    stage.until(lambda: asked, bot=True)
    request = stage.script.take_request()
    assert request is not None
    assert 900 <= request.end * 20 <= 1100
    stage.run(2, bot=True)
    assert len(asked) == 1  # one at a time
    stage.script.understood("What about the tim")
    stage.until(lambda: len(asked) == 2, bot=True)
    stage.script.understood("about The time, sir")
    stage.run(0.1)
    assert stage.began(2)


def test_words_that_do_not_come_and_ears_that_do_not_work_fail(tmp_path: Path) -> None:
    step = 'wait_for = { word = "time", within = 2 }'
    stage = Stage(tmp_path, step)
    stage.script.on_request = lambda: stage.script.understood("something else")
    stage.run(1.5, bot=True)
    stage.run(3)
    assert stage.why(1) == "“time” was not said in time; the ears heard “something else”"
    deaf = Stage(tmp_path, step)
    deaf.script.on_request = lambda: deaf.script.deaf("there are no ears")
    deaf.run(3, bot=True)
    assert deaf.why(1) == "nothing can be recognised: there are no ears"


def test_a_drop_is_done_when_the_call_goes_on(tmp_path: Path) -> None:
    stage = Stage(tmp_path, "drop = { seconds = 1 }", "wait = 0.2", dialect="csharp")
    stage.until(lambda: stage.side.drop_link)
    assert stage.side.drop_link is not None
    assert stage.side.drop_link.resume_after_s == 1.0
    stage.side.link_dropped(stage.now)
    stage.run(1)
    assert not stage.began(2)
    stage.side.resumed(stage.now)
    stage.run(1)
    assert stage.states() == ["done", "done"]


def test_what_is_expected_is_about_the_answer_to_the_last_question(tmp_path: Path) -> None:
    spoke = "expect = { spoke = true }"
    stage = Stage(tmp_path, 'say = "one"', spoke, "wait = 1", 'say = "two"', spoke)
    stage.run(0.3)
    stage.run(0.4, bot=True)
    stage.run(2)
    stage.run(0.4, bot=True)
    stage.run(1)
    first, second = stage.script.took[1], stage.script.took[4]
    assert first.until == second.mark == stage.script.took[3].began
    assert second.until is None
