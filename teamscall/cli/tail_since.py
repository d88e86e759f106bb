"""From when on `tail` shows events: what ``--since`` takes. Pure."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

import msgspec
import typer

from teamscall.cli.moments import moment_ms
from teamscall.errors import InputError
from teamscall.text import printable

MAX_LINES = 1_000_000


class Since(msgspec.Struct, frozen=True):
    """``ms`` before now, or the ``last`` lines; both None: all that is remembered."""

    ms: int | None = None
    last: int | None = None


def since(text: str, now: datetime) -> Since:
    """``20`` lines, ``14:05``, or what ``moments`` knows: ``10m``, ``2h``, an ISO time.

    A time of day is the latest one that is not to come.

    Raises:
        InputError: it is none of them.
    """
    text = text.strip()
    if re.fullmatch(r"[0-9]{1,9}", text):
        return Since(last=min(int(text), MAX_LINES))
    now_ms = round(now.timestamp() * 1000)
    try:
        at_ms = _time_of_day(text, now) or moment_ms(text, now_ms, "--since")
    except (typer.BadParameter, ValueError):
        raise InputError(
            f"--since cannot be {printable(text, 40)!r}.",
            hint="It takes 10m, 2h, a number of lines, 14:05 or 2026-03-01T14:05.",
        ) from None
    return Since(ms=max(1, now_ms - at_ms))


def _time_of_day(text: str, now: datetime) -> int | None:
    """Epoch milliseconds; None for another form. Raises ValueError: no day has this time."""
    found = re.fullmatch(r"([0-9]{1,2}):([0-9]{2})(?::([0-9]{2}))?", text)
    if found is None:
        return None
    hour, minute, second = (int(part or 0) for part in found.groups())
    at = now.astimezone().replace(hour=hour, minute=minute, second=second, microsecond=0)
    return round((at if at <= now else at - timedelta(days=1)).timestamp() * 1000)
