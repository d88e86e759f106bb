"""Records as rows of the journal's tables.

Every text that came from a peer is made printable and capped here. Refuses to know threads
and files.
"""

from __future__ import annotations

import sqlite3

import msgspec

from teamscall.calls.records import (
    Audited,
    CallAnswered,
    CallClosed,
    CallOpened,
    CarriedOn,
    Decided,
    EngineTrouble,
    GateChanged,
    Interrupted,
    OutboundProgress,
    ParticipantsSeen,
    RecordingSeen,
    TurnEnded,
)
from teamscall.journal.spoken import Spoken
from teamscall.text import printable
from teamscall.wire.events import Caller

_MAX_ID = 256  # StandIn's call ids are the longest, 256
_MAX_TEXT = 200
_MAX_WORDS = 20_000  # of one turn: a quarter of an hour of speech
_MAX_COUNT = 1_000_000  # the peer's number; SQLite's integers have an end

_Row = dict[str, str | int | float | None]
Written = (
    Decided
    | CallOpened
    | CallAnswered
    | CallClosed
    | GateChanged
    | EngineTrouble
    | Interrupted
    | CarriedOn
    | ParticipantsSeen
    | RecordingSeen
    | TurnEnded
    | OutboundProgress
    | Audited
    | Spoken
)


def insert(connection: sqlite3.Connection, record: Written) -> None:
    match record:
        case CallClosed():
            _close_call(connection, record)
            _put_usage(connection, record, 0)
        case CallOpened():
            _put(connection, "calls", _opened(record) | _caller(record.caller))
        case Decided():
            _put(connection, "decisions", _decided(record) | _caller(record.caller))
        case TurnEnded():
            _put(connection, "turns", _turn(record))
            _put_usage(connection, record, record.turn)
        case CallAnswered():
            connection.execute(
                "UPDATE calls SET answered_ms = ? WHERE call_id = ? AND closed_ms IS NULL",
                (record.wall_ms, _id(record.call_id)),
            )
        case OutboundProgress():
            _progress(connection, record)
        case Audited():
            _put(connection, "audit", _audited(record))
        case Spoken():
            _put(connection, "transcripts", _spoken(record))
        case _:
            _put(connection, "events", _event(record))


def _put(connection: sqlite3.Connection, table: str, row: _Row) -> None:
    # Names come from this module alone; values are parameters.
    names, marks = ", ".join(row), ", ".join("?" * len(row))
    connection.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", tuple(row.values()))


def _put_usage(connection: sqlite3.Connection, record: TurnEnded | CallClosed, turn: int) -> None:
    for usage in record.usage:
        row: _Row = {"call_id": _id(record.call_id), "wall_ms": record.wall_ms, "turn": turn}
        row |= msgspec.structs.asdict(usage)
        _put(connection, "usage", row | {"model": _text(usage.model)})


def _progress(connection: sqlite3.Connection, record: OutboundProgress) -> None:
    """The order was kept before; it has no row where the disk failed then."""
    row: _Row = {
        "call_id": _id(record.call_id),
        "state": record.state,
        "outcome": record.outcome or "",
        "detail": _text(record.detail),
    }
    if record.dialect:
        row["via"] = record.dialect
    if record.state == "answered":
        row["answered_ms"] = record.wall_ms
    if record.state == "ended":
        row["ended_ms"] = record.wall_ms
    settings = ", ".join(f"{name} = ?" for name in row)
    connection.execute(
        f"UPDATE attempts SET {settings} WHERE attempt = ?", (*row.values(), record.attempt)
    )


def _audited(record: Audited) -> _Row:
    return {
        "call_id": _id(record.call_id),
        "wall_ms": record.wall_ms,
        "action": _text(record.action),
        "asked_by": _text(record.by),
        "result": _text(record.result),
        "detail": _text(record.detail),
    }


def _spoken(record: Spoken) -> _Row:
    return {
        "call_id": _id(record.call_id),
        "wall_ms": record.wall_ms,
        "speaker": record.speaker,
        "turn": record.turn,
        "status": record.status,
        "text": printable(record.text, _MAX_WORDS),
        "heard": printable(record.heard, _MAX_WORDS),
    }


