"""The microphone and the loudspeaker, which only the emulator's --mic and --speaker use.

Owns the one second that is listened to, in a process of its own (``python -m`` this module): a
sound system that hangs must not hang the doctor, and ALSA talks to stderr. What was heard
leaves that process as one number.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import sys
import time
from typing import Any

import msgspec

from teamscall.doctor.checks import Check, Finding, Site, ok, skipped, warning
from teamscall.doctor.programs import output_of

LISTEN_S = 1.0
_FRAME_S = 0.02
_PATIENCE_S = 8.0  # the second, an interpreter on a busy machine, a device that wakes up


class Heard(msgspec.Struct, frozen=True):
    """What there is. ``peak_dbfs``: of one second of the default microphone, None where there is
    none; ``trouble``: the devices that cannot be used, and why."""

    inputs: int = 0
    outputs: int = 0
    peak_dbfs: float | None = None
    trouble: tuple[str, ...] = ()
    missing: tuple[str, str | None] | None = None  # a package, and what to do


async def sound(site: Site) -> Finding:
    """PortAudio and its devices."""
    if not site.thorough:
        there = importlib.util.find_spec("sounddevice") is not None
        return skipped(
            "A bridge needs no audio device; --thorough tests them for `emulate --mic`.",
            package=there,
        )
    try:
        async with asyncio.timeout(_PATIENCE_S):
            said = await output_of(sys.executable, "-m", __name__)
    except TimeoutError:
        return warning(
            f"The sound system does not answer within {_PATIENCE_S:.0f} s.",
            "Start it again (`systemctl --user restart pipewire pulseaudio`), or unplug a device "
            "that hangs. A bridge needs none.",
        )
    if said is None:
        return skipped("No program can be started here to look at the devices.")
    try:
        heard = msgspec.json.decode(said, type=Heard)
    except msgspec.DecodeError:
        return warning(
            "PortAudio broke down while its devices were looked at.",
            "`teamscall emulate --list-devices` shows how. A bridge needs no device.",
        )
    return judged(heard)


def judged(heard: Heard) -> Finding:
    """What it means."""
    from teamscall.audio.dbfs import SILENCE_DBFS

    if heard.missing is not None:
        message, hint = heard.missing
        return skipped(f"{message} A bridge needs none; `emulate --mic` does.", hint or "")
    facts: dict[str, Any] = {"inputs": heard.inputs, "outputs": heard.outputs}
    if not heard.inputs and not heard.outputs:
        return skipped("This machine has no audio device; a bridge needs none.", **facts)
    if heard.trouble:
        return warning(
            " ".join(heard.trouble),
            "Close what else uses it, or choose another: --device, --speaker-device; "
            "`teamscall emulate --list-devices` shows them.",
            **facts,
        )
    if heard.peak_dbfs is None:
        return ok(f"{heard.outputs} outputs, and no microphone.", **facts)
    facts["peakDbfs"] = round(heard.peak_dbfs, 1)
    if heard.peak_dbfs <= SILENCE_DBFS:
        return warning(
            "The default microphone gives silence without any noise: it is muted or blocked.",
            "Unmute it, and allow this program to use it in the system's privacy settings.",
            **facts,
        )
    return ok(
        f"{heard.inputs} inputs, {heard.outputs} outputs; the loudest of one second of the "
        f"default microphone: {heard.peak_dbfs:.0f} dBFS.",
        **facts,
    )


def look() -> Heard:
    """List the devices, listen to the default microphone, open the default loudspeaker."""
    from teamscall.audio.level import peak_dbfs
    from teamscall.emulator.devices import Loudspeaker, Microphone, list_devices
    from teamscall.errors import InputError, MissingPackageError

    try:
        devices = list_devices()
    except MissingPackageError as error:
        return Heard(missing=(error.message, error.hint))
    inputs = sum(device.inputs > 0 for device in devices)
    outputs = sum(device.outputs > 0 for device in devices)
    peak: float | None = None
    trouble: list[str] = []
    if inputs:
        try:
            microphone = Microphone()
        except InputError as error:
            trouble.append(error.message)
        else:
            frames, until = [], time.monotonic() + LISTEN_S
            while time.monotonic() < until:
                time.sleep(_FRAME_S)  # nothing is paced by it: the device has a queue
                frames.append(microphone.next_frame() or b"")
            microphone.close()
            peak = peak_dbfs(b"".join(frames))
    if outputs:
        try:
            Loudspeaker().close()
        except InputError as error:
            trouble.append(error.message)
    return Heard(inputs, outputs, peak, tuple(trouble))


CHECKS: tuple[Check, ...] = (
    Check(
        "TC-AUDIO-DEVICES",
        "here",
        "Microphone and loudspeaker",
        sound,
        "With --thorough only: opens the default loudspeaker, and listens to the default "
        "microphone for a second; nothing of it is kept but how loud it was. A bridge needs no "
        "audio device; `teamscall emulate --mic --speaker` does.",
        "Install PortAudio (apt install libportaudio2) and plug something in.",
        timeout_s=_PATIENCE_S + 2,
    ),
)

if __name__ == "__main__":
    os.write(1, msgspec.json.encode(look()))
