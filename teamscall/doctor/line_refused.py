"""Whom the running bridge turned away, and is likely to turn away again."""

from __future__ import annotations

import time

from teamscall.doctor.bridge import Failed, running
from teamscall.doctor.checks import Check, Finding, Site, failed, ok, skipped
from teamscall.text import printable

# Refusals that are older say nothing about how it is now.
RECENT_MS = 3_600_000
_PATHS = ("/msteams/calling", "/voice/msteams/stream", "/teams-call/stream")
_SIGNS = ("signature-", "secret-", "replayed", "too-many")


async def refused(site: Site) -> Finding:
    """Who was turned away by the running bridge for a wrong secret or a clock."""
    up = await running(site)
    if up is None:
        return skipped("Only a running bridge remembers whom it turned away.")
    now_ms = time.time_ns() // 1_000_000
    for one in up.failures:
        if now_ms - one.at_ms <= RECENT_MS and _still_stands(one, up.taken_ms):
            return _turned_away(one, now_ms)
    return ok(
        "Nobody was turned away for a wrong secret in the last hour, or came in since.",
        remembered=len(up.failures),
    )


def _still_stands(one: Failed, taken_ms: dict[str, int]) -> bool:
    """Whether it is somebody who should be let in, and nobody of that kind came in since."""
    if one.reason == "wrong-path":
        # Nobody scans the internet for these: a far side dials the other dialect's path.
        since = max(taken_ms.values(), default=0)
        asked = one.detail.partition(";")[0]
        return any(path in asked for path in _PATHS) and since < one.at_ms
    if not one.reason.startswith(_SIGNS):
        return False
    dialect = "csharp" if one.reason.startswith(("secret", "too-many")) else "standin"
    return taken_ms.get(dialect, 0) < one.at_ms


def _turned_away(one: Failed, now_ms: int) -> Finding:
    minutes = max(0, now_ms - one.at_ms) // 60_000
    times = f", {one.times} times" if one.times > 1 else ""
    when = f"{minutes} min ago" if minutes else "just now"
    detail = printable(one.detail, 200)
    if one.reason == "signature-stale":
        remedy = "Set both clocks by a time server (TC-CLOCK shows ours)."
    elif one.reason == "wrong-path":
        remedy = (
            "Register the path that this listener has, or serve that dialect too "
            "(standin.enabled, serve.enabled) and restart."
        )
    else:
        remedy = (
            "Give the other side the same secret as here, byte for byte; compare the "
            "fingerprint that TC-SECRET shows."
        )
    return failed(
        f"{printable(one.address, 60)} was turned away ({one.reason}, {when}{times}): {detail}.",
        remedy,
        reason=one.reason,
        address=printable(one.address, 60),
        times=one.times,
    )


CHECKS: tuple[Check, ...] = (
    Check(
        "TC-REFUSED",
        "line",
        "Who was turned away",
        refused,
        "Asks the running bridge whom it turned away in the last hour for a wrong secret, a "
        "missing header or a clock that differs, unless somebody of that dialect has come in "
        "since. `teamscall doctor --last-failures` shows all of them.",
        "Give both sides the same secret, and set the clocks.",
        after=("TC-DIRECT",),
    ),
)
