"""Moments as people type and read them: ``10m`` ago, a day, a time; local time unless said."""

from __future__ import annotations

import datetime
import re

import typer

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_AGO = re.compile(r"(\d{1,9})([smhdw])")
_TIME_OF_DAY = re.compile(r"([0-9]{1,2}):([0-9]{2})(?::([0-9]{2}))?")


def moment_ms(text: str, now_ms: int, option: str) -> int:
    """Epoch milliseconds of ``10m``, ``2h``, ``3d`` ago, ``14:05``, a date, or an ISO time.

    A time of day is the latest one that is not to come.

    Raises:
        typer.BadParameter: it is none of them.
    """
    given = text.strip()
    if ago := _AGO.fullmatch(given):
        return max(0, now_ms - int(ago[1]) * _SECONDS[ago[2]] * 1000)
    try:
        if time := _TIME_OF_DAY.fullmatch(given):
            return _latest(now_ms, *(int(part or 0) for part in time.groups()))
        return max(0, round(datetime.datetime.fromisoformat(given).timestamp() * 1000))
    except (ValueError, OverflowError, OSError):
        raise typer.BadParameter(
            f"{text!r} is no time: say 10m, 2h or 3d ago, 14:05, a date as 2026-11-20, or an ISO "
            "time.",
            param_hint=option,
        ) from None


def _latest(now_ms: int, hour: int, minute: int, second: int) -> int:
    """Raises ValueError: no day has this time."""
    now = datetime.datetime.fromtimestamp(now_ms / 1000)  # naive: of this day, summer or not
    at = now.replace(hour=hour, minute=minute, second=second, microsecond=0)
    return round((at if at <= now else at - datetime.timedelta(days=1)).timestamp() * 1000)


def local(wall_ms: int, form: str = "%Y-%m-%d %H:%M:%S") -> str:
    """Local time; what no calendar has is shown as it is."""
    try:
        return datetime.datetime.fromtimestamp(wall_ms / 1000).strftime(form)
    except (ValueError, OverflowError, OSError):
        return str(wall_ms)


def lasted(ms: float) -> str:
    """``0:09``, ``12:34`` or ``1:02:03``."""
    seconds = round(max(0.0, ms) / 1000)
    hours, rest = divmod(seconds, 3600)
    minutes, seconds = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
