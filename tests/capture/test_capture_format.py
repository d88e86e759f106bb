"""Captures on disk: what is written is read, and what is broken is read as far as it goes."""

from __future__ import annotations

import typing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from teamscall.capture import reader, records
from teamscall.capture.blocks import MAX_PAYLOAD, PREAMBLE, encode_record, pack
from teamscall.capture.reader import read
from teamscall.capture.records import (
    Closed,
    Did,
    Dropped,
    DropWhy,
    Event,
    Frame,
    Header,
    Record,
    Source,
    Step,
    Way,
)
from teamscall.capture.writer import write
from teamscall.errors import CaptureError

HEADER = Header(
    1, "0.1", "csharp", "c1", "inbound", "bridge", "full", "because", 1_700_000_000_000, 5.0
)
CLOSED = Closed(9.0, "ended")

times = st.floats(allow_nan=False, allow_infinity=False)
names = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
integers = st.integers(-(2**63), 2**64 - 1)
plain = st.none() | st.booleans() | integers | times | names | st.binary(max_size=50)
values = st.recursive(
    plain, lambda v: st.lists(v, max_size=3) | st.dictionaries(names, v, max_size=3), max_leaves=8
)
fields = st.dictionaries(names, values, max_size=5)
lengths = st.dictionaries(names, st.integers(0, 2**40), max_size=3)
events = st.builds(Event, names, fields, lengths)
several = st.lists(
    st.builds(
        Frame,
        times,
        st.sampled_from(typing.get_args(Way)),
        st.binary(max_size=2000),
        st.integers(0, 2**40),
        st.integers(0, 2**40),
        st.sampled_from(["", "bridge", "emulator"]),
    )
    | st.builds(
        Step,
        times,
        st.sampled_from(typing.get_args(Source)),
        st.integers(-1, 2**40),
        st.none() | events,
    )
    | st.builds(Did, names, fields, lengths)
    | st.builds(Dropped, times, st.integers(1, 2**40), st.sampled_from(typing.get_args(DropWhy))),
    max_size=12,
)


def in_blocks(groups: list[list[Record]]) -> bytes:
    return PREAMBLE + b"".join(pack([encode_record(r) for r in group]) for group in groups)


@given(several)
def test_any_record_is_read_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, some: list[Record]
) -> None:
    path = tmp_path_factory.mktemp("captures") / "a.tcap"
    write(path, HEADER, [*some, CLOSED])
    capture = read(path)
    assert capture.damage is None
    assert capture.header == HEADER
    assert list(capture.records) == [*some, CLOSED]
    assert capture.good_bytes == capture.file_bytes == path.stat().st_size


GROUPS: list[list[Record]] = [
    [HEADER, Frame(5.0, "in", b'{"type":"ping","callId":"c1"}', 0, 0)],
    [Step(5.0, "shell", -1, Event(records.OPEN, {})), Did("CallOpened", {"call_id": "c1"})],
    [Frame(6.0, "out", b"x" * 300, 0, 1), Dropped(7.0, 3, "queue")],
    [CLOSED],
]
WHOLE = in_blocks(GROUPS)
ENDS = [len(in_blocks(GROUPS[:n])) for n in range(len(GROUPS) + 1)]


def check_prefix(path: Path, data: bytes, whole_groups: int) -> None:
    path.write_bytes(data)
    if whole_groups == 0:
        with pytest.raises(CaptureError):
            read(path)
        return
    capture = read(path)
    expected = [record for group in GROUPS[:whole_groups] for record in group]
    assert [capture.header, *capture.records] == expected
    assert capture.good_bytes == ENDS[whole_groups]
    if data != WHOLE:
        assert capture.damage is not None
        assert f"at byte {ENDS[whole_groups]} of {len(data)}" in capture.damage


def test_a_file_cut_at_any_byte_is_read_up_to_its_last_whole_block(tmp_path: Path) -> None:
    for cut in range(len(WHOLE) + 1):
        whole = max(n for n, end in enumerate(ENDS) if end <= max(cut, ENDS[0]))
        check_prefix(tmp_path / "a.tcap", WHOLE[:cut], whole)


def test_a_file_with_any_bit_flipped_is_read_up_to_the_block_before(tmp_path: Path) -> None:
    for byte in range(len(WHOLE)):
        for bit in range(8):
            data = bytearray(WHOLE)
            data[byte] ^= 1 << bit
            whole = max([n for n, end in enumerate(ENDS) if end <= byte], default=0)
            check_prefix(tmp_path / "a.tcap", bytes(data), whole)


@settings(max_examples=300)
@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_are_read_or_refused_with_the_one_documented_error(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, sealed: bool
) -> None:
    """``sealed``: a block whose checksum is right and whose content is not."""
    path = tmp_path_factory.mktemp("captures") / "a.tcap"
    path.write_bytes(WHOLE[: ENDS[1]] + (pack([data]) if sealed else data))
    try:
        assert read(path).damage is not None
    except CaptureError as error:
        pytest.fail(f"the first block was whole: {error}")
    path.write_bytes(data)
    with pytest.raises(CaptureError):
        read(path)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is no capture"),
        (b"RIFF....", "is no capture"),
        (b"TCAP", "cut short"),
        (PREAMBLE, "it is empty"),
        (b"TCAP\x02\n", "format version 2"),
        (b"TCAP\x01\r", "damaged in its first bytes"),
        (in_blocks([[CLOSED]]), "a header is missing"),
        (PREAMBLE + pack([]), "a block is empty"),
    ],
)
def test_what_is_no_capture_is_refused_with_the_reason(
    tmp_path: Path, data: bytes, said: str
) -> None:
    path = tmp_path / "a.tcap"
    path.write_bytes(data)
    with pytest.raises(CaptureError, match=said):
        read(path)


@pytest.mark.parametrize(
    ("groups", "said"),
    [
        ([[HEADER], [HEADER, CLOSED]], "second header"),
        ([[HEADER, CLOSED], [CLOSED]], "more after the end"),
        ([[HEADER], [CLOSED, Dropped(1.0, 1, "queue")]], "more after the end"),
        ([[HEADER], [Closed(float("nan"), "x")]], "impossible time"),
    ],
)
def test_records_out_of_their_order_end_the_reading(
    tmp_path: Path, groups: list[list[Record]], said: str
) -> None:
    path = tmp_path / "a.tcap"
    path.write_bytes(in_blocks(groups))
    assert said in (read(path).damage or "")


def test_a_block_that_unpacks_to_more_than_any_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "a.tcap"
    bomb = pack([b"\x00" * (MAX_PAYLOAD + 1)])
    path.write_bytes(WHOLE[: ENDS[1]] + bomb)
    assert "impossible" in (read(path).damage or "")


@pytest.mark.parametrize("count", [1, 2_000])
def test_a_file_that_unpacks_to_far_more_than_any_call_is_read_no_further(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    """Many bombs, each small enough: of long records, or of a great many."""
    monkeypatch.setattr(reader, "ROOM_BYTES", 1_000_000)
    monkeypatch.setattr(reader, "ROOM_PER_BYTE", 10)
    path = tmp_path / "a.tcap"
    length = 600_000 // count
    bomb: list[Record] = [Frame(6.0, "in", bytes(length), 0, 0)] * count
    path.write_bytes(in_blocks([[HEADER], *[bomb] * 10]))
    capture = read(path)
    assert "far more than any call" in (capture.damage or "")
    assert len(capture.records) < 5 * count


def test_what_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match=r"cannot be read: No such file"):
        read(tmp_path / "none.tcap")
    with pytest.raises(CaptureError, match="cannot be read"):
        read(tmp_path)
