"""Devices: choice without hardware, and a real PortAudio stream over PulseAudio."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from emulator_rig import SECRET, Bridge, tone
from pulse_rig import pulse_audio

from teamscall.emulator import devices
from teamscall.emulator.devices import Device, choose
from teamscall.errors import InputError, MissingPackageError

DEVICES = [
    Device(0, "HDMI out", 0, 2, 48_000, default_output=True),
    Device(1, "USB Headset", 1, 2, 16_000),
    Device(2, "USB Camera", 1, 0, 48_000, default_input=True),
]


def test_devices_are_chosen_by_default_index_or_part_of_the_name() -> None:
    assert choose(DEVICES, "", "input").index == 2
    assert choose(DEVICES, "", "output").index == 0
    assert choose(DEVICES, "1", "input").index == 1
    assert choose(DEVICES, "headset", "output").index == 1
    assert choose(DEVICES, "usb", "output").index == 1


@pytest.mark.parametrize(
    ("wanted", "words"), [("usb", "fits 2"), ("nope", "No microphone"), ("0", "no microphone")]
)
def test_a_device_that_is_not_there_is_one_sentence(wanted: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        choose(DEVICES, wanted, "input")


def test_no_device_at_all_says_what_else_works() -> None:
    with pytest.raises(InputError, match="no microphone") as caught:
        choose(DEVICES[:1], "", "input")
    assert "--wav" in caught.value.hint


def test_a_missing_portaudio_names_the_line_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "sounddevice.py").write_text('raise OSError("PortAudio library not found")')
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    with pytest.raises(MissingPackageError) as caught:
        devices.list_devices()
    assert "apt-get install -y libportaudio2" in caught.value.hint


def test_the_queue_between_clocks_is_bounded_and_drops_the_oldest() -> None:
    queue = devices._FrameQueue()
    for n in range(devices.MAX_QUEUED_FRAMES + 3):
        queue.put(bytes([n]) * 640)
    assert queue.dropped == 3
    assert queue.take() == bytes([3]) * 640


# --- a real device -------------------------------------------------------------------------


@pytest.fixture
def pulse(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment in which a private PulseAudio is the default."""
    with pulse_audio(tmp_path) as env:
        yield env | {"TEAMSCALL_EMULATE_SECRET": SECRET.decode()}


def test_microphone_and_loudspeaker_carry_speech(
    pulse: dict[str, str], bridge_thread: Callable[..., Bridge], tmp_path: Path
) -> None:
    import numpy as np

    bridge = bridge_thread("csharp")
    talk = tmp_path / "in.raw"
    talk.write_bytes(tone(4000, 500.0))
    heard = tmp_path / "out.raw"
    raw = ["--format=s16le", "--rate=16000", "--channels=1", "--raw"]
    with (
        talk.open("rb") as into,
        heard.open("wb") as out,
        subprocess.Popen(
            ["parec", "-d", "speaker.monitor", *raw, "--latency-msec=20"], env=pulse, stdout=out
        ) as ear,
        subprocess.Popen(
            ["pacat", "-d", "micsink", *raw, "--latency-msec=200"], env=pulse, stdin=into
        ) as mouth,
    ):
        try:
            done = subprocess.run(
                [
                    sys.executable, "-c",
                    "import typer; from teamscall.cli.emulate import register\n"
                    "app = typer.Typer(); app.callback()(lambda: None); register(app); app()",
                    "emulate", "--url", bridge.url, "--dialect", "csharp", "--mic", "--speaker",
                    "--duration", "2.5", "--expect-speech", "--quiet",
                ],
                env=pulse, capture_output=True, text=True, timeout=60, check=False,
            )  # fmt: skip
        finally:
            for process in (ear, mouth):
                process.terminate()
                process.wait(10)
    assert done.returncode == 0, done.stderr

    def share_at_500_hz(pcm: bytes) -> float:
        """How much of the loudest second is the tone that was spoken."""
        samples = np.frombuffer(pcm[: len(pcm) // 2 * 2], "<i2").astype(float)
        seconds = [samples[n : n + 16_000] for n in range(0, len(samples) - 16_000, 1600)]
        loudest = max(seconds, key=lambda s: float(s @ s))
        power = np.abs(np.fft.rfft(loudest)) ** 2
        return float(power[480:521].sum() / max(power.sum(), 1.0))

    sent = b"".join(pcm for _, pcm in bridge.audio)
    assert share_at_500_hz(sent) > 0.9
    assert share_at_500_hz(heard.read_bytes()) > 0.9
