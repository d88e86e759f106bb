"""Calls that are over, read from the journal in a thread: its disk may hang, we must not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from teamscall.control import protocol
from teamscall.control.naming import abbreviates, ambiguous, not_found
from teamscall.control.protocol import CallStatus, ErrorCode
from teamscall.control.refusing import refusal
from teamscall.errors import InputError
from teamscall.journal import readers
from teamscall.text import printable

T = TypeVar("T")

# What reading the records may take.
READ_S = 5.0


class History:
    """See the module. ``path``: None where no records are kept."""

    def __init__(self, path: Path | None) -> None:
        self._path = path

    async def one(self, wanted: str) -> CallStatus:
        """The newest call of this id, or the only one that begins so among the newest.

        Raises:
            ControlError: there is none, or several; the records cannot be read.
        """
        path = self._path
        if path is None:
            raise not_found(wanted)
        rows = await self._read(lambda: readers.calls(path, call_id=wanted, limit=1))
        if not rows and abbreviates(wanted):
            newest = await self._read(lambda: readers.calls(path, limit=protocol.MAX_CALLS))
            rows = [row for row in newest if row.call_id.startswith(wanted)]
        names = {row.call_id for row in rows}
        if not names:
            raise not_found(wanted)
        if len(names) > 1:
            raise ambiguous(wanted, names)
        return _ended(rows[0])

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
        rows = await self._read(lambda: readers.calls(path, limit=limit))
        return tuple(_camel(row) for row in rows if row.opened_ms >= since_ms)

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


def _ended(row: readers.CallRow) -> CallStatus:
    """The words are those of the records that were written: they are what the fields allow."""
    return msgspec.convert(
        {
            "callId": row.call_id,
            "state": "ended",
            "direction": row.direction or "inbound",
            "dialect": row.dialect or "csharp",
            "who": {
                "userId": row.user_id,
                "tenantId": row.tenant_id,
                "displayName": row.display_name,
                "userPrincipalName": row.user_principal_name,
                "phoneNumber": row.phone_number,
            },
            "startedMs": row.opened_ms,
            "durationMs": row.duration_ms,
            "engine": row.engine,
            "address": row.address,
            "turns": row.turns,
            "interruptions": row.interruptions,
            "framesIn": row.frames_in,
            "framesOut": row.frames_out,
            "reason": row.reason,
            "endedBy": row.ended_by,
            "detail": row.detail,
        },
        CallStatus,
    )


def _camel(row: readers.CallRow) -> dict[str, Any]:
    named = {}
    for name, value in msgspec.structs.asdict(row).items():
        head, *rest = name.split("_")
        named[head + "".join(part.capitalize() for part in rest)] = value
    return named
