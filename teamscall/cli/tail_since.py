"""From when on `tail` shows events: what ``--since`` takes. Pure."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

import msgspec

from teamscall.errors import InputError
from teamscall.text import printable

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
MAX_LINES = 1_000_000


class Since(msgspec.Struct, frozen=True):
    """``ms`` before now, or the ``last`` lines; both None: all that is remembered."""

    ms: int | None = None
    last: int | None = None


def since(text: str, now: datetime) -> Since:
    """``10m``, ``90s``, ``2h``, ``1d``; ``20`` lines; ``14:05``, ``2026-03-01T14:05``.

    A time of day is the latest one that is not to come; a time without a zone is local.

    Raises:
        InputError: it is none of them.
    """
    text = text.strip()
    if found := re.fullmatch(r"([0-9]{1,9})([smhd])", text):
        return Since(ms=int(found[1]) * _UNITS_S[found[2]] * 1000)
    if re.fullmatch(r"[0-9]{1,9}", text):
        return Since(last=min(int(text), MAX_LINES))
    at = _time(text, now)
    if at is None:
        raise InputError(
            f"--since cannot be {printable(text, 40)!r}.",
            hint="It takes 10m, 2h, a number of lines, 14:05 or 2026-03-01T14:05.",
        )
    return Since(ms=max(1, round((now - at).total_seconds() * 1000)))


def _time(text: str, now: datetime) -> datetime | None:
    if found := re.fullmatch(r"([0-9]{1,2}):([0-9]{2})(?::([0-9]{2}))?", text):
        hour, minute, second = (int(part or 0) for part in found.groups())
        if hour > 23 or minute > 59 or second > 59:
            return None
        at = now.astimezone().replace(hour=hour, minute=minute, second=second, microsecond=0)
        return at if at <= now else at - timedelta(days=1)
    try:
        return datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError, OSError):
        return None
