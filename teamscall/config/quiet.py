"""Quiet hours: when nobody is called, as ``outbound.quiet_hours`` writes it.

Owns the grammar ``[days ]HH:MM-HH:MM`` and the names of timezones. Pure: the time is an
argument, as the clock on a wall there shows it.

Rules:

1. A range whose end is not after its start goes over midnight; its day is the one on which
   it starts.
2. ``24:00`` is an end, never a start. A range of no length is an error, not a whole day.
"""

from __future__ import annotations

import datetime
import re
import zoneinfo
from collections.abc import Iterable

import msgspec

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_EVERY_DAY = frozenset(range(7))
_ENTRY = re.compile(
    r"\s*(?:(?P<days>[A-Za-z][A-Za-z,\-]*)\s+)?"
    r"(?P<h1>[0-9]{1,2}):(?P<m1>[0-9]{2})\s*-\s*(?P<h2>[0-9]{1,2}):(?P<m2>[0-9]{2})\s*"
)
_DAY_MINUTES = 24 * 60
_FORM = "write [days ]HH:MM-HH:MM, as in 22:00-07:00 or sat,sun 00:00-24:00"


class Quiet(msgspec.Struct, frozen=True):
    """One entry. ``start`` and ``end`` are minutes of the day; an ``end`` beyond 1440 lies
    in the next one. ``days``: 0 is Monday; those on which it starts."""

    entry: str
    days: frozenset[int]
    start: int
    end: int

    def covers(self, local: datetime.datetime) -> bool:
        """Whether it is quiet at this wall-clock time."""
        minute = local.hour * 60 + local.minute
        today = local.weekday()
        if today in self.days and self.start <= minute < self.end:
            return True
        return (today - 1) % 7 in self.days and minute + _DAY_MINUTES < self.end

    @property
    def until(self) -> str:
        """When it ends, as it would be written."""
        minute = self.end if self.end <= _DAY_MINUTES else self.end - _DAY_MINUTES
        return f"{minute // 60:02}:{minute % 60:02}"


def read_quiet(entry: str) -> Quiet | str:
    """Read one entry, or say in one clause what is wrong with it."""
    found = _ENTRY.fullmatch(entry)
    if found is None:
        return _FORM
    start = _minutes(found["h1"], found["m1"])
    end = _minutes(found["h2"], found["m2"])
    if start is None or end is None or start == _DAY_MINUTES:
        return "a time is 00:00 to 23:59, and 24:00 as an end"
    if start == end:
        return "it begins when it ends; write 00:00-24:00 for a whole day"
    days = _read_days(found["days"])
    if isinstance(days, str):
        return days
    return Quiet(entry.strip(), days, start, end if end > start else end + _DAY_MINUTES)


def quiet_at(entries: Iterable[str], local: datetime.datetime) -> Quiet | None:
    """The first entry that covers this wall-clock time; those that cannot be read, which no
    configuration has that was loaded, cover nothing."""
    read = (read_quiet(entry) for entry in entries)
    return next((q for q in read if isinstance(q, Quiet) and q.covers(local)), None)


def read_timezone(name: str) -> zoneinfo.ZoneInfo | str | None:
    """The timezone of this name; None for an empty one, which is this machine's; else one
    clause that says what is wrong."""
    if not name:
        return None
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):  # OSError: a directory of them
        return "no such timezone is known here; write one such as Europe/Berlin or UTC"


def local_time(wall_ms: int, name: str) -> datetime.datetime:
    """The wall-clock time in ``outbound.timezone``; this machine's where that is not one."""
    zone = read_timezone(name)
    when = datetime.datetime.fromtimestamp(wall_ms / 1000, datetime.UTC)
    return when.astimezone(zone if isinstance(zone, zoneinfo.ZoneInfo) else None)


def _minutes(hours: str, minutes: str) -> int | None:
    total = int(hours) * 60 + int(minutes)
    return total if int(minutes) < 60 and total <= _DAY_MINUTES else None


def _read_days(text: str | None) -> frozenset[int] | str:
    if text is None:
        return _EVERY_DAY
    days: set[int] = set()
    for part in text.lower().split(","):
        first, dash, last = part.partition("-")
        if first not in _DAYS or (dash and last not in _DAYS):
            return f"days are {', '.join(_DAYS)}, or a range such as mon-fri"
        begin = _DAYS.index(first)
        length = (_DAYS.index(last) - begin) % 7 if dash else 0
        days |= {(begin + n) % 7 for n in range(length + 1)}
    return frozenset(days)
