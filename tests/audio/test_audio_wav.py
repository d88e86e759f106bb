"""WAV files of every kind the field writes, whole and streamed."""

from __future__ import annotations

import struct
import wave
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from teamscall.audio.wav import (
    StreamingWavHeader,
    WavFormat,
    decode,
    read_wav,
    write_stereo,
    write_wav,
)
from teamscall.errors import InputError

AUDIO = bytes(range(1, 251)) * 4  # 1000
GUID_TAIL = bytes.fromhex("000000001000800000aa00389b71")


def chunk(name: bytes, body: bytes, size: int | None = None) -> bytes:
    length = len(body) if size is None else size
    return name + struct.pack("<I", length) + body + b"\0" * (len(body) % 2)


def fmt(
    rate: int = 16000, channels: int = 1, bits: int = 16, tag: int = 1, extensible: bool = False
) -> bytes:
    align = channels * bits // 8
    body = struct.pack("<HHIIHH", tag, channels, rate, rate * align, align, bits)
    if extensible:
        body = b"\xfe\xff" + body[2:] + struct.pack("<HHIH", 22, bits, 0, tag) + GUID_TAIL
    return chunk(b"fmt ", body)


def riff(*chunks: bytes, size: int | None = None) -> bytes:
    body = b"WAVE" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body) if size is None else size) + body


def feed(data: bytes, cuts: list[int]) -> tuple[StreamingWavHeader, bytes]:
    header = StreamingWavHeader()
    out, at = b"", 0
    for cut in [*cuts, len(data)]:
        out += header.feed(data[at : at + cut])
        at += cut
    return header, out + header.finish()


class TestStreamingHeader:
    @given(
        cuts=st.lists(st.integers(0, 60), max_size=40),
        extras=st.lists(st.binary(max_size=99), max_size=3),
        size=st.sampled_from([None, 0, 0xFFFFFFFF, 0x7FFFFFFF, 0x7FFFFFFF - 36]),
        extensible=st.booleans(),
    )
    @example(cuts=[1] * 200, extras=[b"odd"], size=None, extensible=False)
    def test_any_split_gives_the_audio_and_nothing_else(
        self, cuts: list[int], extras: list[bytes], size: int | None, extensible: bool
    ) -> None:
        lists = [chunk(b"LIST", extra) for extra in extras]
        data = riff(*lists, fmt(24000, extensible=extensible), *lists, chunk(b"data", AUDIO, size))
        header, out = feed(data, cuts)
        assert out == AUDIO
        assert header.format == WavFormat(24000, 1, 16, "int")
        assert not header.raw

    def test_what_follows_an_honest_length_is_dropped(self) -> None:
        data = riff(fmt(), chunk(b"data", AUDIO), chunk(b"LIST", b"INFOISFTLavf"))
        assert feed(data, [50, 1000])[1] == AUDIO

    def test_a_length_beyond_the_end_gives_what_there_is(self) -> None:
        assert feed(riff(fmt(), chunk(b"data", AUDIO, 5000)), [])[1] == AUDIO

    @given(data=st.binary(max_size=300), cuts=st.lists(st.integers(0, 9), max_size=40))
    @example(data=b"RIF", cuts=[1])
    @example(data=b"RIX", cuts=[1, 1, 1])
    def test_a_stream_without_a_header_passes_unchanged(self, data: bytes, cuts: list[int]) -> None:
        if data.startswith(b"RIFF"):
            return
        header, out = feed(data, cuts)
        assert out == data
        assert header.format is None

    @given(data=st.binary(max_size=200))
    def test_any_riff_is_read_or_refused_and_nothing_else_escapes(self, data: bytes) -> None:
        header = StreamingWavHeader()
        with suppress(InputError):
            header.feed(b"RIFF" + data)
            header.feed(b"WAVE" + fmt() + data)
            header.finish()

    @pytest.mark.parametrize(
        ("data", "words"),
        [
            (riff(chunk(b"data", AUDIO)), "no format"),
            (b"RIFF\4\0\0\0AVI \0\0", "of type 'AVI'"),
            (riff(fmt(tag=85)), "compressed"),
            (riff(fmt(bits=12)), "12 bits"),
            (riff(fmt(channels=0)), "contradicts"),
            (riff(fmt(rate=0)), "contradicts"),
            (riff(chunk(b"fmt ", b"short")), "too short"),
            (riff(chunk(b"fmt ", bytes(2000))), "too large"),
            (riff(chunk(b"fmt ", b"\xfe\xff" + bytes(38))), "extensible"),
            (riff(fmt()), "inside its header"),
            (b"RIFF", "inside its header"),
        ],
    )
    def test_what_cannot_be_read_is_refused_in_words(self, data: bytes, words: str) -> None:
        with pytest.raises(InputError, match=words):
            feed(data, [])


