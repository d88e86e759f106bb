"""The first difference between what a capture says and what came, shown like a good diff.

Owns how two moments of a call are compared and put into words: where in the call, what was
expected, what came, what happened around it. Refuses to know how either of them was found,
and files.

All text is for people: one safe line each, long payloads shortened.
"""

from __future__ import annotations

import binascii
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import msgspec

from teamscall.text import ELLIPSIS, harmless, kebab, printable

Way = Literal[
    "given",  # an event that the conversation was told of
    "did",  # what it wanted done
    "sent",  # a message to the gateway, as the bytes on the wire
]
Kind = Literal[
    "changed",  # something else came
    "missing",  # nothing more came of this event
    "extra",  # nothing more was expected of it
    "moved",  # the same came at another time (other settings)
    "decoded",  # the gateway's message means something else now
    "failed",  # the conversation raised
    "unwoken",  # it did not ask to be woken by then
]
AROUND = 2  # events before, and as many after
# Dull ones in a row count as one.
_DULL = frozenset({"AudioIn", "TimePassed", "MessageSeen", "AnswerAudio"})
_LONGEST_TEXT = 60  # characters of one value
_LONGEST_LINE = 160
_HEX_SHOWN = 24  # characters of other bytes either side
# When it happened, not what.
_CLOCKS = frozenset({"wall_ms", "timestamp", "timestampMs", "ts", "duration_ms"})


class Moment(msgspec.Struct, frozen=True):
    """One thing that happened in a call.

    ``at_s``: seconds since the conversation began. ``body``: of a ``sent`` one the bytes on
    the wire, of others their fields as canonical JSON. ``times``: it stands for so many in a
    row; it is the last of them.
    """

    at_s: float
    way: Way
    name: str
    body: bytes = b""
    turn: int | None = None
    times: int = 1


class Field(msgspec.Struct, frozen=True):
    """One value that differs; ``path`` as in ``latency.firstFrameMs``. None: it is not there."""

    path: str
    expected: str | None
    came: str | None


class Difference(msgspec.Struct, frozen=True):
    """Where a replay left its recording.

    ``step``: the event's number, 0 is the opening, -1 a decision before it. ``turn``: the
    one that it is about, or the latest that had begun. ``shifted_s``: what was expected did
    come, so much later (negative: earlier), or what came was expected then; None: neither.
    ``around``: the events before and after it, with ``here`` the index of the one that it
    happened at.
    """

    kind: Kind
    at_s: float
    step: int
    turn: int | None
    expected: Moment | None
    came: Moment | None
    fields: tuple[Field, ...]
    shifted_s: float | None
    around: tuple[Moment, ...]
    here: int
    why: str = ""


def fields_that_differ(expected: Moment, came: Moment) -> tuple[Field, ...]:
    """What is different in two of a name; empty where only the bytes are."""
    left, right = _values(expected.body), _values(came.body)
    if left is None or right is None:
        return ()
    return tuple(
        Field(path, left.get(path), right.get(path))
        for path in [*left, *(p for p in right if p not in left)]
        if left.get(path) != right.get(path)
    )


def same_apart_from_clocks(one: Moment, other: Moment, tolerance_s: float = 0.0) -> bool:
    """Whether both are one decision, taken perhaps at another time.

    ``tolerance_s``: durations in it may differ by this much, and so may what is counted by
    the frame.
    """
    if (one.way, one.name) != (other.way, other.name):
        return False
    if one.body == other.body:
        return True
    fields = fields_that_differ(one, other)
    return bool(fields) and all(_of_time(field, tolerance_s) for field in fields)


def _of_time(field: Field, tolerance_s: float) -> bool:
    name = field.path.rpartition(".")[2]
    if name in _CLOCKS:
        return True
    if not tolerance_s or field.expected is None or field.came is None:
        return False
    if field.path.startswith("counters."):
        return name.startswith(("frames", "gated", "silence", "dropped"))
    if not name.endswith("_ms"):
        return False
    try:
        return abs(float(field.expected) - float(field.came)) <= tolerance_s * 1000
    except ValueError:
        return False


