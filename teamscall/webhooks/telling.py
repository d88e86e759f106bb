"""From the calls' records to what is told of them.

Owns what is remembered of a running call for its summary. Refuses to know who is told and
how. What was said is judged as the journal judges it, at the moment in which it was said.
"""

from __future__ import annotations

import math
from collections import deque

import msgspec

from teamscall.calls.records import (
    CallAnswered,
    CallClosed,
    CallOpened,
    CallRecord,
    EngineTrouble,
    OutboundProgress,
    TurnEnded,
)
from teamscall.config.entries import EventName
from teamscall.journal.spoken import Keep, Spoken, Words
from teamscall.text import printable
from teamscall.webhooks import messages
from teamscall.webhooks.messages import Event, Spread, Stages
from teamscall.wire import events as wire

# Of the latest turns of a call: a summary, not a record.
MAX_LATENCIES = 1000
# Of what a caller says between two turns.
MAX_UTTERANCES = 20
MAX_TEXT = 8000
_MAX_ID = 256  # StandIn's call ids are the longest


class _Call:
    """What is known of a running call."""

    def __init__(self, opened: CallOpened) -> None:
        self.dialect = opened.dialect
        self.direction = opened.direction
        self.caller = _caller(opened.caller)
        self.answered = opened.direction == "inbound"
        self.errors = 0
        self.utterances: deque[str] = deque(maxlen=MAX_UTTERANCES)
        self.latencies: dict[str, deque[float]] = {
            stage: deque(maxlen=MAX_LATENCIES) for stage in Stages.__struct_fields__
        }


class Telling:
    """See the module. ``keep`` may change while calls run."""

    def __init__(self, keep: Keep) -> None:
        self._words = Words(keep)
        self._calls: dict[str, _Call] = {}

    @property
    def keep(self) -> Keep:
        return self._words.keep

    @keep.setter
    def keep(self, keep: Keep) -> None:
        self._words.keep = keep

    def take(self, record: CallRecord) -> Event | None:
        """What is to be told of this record; None for most of them."""
        record, spoken = self._words.sift(record)
        call = self._calls.get(record.call_id)
        if spoken is not None and spoken.speaker == "caller":
            if call is not None:
                call.utterances.append(spoken.text)
            return None
        match record:
            case CallOpened():
                self._calls[record.call_id] = _Call(record)
                return _event("call.started", record.wall_ms, _started(record))
            case CallAnswered():
                if call is not None:
                    call.answered = True
                answered = messages.Answered(_id(record.call_id))
                return _event("call.answered", record.wall_ms, answered)
            case TurnEnded():
                return _event("call.turn", record.wall_ms, _turn(call, record, spoken))
            case EngineTrouble():
                if call is not None:
                    call.errors += 1
            case CallClosed():
                call = self._calls.pop(record.call_id, None)
                return _event("call.ended", record.wall_ms, _ended(call, record))
            case OutboundProgress(state="ended"):
                return _event("outbound.ended", record.wall_ms, _outbound(record))
        return None


def _event(type_: EventName, wall_ms: int, data: messages.Data) -> Event:
    return Event(messages.new_id(), type_, wall_ms, data)


def _started(record: CallOpened) -> messages.Started:
    return messages.Started(
        _id(record.call_id),
        record.dialect,
        record.direction,
        _caller(record.caller),
        record.engine,
    )


def _caller(caller: wire.Caller) -> messages.Caller:
    return messages.Caller(
        _id(caller.user_id),
        _id(caller.tenant_id),
        printable(caller.display_name),
        printable(caller.phone_number),
    )


def _turn(call: _Call | None, record: TurnEnded, spoken: Spoken | None) -> messages.Turn:
    caller_text: str | msgspec.UnsetType = msgspec.UNSET
    if call is not None:
        if record.kind == "answer":  # nobody said anything before a greeting
            for stage, values in call.latencies.items():
                if (value := getattr(record.latency, f"{stage}_ms")) is not None:
                    values.append(value)
        if call.utterances:
            caller_text = printable(" ".join(call.utterances), MAX_TEXT)
            call.utterances.clear()
    return messages.Turn(
        _id(record.call_id),
        record.turn,
        record.kind,
        record.status,
        record.said_ms,
        record.heard_ms,
        messages.fields(record.latency),
        caller_text,
        msgspec.UNSET if spoken is None else printable(spoken.text, MAX_TEXT),
        msgspec.UNSET if spoken is None else printable(spoken.heard, MAX_TEXT),
    )


def _ended(call: _Call | None, record: CallClosed) -> messages.Ended:
    return messages.Ended(
        call_id=_id(record.call_id),
        dialect=call.dialect if call else None,
        direction=call.direction if call else None,
        caller=call.caller if call else None,
        reason=printable(record.reason),
        ended_by=record.ended_by,
        detail=printable(record.detail),
        duration_ms=record.duration_ms,
        answered=call.answered if call else False,
        turns=record.counters.turns,
        interruptions=record.counters.interruptions,
        engine_errors=call.errors if call else 0,
        latency=_stages(call) if call else Stages(),
        counters=messages.fields(record.counters),
        usage=tuple(messages.fields(used) for used in record.usage),
    )


def _stages(call: _Call) -> Stages:
    return Stages(**{stage: _spread(values) for stage, values in call.latencies.items()})


def _spread(values: deque[float]) -> Spread | None:
    if not values:
        return None
    ordered = sorted(values)

    def percentile(part: float) -> float:  # the nearest rank
        return round(ordered[math.ceil(part * len(ordered)) - 1], 1)

    return Spread(percentile(0.50), percentile(0.95), len(ordered))


def _outbound(record: OutboundProgress) -> messages.OutboundEnded:
    return messages.OutboundEnded(
        record.attempt,
        _id(record.call_id),
        printable(record.target),
        record.mode,
        record.dialect,
        record.outcome,
        printable(record.detail),
    )


def _id(text: str) -> str:
    return printable(text, _MAX_ID)
