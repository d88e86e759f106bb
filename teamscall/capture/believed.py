"""What a bridge believed of a call, beside what its sound says.

Owns which file of a folder is a call's, which measured answer is which turn's, and when both
disagree. Refuses to know where the beliefs are kept.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path

import msgspec

from teamscall.audio.measures import Measures, Response
from teamscall.capture.naming import SUFFIX, file_name

# More than a voice's own lead-in and the far side's buffer: somebody is wrong.
DISAGREE_MS = 100.0
# A turn and an answer are the same one if they begin so near to each other: longer than
# any lead-in of a voice, shorter than a turn with its answer.
_SAME_MS = 1500.0
# A file is named for the second in which the call was answered, which may ring before.
_NAMED_WITHIN_MS = 180_000
_STAMP = len("20261121T115400Z-")


class Believed(msgspec.Struct, frozen=True):
    """An answer as the bridge tells of it: when it was heard first (epoch ms), and how long
    after the caller's last sound its first frame was sent."""

    turn: int
    wall_ms: float
    latency_ms: float


class Compared(msgspec.Struct, frozen=True, rename="camel"):
    """One answer. ``measured_ms`` is None where the sound has none for it, ``turn`` and
    ``believed_ms`` where the bridge knows of none."""

    at_ms: float  # of the call, where the bot began
    turn: int | None
    believed_ms: float | None
    measured_ms: float | None

    @property
    def differs(self) -> bool:
        """Whether both know it and disagree."""
        if self.believed_ms is None or self.measured_ms is None:
            return False
        return abs(self.believed_ms - self.measured_ms) > DISAGREE_MS


def compared(
    believed: Sequence[Believed], found: Measures, began_wall_ms: int
) -> tuple[Compared, ...]:
    """Both, matched by when the bot began, each once, in the order of the call.

    ``began_wall_ms``: of the measured tracks' beginning.
    """
    left: list[Response] = list(found.responses)
    out: list[Compared] = []
    for one in believed:
        at = one.wall_ms - began_wall_ms
        near = min(left, key=lambda r: abs(r.answered_ms - at), default=None)
        if near is None or abs(near.answered_ms - at) > _SAME_MS:
            out.append(Compared(at, one.turn, one.latency_ms, None))
            continue
        left.remove(near)
        out.append(Compared(near.answered_ms, one.turn, one.latency_ms, near.latency_ms))
    out += (Compared(one.answered_ms, None, None, one.latency_ms) for one in left)
    return tuple(sorted(out, key=lambda one: one.at_ms))


def file_of(folder: Path, call_id: str, wall_ms: int) -> Path | None:
    """The capture of the call with this id that began then; None: there is none.

    Raises:
        OSError: the folder cannot be read.
    """
    wanted = file_name(call_id, 0)[_STAMP:]
    found: list[tuple[int, Path]] = []
    for path in folder.iterdir():
        if path.suffix == SUFFIX and path.name[_STAMP:] == wanted:
            began = _began(path.name)
            if began is not None and abs(began - wall_ms) <= _NAMED_WITHIN_MS:
                found.append((abs(began - wall_ms), path))
    return min(found)[1] if found else None


def _began(name: str) -> int | None:
    try:
        stamp = datetime.datetime.strptime(name[: _STAMP - 1], "%Y%m%dT%H%M%SZ")
    except ValueError:
        return None
    return round(stamp.replace(tzinfo=datetime.UTC).timestamp() * 1000)
