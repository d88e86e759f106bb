"""`teamscall --help` stays near bare Typer: heavy modules load where they are used."""

from __future__ import annotations

import subprocess
import sys

HEAVY = (
    "numpy",
    "soxr",
    "openai",
    "sounddevice",
    "webrtcvad",
    "websockets",
    "msgspec",
    "asyncio",
    "h11",
    "httpx2",
    "prometheus_client",
    "sqlite3",
    "pydantic",
    "faster_whisper",
    "piper",
    "teamscall.config",
    "teamscall.server",
    "teamscall.calls",
    "teamscall.engines",
    "teamscall.audio",
    "teamscall.wire",
    "teamscall.emulator",
    "teamscall.testing",
    "teamscall.metrics",
    "teamscall.webhooks",
)

PROBE = f"""
import sys
sys.argv = ["teamscall", "--help"]
from teamscall.__main__ import main
try:
    main()
except SystemExit as stop:
    assert not stop.code, stop.code
heavy = {HEAVY!r}
found = sorted(m for m in sys.modules if m in heavy)
print("LOADED", found, file=sys.stderr)
"""


def test_help_imports_nothing_heavy() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROBE], capture_output=True, text=True, timeout=60, check=True
    )
    assert "emulate" in done.stdout
    assert done.stderr.strip().splitlines()[-1] == "LOADED []"


def test_the_module_and_the_script_are_the_same_program() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "teamscall", "--version"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.startswith("teamscall ")
