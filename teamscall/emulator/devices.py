"""Microphones and loudspeakers, through PortAudio, loaded only when one is asked for.

Owns device choice, the callbacks' threads and the small queues between them and the call's
clock. Refuses to know calls. A device's clock is not ours: what comes too fast is dropped
oldest first and counted, what comes too slowly is silence.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from teamscall.emulator.sources import SILENCE
from teamscall.errors import InputError, MissingPackageError
from teamscall.text import printable
from teamscall.wire.events import FRAME_BYTES, FRAME_MS, SAMPLE_RATE

# Between a device's clock and ours: five frames absorb a busy machine, more is an echo.
MAX_QUEUED_FRAMES = 10

# A device is asked for this much; "low" loses frames on a loaded machine.
LATENCY_S = 0.1

# Rates tried when a device does not do 16 kHz by itself.
FALLBACK_RATES = (48_000, 44_100, 32_000, 24_000, 8_000)

Kind = Literal["input", "output"]


class Device(msgspec.Struct, frozen=True):
    """One device as PortAudio lists it."""

    index: int
    name: str
    inputs: int
    outputs: int
    rate: int
    default_input: bool = False
    default_output: bool = False


def list_devices() -> list[Device]:
    """Every audio device of this machine.

    Raises:
        MissingPackageError: there is no sounddevice or no PortAudio.
    """
    sounddevice = _sounddevice()
    default_in, default_out = sounddevice.default.device
    return [
        Device(
            index,
            printable(str(row["name"])),
            int(row["max_input_channels"]),
            int(row["max_output_channels"]),
            int(row["default_samplerate"]),
            index == default_in,
            index == default_out,
        )
        for index, row in enumerate(sounddevice.query_devices())
    ]


def choose(devices: Sequence[Device], wanted: str, kind: Kind) -> Device:
    """The device that ``wanted`` means: an index, a part of a name, or "" for the default.

    Raises:
        InputError: there is none, none like that, or more than one.
    """
    usable = [d for d in devices if (d.inputs if kind == "input" else d.outputs) > 0]
    word = "microphone" if kind == "input" else "loudspeaker"
    if not usable:
        raise InputError(
            f"This machine has no {word}.",
            hint="Use --wav or --say in place of --mic."
            if kind == "input"
            else "Write the reply to a file with --out.",
        )
    listed = "See them with --list-devices."
    if not wanted:
        for device in usable:
            if device.default_input if kind == "input" else device.default_output:
                return device
        return usable[0]
    if wanted.isascii() and wanted.isdigit():
        for device in usable:
            if device.index == int(wanted):
                return device
        raise InputError(f"Device {wanted} is no {word}.", hint=listed)
    found = [d for d in usable if wanted.casefold() in d.name.casefold()]
    exact = [d for d in found if wanted.casefold() == d.name.casefold()]
    if len(exact) == 1 or len(found) == 1:
        return (exact or found)[0]
    name = printable(wanted)
    if not found:
        raise InputError(f"No {word} is called “{name}”.", hint=listed)
    raise InputError(f"“{name}” fits {len(found)} devices.", hint="Give the index. " + listed)


class Microphone:
    """A source of live frames. Opens the device at once; never ends by itself."""

    def __init__(self, wanted: str = "") -> None:
        """Open it.

        Raises:
            MissingPackageError: there is no sounddevice or no PortAudio.
            InputError: no such device, or it cannot be opened.
        """
        self._queue = _FrameQueue()
        self.device = choose(list_devices(), wanted, "input")
        self._stream, rate = _open("input", self.device, self._heard)
        self._resample = _resampler(rate, SAMPLE_RATE)
        _start(self._stream, self.device)

    @property
    def dropped(self) -> int:
        """Frames dropped because the device runs ahead of us."""
        return self._queue.dropped

    def next_frame(self) -> bytes | None:
        return self._queue.take() or SILENCE

    def close(self) -> None:
        self._stream.close()

    def _heard(self, data: Any, frames: int, time: Any, status: Any) -> None:
        self._queue.put(self._resample(bytes(data)))


class Loudspeaker:
    """Plays 20 ms frames. Opens the device at once; silence where nothing was given."""

    def __init__(self, wanted: str = "") -> None:
        """Open it.

        Raises:
            MissingPackageError: there is no sounddevice or no PortAudio.
            InputError: no such device, or it cannot be opened.
        """
        self._queue = _FrameQueue()
        self._ready = bytearray()
        self.device = choose(list_devices(), wanted, "output")
        self._stream, rate = _open("output", self.device, self._wanted)
        self._resample = _resampler(SAMPLE_RATE, rate)
        _start(self._stream, self.device)

    @property
    def dropped(self) -> int:
        """Frames dropped because the device runs behind us."""
        return self._queue.dropped

    def play(self, frame: bytes) -> None:
        """Queue 640 bytes. Never blocks."""
        self._queue.put(frame)

    def close(self) -> None:
        self._stream.close()

    def _wanted(self, data: Any, frames: int, time: Any, status: Any) -> None:
        while len(self._ready) < len(data):
            frame = self._queue.take()
            if frame is None:
                break
            self._ready += self._resample(frame)
        have = bytes(self._ready[: len(data)])
        del self._ready[: len(have)]
        data[:] = have.ljust(len(data), b"\0")


class _FrameQueue:
    """Whole frames between a device's thread and ours; bounded, drops the oldest."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pcm = bytearray()
        self.dropped = 0

    def put(self, pcm: bytes) -> None:
        with self._lock:
            self._pcm += pcm
            too_much = len(self._pcm) // FRAME_BYTES - MAX_QUEUED_FRAMES
            if too_much > 0:
                del self._pcm[: too_much * FRAME_BYTES]
                self.dropped += too_much

    def take(self) -> bytes | None:
        with self._lock:
            if len(self._pcm) < FRAME_BYTES:
                return None
            frame = bytes(self._pcm[:FRAME_BYTES])
            del self._pcm[:FRAME_BYTES]
            return frame


