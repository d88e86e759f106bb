"""Which of what was said may be kept, decided at the moment in which it was said.

Rule 1: ``off`` keeps nothing. ``on`` keeps what is said while the caller's media may be
processed (the gate is open), ``when-recorded`` only while the call's recording status is
``active``; a call that has no such status keeps nothing then.
Rule 2: an utterance or a turn counts as a whole: one that began before it was allowed, or
ends after it was, is not kept at all.
Rule 3: digits never, nor the words of an answer to a key, which may repeat it.
Rule 4: a record that goes on to the disk carries no words itself.

Refuses to know files and threads.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from teamscall.calls.records import (
    CallClosed,
    CallOpened,
    CallRecord,
    GateChanged,
    Heard,
    RecordingSeen,
    TurnBegan,
    TurnEnded,
)

Keep = Literal["off", "when-recorded", "on"]


class Spoken(msgspec.Struct, frozen=True):
    """One utterance of the caller's, or one turn of the bot's, that is to be kept.

    ``turn``: the bot's; None for the caller. ``heard``: what of a turn was heard.
    """

    call_id: str
    wall_ms: int
    speaker: Literal["caller", "bot"]
    turn: int | None
    status: str
    text: str
    heard: str


class _Call:
    """What is known of a running call."""

    def __init__(self) -> None:
        self.gate_open = True  # a call that has a gate says so at once
        self.recorded = False
        self.turns: set[int] = set()  # begun while it was allowed, and since
        self.void_until = 0  # utterances that may have begun before it was allowed

    def allows(self, keep: Keep) -> bool:
        return self.gate_open and (keep == "on" or (keep == "when-recorded" and self.recorded))


class Words:
    """See the module. ``keep`` may change while calls run.

    Of a call whose opening was not seen nothing is kept.
    """

    def __init__(self, keep: Keep) -> None:
        self.keep: Keep = keep
        self._calls: dict[str, _Call] = {}

    def sift(self, record: CallRecord) -> tuple[CallRecord, Spoken | None]:
        """The record without words, and the words if they are to be kept."""
        call = self._calls.get(record.call_id)
        if isinstance(record, CallOpened):
            self._calls[record.call_id] = _Call()
        elif isinstance(record, TurnEnded):
            return _wordless(record), self._turn(call, record)
        elif call is None:
            pass
        elif isinstance(record, CallClosed):
            del self._calls[record.call_id]
        elif isinstance(record, GateChanged):
            if record.open != call.gate_open:
                call.gate_open = record.open
                call.turns.clear()
        elif isinstance(record, RecordingSeen):
            call.recorded = record.status == "active"
            if self.keep == "when-recorded":
                call.turns.clear()
            call.void_until = record.utterance
        elif isinstance(record, TurnBegan):
            if call.allows(self.keep) and record.kind != "digit":
                call.turns.add(record.turn)
        elif isinstance(record, Heard):
            return record, self._utterance(call, record)
        return record, None

    def _utterance(self, call: _Call, record: Heard) -> Spoken | None:
        if not record.final or not call.allows(self.keep):
            return None
        if self.keep == "when-recorded" and record.utterance <= call.void_until:
            return None
        return Spoken(record.call_id, record.wall_ms, "caller", None, "", record.text, "")

    def _turn(self, call: _Call | None, record: TurnEnded) -> Spoken | None:
        if call is None or record.turn not in call.turns:
            return None
        call.turns.discard(record.turn)
        if not call.allows(self.keep) or record.said_ms <= 0:  # thought, and never said
            return None
        return Spoken(
            record.call_id,
            record.wall_ms,
            "bot",
            record.turn,
            record.status,
            record.said_text,
            record.heard_text,
        )


def _wordless(record: TurnEnded) -> TurnEnded:
    return msgspec.structs.replace(record, said_text="", heard_text="")