def around(events: Sequence[Moment], index: int) -> tuple[tuple[Moment, ...], int]:
    """The event at ``index`` with ``AROUND`` before and after it, and where it is in these."""
    before: list[Moment] = []
    at = index - 1
    while at >= 0 and len(before) < AROUND:
        at, one = _run(events, at, -1)
        before.insert(0, one)
    after: list[Moment] = []
    at = index + 1
    while at < len(events) and len(after) < AROUND:
        at, one = _run(events, at, 1)
        after.append(one)
    return (*before, *events[index : index + 1], *after), len(before)


def _run(events: Sequence[Moment], start: int, step: int) -> tuple[int, Moment]:
    """What stands for the dull ones in a row from here, and where the row is over."""
    at = start
    if events[start].name in _DULL:
        while 0 <= at + step < len(events) and events[at + step].name in _DULL:
            at += step
    last = events[max(at, start)]
    return at + step, msgspec.structs.replace(last, times=abs(at - start) + 1)


# --- in words -------------------------------------------------------------------------


def describe(difference: Difference) -> str:
    """In one sentence, without its place."""
    expected, came = difference.expected, difference.came
    if difference.kind == "failed":
        what = "decision" if difference.step < 0 else "conversation"
        return printable(f"the {what} failed: {difference.why}", _LONGEST_LINE)
    if difference.kind == "unwoken":
        return printable(f"nothing is due here any more: {difference.why}", _LONGEST_LINE)
    verdict = next((f for f in difference.fields if f.path == "decision"), None)
    if difference.step < 0 and verdict is not None and verdict.expected and verdict.came:
        now, then = verdict.came.strip('"'), verdict.expected.strip('"')
        return f"the call is {now}, and was {then}"
    if difference.kind == "decoded":
        return "the gateway's message is decoded to something else"
    if expected is None:
        return f"{_called(came)} was not expected here{_shift(difference, 'was expected')}"
    if came is None:
        return f"{_called(expected)} did not come here{_shift(difference, 'came')}"
    if difference.kind == "moved":
        shift = (came.at_s - expected.at_s) * 1000
        how = "later" if shift > 0 else "earlier"
        return f"{_called(came)} came {abs(shift):.0f} ms {how}"
    if (expected.way, expected.name) == (came.way, came.name):
        if not difference.fields:
            return f"{_called(came)} says the same in other bytes"
        names = ", ".join(printable(field.path, 40) for field in difference.fields[:3])
        more = len(difference.fields) - 3
        return f"{_called(came)} has another {names}{f' and {more} more' if more > 0 else ''}"
    what = _shift(difference, "came")
    return f"{_called(came)} came instead of {_called(expected)}{what}"


def place(difference: Difference) -> str:
    """``3.240 s, step 163, turn 2``; ``-0.120 s, before the call``."""
    if difference.step < 0:
        return f"{difference.at_s:z.3f} s, before the call"
    turn = "" if difference.turn is None else f", turn {difference.turn}"
    return f"{difference.at_s:.3f} s, step {difference.step}{turn}"


def lines(difference: Difference) -> list[str]:
    """As a diff: what happened around it, ``-`` expected, ``+`` came."""
    out = [f"@@ {place(difference)} @@ {describe(difference)}"]
    around = difference.around
    here = difference.here
    out += [f"  {_event(moment)}" for moment in around[: here + 1]]
    out += [f"- {line}" for line in _sides(difference, expected=True)]
    out += [f"+ {line}" for line in _sides(difference, expected=False)]
    out += [f"  {_event(moment)}" for moment in around[here + 1 :]]
    return [_line(line) for line in out]


def _line(text: str) -> str:
    """Safe for a terminal; blanks stay, so that columns do."""
    safe = harmless(text, 10 * _LONGEST_LINE)
    return safe if len(safe) <= _LONGEST_LINE else safe[: _LONGEST_LINE - 1] + ELLIPSIS


