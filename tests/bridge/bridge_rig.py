"""A real `teamscall serve` process on real ports, and peers that speak the wire by hand."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from teamscall.wire.signature import sign_v1

BRIDGE_SECRET = "bridge-secret-0123456789abcdef0123456789"
STANDIN_SECRET = "standin-secret-0123456789abcdef0123456789"
START_S = 60.0  # a loaded machine; nothing here asserts how fast it is


class Served:
    """A running `serve` process and what it has said on stderr."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._news:
                self.lines.append(line.rstrip("\n"))
                self._news.notify_all()

    def wait_for(self, pattern: str, timeout_s: float = START_S) -> re.Match[str]:
        """The first line, past or to come, that matches."""
        deadline = time.monotonic() + timeout_s
        seen = 0
        with self._news:
            while True:
                for line in self.lines[seen:]:
                    if found := re.search(pattern, line):
                        return found
                seen = len(self.lines)
                left = deadline - time.monotonic()
                ended = self.process.poll() is not None and not self._reader.is_alive()
                if left <= 0 or ended:
                    text = "\n".join(self.lines)
                    raise AssertionError(f"no line matches {pattern!r} in:\n{text}")
                self._news.wait(min(left, 0.2))

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def stop(self, number: int = signal.SIGTERM, timeout_s: float = 30.0) -> int:
        """Send a signal; the exit code."""
        self.process.send_signal(number)
        code = self.process.wait(timeout_s)
        self._reader.join(timeout_s)
        return code


@contextlib.contextmanager
def served(tmp_path: Path, *options: str, env: dict[str, str] | None = None) -> Iterator[Served]:
    """`teamscall serve` with both dialects on free ports and its data in ``tmp_path``."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TEAMSCALL_")}
    environment |= {
        "TEAMSCALL_BRIDGE_SECRET": BRIDGE_SECRET,
        "TEAMSCALL_STANDIN_SECRET": STANDIN_SECRET,
        "TEAMSCALL_JOURNAL_PATH": str(tmp_path / "journal.sqlite3"),
    } | (env or {})
    process = subprocess.Popen(
        [
            sys.executable, "-m", "teamscall", "serve", "--config", os.devnull,
            "--port", "0", "--standin", "--standin-port", "0", "--authorization", "open",
            "--log-format", "json", *options,
        ],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip
    bridge = Served(process)
    try:
        yield bridge
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        assert process.stdout is not None
        assert process.stderr is not None
        bridge._reader.join(10)
        process.stdout.close()
        process.stderr.close()


def ports(bridge: Served) -> tuple[str, str]:
    """The base URLs of the C# and of the StandIn listener, from the banner's log line."""
    line = json.loads(bridge.wait_for(r'\{.*"message": "Answering".*\}').group(0))
    return line["C_gateway"], line["StandIn"].split()[0]


def standin_headers(call_id: str, secret: str = STANDIN_SECRET) -> dict[str, str]:
    """A signed upgrade of today's generation."""
    timestamp = str(time.time_ns() // 1_000_000)
    return {
        "X-StandIn-Timestamp": timestamp,
        "X-StandIn-Signature": sign_v1(secret.encode(), timestamp, call_id),
    }


def log_lines(bridge: Served) -> list[dict[str, object]]:
    """Every stderr line as the JSON object that it must be."""
    return [json.loads(line) for line in bridge.lines]
