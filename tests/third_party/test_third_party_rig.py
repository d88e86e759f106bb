"""The rig itself: what cannot be had is told, and nothing is left running."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest
from third_party_rig import CACHE_VARIABLE, Absent, Package, installed, npm, serving

SERVES = """
import http.server, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(child.pid, flush=True)
http.server.HTTPServer(
    ("127.0.0.1", int(sys.argv[1])), http.server.SimpleHTTPRequestHandler
).serve_forever()
"""


def package(name: str, code: str, *, light: bool = True, limit_s: float = 30.0) -> Package:
    return Package(name, 1, limit_s, light, lambda home: [[sys.executable, "-c", code, str(home)]])


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))


def test_what_is_installed_is_not_installed_again() -> None:
    once = "import pathlib, sys; pathlib.Path(sys.argv[1], 'made').touch(exist_ok=False)"
    home = installed(package("once", once), wanted=False)
    assert (home / "made").exists()
    assert installed(package("once", "raise SystemExit(1)"), wanted=False) == home


def test_a_large_one_is_installed_when_it_is_wanted() -> None:
    with pytest.raises(Absent, match="pytest -m third_party"):
        installed(package("large", "", light=False), wanted=False)
    assert installed(package("large", "", light=False), wanted=True).is_dir()


def test_one_that_cannot_be_installed_says_why() -> None:
    with pytest.raises(Absent, match="no such package"):
        installed(package("broken", "raise SystemExit('no such package')"), wanted=True)
    slow = package("slow", "import time; time.sleep(60)", limit_s=0.3)
    with pytest.raises(Absent, match="too long"):
        installed(slow, wanted=True)


def test_without_npm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(Absent, match="node and npm"):
        installed(Package("node", 1, 1.0, True, npm("nothing")), wanted=True)


def test_a_server_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    command = (sys.executable, "-c", SERVES)
    with serving(lambda port: [*command, str(port)], tmp_path, health="/") as server:
        child = int(server.log.read_text().split()[0])
        os.kill(child, 0)
    deadline = time.monotonic() + 10
    while _runs(child) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not _runs(child)


def test_a_server_that_does_not_come_up(tmp_path: Path) -> None:
    with (
        pytest.raises(Absent, match="out of memory"),
        serving(
            lambda port: [sys.executable, "-c", "raise SystemExit('out of memory')"],
            tmp_path,
            health="/",
        ),
    ):
        pass


def _runs(pid: int) -> bool:
    """Not gone, and not waiting only to be counted."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"
