"""What the calls tell whoever places calls: the far side's words about a leg to come.

Structs only. What happens once a leg is up is in its records.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import msgspec

from teamscall.wire.events import Caller, Dialect

FarWord = Literal["ringing", "answered", "no-answer", "busy", "declined", "failed"]


class GatewayOpened(msgspec.Struct, frozen=True):
    """A C# gateway's socket is open: it can be asked to place calls."""


class FarProgress(msgspec.Struct, frozen=True):
    """The far side says how a call that we placed goes. ``detail``: its words, printable."""

    call_id: str
    word: FarWord
    detail: str = ""


class LegRefused(msgspec.Struct, frozen=True):
    """An outbound leg came that nobody waits for, or not any more; it was hung up."""

    call_id: str


class EarlyLeg(msgspec.Struct, frozen=True):
    """An outbound leg waits for a call to be named. ``caller``: the party that was called,
    where the far side says so."""

    call_id: str
    dialect: Dialect
    caller: Caller


PlacingEvent = GatewayOpened | FarProgress | LegRefused | EarlyLeg
PlacingWatch = Callable[[PlacingEvent], None]
