"""The caller's side of a captured call, made ready to be said to a live bridge.

Owns what the gateway said, when and on which of its sockets, and what of it must be written
anew: the call's id, and which frame of the bot's came last. All else goes out as it was
recorded, hostile or not. Refuses to know sockets and clocks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import msgspec

from teamscall.capture.eliding import kind_of
from teamscall.capture.reader import Capture
from teamscall.capture.recording import filled
from teamscall.capture.records import Frame, Record, Step
from teamscall.errors import CaptureError
from teamscall.text import printable
from teamscall.wire import csharp, standin
from teamscall.wire import events as wire

_LAST_SEQ = re.compile(rb'("lastReceivedSeq"\s*:\s*)-?\d+')
_AUDIO = frozenset({"audio.frame", "audio_in"})


class Message(msgspec.Struct, frozen=True):
    """One text message of the gateway, ``at_s`` seconds after its first one.

    ``answers``: so many auth_requests had been answered by then. ``behind``: of a resume, how
    many of the bot's frames had not arrived; None for every other message.
    """

    at_s: float
    text: bytes
    answers: int = 0
    behind: int | None = None


class Leg(msgspec.Struct, frozen=True):
    """What was said on one socket; ``cut_s``: when it broke, None where it did not."""

    messages: tuple[Message, ...]
    cut_s: float | None = None


class Line(msgspec.Struct, frozen=True):
    """A whole call, as its gateway saw it.

    ``hangs_up``: the caller ended it. ``bot_ends``: the bot did; where neither did, the capture
    ends before the call.
    ``next_seq`` and ``next_ms`` are those of the frame after its last one. ``silent``: so
    many messages have silence in place of what was left out. ``lost``: records are missing.
    """

    dialect: wire.Dialect
    call_id: str
    legs: tuple[Leg, ...]
    hangs_up: bool
    next_seq: int
    next_ms: int
    silent: int
    lost: int
    bot_ends: bool = False

    @property
    def length_s(self) -> float:
        return self.legs[-1].messages[-1].at_s

    @property
    def messages(self) -> int:
        return sum(len(leg.messages) for leg in self.legs)


def line(capture: Capture, *, silence: bool = False) -> Line:
    """The gateway's half of a capture, of either side of the wire.

    ``silence``: a capture whose audio was left out is said as silence of that length.

    Raises:
        CaptureError: nothing was said in it, the bridge placed the call, or its audio was left
            out.
    """
    header = capture.header
    name = printable(str(capture.path))
    if header.direction == "outbound":
        raise CaptureError(
            f"{name} is a call that the bridge placed: no gateway begins it.",
            hint="Place it again with `teamscall call`, and answer it with `emulate --answer`.",
        )
    if header.content != "full" and not silence:
        raise CaptureError(
            f"{name} holds structure and timing only: a live engine would hear silence.",
            hint="With --silence it is played so, where that is worth something.",
        )
    own = [r for r in capture.records if not isinstance(r, Frame) or r.side in ("", header.side)]
    own = _without_the_answer_to_a_hang_up(own, header.dialect, header.call_id)
    said = [r for r in own if isinstance(r, Frame) and r.way == "in"]
    if not said:
        raise CaptureError(f"In {name} the gateway says nothing.")
    legs = tuple(_legs(own, said[0].at, header.dialect, header.call_id))
    next_seq, next_ms = _after(said, header.dialect, header.call_id)
    last = _decoded(said[-1].text, header.dialect, header.call_id)
    return Line(
        dialect=header.dialect,
        call_id=header.call_id,
        legs=legs,
        hangs_up=isinstance(last, wire.CallEnded),
        next_seq=next_seq,
        next_ms=next_ms,
        silent=sum(bool(frame.elided) and kind_of(frame.text) in _AUDIO for frame in said),
        lost=capture.dropped,
        bot_ends=any(
            isinstance(_said(r, header.dialect, header.call_id), wire.HangUp)
            for r in own
            if isinstance(r, Frame) and r.way == "out"
        ),
    )


def with_call_id(text: bytes, old: str, new: str) -> bytes:
    """The message with another call's id wherever the old one stands as a whole text; every
    other byte stays as it is."""
    return text.replace(msgspec.json.encode(old), msgspec.json.encode(new)) if old else text


def with_last_seq(text: bytes, seq: int) -> bytes:
    """The resume, saying that this frame came last."""
    return _LAST_SEQ.sub(lambda found: found.group(1) + str(seq).encode(), text, count=1)


def _legs(
    records: Sequence[Record], began: float, dialect: wire.Dialect, call_id: str
) -> Iterator[Leg]:
    messages: list[Message] = []
    answers, last_seq = 0, -1
    previous = began
    lost: float | None = None
    for record in records:
        if isinstance(record, Step) and record.event is not None:
            if record.event.name == "LinkLost":
                lost = record.now
        elif isinstance(record, Frame) and record.way == "out":
            told = _said(record, dialect, call_id)
            answers += isinstance(told, wire.AuthAnswer)
            last_seq = max(last_seq, told.seq) if isinstance(told, wire.AudioOut) else last_seq
        elif isinstance(record, Frame):
            event = _decoded(record.text, dialect, call_id)
            behind: int | None = None
            if isinstance(event, wire.CallResumed):
                behind = max(0, last_seq - event.last_received_seq)
                if messages:
                    yield Leg(tuple(messages), max(previous, lost or previous) - began)
                    messages, lost = [], None
            text = filled(record.text, record.elided) if record.elided else record.text
            messages.append(Message(max(0.0, record.at - began), text, answers, behind))
            previous = record.at
    yield Leg(tuple(messages), None if lost is None else max(previous, lost) - began)


def _without_the_answer_to_a_hang_up(
    records: Sequence[Record], dialect: wire.Dialect, call_id: str
) -> list[Record]:
    """A C# gateway says that the call is over when the bot has hung up: not the caller's doing,
    and said again only where the bot hangs up again."""
    hung_up = False
    out: list[Record] = []
    for record in records:
        if isinstance(record, Frame) and record.way == "out":
            hung_up = hung_up or isinstance(_said(record, dialect, call_id), wire.HangUp)
        elif isinstance(record, Frame) and _is_end(record, dialect, call_id) and hung_up:
            continue
        out.append(record)
    return out


def _is_end(frame: Frame, dialect: wire.Dialect, call_id: str) -> bool:
    return isinstance(_decoded(frame.text, dialect, call_id), wire.CallEnded)


def _after(said: Sequence[Frame], dialect: wire.Dialect, call_id: str) -> tuple[int, int]:
    """What the frame after the last one is called."""
    for frame in reversed(said):
        text = filled(frame.text, frame.elided) if frame.elided else frame.text
        event = _decoded(text, dialect, call_id)
        if isinstance(event, wire.AudioIn):
            return event.seq + 1, event.timestamp_ms + wire.FRAME_MS
    return 0, 0


def _decoded(text: bytes, dialect: wire.Dialect, call_id: str) -> wire.FromGateway | wire.Dropped:
    if dialect == "standin":
        return standin.decode_from_gateway(text, call_id=call_id)
    return csharp.decode_from_gateway(text, call_id=call_id)


def _said(frame: Frame, dialect: wire.Dialect, call_id: str) -> wire.ToGateway | wire.Dropped:
    text = filled(frame.text, frame.elided) if frame.elided else frame.text
    if dialect == "standin":
        return standin.decode_to_gateway(text, call_id=call_id)
    return csharp.decode_to_gateway(text, call_id=call_id)