def shown(moment: Moment) -> str:
    """A moment in one line, without its time."""
    values = _values(moment.body)
    if values is None:
        return f"{_called(moment)} {_hex(moment.body)}"
    told = " ".join(f"{path}={value}" for path, value in values.items() if path != "type")
    return f"{_called(moment)} {told}".rstrip()


def _called(moment: Moment | None) -> str:
    if moment is None:
        return "nothing"
    name = printable(kebab(moment.name), 40)
    return f"{name} on the wire" if moment.way == "sent" and moment.body else name


def _shift(difference: Difference, verb: str) -> str:
    shift = difference.shifted_s
    if shift is None:
        return ""
    if not shift:
        return f"; it {verb} in another order"
    return f"; it {verb} {abs(shift) * 1000:.0f} ms {'later' if shift > 0 else 'earlier'}"


def _sides(difference: Difference, *, expected: bool) -> Iterator[str]:
    moment = difference.expected if expected else difference.came
    if moment is None:
        own = difference.kind in ("failed", "unwoken") and not expected
        why = difference.why if own else ""
        yield f"{difference.at_s:9.3f}      {why or 'nothing'}"
        return
    mark = "=>" if moment.way == "sent" else "  "
    lead = f"{moment.at_s:9.3f}   {mark} "
    both = difference.expected is not None and difference.came is not None
    if both and difference.kind in ("changed", "decoded") and difference.fields:
        told = [
            f"{field.path}={value}"
            for field in difference.fields
            if (value := field.expected if expected else field.came) is not None
        ]
        yield lead + " ".join([_called(moment), *told])
    elif both and difference.expected is not None and difference.came is not None:
        yield lead + _other_bytes(difference.expected.body, difference.came.body, moment)
    else:
        yield lead + shown(moment)


def _other_bytes(left: bytes, right: bytes, moment: Moment) -> str:
    """Only where two differ that say the same."""
    if (
        left == right
        or moment.body not in (left, right)
        or _values(left) is None
        or _values(left) != _values(right)
    ):
        return shown(moment)
    at = next((i for i, (a, b) in enumerate(zip(left, right, strict=False)) if a != b), None)
    at = min(len(left), len(right)) if at is None else at
    piece = moment.body[max(0, at - _HEX_SHOWN) : at + _HEX_SHOWN]
    return f"{_called(moment)} from byte {at}: …{piece.decode('utf-8', 'replace')}…"


def _event(moment: Moment) -> str:
    arrow = {"given": "->", "did": "  ", "sent": "=>"}[moment.way]
    more = f" (the last of {moment.times})" if moment.times > 1 else ""
    return f"{moment.at_s:9.3f}   {arrow} {shown(moment)}{more}"


# --- values ---------------------------------------------------------------------------


def _values(body: bytes) -> dict[str, str] | None:
    """The fields by their path, each as short safe text; None: it is no JSON object."""
    if not body:
        return {}
    try:
        whole = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return dict(_flat("", whole)) if isinstance(whole, dict) else None


def _flat(path: str, value: object) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping) and value:
        for name, inner in value.items():
            yield from _flat(f"{path}.{name}" if path else str(name), inner)
    elif isinstance(value, list) and value and isinstance(value[0], Mapping):
        for index, inner in enumerate(value):
            yield from _flat(f"{path}[{index}]", inner)
    elif path:
        yield printable(path, 60), _short(value)


def _short(value: object) -> str:
    """Two that differ stay different however much of them is cut."""
    text = json.dumps(value, ensure_ascii=False)
    safe = printable(text, 10 * _LONGEST_TEXT)
    if safe == text and len(text) <= _LONGEST_TEXT:
        return text
    digest = binascii.crc32(text.encode("utf-8", "surrogatepass"))
    return f"{printable(text, _LONGEST_TEXT - 24)} ({len(text)} characters, {digest:08x})"


def _hex(body: bytes) -> str:
    more = f"… ({len(body)} bytes)" if len(body) > _HEX_SHOWN // 2 else ""
    return f"0x{body[: _HEX_SHOWN // 2].hex()}{more}"
