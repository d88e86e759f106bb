"""A script being took: the caller's side of one call, step by step, on the audio clock.

Owns what is done when, which waits are over, and the record of both. It is the call's source:
one frame is asked for per 20 ms, and that is its only clock, so every moment here is a place
in the call's two tracks. Refuses to know sockets, asyncio, recognition and whether an
expectation holds.

Rule 1: one step after the other; a step is a generator that yields while it waits.
Rule 2: a wait whose bound has passed fails, and the steps behind it are not done.
Rule 3: when the call is over, what still waits for it fails, except for what is about its end.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Mapping
from typing import Literal

import msgspec

from teamscall.emulator import happenings as seen
from teamscall.emulator.controls import Controls
from teamscall.emulator.ear import PAUSE_FRAMES
from teamscall.emulator.scenario import steps as script
from teamscall.emulator.scenario.values import contains, words_of
from teamscall.emulator.sources import SILENCE, Pcm
from teamscall.text import printable
from teamscall.wire.events import FRAME_MS

FRAME_S = FRAME_MS / 1000

# Words are looked for this often while the bot speaks; the ears take as long as they take.
LISTEN_EVERY_S = 1.0
# As much as ears take at once, with a little to spare.
LISTEN_BACK_S = 28.0
# The ears may be behind when a wait's bound passes: what was said in time still counts.
EARS_PATIENCE_S = 20.0
# Shorter sounds are clicks to whoever measures.
MEASURABLE_S = 0.5
# How long a resume may take on top of the pause that was asked for.
RESUME_PATIENCE_S = 15.0

State = Literal["done", "held", "failed", "skipped"]
_Waits = Generator[None, None, None]


class StepFailed(Exception):
    """A step could not be done. The text is printable."""


class StepBegan(msgspec.Struct, frozen=True, tag_field="event", tag="step-began"):
    at_ms: int  # since the session start
    number: int
    what: str


class StepEnded(msgspec.Struct, frozen=True, tag_field="event", tag="step-ended"):
    """``state`` of an ``expect`` is told after the call."""

    at_ms: int
    number: int
    what: str
    state: State
    why: str = ""


OnStep = Callable[[StepBegan | StepEnded], None]


class Took(msgspec.Struct):
    """What became of one step; slots are 20 ms of the tracks."""

    step: script.Step
    state: State = "skipped"
    why: str = ""
    trouble: str = ""  # an expectation that broke while it was waited for
    began: int = 0
    ended: int = 0
    mark: int = 0  # the last question began there
    until: int | None = None  # and the next one there; None: the end of the call


class Noted(msgspec.Struct, frozen=True):
    """Something that the bridge sent."""

    slot: int
    event: script.EventName
    detail: str = ""


class Request(msgspec.Struct, frozen=True):
    """Ears are wanted on the bot's track, from slot to slot."""

    start: int
    end: int


