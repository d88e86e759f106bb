"""Replay: a recording's events into this version's conversation, and what is different then.

The gateway's messages are decoded anew from their bytes, what comes back is encoded anew;
the moments are the recorded ones, so nothing here reads a clock. What is compared, in order
and byte for byte: every message to the gateway, command to the engine and record. Before
that, whether the call may be: each decision that led to it. And where time alone brought
something about, whether this version would have looked by then.

Owns the run and where it left the recording. Refuses to know files, engines and how a
difference is shown.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from teamscall.calls.conversation import Conversation
from teamscall.calls.events import Command, Setup, TimePassed
from teamscall.capture import diff
from teamscall.capture.admitting import Admitted, admit
from teamscall.capture.diff import Difference, Kind, Moment
from teamscall.capture.recording import Given, Recording, moment_of
from teamscall.text import printable
from teamscall.wire.events import AudioIn

_NEVER = float("inf")
_EARLY_S = 0.002  # a timer rings up to its clock's resolution too early
# What the bot says comes back as an echo, and decides what is a voice. Where it was left out of
# the capture, what is heard so long after it may be taken otherwise.
_ECHO_S = 3.0
_BY_EAR = (AudioIn, TimePassed)


class Act(msgspec.Struct, frozen=True):
    """One thing that the conversation returned, and its second of the call."""

    at_s: float
    command: Command


class Replayed(msgspec.Struct, frozen=True):
    """What came of a replay.

    ``came``: by event, what it brought about; ``differing``: how many of them, and of
    ``admitted``, the decisions before the call, differ. What comes
    after the first difference says little: the recorded engine answered another call.
    """

    setup: Setup
    acts: tuple[Act, ...]
    came: tuple[tuple[Moment, ...], ...]
    steps: int
    sent: int
    call_s: float
    difference: Difference | None = None
    differing: int = 0
    unanswered: int = 0
    stopped: str = ""  # why it could not go on
    failed: bool = False  # it raised
    admitted: Admitted = Admitted()


def replay(recording: Recording) -> Replayed:
    """Run it with its own settings and compare."""
    began = recording.began
    admitted = admit(recording.admissions, began)
    talk = Conversation(recording.setup, recording.settings, began)
    acts: list[Act] = []
    came: list[tuple[Moment, ...]] = []
    differing = 0
    failed: str | None = None
    unwoken: tuple[int, float] | None = None  # the first; and when it wanted to be woken
    due = _NEVER
    unknown_until = 0.0
    stopped = ""
    at_s = 0.0
    for given in recording.given:
        at_s = given.at - began
        waking = type(given.event) is TimePassed
        asleep = waking and bool(given.expected) and due > given.at + _EARLY_S
        try:
            if given.event is None:
                commands = talk.open(given.at)
            else:
                commands = talk.on(given.event, given.at)
            moments = tuple(
                moment_of(command, at_s, recording.setup, elide=recording.hides(given, command))
                for command in commands
            )
            deadline = talk.next_deadline()
        except Exception as error:  # noqa: BLE001 - a bug in the core is a finding, not a crash
            failed = printable(f"{type(error).__name__}: {error}", 200)
            break
        differs = asleep or _differs(given, moments)
        if differs and type(given.event) in _BY_EAR and given.at < unknown_until:
            stopped = f"what the bot said while the call was not recorded decides at {at_s:.3f} s"
            break
        if recording.hides_sound(given):
            unknown_until = given.at + _ECHO_S
        if asleep and unwoken is None:
            unwoken = (len(came), due - began)
        # The bridge's timer may ring earlier than it has to, never later.
        due = min(_NEVER if waking else due, _NEVER if deadline is None else deadline)
        acts += [Act(at_s, command) for command in commands]
        came.append(moments)
        differing += differs
    difference = None
    if failed is not None:
        differing += 1
        difference = _difference(recording, came, len(came), "failed", None, None, failed)
    wrong_pong = next((p for p in recording.pongs if p[1].body != p[2].body), None)
    earlier = _first(recording, came) if differing else None
    if wrong_pong is not None and (earlier is None or wrong_pong[0] < earlier.step):
        step, expected, other = wrong_pong
        earlier = _difference(recording, came, step, "changed", expected, other, "")
        differing += 1
    if unwoken is not None and (earlier is None or unwoken[0] < earlier.step):
        earlier = _unwoken(recording, came, *unwoken)
    return Replayed(
        setup=recording.setup,
        acts=tuple(acts),
        came=tuple(came),
        steps=len(came),
        sent=sum(moment.way == "sent" and bool(moment.body) for one in came for moment in one),
        call_s=at_s,
        difference=admitted.difference or earlier or difference,
        differing=differing + admitted.differing,
        stopped=stopped,
        failed=failed is not None or admitted.failed,
        admitted=admitted,
    )


def _unwoken(
    recording: Recording, came: Sequence[tuple[Moment, ...]], step: int, due_s: float
) -> Difference:
    why = f"it wants to look at {due_s:.3f} s" if due_s < _NEVER else "it waits for nothing"
    waking = recording.events()[step]
    return _difference(recording, came, step, "unwoken", waking, None, why)


def _differs(given: Given, came: Sequence[Moment]) -> bool:
    return given.misread is not None or first_mismatch(given.expected, came) is not None


def first_mismatch(expected: Sequence[Moment], came: Sequence[Moment]) -> int | None:
    """Where two lists part; None where they are the same."""
    for index, (one, other) in enumerate(zip(expected, came, strict=False)):
        if not same(one, other):
            return index
    return None if len(expected) == len(came) else min(len(expected), len(came))


def same(expected: Moment, came: Moment) -> bool:
    """Byte for byte. A message that never left the recorded bridge (its socket was gone) has
    a name alone."""
    if (expected.way, expected.name) != (came.way, came.name):
        return False
    return expected.body == came.body or (expected.way == "sent" and not expected.body)


# --- the first difference -------------------------------------------------------------


def _first(recording: Recording, came: Sequence[tuple[Moment, ...]]) -> Difference | None:
    for step, moments in enumerate(came):
        given = recording.given[step]
        if given.misread is not None:
            event = recording.events()[step]
            return _difference(recording, came, step, "decoded", given.misread, event, "")
        index = first_mismatch(given.expected, moments)
        if index is not None:
            return _at(recording, came, step, index)
    return None


def _at(
    recording: Recording, came: Sequence[tuple[Moment, ...]], step: int, index: int
) -> Difference:
    wanted, moments = recording.given[step].expected, came[step]
    expected = wanted[index] if index < len(wanted) else None
    other = moments[index] if index < len(moments) else None
    kind: Kind = "changed"
    if expected is None:
        kind = "extra"
    elif other is None:
        kind = "missing"
    elif (expected.way, expected.name) != (other.way, other.name):
        # One too many or one too few, where the rest goes on as before.
        if any(same(expected, moment) for moment in moments[index + 1 :]):
            kind, expected = "extra", None
        elif any(same(moment, other) for moment in wanted[index + 1 :]):
            kind, other = "missing", None
    return _difference(recording, came, step, kind, expected, other, "")


def _difference(
    recording: Recording,
    came: Sequence[tuple[Moment, ...]],
    step: int,
    kind: Kind,
    expected: Moment | None,
    other: Moment | None,
    why: str,
) -> Difference:
    around, here = diff.around(recording.events(), step)
    changed = expected is not None and other is not None and expected.name == other.name
    return Difference(
        kind=kind,
        at_s=recording.given[step].at - recording.began,
        step=step,
        turn=_turn(recording, step, expected, other),
        expected=expected,
        came=other,
        fields=diff.fields_that_differ(expected, other) if changed and expected and other else (),
        shifted_s=None
        if kind in ("decoded", "failed", "unwoken")
        else _shift(recording, came, expected, other),
        around=around,
        here=here,
        why=why,
    )


def _turn(
    recording: Recording, step: int, expected: Moment | None, came: Moment | None
) -> int | None:
    for moment in (expected, came):
        if moment is not None and moment.turn is not None:
            return moment.turn
    known = [m.turn for given in recording.given[: step + 1] for m in given.expected]
    return next((turn for turn in reversed(known) if turn is not None), None)


def _shift(
    recording: Recording,
    came: Sequence[tuple[Moment, ...]],
    expected: Moment | None,
    other: Moment | None,
) -> float | None:
    """When what is missing came after all, or when what came was expected."""
    sides = (recording_moments(recording), [moment for one in came for moment in one])
    if expected is not None:
        return _nearest(expected, sides[1])
    if other is not None:
        shift = _nearest(other, sides[0])
        return None if shift is None else -shift or 0.0
    return None


def _nearest(moment: Moment, among: Sequence[Moment]) -> float | None:
    shifts = [one.at_s - moment.at_s for one in among if diff.same_apart_from_clocks(moment, one)]
    return min(shifts, key=abs, default=None)


def recording_moments(recording: Recording) -> list[Moment]:
    """All that was recorded to have come, in order."""
    return [moment for given in recording.given for moment in given.expected]
