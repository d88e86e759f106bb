"""A check, what comes of it, and where it is listed.

Owns the data only. Ids are stable: scripts and alerts go by them, and the manual has a
section for each. A check returns findings; what it raises is a fault of its own.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Literal

import msgspec

from teamscall.config import Config

Status = Literal["ok", "warning", "failed", "skipped"]
Group = Literal["here", "line", "engines", "other-side", "call"]

# A check that takes longer has failed, unless it says otherwise.
CHECK_TIMEOUT_S = 8.0
# All of them together, without --thorough.
TOTAL_TIMEOUT_S = 15.0


class Finding(msgspec.Struct, frozen=True):
    """What a check found: one line of what, and one of what to do (empty when ok).

    ``facts`` are the figures and names behind it, for ``--json``; never a secret, never what
    anybody said. Peer text in all of them has gone through ``text.printable``.
    """

    status: Status
    what: str
    remedy: str = ""
    facts: Mapping[str, str | int | float | bool | None] = {}


def ok(what: str, **facts: str | int | float | bool | None) -> Finding:
    return Finding("ok", what, "", facts)


def warning(what: str, remedy: str, **facts: str | int | float | bool | None) -> Finding:
    return Finding("warning", what, remedy, facts)


def failed(what: str, remedy: str, **facts: str | int | float | bool | None) -> Finding:
    return Finding("failed", what, remedy, facts)


def skipped(what: str, remedy: str = "", **facts: str | int | float | bool | None) -> Finding:
    return Finding("skipped", what, remedy, facts)


class Site(msgspec.Struct, frozen=True):
    """What the checks may look at: the effective configuration and how they were asked."""

    config: Config
    config_path: Path | None = None  # the file it was read from
    env: Mapping[str, str] = {}
    public_url: str = ""  # the address registered with the other side; empty: the bind's own
    thorough: bool = False  # may take minutes


class Check(msgspec.Struct, frozen=True):
    """One check. ``id`` as in ``TC-CLOCK``; ``about`` and ``remedies`` are its manual section.

    ``after``: ids of checks that must be ok (or a warning) first; otherwise it is skipped and
    says which one is in its way.
    """

    id: str
    group: Group
    title: str
    run: Callable[[Site], Awaitable[Finding]]
    about: str
    after: tuple[str, ...] = ()
    timeout_s: float = CHECK_TIMEOUT_S
