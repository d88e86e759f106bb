"""Calls that are over, read from the journal in a thread: its disk may hang, we must not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, get_args

import msgspec

from teamscall.calls.records import OutboundOutcome
from teamscall.control import protocol
from teamscall.control.naming import abbreviates, ambiguous, not_found
from teamscall.control.protocol import CallStatus, ErrorCode
from teamscall.control.refusing import refusal
from teamscall.errors import InputError
from teamscall.journal.history import CallLine, Wanted, filled, lines, lines_of
from teamscall.journal.readers import reading
from teamscall.journal.whole import ids_beginning, resolve
from teamscall.text import printable

T = TypeVar("T")

# What reading the records may take.
READ_S = 5.0
_OUTCOMES = get_args(OutboundOutcome)
_MAX_LISTED = 20


class History:
    """See the module. ``path``: None where no records are kept."""

    def __init__(self, path: Path | None) -> None:
        self._path = path

    async def one(self, wanted: str) -> CallStatus:
        """The newest call of this id, or the only one that begins so.

        Raises:
            ControlError: there is none, or several; the records cannot be read.
        """
        path = self._path
        abbreviates(wanted)
        if path is None:
            raise not_found(wanted)
        line, names = await self._read(lambda: _line(path, wanted))
        if line is not None:
            return _ended(line)
        raise ambiguous(wanted, names) if len(names) > 1 else not_found(wanted)

    async def newest(self, since_ms: int, limit: int) -> tuple[dict[str, Any], ...]:
        """Calls that began since, newest first, keys in camel case.

        Raises:
            ControlError: no records are kept, or they cannot be read.
        """
        path = self._path
        if path is None:
            raise refusal(
                ErrorCode.JOURNAL, "No records are kept.", hint="Set journal.enabled = true."
            )

        def read() -> tuple[dict[str, Any], ...]:
            return tuple(map(msgspec.to_builtins, lines(path, Wanted(since_ms, limit))))

        return await self._read(read)

    async def _read(self, read: Callable[[], T]) -> T:
        try:
            async with asyncio.timeout(READ_S):
                return await asyncio.to_thread(read)
        except InputError as error:
            raise refusal(
                ErrorCode.JOURNAL, printable(error.message, 500), hint=error.hint
            ) from error
        except TimeoutError:
            raise refusal(
                ErrorCode.JOURNAL, f"The journal did not answer within {READ_S:g} s."
            ) from None


def _line(path: Path, wanted: str) -> tuple[CallLine | None, list[str]]:
    """The call, or the ids between which nobody can choose."""
    with reading(path) as connection:
        try:
            call_id, attempt = resolve(connection, wanted)
        except InputError:  # of the id; that the file cannot be read comes from ``reading``
            call_id, attempt = "", ""
        found = list(lines_of(connection, call_id, attempt))
        if found:
            return filled(connection, max(found, key=lambda line: line.started_ms)), []
    return None, ids_beginning(path, wanted, _MAX_LISTED)


def _ended(line: CallLine) -> CallStatus:
    """What the journal wrote is what these fields allow; a newer one may know more."""
    return msgspec.convert(
        {
            "callId": line.call_id,
            "state": "ended",
            "direction": line.direction or "inbound",
            "dialect": line.dialect or "csharp",
            "who": msgspec.to_builtins(line.who),
            "startedMs": line.started_ms,
            "durationMs": line.duration_ms,
            "attempt": line.attempt,
            "target": line.target,
            "mode": line.mode or None,
            "outcome": _outcome(line),
            "engine": line.engine,
            "address": line.address,
            "turns": line.turns,
            "interruptions": line.interruptions,
            "reason": line.reason,
            "endedBy": line.ended_by,
            "detail": line.detail,
        },
        protocol.CallStatus,
    )


def _outcome(line: CallLine) -> str | None:
    """Of a call that we placed."""
    if line.direction != "outbound":
        return None
    if line.outcome in _OUTCOMES:
        return line.outcome
    return "answered" if line.answered_ms is not None else None