def _open(kind: Kind, device: Device, callback: Any) -> tuple[Any, int]:
    """A raw 16-bit mono stream at 16 kHz, or at a rate that the device has."""
    sounddevice = _sounddevice()
    stream_type = sounddevice.RawInputStream if kind == "input" else sounddevice.RawOutputStream
    rates = dict.fromkeys((SAMPLE_RATE, device.rate, *FALLBACK_RATES))
    why = ""
    for rate in rates:
        try:
            stream = stream_type(
                samplerate=rate,
                blocksize=rate * FRAME_MS // 1000,
                device=device.index,
                channels=1,
                dtype="int16",
                latency=LATENCY_S,
                callback=callback,
            )
        except sounddevice.PortAudioError as error:
            why = why or printable(str(error.args[0]) if error.args else str(error))
            continue
        return stream, rate
    raise InputError(f"The device “{device.name}” cannot be opened: {why}.")


def _start(stream: Any, device: Device) -> None:
    try:
        stream.start()
    except _sounddevice().PortAudioError as error:
        stream.close()
        why = printable(str(error.args[0]) if error.args else str(error))
        raise InputError(f"The device “{device.name}” cannot be started: {why}.") from error


def _resampler(source_rate: int, target_rate: int) -> Any:
    if source_rate == target_rate:
        return lambda pcm: pcm
    from teamscall.audio.resample import Resampler

    return Resampler(source_rate, target_rate).push


def _sounddevice() -> Any:
    try:
        import sounddevice
    except ImportError as error:
        raise MissingPackageError(
            "The package sounddevice is not installed.", hint="pip install sounddevice"
        ) from error
    except OSError as error:  # it is there, the library below it is not
        raise MissingPackageError(
            "PortAudio is not installed.", hint="sudo apt-get install -y libportaudio2"
        ) from error
    return sounddevice
