"""Figures of an earlier run, kept in a file, and what has become worse since.

Owns the file's format and the comparison. Refuses to know how the figures came about.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from teamscall.errors import InputError
from teamscall.text import printable

VERSION = 1
TOLERANCE = 0.2  # relative: two runs of one bridge differ by less
# Below one frame, a share of it means nothing.
FLOOR_MS = 20.0
MAX_FILE_BYTES = 100_000

# The emulator's own pace says nothing about a bridge.
COMPARED = (
    "response_p50_ms",
    "response_p95_ms",
    "response_max_ms",
    "barge_in_p95_ms",
    "barge_in_max_ms",
    "first_sound_p95_ms",
    "gaps",
    "spoke_on",
    "failed_calls",
)


class Baseline(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """``figures``: by the names of thresholds; None: never measured. ``tolerance`` is not in
    the file: it belongs to the comparison."""

    version: int
    name: str
    calls: int
    figures: dict[str, float | None]
    tolerance: float = TOLERANCE


def read_baseline(path: Path, *, name: str, calls: int, tolerance: float = TOLERANCE) -> Baseline:
    """The baseline in this file, for a run of so many calls of this script.

    Raises:
        InputError: it cannot be read, is none, or is of another script or number of calls.
    """
    shown = printable(str(path))
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
        found = msgspec.json.decode(data[:MAX_FILE_BYTES], type=Baseline)
    except OSError as error:
        raise InputError(f"{shown} cannot be read: {error.strerror or error}.") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InputError(
            f"{shown} is no baseline: {printable(str(error))}.",
            hint="--save-baseline FILE writes one.",
        ) from error
    if found.version != VERSION:
        raise InputError(f"{shown} is a baseline of version {found.version}, not {VERSION}.")
    if (found.name, found.calls) != (name, calls):
        raise InputError(
            f"{shown} is of {found.calls} calls of {printable(found.name)}, and this is a run "
            f"of {calls} of {name}.",
            hint="Compare like with like, or write a new one with --save-baseline.",
        )
    return msgspec.structs.replace(found, tolerance=tolerance)


def written(name: str, calls: int, figures: Mapping[str, float | None]) -> bytes:
    """These figures as a file."""
    body = {
        "version": VERSION,
        "name": name,
        "calls": calls,
        "figures": {key: figures[key] for key in COMPARED},
    }
    return msgspec.json.format(msgspec.json.encode(body), indent=2) + b"\n"


def worse(baseline: Baseline, now: Mapping[str, float | None]) -> list[str]:
    """What got worse by more than the tolerance, or is not measured any more."""
    out: list[str] = []
    for name in COMPARED:
        before, value = baseline.figures.get(name), now.get(name)
        if before is None:
            continue
        if value is None:
            out.append(f"{name}: never measured; it was {before:.0f}")
            continue
        floor = FLOOR_MS if name.endswith("_ms") else 0.0
        if value - before > max(before * baseline.tolerance, floor):
            more = f", {(value / before - 1) * 100:.0f} % more" if before else ""
            out.append(f"{name}: {value:.0f}, it was {before:.0f}{more}")
    return out
