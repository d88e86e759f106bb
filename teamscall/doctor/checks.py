"""A check, what comes of it, and where it is listed.

Owns the data only. Ids are stable: scripts and alerts go by them, and the manual has a
section for each. A check returns findings; what it raises is a fault of its own.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Literal

import msgspec

from teamscall.config import Config
from teamscall.doctor.shared import Shared

Status = Literal["ok", "warning", "failed", "skipped"]
Group = Literal["here", "line", "engines", "other-side", "call"]
Fact = str | int | float | bool | None

GROUPS: dict[Group, str] = {
    "here": "This machine",
    "line": "The line",
    "engines": "The engines",
    "other-side": "The other side",
    "call": "A call",
}

# A check that takes longer has failed, unless it says otherwise.
CHECK_TIMEOUT_S = 8.0
# All of them together, without --thorough.
TOTAL_TIMEOUT_S = 15.0
# One call that is placed, from its order to its end, comes on top.
CALL_TIMEOUT_S = 125.0
# With it: a minute of silence on the line, a round trip through every model.
THOROUGH_TIMEOUT_S = 180.0


class Finding(msgspec.Struct, frozen=True):
    """What a check found: one line of what, and one of what to do (empty when ok).

    ``facts`` are the figures and names behind it, for ``--json``; never a secret, never what
    anybody said. Peer text in all of them has gone through ``text.printable``.
    """

    status: Status
    what: str
    remedy: str = ""
    facts: Mapping[str, Fact] = {}


def ok(what: str, **facts: Fact) -> Finding:
    return Finding("ok", what, "", facts)


def warning(what: str, remedy: str, **facts: Fact) -> Finding:
    return Finding("warning", what, remedy, facts)


def failed(what: str, remedy: str, **facts: Fact) -> Finding:
    return Finding("failed", what, remedy, facts)


def skipped(what: str, remedy: str = "", **facts: Fact) -> Finding:
    return Finding("skipped", what, remedy, facts)


# Starts a bridge for the test with this configuration; it answers inside the context.
Starter = Callable[[Config], AbstractAsyncContextManager[object]]


class Site(msgspec.Struct, frozen=True):
    """What the checks may look at: the effective configuration and how they were asked.

    ``config`` is as much of it as could be read; ``problems`` are what is wrong with the
    rest, one line each that begins with its key, and ``warnings`` what the loader warned of.
    """

    config: Config
    config_path: Path | None = None  # the file it was read from
    env: Mapping[str, str] = {}
    public_url: str = ""  # given on the command line; empty: the configuration's, or the bind's
    thorough: bool = False  # may take minutes
    origins: Mapping[str, str] = {}  # by key, where its value came from
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    ca: str = ""  # PEM file of an authority to trust besides the system's
    time_servers: tuple[str, ...] = ()  # HOST or HOST:PORT; empty: well-known ones
    start: Starter | None = None
    call: str = ""  # whom to call; empty: nobody
    call_yes: bool = False  # really
    shared: Shared = msgspec.field(default_factory=Shared)  # what several checks look at


class Check(msgspec.Struct, frozen=True):
    """One check. ``id`` as in ``TC-CLOCK``; ``about`` (what it looks at, and what it means
    when it fails) and ``remedies`` (what to do then) are its manual section.

    ``after``: ids of checks without whose success this one would only repeat their failure.
    When one of them has failed, or was itself in the way of another, this one is skipped and
    names the first cause. One that was skipped because it does not apply is in nobody's way.
    """

    id: str
    group: Group
    title: str
    run: Callable[[Site], Awaitable[Finding]]
    about: str
    remedies: str = ""
    after: tuple[str, ...] = ()
    timeout_s: float = CHECK_TIMEOUT_S