class TestFormats:
    @pytest.mark.parametrize(
        ("bits", "tag", "raw"),
        [
            (8, 1, bytes([128, 192, 64])),
            (16, 1, struct.pack("<3h", 0, 16384, -16384)),
            (24, 1, b"\0\0\0" + b"\0\0\x40" + b"\0\0\xc0"),
            (32, 1, struct.pack("<3i", 0, 1 << 30, -(1 << 30))),
            (32, 3, struct.pack("<3f", 0.0, 0.5, -0.5)),
            (64, 3, struct.pack("<3d", 0.0, 0.5, -0.5)),
        ],
    )
    @pytest.mark.parametrize("extensible", [False, True])
    def test_every_sample_format_means_the_same(
        self, tmp_path: Path, bits: int, tag: int, raw: bytes, extensible: bool
    ) -> None:
        path = tmp_path / "a.wav"
        path.write_bytes(riff(fmt(bits=bits, tag=tag, extensible=extensible), chunk(b"data", raw)))
        assert np.frombuffer(read_wav(path), "<i2").tolist() == [0, 16384, -16384]

    def test_channels_are_averaged_and_a_torn_sample_is_dropped(self) -> None:
        form = WavFormat(16000, 2, 16, "int")
        raw = struct.pack("<4h", 1000, 3000, -32768, -32768) + b"\1\2\3"
        assert np.frombuffer(decode(raw, form), "<i2").tolist() == [2000, -32768]

    def test_floats_out_of_range_are_clipped(self) -> None:
        form = WavFormat(16000, 1, 32, "float")
        raw = struct.pack("<5f", 2.0, -2.0, float("nan"), float("inf"), float("-inf"))
        got = np.frombuffer(decode(raw, form), "<i2").tolist()
        assert got == [32767, -32768, 0, 32767, -32768]


class TestFiles:
    @pytest.mark.parametrize("rate", [8000, 22050, 24000, 44100, 48000])
    def test_any_rate_is_read_as_16_khz(self, tmp_path: Path, rate: int) -> None:
        t = np.arange(rate) / rate
        tone = np.rint(20000 * np.sin(2 * np.pi * 440 * t)).astype("<i2")
        write_wav(tmp_path / "a.wav", tone.tobytes(), rate)
        got = np.frombuffer(read_wav(tmp_path / "a.wav"), "<i2")
        assert len(got) == 16000
        want = 20000 * np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)
        assert np.abs(got - want)[500:-500].max() < 40

    def test_what_is_written_is_read_back(self, tmp_path: Path) -> None:
        write_wav(tmp_path / "a.wav", AUDIO + b"\1")
        assert read_wav(tmp_path / "a.wav") == AUDIO
        with wave.open(str(tmp_path / "a.wav")) as file:
            assert file.getparams()[:4] == (1, 2, 16000, 500)

    def test_two_tracks_are_written_side_by_side(self, tmp_path: Path) -> None:
        write_stereo(tmp_path / "a.wav", b"\1\0\2\0\3\0", b"\5\0")
        with wave.open(str(tmp_path / "a.wav")) as file:
            assert file.getnchannels() == 2
            frames = np.frombuffer(file.readframes(9), "<i2").reshape(-1, 2)
        assert frames.tolist() == [[1, 5], [2, 0], [3, 0]]

    def test_an_empty_file_of_audio_is_empty(self, tmp_path: Path) -> None:
        write_wav(tmp_path / "a.wav", b"")
        assert read_wav(tmp_path / "a.wav") == b""

    @pytest.mark.parametrize("content", [b"", b"ID3\4", b"RIF", AUDIO])
    def test_what_is_no_wav_is_refused(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "a.wav").write_bytes(content)
        with pytest.raises(InputError, match=r"a\.wav is not a WAV file"):
            read_wav(tmp_path / "a.wav")

    def test_a_compressed_file_names_itself_and_the_way_out(self, tmp_path: Path) -> None:
        (tmp_path / "a.wav").write_bytes(riff(fmt(tag=85)))
        with pytest.raises(InputError, match=r"a\.wav: .*compressed") as caught:
            read_wav(tmp_path / "a.wav")
        assert "ffmpeg" in caught.value.hint

    def test_a_path_that_cannot_be_used_is_the_operators(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="No such file"):
            read_wav(tmp_path / "none.wav")
        with pytest.raises(InputError, match="No such file"):
            write_wav(tmp_path / "none" / "a.wav", AUDIO)
        with pytest.raises(InputError, match="directory"):
            write_stereo(tmp_path, AUDIO, AUDIO)
