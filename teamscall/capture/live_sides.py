"""A call as it was and as it is now, told by what matters of it: who spoke when, what was
heard and said, how it ended. Pure.

Both are captures. Owns what is taken from one and what of two is a difference. Refuses to
compare bytes: a live engine says the same in other frames, words and moments.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from teamscall.audio.sounding import Hearing
from teamscall.audio.waveform import Thresholds, measure
from teamscall.calls.events import Command
from teamscall.capture import codec
from teamscall.capture.expect import Facts, facts
from teamscall.capture.reader import Capture
from teamscall.capture.records import Did, Frame, Step
from teamscall.capture.sound import tracks
from teamscall.errors import CaptureError
from teamscall.text import printable
from teamscall.wire import csharp, standin
from teamscall.wire import events as wire
from teamscall.wire.events import FRAME_MS

# A scripted voice's word lasts for 60 ms; nobody coughs in a bot's track.
_THRESHOLDS = Thresholds(hearing=Hearing(shortest_ms=40.0))
# What was heard and said is shown up to here.
_SHOWN = 80


class Place(msgspec.Struct, frozen=True, rename="camel"):
    """What the bot did after an utterance of the caller's, before the end of the next one;
    the first place is before any. ``asked_ms``: the end of that utterance. ``latency_ms``:
    from there to the bot's first sound after it; None: it did not begin to speak."""

    asked_ms: float
    latency_ms: float | None


class Side(msgspec.Struct, frozen=True, rename="camel"):
    """One run of a call. What only the bridge knows is None in a far side's capture."""

    length_s: float
    places: tuple[Place, ...]
    flushes: int
    bot_hung_up: bool
    heard: tuple[str, ...] | None
    said: tuple[str, ...] | None
    turns: int | None
    interruptions: int | None
    end_reason: str | None
    ended_by: str | None

    @property
    def answers(self) -> int:
        """How often the bot began to speak, by utterance of the caller's."""
        return sum(place.latency_ms is not None for place in self.places)


class Point(msgspec.Struct, frozen=True):
    """One thing that is different. ``fails``: the call is not what it was."""

    key: str
    text: str
    fails: bool = False


def side(capture: Capture) -> Side:
    """What a capture tells of its call."""
    header = capture.header
    decided = header.side == "bridge"
    found = facts_of(capture)
    last = max((r.at for r in capture.records if isinstance(r, Frame)), default=header.began)
    commands = [command for _, command in acts(capture)]
    return Side(
        length_s=round(last - header.began, 3),
        places=_places(capture),
        flushes=sum(isinstance(command, wire.Flush) for command in commands),
        bot_hung_up=any(isinstance(command, wire.HangUp) for command in commands),
        heard=found.heard if decided else None,
        said=found.said if decided else None,
        turns=found.turns if decided else None,
        interruptions=found.interruptions if decided else None,
        end_reason=found.end_reason,
        ended_by=found.ended_by,
    )


def facts_of(capture: Capture) -> Facts:
    """What an expectation can be asked of: of a bridge's capture all, of a far side's what is
    on the wire."""
    streams = False
    if capture.header.side == "bridge" and capture.header.setup:
        streams = codec.setup_of(capture.header).turn_taking == "none"
    return facts(acts(capture), streams=streams)


def acts(capture: Capture) -> Iterator[tuple[float, Command]]:
    """What the bridge decided and said, as the capture has it, with its second of the call.

    Raises:
        CaptureError: a decision cannot be read.
    """
    header = capture.header
    wires = standin if header.dialect == "standin" else csharp
    at = 0.0
    turn = 0  # C# names none in a flush
    for record in capture.records:
        if isinstance(record, Step):
            at = record.now - header.began
        elif isinstance(record, Did):
            if record.name == "Hear" or codec.is_wire_message(record.name):
                continue
            command = codec.command_of(record)
            turn = getattr(command, "turn", turn) if record.name == "TurnBegan" else turn
            yield at, command
        elif isinstance(record, Frame) and record.way == "out":
            if record.side not in ("", header.side) or record.elided:
                continue
            message = wires.decode_to_gateway(record.text, call_id=header.call_id)
            if isinstance(message, wire.Flush) and not message.turn_id:
                message = msgspec.structs.replace(message, turn_id=turn)
            if not isinstance(message, wire.Dropped):
                yield max(0.0, record.at - header.began), message


# --- who spoke when -------------------------------------------------------------------


