"""A private PulseAudio with a null loudspeaker and a null microphone."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

_NEEDED = ("pulseaudio", "pactl", "pacat", "parec")
_MISSING = [name for name in _NEEDED if shutil.which(name) is None]


@contextlib.contextmanager
def pulse_audio(folder: Path) -> Iterator[dict[str, str]]:
    """The environment in which it is the ALSA default; skips where there is none."""
    if _MISSING:
        pytest.skip(f"not installed: {', '.join(_MISSING)}")
    if not Path("/usr/share/alsa/alsa.conf").exists():
        pytest.skip("no ALSA configuration")
    runtime = Path(os.path.realpath(folder)) / "p"
    runtime.mkdir(mode=0o700)
    socket = runtime / "s"
    alsa = runtime / "asound.conf"
    alsa.write_text(
        "</usr/share/alsa/alsa.conf>\n"
        'pcm.!default { type pulse hint { show on description "pulse default" } }\n'
        "ctl.!default { type pulse }\n"
    )
    env = {
        **os.environ,
        "XDG_RUNTIME_DIR": str(runtime),
        "HOME": str(runtime),
        "PULSE_SERVER": f"unix:{socket}",
        "ALSA_CONFIG_PATH": str(alsa),
    }
    form = "rate=16000 channels=1 format=s16le norewinds=1"
    server = subprocess.Popen(
        [
            "pulseaudio", "-n", "--daemonize=no", "--exit-idle-time=-1",
            f"--log-target=file:{runtime / 'log'}",
            "-L", f"module-native-protocol-unix socket={socket} auth-anonymous=1",
            "-L", f"module-null-sink sink_name=speaker {form}",
            "-L", f"module-null-sink sink_name=micsink {form}",
            "-L", "module-remap-source source_name=mic master=micsink.monitor",
        ],
        env=env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 10
        for args in (["set-default-sink", "speaker"], ["set-default-source", "mic"]):
            while subprocess.run(["pactl", *args], env=env, capture_output=True).returncode:
                if time.monotonic() > deadline or server.poll() is not None:
                    pytest.skip("PulseAudio does not start here")
                time.sleep(0.1)
        yield env
    finally:
        server.terminate()
        server.wait(10)
