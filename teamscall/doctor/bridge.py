"""The bridge of this configuration: does it run, and where does it listen.

Owns asking its control socket, and starting one for the test where none runs. Refuses to
know what is said to it.
"""

from __future__ import annotations

import os
from typing import Literal

import msgspec

from teamscall.config import Config
from teamscall.doctor.checks import Site
from teamscall.errors import TeamscallError
from teamscall.wire.events import Dialect

ASK_S = 3.0


class Running(msgspec.Struct, frozen=True):
    """A bridge as its control socket describes it."""

    pid: int
    version: str
    config_path: str
    uptime_s: float
    urls: tuple[str, ...]  # ws://host:port/path of every listener
    draining: bool = False
    failures: tuple[Failed, ...] = ()  # newest first
    taken_ms: dict[str, int] = {}

    @property
    def ports(self) -> set[int]:
        """Where it listens."""
        from urllib.parse import urlsplit

        return {port for url in self.urls if (port := urlsplit(url).port)}


class Failed(msgspec.Struct, frozen=True):
    """Somebody whom it turned away."""

    at_ms: int
    reason: str
    address: str
    detail: str
    times: int


class Listener(msgspec.Struct, frozen=True):
    """One port to be open, as configured."""

    table: Literal["serve", "standin"]
    dialects: tuple[Dialect, ...]
    bind: str
    port: int
    cert: str
    key: str


def listeners(config: Config) -> tuple[Listener, ...]:
    """The ports that a bridge with this configuration opens for calls."""
    serve, standin = config.serve, config.standin
    own = (serve.tls_cert, serve.tls_key)
    theirs = (standin.tls_cert, standin.tls_key) if standin.tls_cert else own
    if (
        serve.enabled
        and standin.enabled
        and (serve.port, serve.bind)
        == (
            standin.port,
            standin.bind,
        )
    ):
        return (Listener("serve", ("csharp", "standin"), serve.bind, serve.port, *own),)
    found: list[Listener] = []
    if serve.enabled:
        found.append(Listener("serve", ("csharp",), serve.bind, serve.port, *own))
    if standin.enabled:
        found.append(Listener("standin", ("standin",), standin.bind, standin.port, *theirs))
    return tuple(found)


async def running(site: Site) -> Running | None:
    """The bridge that runs with this configuration's journal, or the only one on this machine
    if it was started with this configuration's file; None: no such one answers."""

    async def ask() -> Running | None:
        return await _ask(site)

    return await site.shared.once("running", ask)


async def _ask(site: Site) -> Running | None:
    from teamscall.control.client import connect
    from teamscall.control.where import find

    try:
        where = find(site.config, site.env or os.environ)
        async with connect(where, timeout_s=ASK_S, name="doctor") as client:
            told = await client.status()
    except TeamscallError:
        return None
    # The only one, with a journal that its own environment names; or somebody else's.
    ours = str(site.config_path.absolute()) if site.config_path else ""
    if where.guessed and not (ours and told.config_path == ours):
        return None
    return Running(
        pid=told.pid,
        version=told.version,
        config_path=told.config_path,
        uptime_s=told.uptime_s,
        urls=tuple(url for each in told.listening for url in each.urls),
        draining=told.draining,
        failures=tuple(
            Failed(one.at_ms, one.reason, one.address, one.detail, one.times)
            for one in told.failures
        ),
        taken_ms=dict(told.taken_ms),
    )


async def started(site: Site) -> object:
    """A bridge for the test, up until the run is over.

    Raises:
        TeamscallError: it cannot start.
    """
    start = site.start
    assert start is not None
    return await site.shared.hold("bridge", lambda: start(site.config))