def _places(capture: Capture) -> tuple[Place, ...]:
    try:
        sound = tracks(capture)
    except CaptureError:
        return ()  # none in it
    measured = measure(sound.caller, sound.bot, thresholds=_THRESHOLDS)
    asked = [0.0, *(span.end_ms for span in measured.caller.utterances)]
    began = [span.start_ms for span in measured.bot.utterances]
    until = [*asked[1:], float("inf")]
    out = []
    for at_ms, end_ms in zip(asked, until, strict=True):
        answer = next((start for start in began if at_ms <= start < end_ms), None)
        out.append(Place(at_ms, None if answer is None else round(answer - at_ms, 1)))
    return tuple(out)


# --- two of them ----------------------------------------------------------------------


def points(recorded: Side, now: Side, *, speed: float = 1.0) -> tuple[Point, ...]:
    """What is different, the worst first. At another ``speed`` the sound is another one: where
    in it the bot spoke, and how soon, is then not compared."""
    paced = speed == 1.0
    out = [*_spoke(recorded, now, paced=paced), *_ended(recorded, now)]
    for key, old, new in (("heard", recorded.heard, now.heard), ("said", recorded.said, now.said)):
        if old is not None and new is not None and old != new:
            out.append(Point(key, f"{key} {_quoted(new)}, recorded {_quoted(old)}"))
    for key, was, came in (
        ("turns", recorded.turns, now.turns),
        ("interruptions", recorded.interruptions, now.interruptions),
        ("flushes", recorded.flushes, now.flushes),
    ):
        if was is not None and came is not None and was != came:
            out.append(Point(key, f"{came} {key}, recorded {was}"))
    if paced:
        out += _latencies(recorded, now)
    return tuple(sorted(out, key=lambda point: not point.fails))


def _spoke(recorded: Side, now: Side, *, paced: bool) -> Iterator[Point]:
    if recorded.answers and not now.answers:
        yield Point("spoke", "the bot did not speak at all; in the recording it did", True)
        return
    if not paced:
        return
    if len(recorded.places) != len(now.places):
        was, came = len(recorded.places) - 1, len(now.places) - 1
        if now.answers < recorded.answers:
            text = f"the bot began to speak {now.answers} times, recorded {recorded.answers}"
            yield Point("spoke", text, True)
        yield Point("utterances", f"{came} utterances of the caller's arrived, recorded {was}")
        return
    for index, (old, new) in enumerate(zip(recorded.places, now.places, strict=True)):
        where = _where(index, old)
        if old.latency_ms is not None and new.latency_ms is None:
            text = f"the bot did not speak {where}; in the recording it did, after "
            yield Point("spoke", f"{text}{old.latency_ms:.0f} ms", True)
        elif old.latency_ms is None and new.latency_ms is not None:
            yield Point("spoke", f"the bot spoke {where}; in the recording it did not")


def _ended(recorded: Side, now: Side) -> Iterator[Point]:
    if now.bot_hung_up and not recorded.bot_hung_up:
        text = f"the bot hung up after {now.length_s:.1f} s; in the recording it did not"
        yield Point("ended", text, True)
    elif recorded.bot_hung_up and not now.bot_hung_up:
        yield Point("ended", "the bot did not hang up; in the recording it did", True)
    was, came = (
        None if one.end_reason is None else f"{printable(one.end_reason, 60)} by {one.ended_by}"
        for one in (recorded, now)
    )
    if was is not None and came is not None and was != came:
        yield Point("end_reason", f"ended with {came}, recorded {was}")


def _latencies(recorded: Side, now: Side) -> Iterator[Point]:
    if len(recorded.places) != len(now.places):
        return
    for index, (old, new) in enumerate(zip(recorded.places, now.places, strict=True)):
        if old.latency_ms is None or new.latency_ms is None:
            continue
        text = f"{new.latency_ms:.0f} ms {_where(index, old)}, recorded {old.latency_ms:.0f} ms"
        if abs(new.latency_ms - old.latency_ms) >= FRAME_MS:
            yield Point("latency", text)


def _where(index: int, place: Place) -> str:
    if not index:
        return "before the caller's first utterance was over"
    return f"after the caller's utterance {index} (at {place.asked_ms / 1000:.1f} s)"


def _quoted(texts: Sequence[str]) -> str:
    if not texts:
        return "nothing"
    return ", ".join(f"“{printable(text, _SHOWN)}”" for text in texts[:5])
