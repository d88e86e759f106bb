"""Events as lines for people: what `tail` says of each, without looks.

Pure: an event in, a line out. Owns the words, what counts as cut, and that nothing of a
peer's gets out that a terminal would obey. Refuses to know colours, widths and streams.

Speakers are called ``caller`` and ``bot``, never by a name that a peer chose: a caller might
be called "bot".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from teamscall.audio.dbfs import SILENCE_DBFS
from teamscall.calls import records
from teamscall.cli.wording import DIALECTS
from teamscall.control.told import GAP, record_of
from teamscall.text import ELLIPSIS, printable
from teamscall.wire.events import Caller

Tone = Literal["caller", "bot", "cut", "fact", "good", "bad"]
Who = Literal["caller", "bot", "call", "engine"]

MAX_TEXT_CHARS = 20_000  # twenty minutes of speech; more is not said but sent
MAX_NAME_CHARS = 80

_BY = {
    "caller": "the caller",
    "say": "the next message",
    "operator": "the operator",
    "gate": "the recording gate",
}


class Piece(msgspec.Struct, frozen=True):
    """Some text, safe to print, and what it is."""

    text: str
    tone: Tone


class Line(msgspec.Struct, frozen=True):
    """One line. ``partial``: more of it comes, and a final line says it all."""

    at_ms: int
    call_id: str  # or of an attempt that has no call yet; as it came, see ``Labels``
    who: Who
    pieces: tuple[Piece, ...]
    latency_ms: float | None = None
    partial: bool = False

    @property
    def text(self) -> str:
        return " ".join(piece.text for piece in self.pieces)


def legible(text: str, limit: int = MAX_TEXT_CHARS) -> str:
    """``text`` as one line of at most ``limit`` characters, without what a terminal would
    obey."""
    return printable(text, limit)


def line_of(event: Mapping[str, Any]) -> Line | None:
    """The line of an event; None where there is nothing to say."""
    record = record_of(event)
    if record is not None:
        return _line(record)
    call_id, at_ms = str(event.get("callId") or ""), event.get("wallMs")
    at_ms = at_ms if isinstance(at_ms, int) else 0
    if event.get("event") == GAP:
        return Line(at_ms, call_id, "call", (Piece(_gap(event), "bad"),))
    name = legible(str(event.get("event") or "?"), MAX_NAME_CHARS)
    return Line(at_ms, call_id, "call", (Piece(name, "fact"),))


def duration(ms: float) -> str:
    """``850 ms``, ``1.2 s``, ``2:05``, ``1:02:05``."""
    if ms < 1000:
        return f"{ms:.0f} ms"
    if ms < 60_000:
        return f"{ms / 1000:.1f} s"
    minutes, seconds = divmod(round(ms / 1000), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def heard_and_cut(said: str, heard: str) -> tuple[str, str]:
    """What was heard of what was said, and the rest."""
    if said.startswith(heard):
        return heard, said[len(heard) :].strip()
    # What is written and what is spoken may differ; then the words are counted.
    return heard, " ".join(said.split()[len(heard.split()) :])


def _line(record: records.CallRecord) -> Line | None:
    who: Who = "call"
    latency: float | None = None
    partial = False
    match record:
        case records.Heard():
            who, partial = "caller", not record.final
            pieces = [Piece(legible(record.text), "caller")]
        case records.Pressed():
            who = "caller"
            pieces = [Piece(f"pressed {legible(record.digit, 20)}", "fact")]
        case records.Said():
            who, partial = "bot", True
            pieces = [Piece(legible(record.delta), "bot")]
        case records.TurnBegan():
            who, partial = "bot", True
            pieces = [Piece(f"({record.kind})", "fact")]
        case records.TurnEnded():
            who = "bot"
            pieces = _turn(record)
            if record.kind == "answer":  # nobody waited for the others
                latency = record.latency.first_frame_ms
        case records.EngineTrouble():
            who = "engine"
            fatal = ", and that ends it" if record.fatal else ""
            text = f"{legible(record.stage, 40)}: {legible(record.detail, 400)}{fatal}"
            pieces = [Piece(text, "bad")]
        case records.CallClosed():
            pieces = [Piece(_closed(record), "fact")]
        case _:
            pieces = [_fact(record)]
    # An attempt that nobody answered never was a call.
    attempt = record.attempt if isinstance(record, records.OutboundProgress) else ""
    shown = tuple(piece for piece in pieces if piece.text)
    if not shown:
        return None
    return Line(record.wall_ms, record.call_id or attempt, who, shown, latency, partial)


def _turn(turn: records.TurnEnded) -> list[Piece]:
    if turn.status == "completed":
        text = legible(turn.said_text) or f"({duration(turn.said_ms)} of sound)"
        return [Piece(text, "bot")]
    heard, cut = heard_and_cut(legible(turn.said_text), legible(turn.heard_text))
    pieces = [Piece(heard, "bot")]
    if cut:
        pieces.append(Piece(f"[cut: {cut}]", "cut"))
    elif turn.status == "interrupted":  # of an engine that tells no words, or after the last
        pieces.append(Piece(f"[cut after {duration(turn.heard_ms)}]", "cut"))
    elif turn.status == "cancelled" and not heard:
        pieces.append(Piece("[dropped before a word]", "cut"))
    if turn.status == "failed":
        pieces.append(Piece("[failed]", "bad"))
    return pieces


def _closed(closed: records.CallClosed) -> str:
    counters = closed.counters
    parts = [
        f"ended by the {closed.ended_by}: {legible(closed.reason, 80)}",
        f"after {duration(closed.duration_ms)}",
        _count(counters.turns, "turn"),
    ]
    if counters.interruptions:
        parts.append(_count(counters.interruptions, "interruption"))
    detail = f" ({legible(closed.detail, 200)})" if closed.detail else ""
    return ", ".join(parts) + detail


def _fact(record: records.CallRecord) -> Piece:
    match record:
        case records.CallOpened():
            to = "from" if record.direction == "inbound" else "to"
            engine = f", answered by {legible(record.engine, 60)}" if record.engine else ""
            through = DIALECTS[record.dialect]
            way = f"{record.direction} {to} {_name(record.caller)} through {through}"
            return Piece(f"{way}{engine}", "good")
        case records.CallAnswered():
            return Piece("answered", "good")
        case records.Decided(authorized=True):
            return Piece(f"let in ({legible(record.strategy, 40)})", "fact")
        case records.Decided():
            why = f"{legible(record.strategy, 40)}: {legible(record.reason, 200)}"
            return Piece(f"refused {_name(record.caller)} ({why})", "bad")
        case records.GateChanged():
            status = f"recording {record.status or 'not told'}"
            if record.open:
                return Piece(f"listening ({status})", "fact")
            return Piece(f"not listening ({status})", "bad")
        case records.RecordingSeen():
            return Piece(f"recording {record.status}", "fact")
        case records.Interrupted():
            why = "" if record.why == "order" else f" ({record.why})"
            return Piece(
                f"interrupted by {_BY[record.by]}{why} after {duration(record.heard_ms)}, "
                f"silent {record.onset_to_flush_ms:.0f} ms later",
                "fact",
            )
        case records.CarriedOn():
            return Piece(
                f"carried on after {duration(record.stopped_ms)}: it was a {record.why}", "fact"
            )
        case records.ParticipantsSeen():
            people = "1 person" if record.count == 1 else f"{record.count} people"
            return Piece(f"{people} in the call", "fact")
        case records.OutboundProgress():
            return _progress(record)
        case records.Audited():
            by, detail = legible(record.by, 60), legible(record.detail, 200)
            text = f"{legible(record.action, 60)} by {by}: {legible(record.result, 60)}"
            return Piece(f"{text} ({detail})" if detail else text, "fact")
        case records.AudioLevels():
            return Piece(
                f"caller {level(record.caller_dbfs)}, bot {level(record.bot_dbfs)}", "fact"
            )
    raise AssertionError(f"no words for {type(record).__name__}")


def level(dbfs: float | None) -> str:
    """``-23 dBFS``, ``silent``, ``not listened to``."""
    if dbfs is None:
        return "not listened to"
    return "silent" if dbfs <= SILENCE_DBFS else f"{dbfs:.0f} dBFS"


def _progress(progress: records.OutboundProgress) -> Piece:
    target, detail = legible(progress.target, MAX_NAME_CHARS), legible(progress.detail, 200)
    state = {"waiting": "waiting for a gateway"}.get(progress.state, progress.state)
    tone: Tone = "good" if progress.state == "answered" else "fact"
    if progress.outcome is not None and progress.state == "ended":
        state = "call over" if progress.outcome == "answered" else progress.outcome
        tone = "fact" if progress.outcome == "answered" else "bad"
    return Piece(f"calling {target}: {state}" + (f" ({detail})" if detail else ""), tone)


def _gap(event: Mapping[str, Any]) -> str:
    missed = event.get("missed")
    if isinstance(missed, int) and missed > 0:
        return f"[gap: {_count(missed, 'event')} missing here]"
    if event.get("why") == "restarted":
        return "[gap: the bridge was restarted]"
    return "[gap: events may be missing here]"


def _name(caller: Caller) -> str:
    """Who that is, as the far side says: a claim, so in quotes where it is a free text."""
    name = legible(caller.display_name, MAX_NAME_CHARS)
    number = legible(caller.phone_number or caller.user_principal_name or caller.user_id, 80)
    if name:
        return f"“{name}”" + (f" {number}" if caller.phone_number else "")
    return number or "somebody unnamed"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


# --- which call -------------------------------------------------------------------------


class Labels:
    """Short names of calls: the start of the id, as long as it takes to tell them apart."""

    SHORT, LONG = 8, 16
    REMEMBERED = 1000  # calls; the oldest are forgotten

    def __init__(self) -> None:
        self._labels: dict[str, str] = {}
        self._orders: dict[str, int] = {}
        self._seen = 0
        self.width = self.SHORT

    def __call__(self, call_id: str) -> str:
        """Safe to print; "" for no id."""
        if not call_id:
            return ""
        if call_id not in self._labels:
            if len(self._labels) >= self.REMEMBERED:
                oldest = next(iter(self._labels))
                del self._labels[oldest], self._orders[oldest]
            self._orders[call_id] = self._seen
            self._seen += 1
            self._tell_apart(call_id)
        return self._labels[call_id]

    def order(self, call_id: str) -> int:
        """A number that differs between neighbours, for a colour."""
        return self._orders.get(call_id, 0)

    def _tell_apart(self, new: str) -> None:
        self._labels[new] = self._cut(new, self.SHORT)
        for length in range(self.SHORT, self.LONG + 1):
            label = self._cut(new, length)
            same = [one for one, known in self._labels.items() if known == label and one != new]
            self._labels[new] = label
            if not same:
                break
            for one in same:  # it grows too, or it would name both
                self._labels[one] = self._cut(one, length + 1)
        self.width = max(self.width, len(self._labels[new]))

    def _cut(self, call_id: str, length: int) -> str:
        whole = re.sub(r"\s", "_", legible(call_id, 256)) or "?"
        if len(whole) <= length:
            return whole
        if length < self.LONG:
            return whole[:length]
        return f"{whole[:7]}{ELLIPSIS}{whole[-8:]}"  # long ids that begin alike end differently
