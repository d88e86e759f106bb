"""A running bridge for a test: in a thread of its own, on free loopback ports.

Owns its life and what a test may ask it. Refuses to know how calls are answered.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import pytest

from teamscall.calls.records import CallRecord
from teamscall.config import Config, load_config
from teamscall.errors import ConfigError, TeamscallError
from teamscall.server.run import running
from teamscall.wire.events import Dialect

# Models are loaded before a port opens.
START_S = 120.0
STOP_S = 30.0
# A test that waits for a record.
WAIT_S = 10.0

_MODE = "authorization.mode"

_Kind = TypeVar("_Kind")


def configured(
    config: pytest.Config, settings: Mapping[str, Any], path: str | Path | None = None
) -> Config:
    """The configuration of a test's bridge: ``path`` or the file of pytest's options, then the
    environment, then ``settings``; its ports, secrets and files are a test's in any case.

    Fails the test with every problem found.
    """
    file = path or config.getoption("teamscall_config")
    if file is None and (named := config.getini("teamscall_config")):
        file = (config.inipath.parent if config.inipath else config.rootpath) / str(named)
    secret = secrets.token_urlsafe(32)
    flags = {**flat(settings), **_of_a_test(secret)}
    if engine := config.getoption("teamscall_engine"):
        flags["engine"] = engine
    try:
        # Whatever lies around is not read: a test is the same on every machine.
        loaded = load_config(Path(file or os.devnull), env=os.environ, flags=flags)
        if loaded.origins[_MODE] == "default":  # a test's caller is on no list
            flags[_MODE] = "open"
            loaded = load_config(Path(file or os.devnull), env=os.environ, flags=flags)
        return loaded.config
    except ConfigError as error:
        wrong = "\n".join([error.message, *error.problems, error.hint]).strip()
    pytest.fail(wrong, pytrace=False)


def flat(settings: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Tables in tables as dotted keys."""
    out: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            out |= flat(value, f"{before}{key}.")
        else:
            out[f"{before}{key}"] = value
    return out


def _of_a_test(secret: str) -> dict[str, Any]:
    """Both dialects on free ports of this machine, and nothing that outlives the test."""
    out: dict[str, Any] = {"bridge.secret": secret, "standin.secret": secret}
    for listener in ("serve", "standin"):
        out |= {
            f"{listener}.enabled": True,
            f"{listener}.bind": "127.0.0.1",
            f"{listener}.port": 0,
            f"{listener}.tls_cert": "",
            f"{listener}.tls_key": "",
        }
    return out | {"journal.enabled": False, "control.enabled": False, "capture.dir": ""}


class Bridge:
    """A bridge, from enter to exit.

    Attributes:
        urls: by dialect, as far as it listens.
        secret: what a far side signs with, of both dialects.
        config: what it runs with.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.urls: dict[Dialect, str] = {}
        self.secret = config.standin.secret.reveal()
        self._records: list[CallRecord] = []
        self._changed = threading.Condition()
        self._up = threading.Event()
        self._failed: BaseException | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._thread = threading.Thread(target=self._main, name="teamscall-bridge", daemon=True)

    @property
    def url(self) -> str:
        """StandIn's; ``urls`` has both."""
        return self.urls["standin"]

    @property
    def records(self) -> list[CallRecord]:
        """All that it has decided so far, in order (``teamscall.calls.records``)."""
        with self._changed:
            return list(self._records)

    def wait_for(
        self,
        kind: type[_Kind],
        *,
        where: Callable[[_Kind], bool] | None = None,
        timeout: float = WAIT_S,
    ) -> _Kind:
        """The first record of this kind, once it is there; it may be there already.

        Raises:
            AssertionError: none came within ``timeout`` seconds.
        """
        __tracebackhide__ = True
        until = time.monotonic() + timeout
        seen = 0
        with self._changed:
            while True:
                for record in self._records[seen:]:
                    if isinstance(record, kind) and (where is None or where(record)):
                        return record
                seen = len(self._records)
                left = until - time.monotonic()
                if left <= 0 or not self._changed.wait(left):
                    break
            came = ", ".join(dict.fromkeys(type(record).__name__ for record in self._records))
        more = "" if where is None else " like that"
        raise AssertionError(
            f"no {kind.__name__}{more} within {timeout:g} s; there were: {came or 'none'}"
        )

    def __enter__(self) -> Bridge:
        self._thread.start()
        if not self._up.wait(START_S):
            pytest.fail(f"the bridge did not start within {START_S:g} s", pytrace=False)
        if self._failed is not None:
            self._thread.join(STOP_S)
            if isinstance(self._failed, TeamscallError):
                said = f"the bridge does not start: {self._failed.message} {self._failed.hint}"
                pytest.fail(said.strip(), pytrace=False)
            raise self._failed
        return self

    def __exit__(self, *_: object) -> None:
        assert self._loop is not None
        assert self._stop is not None
        with contextlib.suppress(RuntimeError):  # its loop has ended: it failed on the way
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(STOP_S)
        if self._thread.is_alive():
            pytest.fail(f"the bridge did not stop within {STOP_S:g} s", pytrace=False)
        if self._failed is not None:
            raise self._failed

    def _main(self) -> None:
        try:
            asyncio.run(self._run())
        except BaseException as error:  # noqa: BLE001 - the test's thread raises it
            self._failed = error
        finally:
            self._up.set()

    async def _run(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        async with running(self.config) as bridge:
            bridge.switchboard.watch(self._keep)
            for listening in bridge.listening:
                self.urls |= dict.fromkeys(listening.dialects, listening.urls[0])
            self._up.set()
            await self._stop.wait()

    def _keep(self, record: CallRecord) -> None:
        with self._changed:
            self._records.append(record)
            self._changed.notify_all()
