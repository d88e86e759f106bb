"""What is asked of ``outbound`` and what it answers: structs only."""

from __future__ import annotations

from typing import Literal

import msgspec

from teamscall.calls.records import CallMode, OutboundOutcome, OutboundState
from teamscall.wire.events import Dialect

Via = Literal["auto", "csharp", "standin"]
GateName = Literal[
    "enabled",  # outbound.enabled
    "switch",  # teamscall outbound off
    "draining",
    "target",  # it can be read, and an address was resolved
    "allowed",  # outbound.allow_to
    "quiet-hours",
    "hourly-cap",
    "target-cap",
    "already-ringing",  # one ringing call per target
    "capacity",  # a free slot
    "far-side",  # there is somebody who can ring: a gateway, its REST API, StandIn
]


class Order(msgspec.Struct, frozen=True):
    """One call to place. ``to`` is as it was typed; blank fields: as configured.

    ``by`` says through what it was asked for, for the audit; never a secret.
    """

    to: str
    message: str = ""
    mode: CallMode | None = None
    tenant: str = ""
    via: Via = "auto"
    by: str = ""


class GateResult(msgspec.Struct, frozen=True):
    """One gate, and whether it lets the order pass. ``detail``: one sentence, with what to
    do where it does not."""

    gate: GateName
    passed: bool
    detail: str


class Weighed(msgspec.Struct, frozen=True):
    """Every gate's word on an order, in their order; nothing was done."""

    target: str  # user:... or phone:..., canonical; as typed where it cannot be read
    mode: CallMode
    via: Dialect | None
    gates: tuple[GateResult, ...]

    @property
    def passed(self) -> bool:
        return all(gate.passed for gate in self.gates)


class Attempt(msgspec.Struct, frozen=True):
    """One call that was or is being placed, as it stands. What is to be said is not in it."""

    attempt: str  # out-<12 hex digits>
    call_id: str  # blank until it is known
    target: str
    mode: CallMode
    via: Dialect
    state: OutboundState
    asked_ms: int  # epoch
    by: str = ""
    outcome: OutboundOutcome | None = None
    detail: str = ""
    ended_ms: int | None = None
