"""The microphone and the loudspeaker: a real PortAudio over a private PulseAudio."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from doctor_rig import config, site
from pulse_rig import pulse_audio

from teamscall.doctor import here_sound
from teamscall.doctor.checks import Finding
from teamscall.doctor.here_sound import Heard, judged, sound

RAW = ["--format=s16le", "--rate=16000", "--channels=1", "--raw"]


@pytest.fixture
def pulse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """This process's sound is a private PulseAudio."""
    with pulse_audio(tmp_path) as env:
        for name, value in env.items():
            monkeypatch.setenv(name, value)
        yield env


def looked() -> Finding:
    where = msgspec.structs.replace(site(config()), thorough=True)
    return asyncio.run(sound(where))


def test_a_microphone_that_hears_is_said_to_with_its_level(
    pulse: dict[str, str], tmp_path: Path
) -> None:
    noise = tmp_path / "noise.raw"
    noise.write_bytes(b"\x00\x10\x00\xf0" * 80_000)  # 4096 of 32768: -18 dBFS, for ten seconds
    with (
        noise.open("rb") as talk,
        subprocess.Popen(["pacat", "-d", "micsink", *RAW], env=pulse, stdin=talk) as mouth,
    ):
        try:
            found = looked()
        finally:
            mouth.terminate()
    assert found.status == "ok", found
    assert -20 <= float(str(found.facts["peakDbfs"])) <= -16
    assert "-18 dBFS" in found.what


def test_a_muted_microphone_is_said_to_be_muted(pulse: dict[str, str]) -> None:
    found = looked()
    assert (found.status, "muted" in found.what) == ("warning", True), found


def test_a_sound_system_that_hangs_does_not_hang_the_doctor(
    pulse: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pids = subprocess.run(
        ["pgrep", "-f", f"socket={pulse['PULSE_SERVER'].removeprefix('unix:')}"],
        capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    monkeypatch.setattr(here_sound, "_PATIENCE_S", 3.0)
    for pid in pids:
        os.kill(int(pid), signal.SIGSTOP)
    try:
        found = looked()
    finally:
        for pid in pids:
            os.kill(int(pid), signal.SIGCONT)
    assert (found.status, "does not answer" in found.what) == ("warning", True), found


def test_a_sound_library_that_aborts_does_not_take_the_doctor_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "teamscall_aborts.py"
    program.write_text("import os\nos.abort()\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(here_sound, "__name__", program.stem)
    found = looked()
    assert (found.status, "broke down" in found.what) == ("warning", True), found


@pytest.mark.parametrize(
    ("heard", "status", "word"),
    [
        (Heard(missing=("PortAudio is not installed.", "sudo apt-get")), "skipped", "PortAudio"),
        (Heard(), "skipped", "no audio device"),
        (Heard(outputs=1), "ok", "no microphone"),
        (Heard(1, 1, -40.0, ("The device “x” cannot be opened: busy.",)), "warning", "busy"),
        (Heard(1, 1, -40.2), "ok", "-40 dBFS"),
        (Heard(1, 1, -120.0), "warning", "muted"),
    ],
)
def test_what_is_said_of_what_was_found(heard: Heard, status: str, word: str) -> None:
    found = judged(heard)
    assert found.status == status
    assert word in found.what
    assert found.remedy or found.status in ("ok", "skipped")
