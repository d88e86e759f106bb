"""RIFF/WAVE: whole files in and out, and the header of one that is still being streamed.

Reads any rate and channel count, 8 to 32 bit integers and 32 or 64 bit floats, plain or
WAVE_FORMAT_EXTENSIBLE; writes 16-bit PCM. Tolerates what the field writes: LIST chunks
before the data, lengths of 0 or 0xFFFFFFFF from writers that could not seek back, a file
cut short. Knows nothing of what is in the audio.
"""

from __future__ import annotations

import struct
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import numpy as np

from teamscall.audio.resample import resample_all
from teamscall.errors import InputError
from teamscall.text import printable
from teamscall.wire.events import SAMPLE_RATE

# Two hours of 16 kHz mono, 20 minutes of a studio's 48 kHz stereo: what is larger is not a
# caller's voice, and while it is decoded it is in memory several times over.
MAX_FILE_BYTES = 256_000_000

# 16 bytes in plain PCM, 40 in extensible; the rest is vendors' padding.
MAX_FMT_BYTES = 1024

# "To the end of the stream", as ffmpeg (2^32 - 1), OpenAI (2^32 - 1) and sox (2^31 - 1,
# less the header) say it; no honest length is that near to 2 GB.
UNKNOWN_LENGTH_FROM = 0x7FFF_F000

_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
# Of an extensible sub-format only the first two bytes vary; the rest is this GUID tail.
_GUID_TAIL = bytes.fromhex("000000001000800000aa00389b71")

Samples = np.ndarray[tuple[int], np.dtype[np.float64]]


class WavFormat(msgspec.Struct, frozen=True):
    """What the ``fmt`` chunk says; ``encoding`` is after unwrapping extensible."""

    rate: int
    channels: int
    bits: int
    encoding: str  # "int" or "float"

    @property
    def is_pcm16(self) -> bool:
        return self.encoding == "int" and self.bits == 16

    @property
    def frame_bytes(self) -> int:
        """Bytes of one sample of all channels."""
        return self.channels * self.bits // 8


# --- streams --------------------------------------------------------------------------


class StreamingWavHeader:
    """Takes a stream chunk by chunk; gives its audio bytes without header and trailer.

    A stream that does not begin with ``RIFF`` is raw already and passes unchanged.

    Attributes:
        format: None until the header has been read, and for ever if there is none.
        raw: True once it is certain that there is no header.
    """

    def __init__(self) -> None:
        self.format: WavFormat | None = None
        self.raw = False
        self._held = b""
        self._skip = 0  # bytes of a chunk that does not matter
        self._left: int | None = None  # bytes of audio still to come; None: to the end
        self._in_chunks = False
        self._in_audio = False

    def feed(self, data: bytes) -> bytes:
        """Take any number of bytes; return audio, as soon as it is known to be that.

        Raises:
            InputError: it is a RIFF file, but not a WAV that can be read.
        """
        self._held += data
        while not self._in_audio:
            if not (self._read_chunk() if self._in_chunks else self._read_riff()):
                return b""
        audio, self._held = self._held, b""
        if self._left is not None:
            audio = audio[: self._left]
            self._left -= len(audio)
        return audio

    def finish(self) -> bytes:
        """The stream ended: return what was still held because it could have been a header.

        Raises:
            InputError: it ended inside its header.
        """
        held, self._held = self._held, b""
        if self._in_audio:
            return b""
        if self._in_chunks or held.startswith(b"RIFF"):
            raise InputError("The WAV ends inside its header.")
        return held

    # Both consume one piece of header; False: more bytes are needed.

    def _read_riff(self) -> bool:
        if not b"RIFF".startswith(self._held[:4]):
            self.raw = self._in_audio = True
            return True
        if len(self._held) < 12:
            return False
        if self._held[8:12] != b"WAVE":
            kind = printable(self._held[8:12].decode("latin-1"))
            raise InputError(f"This is a RIFF file of type {kind!r}, not a WAV.")
        self._held = self._held[12:]
        self._in_chunks = True
        return True

    def _read_chunk(self) -> bool:
        if self._skip:
            skipped = min(self._skip, len(self._held))
            self._held = self._held[skipped:]
            self._skip -= skipped
        if self._skip or len(self._held) < 8:
            return False
        name, size = self._held[:4], int.from_bytes(self._held[4:8], "little")
        if name == b"data":
            if self.format is None:
                raise InputError("The WAV has no format before its audio.")
            self._left = None if size == 0 or size >= UNKNOWN_LENGTH_FROM else size
            self._held = self._held[8:]
            self._in_audio = True
        elif name == b"fmt ":
            if size > MAX_FMT_BYTES:
                raise InputError("The WAV's format chunk is too large to be one.")
            if len(self._held) < 8 + size:
                return False
            self.format = _parse_format(self._held[8 : 8 + size])
            self._held = self._held[8 + size :]
            self._skip = size % 2  # chunks begin at even offsets
        else:
            self._held = self._held[8:]
            self._skip = size + size % 2
        return True


