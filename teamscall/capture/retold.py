"""A recorded call under other settings: the same caller, the same engine, another bridge.

What the gateway and the operator did comes when it came; what the engine said comes as long
after it was asked as it did then (``answers``); timers ring when this conversation wants
them to. So the call takes another course, and what is compared are its decisions: not its
frames, and no instant by less than what a timer of the recorded bridge may have been late.

Owns that course and that comparison. Refuses to know where the settings come from.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Sequence

import msgspec

from teamscall.calls.conversation import Conversation
from teamscall.calls.events import Fill, TimePassed
from teamscall.calls.settings import CallSettings
from teamscall.capture import diff
from teamscall.capture.answers import Answers
from teamscall.capture.diff import Difference, Moment
from teamscall.capture.recording import Recording, moment_of
from teamscall.capture.records import Did
from teamscall.capture.replay import Act, Replayed, replay
from teamscall.engines import base as engine
from teamscall.errors import CaptureError
from teamscall.text import printable

# Timers of a busy bridge ring late; what is later than this was decided otherwise.
TOLERANCE_S = 0.05
# After the last recorded event a call may still have something to say, then it is left.
TAIL_S = 30.0
# So many timers at one instant are a bug of the conversation.
_HOT_LOOP = 1000
# Every frame of audio; counted in the call's last record.
_NOT_DECISIONS = frozenset({"Hear", "AudioOut", "Finish"})


def replay_otherwise(recording: Recording, settings: CallSettings) -> Replayed:
    """Run it with these settings and compare its decisions with the recorded ones; exactly,
    where the settings are the recorded ones."""
    if settings == recording.settings:
        return replay(recording)
    return _Course(recording, settings).run()


class _Course:
    """One run. The order at an instant is: recorded events, answers, timers."""

    def __init__(self, recording: Recording, settings: CallSettings) -> None:
        self._recording = recording
        self._talk = Conversation(recording.setup, settings, recording.began)
        self._answers = Answers()
        self._order = itertools.count()
        self._due: list[tuple[float, int, object]] = []
        self._acts: list[Act] = []
        self._decisions: list[Moment] = []
        self._steps = 0
        self._sent = 0
        self._now = recording.began
        for given in recording.given:
            asked = self._answers.answered(given.at, given.event)
            for did in given.did:
                self._answers.asked(given.at, _command(did))
            if given.event is not None and not asked and type(given.event) is not TimePassed:
                self._put(given.at, given.event)

    def run(self) -> Replayed:
        recording = self._recording
        difference: Difference | None = None
        try:
            self._play()
        except Exception as error:  # noqa: BLE001 - a bug in the core is a finding, not a crash
            why = printable(f"{type(error).__name__}: {error}", 200)
            difference = self._difference("failed", None, None, why)
        else:
            difference = self._first()
        return Replayed(
            setup=recording.setup,
            acts=tuple(self._acts),
            came=(),
            steps=self._steps,
            sent=self._sent,
            call_s=self._now - recording.began,
            difference=difference,
            differing=int(difference is not None),
            unanswered=self._answers.unknown,
        )

    def _put(self, at: float, event: object) -> None:
        heapq.heappush(self._due, (at, next(self._order), event))

    def _play(self) -> None:
        self._take(self._talk.open(self._now))
        until = self._recording.given[-1].at + TAIL_S
        hot = 0
        while (deadline := self._talk.next_deadline()) is not None:
            if self._due and self._due[0][0] <= deadline:
                at, _, event = heapq.heappop(self._due)
            elif deadline <= until:
                at, event = deadline, TimePassed()
            else:
                return
            hot = hot + 1 if at <= self._now else 0
            if hot > _HOT_LOOP:
                raise RuntimeError("its timers never let time go on")
            self._now = max(self._now, at)
            self._take(self._talk.on(event, self._now))

    def _take(self, commands: Sequence[object]) -> None:
        self._steps += 1
        at_s = self._now - self._recording.began
        for command in commands:
            hidden = getattr(command, "turn", None) in self._recording.silenced
            moment = moment_of(command, at_s, self._recording.setup, elide=hidden)
            self._acts.append(Act(at_s, command))  # type: ignore[arg-type]
            self._sent += moment.way == "sent" and bool(moment.body)
            if moment.name not in _NOT_DECISIONS:
                self._decisions.append(moment)
        for at, answer in self._answers.to(self._now, commands):
            self._put(at, answer)

    # --- the first difference -----------------------------------------------------------

    def _first(self) -> Difference | None:
        recorded = [
            moment
            for given in self._recording.given
            for moment in given.expected
            if moment.name not in _NOT_DECISIONS
        ]
        for expected, came in itertools.zip_longest(recorded, self._decisions):
            if expected is None or came is None:
                return self._difference("missing" if expected else "extra", expected, came)
            if not diff.same_apart_from_clocks(expected, came, TOLERANCE_S):
                return self._difference("changed", expected, came)
            if abs(expected.at_s - came.at_s) > TOLERANCE_S:
                return self._difference("moved", expected, came)
        return None

    def _difference(
        self, kind: diff.Kind, expected: Moment | None, came: Moment | None, why: str = ""
    ) -> Difference:
        recording = self._recording
        moment = expected or came
        at_s = moment.at_s if moment else self._now - recording.began
        events = recording.events()
        step = max((i for i, one in enumerate(events) if one.at_s <= at_s), default=0)
        around, here = diff.around(events, step)
        alike = expected is not None and came is not None and expected.name == came.name
        shift: float | None = None
        if expected is not None:
            others = [
                one.at_s - expected.at_s
                for one in self._decisions
                if diff.same_apart_from_clocks(expected, one, TOLERANCE_S)
            ]
            shift = min(others, key=abs, default=None)
        known = [moment.turn for moment in (expected, came) if moment is not None]
        return Difference(
            kind=kind,
            at_s=at_s,
            step=step,
            turn=next((turn for turn in known if turn is not None), None),
            expected=expected,
            came=came,
            fields=diff.fields_that_differ(expected, came) if alike and expected and came else (),
            shifted_s=shift,
            around=around,
            here=here,
            why=why,
        )


def _command(did: Did) -> object:
    """What the recorded engine was asked; None for what it does not answer."""
    if did.name not in _ANSWERED:
        return None
    try:
        return msgspec.convert(did.fields, _ANSWERED[did.name])
    except msgspec.ValidationError as error:
        raise CaptureError(f"The capture has an unreadable {did.name}.") from error


_ANSWERED: dict[str, type] = {
    kind.__name__: kind
    for kind in (
        engine.Respond,
        engine.PressDigit,
        engine.Say,
        Fill,
        engine.BeginUtterance,
        engine.PeekUtterance,
        engine.CommitUtterance,
    )
}