class Performance:
    """One call's. A ``Source``; see the module for what drives it."""

    def __init__(
        self,
        steps: tuple[script.Step, ...],
        speech: Mapping[script.Say, bytes],
        controls: Controls,
        on_step: OnStep,
    ) -> None:
        self.took = [Took(step) for step in steps]
        self.noted: list[Noted] = []
        self.on_request: Callable[[], None] = lambda: None
        self.finished = False  # every step is done, or will not be
        self.hung_up = False  # by the script
        self.unheard = ""  # why the ears did not work
        self._speech = speech
        self._controls = controls
        self._on_step = on_step
        self._slot = 0
        self._at = -1
        self._running: _Waits | None = None
        self._speaking: deque[bytes] = deque()
        self._mark = -1
        self._over = ""  # why the call is over
        self._outcome = ""
        self._resumes = 0

        self._bot_since: int | None = None  # the onset of what the bot is saying
        self._bot_onset: int | None = None  # its last onset
        self._bot_last = -1  # the slot in which it was last heard
        self._quiet_from = 0  # silence counts from here: a question's end, a resume
        self._at_mark = False  # it was speaking when the last question began

        self._request: Request | None = None
        self._text: str | None = None  # what the ears made of it

    # --- the call's face -----------------------------------------------------------------

    def next_frame(self) -> bytes | None:
        """The caller's next 20 ms; never ends."""
        self._advance()
        return self._speaking.popleft() if self._speaking else SILENCE

    def close(self) -> None:
        """Nothing is held open."""

    def heard(self, frame: bytes) -> None:
        """20 ms have passed; what was heard of the bot is told by events."""
        self._slot += 1

    def event(self, event: seen.EmulatorEvent) -> None:
        """Something happened in the call."""
        match event:
            case seen.BotSpoke(speaking=True):
                self._bot_since = self._bot_onset = max(0, self._slot - 1)
            case seen.BotSpoke():
                self._bot_since = None
                self._bot_last = self._slot - 1 - PAUSE_FRAMES  # silence is told once it has lasted
            case seen.Flushed():
                self._note("flush")
            case seen.Expressed():
                self._note("express", event.emotion)
            case seen.Shown():
                self._note("image", event.caption)
            case seen.Marked():
                self._note("marks")
            case seen.LinkResumed():
                self._resumes += 1
                self._quiet_from = self._slot
            case seen.Ended():
                self._outcome, self._over = event.outcome, printable(event.reason) or "over"
                if event.outcome in ("ended-by-bot", "refused"):
                    self._note("hangup", event.reason)

    def call_over(self) -> None:
        """The call is over: what can still be told of the steps is told."""
        self._over = self._over or "there was no call"
        self._advance()

    # --- the ears' face ------------------------------------------------------------------

    def take_request(self) -> Request | None:
        """What is to be recognised now, once."""
        request, self._request = self._request, None
        return request

    def understood(self, text: str) -> None:
        """The answer to the request that was taken last."""
        self._text = text

    def deaf(self, why: str) -> None:
        """The ears do not work."""
        self.unheard, self._text = why, ""

    # --- steps ---------------------------------------------------------------------------

    def _advance(self) -> None:
        while not self.finished:
            if self._running is None and not self._next_step():
                return
            took = self.took[self._at]
            try:
                assert self._running is not None
                next(self._running)
                if self._over:
                    raise StepFailed(f"the call was over: {self._over}")
                return
            except StopIteration:
                self._end(took, "done", "")
            except StepFailed as failed:
                self._end(took, "failed", str(failed))
                self._finish()

    def _next_step(self) -> bool:
        self._at += 1
        if self._at == len(self.took):
            self._finish()
            return False
        took = self.took[self._at]
        took.began = self._slot
        self._on_step(StepBegan(self._slot * FRAME_MS, took.step.number, took.step.what))
        self._running = self._do(took.step.action, took)
        return True

    def _end(self, took: Took, state: State, why: str) -> None:
        self._running = None
        took.state, took.why, took.ended = state, why, self._slot
        took.mark = self._mark
        step = took.step
        self._on_step(StepEnded(self._slot * FRAME_MS, step.number, step.what, state, why))

    def _finish(self) -> None:
        self.finished = True
        if not self._over and not self.hung_up:
            self.hung_up = True
            self._controls.hang_up("hung up by the script")

    def _do(self, action: script.Action, took: Took) -> _Waits:
        if self._over and not isinstance(action, script.Expectation | script.WaitForEvent):
            raise StepFailed(f"the call was over: {self._over}")
        match action:
            case script.Say() | script.PlaySound():
                yield from self._speak(action)
            case script.Wait():
                yield from self._pause(action.seconds)
            case script.WaitForSound():
                yield from self._sound(action)
            case script.WaitForWord():
                yield from self._word(action)
            case script.WaitForEvent():
                yield from self._event(action)
            case script.Interrupt():
                yield from self._interrupt(action)
            case script.PressKeys():
                self._question()
                for digit in action.digits:
                    self._controls.digit(digit)
                    yield from self._pause(script.PRESS_EVERY_S)
            case script.AskBot():
                self._question()
                self._controls.ask_to_say(action.text)
                yield  # a command acts with the next frame: what follows comes after it
            case script.MuteLine():
                self._controls.mute(action.on)
                yield
            case script.Show():
                self._controls.show(action.video)
                yield
            case script.ReportRecording():
                self._controls.recording(action.status)
                yield
            case script.ReportParticipants():
                self._controls.participants(action.count)
                yield
            case script.Drop():
                yield from self._drop(action.seconds)
            case script.HangUpStep():
                self.hung_up = True
                self._controls.hang_up("hung up by the script")
                while not self._over:
                    yield
            case script.Expectation():
                yield from self._expect(action, took)

    def _speak(self, action: script.Say | script.PlaySound) -> _Waits:
        self._question()
        pcm = action.pcm if isinstance(action, script.PlaySound) else self._speech[action]
        sound = Pcm(pcm)
        while (frame := sound.next_frame()) is not None:
            self._speaking.append(frame)
        while self._speaking:
            yield
        self._quiet_from = self._slot

    def _interrupt(self, action: script.Interrupt) -> _Waits:
        enough = round(action.after_s / FRAME_S)
        longest = 0

        def spoken() -> bool:
            nonlocal longest
            if self._bot_since is None:
                return False
            longest = max(longest, self._slot - self._bot_since)
            return longest >= enough

        if not (yield from self._until(spoken, action.within_s)):
            was = f"only for {longest * FRAME_MS} ms" if longest else "not at all"
            raise StepFailed(f"the bot spoke {was} {self._in_time(action.within_s)}")
        yield from self._speak(action.speech)

    def _sound(self, action: script.WaitForSound) -> _Waits:
        if action.sound == "speech":
            if not (yield from self._until(lambda: self._bot_since is not None, action.within_s)):
                raise StepFailed(f"the bot was not heard {self._in_time(action.within_s)}")
            return
        answer = action.sound == "answer"
        if not (
            yield from self._until(lambda: self._quiet(action.quiet_s, answer), action.within_s)
        ):
            what = "spoke on" if self._bot_since is not None else "was not heard"
            if self._bot_since is None and self._has_spoken(answer):
                what = f"was not silent for {action.quiet_s:g} s"
            raise StepFailed(f"the bot {what} {self._in_time(action.within_s)}")

    def _event(self, action: script.WaitForEvent) -> _Waits:
        if not (yield from self._until(lambda: self._came(action.event), action.within_s)):
            raise StepFailed(f"no {action.event} came {self._in_time(action.within_s)}")

    def _word(self, action: script.WaitForWord) -> _Waits:
        wanted = words_of(action.words)
        deadline = self._slot + round(action.within_s / FRAME_S)
        asked, pending, text = self._mark, False, ""
        while not self._over:
            if pending and self._text is not None:
                pending, text, self._text = False, self._text, None
                if self.unheard:
                    raise StepFailed(f"nothing can be recognised: {self.unheard}")
                if contains(text, wanted):
                    return
            now = min(self._slot, deadline)
            fresh = (self._bot_since is not None and now > asked) or self._bot_last > asked
            if (
                not pending
                and fresh
                and (now - asked >= LISTEN_EVERY_S / FRAME_S or now == deadline)
            ):
                start = max(0, self._mark, now - round(LISTEN_BACK_S / FRAME_S))
                self._request, pending, asked = Request(start, now), True, now
                self.on_request()
            elif self._slot >= deadline and not pending:
                break
            if self._slot >= deadline + round(EARS_PATIENCE_S / FRAME_S):
                raise StepFailed("the ears took too long")
            yield
        heard = f"the ears heard “{printable(text, 120)}”" if text else "the ears heard nothing"
        raise StepFailed(f"“{printable(action.words)}” was not said in time; {heard}")

    def _drop(self, seconds: float) -> _Waits:
        before = self._resumes
        self._controls.drop_link(seconds)
        if not (
            yield from self._until(lambda: self._resumes > before, seconds + RESUME_PATIENCE_S)
        ):
            raise StepFailed(f"the call was not resumed{f': {self._over}' if self._over else ''}")

    def _expect(self, action: script.Expectation, took: Took) -> _Waits:
        """Wait until there is something to judge; it is judged after the call."""
        if action.silent_for_s is not None:
            began = self._slot
            if (yield from self._until(lambda: self._spoken_since(began), action.silent_for_s)):
                after = (self._slot - began) * FRAME_MS / 1000
                already = self._bot_since is None or self._bot_since < began
                took.trouble = f"the bot {'spoke on' if already else f'spoke after {after:.1f} s'}"
            elif self._over and (self._slot - began) * FRAME_S < action.silent_for_s:
                took.trouble = f"the call was over: {self._over}"
        waits: list[Callable[[], bool]] = []
        if action.said or action.not_said:
            waits.append(lambda: self._quiet(script.QUIET_S, answer=True))
        elif action.latency_under_ms is not None or action.spoke:
            waits.append(self._begun)
        if action.flush_within_ms is not None:
            waits.append(lambda: self._bot_since is None)
        if action.image:
            waits.append(lambda: self._came("image"))
        if action.expression is not None:
            waits.append(lambda: self._came("express", action.expression))
        if action.ended_by == "bot" or (action.end_reason is not None and not self.hung_up):
            waits.append(lambda: bool(self._over))
        yield from self._until(lambda: all(met() for met in waits), action.within_s)

    # --- pieces --------------------------------------------------------------------------

    def _pause(self, seconds: float) -> _Waits:
        """Let so much of the call pass."""
        deadline = self._slot + round(seconds / FRAME_S)
        while self._slot < deadline:
            yield

    def _until(self, met: Callable[[], bool], seconds: float) -> Generator[None, None, bool]:
        """Wait until it is met, for at most so long, or to the end of the call."""
        deadline = self._slot + round(seconds / FRAME_S)
        while not met():
            if self._slot >= deadline or self._over:
                return False
            yield
        return True

    def _in_time(self, seconds: float) -> str:
        return f"before the call was over ({self._over})" if self._over else f"within {seconds:g} s"

    def _question(self) -> None:
        """The caller asks something of the bot: what counts begins anew."""
        for took in self.took[: self._at]:
            if took.until is None and isinstance(took.step.action, script.Expectation):
                took.until = self._slot
        self._mark = self._slot
        self._at_mark = self._bot_since is not None

    def _has_spoken(self, answer: bool) -> bool:
        """Since the last question began; ``answer``: what began before it does not count."""
        if self._bot_onset is not None and self._bot_onset > self._mark:
            return True
        return self._at_mark and not answer

    def _spoken_since(self, slot: int) -> bool:
        """Whether the bot was heard from then on; that it was not any more is told late."""
        if self._bot_since is not None and self._bot_since < slot:
            return self._slot - slot > PAUSE_FRAMES
        return self._bot_since is not None or self._bot_last >= slot

    def _begun(self) -> bool:
        """The bot answers, and long enough that its sound can be measured."""
        if not self._has_spoken(answer=True) or self._bot_onset is None:
            return False
        return (self._slot - self._bot_onset) * FRAME_S >= MEASURABLE_S

    def _quiet(self, seconds: float, answer: bool) -> bool:
        if not self._has_spoken(answer) or self._bot_since is not None:
            return False
        # From a question's end too: whoever was interrupted may answer yet.
        since = max(self._bot_last, self._quiet_from)
        return (self._slot - 1 - since) * FRAME_S >= seconds

    def _came(self, event: script.EventName, detail: str | None = None) -> bool:
        return any(
            one.event == event and one.slot >= self._mark and detail in (None, one.detail)
            for one in self.noted
        )

    def _note(self, event: script.EventName, detail: str = "") -> None:
        self.noted.append(Noted(self._slot, event, printable(detail)))