def _parse_format(chunk: bytes) -> WavFormat:
    if len(chunk) < 16:
        raise InputError("The WAV's format chunk is too short.")
    tag, channels, rate, _, align, bits = struct.unpack_from("<HHIIHH", chunk)
    if tag == _EXTENSIBLE:
        if len(chunk) < 40 or chunk[26:40] != _GUID_TAIL:
            raise InputError("The WAV's extensible format is not one that is known here.")
        tag = int.from_bytes(chunk[24:26], "little")
    known = {_PCM: (8, 16, 24, 32), _FLOAT: (32, 64)}
    if tag not in known:
        raise InputError(
            f"The WAV is compressed (format {tag}).", hint="Convert it to PCM: ffmpeg -i IN OUT.wav"
        )
    if bits not in known[tag]:
        raise InputError(f"The WAV has {bits} bits per sample, which cannot be read.")
    if not (channels and rate) or align != channels * bits // 8:
        raise InputError("The WAV's format contradicts itself.")
    return WavFormat(rate, channels, bits, "float" if tag == _FLOAT else "int")


# --- files ----------------------------------------------------------------------------


def read_wav(path: str | Path) -> bytes:
    """Return a WAV file as 16 kHz s16le mono, mixed down and resampled.

    Raises:
        InputError: it cannot be opened, is too large, is no WAV, or holds no PCM.
    """
    with _fault_of(path), Path(path).open("rb") as file:
        data = file.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise InputError(f"{_name(path)} is larger than {MAX_FILE_BYTES // 10**6} MB.")
    header = StreamingWavHeader()
    try:
        audio = header.feed(data)
        header.finish()
    except InputError as error:
        raise InputError(f"{_name(path)}: {error.message}", hint=error.hint) from error
    if header.format is None:
        raise InputError(f"{_name(path)} is not a WAV file.")
    return resample_all(decode(audio, header.format), header.format.rate, SAMPLE_RATE)


def decode(audio: bytes, form: WavFormat) -> bytes:
    """Return a WAV's audio bytes as s16le mono at the same rate; channels are averaged.

    A sample of which some bytes or channels are missing at the end is dropped.
    """
    audio = audio[: len(audio) // form.frame_bytes * form.frame_bytes]
    if form.is_pcm16 and form.channels == 1:
        return audio
    values: Samples = _values(audio, form).reshape(-1, form.channels).mean(axis=1)
    return np.clip(np.rint(values), -32768, 32767).astype("<i2").tobytes()


def write_wav(path: str | Path, pcm: bytes, rate: int = SAMPLE_RATE) -> None:
    """Write s16le mono PCM as a WAV file; half a sample at the end is dropped.

    Raises:
        InputError: the file cannot be written.
    """
    _write(path, pcm[: len(pcm) // 2 * 2], rate, channels=1)


def write_stereo(path: str | Path, left: bytes, right: bytes, rate: int = SAMPLE_RATE) -> None:
    """Write two s16le tracks as one stereo WAV; the shorter is followed by silence.

    Raises:
        InputError: the file cannot be written.
    """
    length = max(len(left), len(right)) // 2
    both = np.zeros((length, 2), "<i2")
    for channel, pcm in enumerate((left, right)):
        track = np.frombuffer(pcm, "<i2", count=len(pcm) // 2)
        both[: len(track), channel] = track
    _write(path, both.tobytes(), rate, channels=2)


def _values(audio: bytes, form: WavFormat) -> Samples:
    """Samples scaled to 16 bits, channels still interleaved."""
    if form.encoding == "float":
        values = np.frombuffer(audio, f"<f{form.bits // 8}").astype(np.float64) * 32768.0
        return np.nan_to_num(values, nan=0.0, posinf=32767.0, neginf=-32768.0)
    if form.bits == 8:  # the only unsigned one
        return (np.frombuffer(audio, np.uint8).astype(np.float64) - 128.0) * 256.0
    if form.bits == 24:  # as the upper three bytes of 32
        wide = np.zeros((len(audio) // 3, 4), np.uint8)
        wide[:, 1:] = np.frombuffer(audio, np.uint8).reshape(-1, 3)
        return wide.view("<i4").ravel() / 65536.0
    return np.frombuffer(audio, f"<i{form.bits // 8}") / float(1 << (form.bits - 16))


def _write(path: str | Path, pcm: bytes, rate: int, *, channels: int) -> None:
    with _fault_of(path), Path(path).open("wb") as raw, wave.open(raw, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(pcm)


@contextmanager
def _fault_of(path: str | Path) -> Iterator[None]:
    """The operating system's errors become the operator's, with the file's name."""
    try:
        yield
    except OSError as error:
        raise InputError(f"{_name(path)}: {error.strerror or 'cannot be used'}.") from error


def _name(path: str | Path) -> str:
    return printable(str(path))
