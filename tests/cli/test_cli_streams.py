"""The command line with streams that are closed, full, broken or dumb."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from teamscall.cli import streams
from teamscall.errors import ExitCode, OutputLost

ENV = {k: v for k, v in os.environ.items() if not k.startswith("TEAMSCALL_")} | {
    "TEAMSCALL_BRIDGE_SECRET": "kQ3vZr8pXw1tYb6nMd4sGh7jLf2cAe9u",
    "TEAMSCALL_CONFIG": os.devnull,
}
# What is small enough to wait in a buffer until the exit, and what is not.
SMALL, LARGE = "config check", "config show --json"

posix = pytest.mark.skipif(os.name != "posix", reason="descriptors of a shell")


def run(redirected: str, **env: str) -> subprocess.CompletedProcess[str]:
    """``teamscall`` as a shell runs it: ``config show >&-``."""
    line = f'"{sys.executable}" -m teamscall {redirected}'
    return subprocess.run(
        ["sh", "-c", line], env=ENV | env, capture_output=True, text=True, timeout=60, check=False
    )


@posix
@pytest.mark.parametrize("command", [SMALL, LARGE])
@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_closed_stream_is_the_null_device(command: str, closed: str) -> None:
    done = run(f"{command} {closed}")
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert bool(done.stdout) == (closed in ("<&-", "2>&-"))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
@pytest.mark.parametrize("command", [SMALL, LARGE])
def test_a_full_disk_is_one_sentence(command: str) -> None:
    done = run(f"{command} >/dev/full")
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last == "teamscall: stdout cannot be written: No space left on device."
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_who_cannot_be_told_still_gets_the_exit_code() -> None:
    assert run("status --socket /nowhere/c.sock 2>/dev/full").returncode == ExitCode.UNAVAILABLE
    assert run("status --timeout never 2>/dev/full").returncode == ExitCode.USAGE
    assert run("--version 2>/dev/full").returncode == ExitCode.OK


def test_a_log_goes_on_when_its_disk_has_room_again() -> None:
    class Disk(io.RawIOBase):
        full, taken = True, b""

        def writable(self) -> bool:
            return True

        def write(self, data: Any) -> int:
            if self.full:
                raise OSError(errno.ENOSPC, "No space left on device")
            self.taken += bytes(data)
            return len(data)

    disk = Disk()
    log = streams.Stderr(io.TextIOWrapper(io.BufferedWriter(disk), encoding="utf-8"))
    for _ in range(10_000):
        print("lost, and no error", file=log)
    disk.full = False
    print("written", file=log)
    assert disk.taken.endswith(b"written\n")
    assert len(disk.taken) < 20_000


@posix
def test_a_reader_that_goes_away_is_no_news() -> None:
    done = run(f"{LARGE} | head -1")
    assert done.stdout == "{\n"
    assert "Traceback" not in done.stderr
    assert "stdout" not in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_stdout_fails_once_and_then_is_silent() -> None:
    with streams.Stdout(Path("/dev/full").open("w", encoding="utf-8")) as out:
        out.write("x")
        with pytest.raises(OutputLost, match="No space left") as caught:
            out.flush()
        assert caught.value.silent is False
        out.write("y")
        out.flush()


@pytest.mark.parametrize(
    ("terminal", "env", "wanted"),
    [
        (True, {"TERM": "xterm"}, True),
        (False, {"TERM": "xterm"}, False),
        (True, {"TERM": "dumb"}, False),
        (True, {"TERM": "xterm", "CI": "1"}, False),
        (True, {"TERM": "xterm", "CI": "true"}, False),
        (True, {"TERM": "xterm", "CI": "false"}, True),
        (True, {"TERM": "xterm", "CI": ""}, True),
    ],
)
def test_pictures_are_for_terminals_that_can(
    terminal: bool, env: dict[str, str], wanted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CI", raising=False)
    for name, value in env.items():
        monkeypatch.setenv(name, value)

    class Stream(io.StringIO):
        def isatty(self) -> bool:
            return terminal

    assert streams.live(Stream()) is wanted