def _opened(record: CallOpened) -> _Row:
    return {
        "call_id": _id(record.call_id),
        "opened_ms": record.wall_ms,
        "dialect": record.dialect,
        "direction": record.direction,
        "engine": _text(record.engine),
        "address": _text(record.address),
    }


def _decided(record: Decided) -> _Row:
    return {
        "call_id": _id(record.call_id),
        "wall_ms": record.wall_ms,
        "dialect": record.dialect,
        "asked_on": record.on,
        "authorized": int(record.authorized),
        "strategy": _text(record.strategy),
        "reason": _text(record.reason),
        "address": _text(record.address),
    }


def _turn(record: TurnEnded) -> _Row:
    latency = record.latency
    return {
        "call_id": _id(record.call_id),
        "wall_ms": record.wall_ms,
        "turn": record.turn,
        "kind": record.kind,
        "status": record.status,
        "said_ms": int(record.said_ms),
        "heard_ms": int(record.heard_ms),
        "endpoint_ms": latency.endpoint_ms,
        "transcript_ms": latency.transcript_ms,
        "first_text_ms": latency.first_text_ms,
        "first_audio_ms": latency.first_audio_ms,
        "first_frame_ms": latency.first_frame_ms,
    }


def _event(
    record: GateChanged
    | RecordingSeen
    | EngineTrouble
    | Interrupted
    | CarriedOn
    | ParticipantsSeen,
) -> _Row:
    row: _Row = {"call_id": _id(record.call_id), "wall_ms": record.wall_ms}
    match record:
        case GateChanged():
            state = "open" if record.open else "closed"
            row |= {"kind": "gate", "state": state, "detail": record.status or ""}
        case RecordingSeen():
            row |= {"kind": "recording", "state": record.status}
        case EngineTrouble():
            row |= {
                "kind": "trouble",
                "state": _text(record.stage),
                "detail": _text(record.detail),
                "number": int(record.fatal),
            }
        case Interrupted():
            row |= {
                "kind": "barge-in",
                "state": record.by,
                "turn": record.turn,
                "number": int(record.heard_ms),
                "ms": record.onset_to_flush_ms,
                "detail": record.why,
                "detected_ms": record.onset_to_detected_ms,
            }
        case CarriedOn():
            row |= {
                "kind": "carried-on",
                "state": record.why,
                "turn": record.turn,
                "ms": record.stopped_ms,
            }
        case ParticipantsSeen():
            row |= {"kind": "participants", "number": min(record.count, _MAX_COUNT)}
    return row


def _close_call(connection: sqlite3.Connection, record: CallClosed) -> None:
    counters = record.counters
    row: _Row = {
        "closed_ms": record.wall_ms,
        "reason": _text(record.reason),
        "ended_by": record.ended_by,
        "detail": _text(record.detail),
        "duration_ms": int(record.duration_ms),
        "frames_in": counters.frames_in,
        "frames_out": counters.frames_out,
        "dropped_in": counters.dropped_in,
        "gated_in": counters.gated_in,
        "silence_in": counters.silence_in,
        "dropped_out": counters.dropped_out,
        "underruns": counters.underruns,
        "turns": counters.turns,
        "interruptions": counters.interruptions,
        "carried_on": counters.carried_on,
        "speculated": counters.speculated,
        "thrown_away": counters.thrown_away,
    }
    call_id = _id(record.call_id)
    settings = ", ".join(f"{name} = ?" for name in row)
    changed = connection.execute(
        f"UPDATE calls SET {settings} WHERE id ="
        " (SELECT max(id) FROM calls WHERE call_id = ? AND closed_ms IS NULL)",
        (*row.values(), call_id),
    )
    if changed.rowcount == 0:  # its opening was lost: the end is worth keeping all the same
        opened: _Row = {"call_id": call_id, "opened_ms": record.wall_ms - int(record.duration_ms)}
        _put(connection, "calls", opened | row)


def _caller(caller: Caller) -> _Row:
    return {
        "user_id": _id(caller.user_id),
        "tenant_id": _id(caller.tenant_id),
        "display_name": _text(caller.display_name),
        "user_principal_name": _id(caller.user_principal_name),
        "phone_number": _text(caller.phone_number),
        "teams_call_id": _id(caller.teams_call_id),
    }


def _id(text: str) -> str:
    return printable(text, _MAX_ID)


def _text(text: str) -> str:
    return printable(text, _MAX_TEXT)
