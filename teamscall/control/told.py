"""Events of the stream as the records that they were.

Owns the way back from ``{"event": "turn-ended", "callId": …}``. Refuses to know what is done
with a record.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, get_args

import msgspec

from teamscall.calls.records import CallRecord
from teamscall.text import kebab

GAP = "gap"  # the one event that is no record: ``missed`` events did not fit, or are forgotten

KINDS: dict[str, type[msgspec.Struct]] = {
    kebab(kind.__name__): kind for kind in get_args(CallRecord)
}
"""Every record by the name of its event."""


def record_of(event: Mapping[str, Any]) -> CallRecord | None:
    """The record of an event; None where it is no record, or none that this version knows."""
    kind = KINDS.get(str(event.get("event", "")))
    if kind is None:
        return None
    try:
        return msgspec.convert(_snaked(event), kind)  # type: ignore[return-value]
    except msgspec.ValidationError:
        return None  # of a newer bridge


def _snaked(value: Any) -> Any:
    """``callId`` -> ``call_id``, all the way down."""
    if isinstance(value, Mapping):
        return {_snake(str(name)): _snaked(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_snaked(inner) for inner in value]
    return value


def _snake(name: str) -> str:
    return re.sub("[A-Z]", lambda found: f"_{found[0].lower()}", name)
