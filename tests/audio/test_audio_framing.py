"""Framing: every byte once, in order, 640 at a time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from teamscall.audio.framing import Framer


@given(chunks=st.lists(st.binary(max_size=2000), max_size=20), size=st.sampled_from([2, 640, 960]))
def test_any_chunks_come_out_as_the_same_bytes_in_whole_frames(
    chunks: list[bytes], size: int
) -> None:
    framer = Framer(size)
    frames = [frame for chunk in chunks for frame in framer.push(chunk)]
    whole = b"".join(chunks)
    assert all(len(frame) == size for frame in frames)
    assert b"".join(frames) == whole[: len(whole) // size * size]
    assert framer.carried == len(whole) % size
    rest = framer.flush(pad=False)
    assert (rest or b"") == whole[len(whole) // size * size : len(whole) // 2 * 2]


def test_a_megabyte_byte_by_byte_edges() -> None:
    framer = Framer()
    assert framer.push(b"") == []
    assert framer.push(b"\1" * 639) == []
    assert framer.push(b"\2") == [b"\1" * 639 + b"\2"]
    assert len(framer.push(bytes(1 << 20))) == (1 << 20) // 640


def test_flush_pads_once_and_starts_afresh() -> None:
    framer = Framer()
    framer.push(b"\1\1\1")
    assert framer.flush() == b"\1\1" + bytes(638)
    assert framer.flush() is None
    framer.push(b"\1")
    assert framer.flush() is None
    assert framer.push(b"\2" * 640) == [b"\2" * 640]
