"""Bars for sound levels, the same in every live view."""

from __future__ import annotations

METER_FLOOR_DBFS = -60.0  # below it a room is quiet


def filled(dbfs: float, columns: int) -> int:
    """How many of ``columns`` are filled, from ``METER_FLOOR_DBFS`` to 0 dBFS."""
    share = (max(METER_FLOOR_DBFS, min(0.0, dbfs)) - METER_FLOOR_DBFS) / -METER_FLOOR_DBFS
    return round(share * columns)


def meter(dbfs: float, columns: int) -> str:
    """A bar of ``columns`` characters."""
    full = filled(dbfs, columns)
    return "█" * full + "·" * (columns - full)
