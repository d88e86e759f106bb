"""Call records as log lines: static text plus fields, nothing that anybody said.

``Heard``, ``Said``, texts of turns and digits have no words here on purpose: what a
caller says never reaches a log.
"""

from __future__ import annotations

import logging
import re

import msgspec

from teamscall.calls import records
from teamscall.text import printable


class Line(msgspec.Struct, frozen=True):
    """One log line of a call."""

    level: int
    message: str
    fields: dict[str, object]


_NUMBER = re.compile(r"\+[0-9]{7,15}")

_PLACED: dict[records.OutboundState, str] = {
    "requested": "Call to be placed",
    "waiting": "Waiting for a gateway to place a call",
    "ringing": "Placed call rings",
    "answered": "Placed call answered",
    "ended": "Placed call over",
}


def narrate(record: records.CallRecord) -> Line | None:
    """The log line of a record; None for records that are shown live only."""
    if isinstance(record, records.Decided):
        return _line(
            record,
            logging.INFO if record.authorized else logging.WARNING,
            "Call authorized" if record.authorized else "Call refused",
            on=record.on,
            strategy=record.strategy,
            reason=record.reason,
            user=printable(record.caller.user_id, 64),
            tenant=printable(record.caller.tenant_id, 64),
            upn=printable(record.caller.user_principal_name, 64),
            phone=_masked(record.caller.phone_number),
            dialect=record.dialect,
            address=record.address,
            audit=True,
        )
    if isinstance(record, records.CallOpened):
        return _line(
            record,
            logging.INFO,
            "Call started",
            dialect=record.dialect,
            direction=record.direction,
            engine=record.engine,
            address=record.address,
        )
    if isinstance(record, records.GateChanged):
        word = "Recording gate open" if record.open else "Recording gate closed: not listening"
        return _line(record, logging.INFO, word, status=record.status or "not yet known")
    if isinstance(record, records.TurnEnded):
        latency = record.latency
        return _line(
            record,
            logging.WARNING if record.status == "failed" else logging.INFO,
            "Turn over",
            turn=record.turn,
            kind=record.kind,
            status=record.status,
            heard_ms=record.heard_ms,
            said_ms=record.said_ms,
            endpoint_ms=latency.endpoint_ms,
            transcript_ms=latency.transcript_ms,
            first_text_ms=latency.first_text_ms,
            first_audio_ms=latency.first_audio_ms,
            first_frame_ms=latency.first_frame_ms,
            **_used(record.usage),
        )
    if isinstance(record, records.Interrupted):
        return _line(
            record,
            logging.INFO,
            "Turn interrupted",
            turn=record.turn,
            by=record.by,
            why=record.why,
            heard_ms=record.heard_ms,
            onset_to_detected_ms=record.onset_to_detected_ms,
            onset_to_flush_ms=record.onset_to_flush_ms,
        )
    if isinstance(record, records.CarriedOn):
        return _line(
            record,
            logging.INFO,
            "Turn carried on",
            turn=record.turn,
            why=record.why,
            stopped_ms=record.stopped_ms,
        )
    if isinstance(record, records.ParticipantsSeen):
        return _line(record, logging.INFO, "Participants changed", count=record.count)
    if isinstance(record, records.EngineTrouble):
        return _line(
            record,
            logging.ERROR if record.fatal else logging.WARNING,
            "Engine trouble",
            stage=record.stage,
            detail=printable(record.detail),
            fatal=record.fatal,
        )
    if isinstance(record, records.OutboundProgress):
        ended = record.state == "ended"
        bad = record.outcome in ("failed", "refused")
        return _line(
            record,
            logging.WARNING if bad else logging.INFO,
            _PLACED[record.state],
            attempt=record.attempt,
            target=_whom(record.target),
            mode=record.mode,
            dialect=record.dialect,
            outcome=record.outcome,
            detail=_NUMBER.sub(lambda n: _masked(n[0]), printable(record.detail, 300))
            if ended
            else "",
            audit=record.state in ("requested", "ended") or None,
        )
    if isinstance(record, records.CallClosed):
        return _line(
            record,
            logging.INFO,
            "Call ended",
            reason=printable(record.reason, 80),
            by=record.ended_by,
            seconds=round(record.duration_ms / 1000, 1),
            detail=printable(record.detail),
            **msgspec.structs.asdict(record.counters),
            **_used(record.usage),
        )
    return None


def _line(record: records.CallRecord, level: int, message: str, **fields: object) -> Line:
    given = {name: value for name, value in fields.items() if value not in (None, "")}
    return Line(level, message, {"callId": printable(record.call_id, 256), **given})


def _used(usage: tuple[records.Usage, ...]) -> dict[str, object]:
    """Tokens and cost, summed over stages; a cost only where every currency is the same."""
    sums: dict[str, object] = {
        name: sum(getattr(one, name) for one in usage) or ""
        for name in ("input_tokens", "output_tokens")
    }
    costs = [one.cost for one in usage if one.cost is not None]
    currencies = {one.currency for one in usage if one.cost is not None}
    if len(currencies) == 1:
        sums |= {"cost": round(sum(costs), 6), "currency": currencies.pop()}
    return sums


def _whom(target: str) -> str:
    """Who is called, as an audit needs it: an object id in full, a number by its end."""
    kind, _, name = printable(target, 140).partition(":")
    if kind == "phone":
        return f"phone:{_masked(name)}"
    return f"user:{name}" if kind == "user" and "@" not in name else "(not read)"


def _masked(number: str) -> str:
    """A phone number by its last digits."""
    return f"…{printable(number)[-3:]}" if number else ""
