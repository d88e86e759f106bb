"""Captures that are damaged in any way: what is whole is read, and only known errors come."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from teamscall.capture import cutting, live_line, scrubbing, sound, versions
from teamscall.capture.about import about
from teamscall.capture.blocks import HEAD_BYTES, MAGIC, PREAMBLE
from teamscall.capture.listing import entries, line
from teamscall.capture.live_sides import side
from teamscall.capture.reader import Capture, read
from teamscall.capture.records import FORMAT_VERSION
from teamscall.capture.suite import Task, judge
from teamscall.errors import CaptureError

CORPUS = Path(__file__).resolve().parents[1] / "corpus"
SOURCES = ("time-limit", "outbound")  # the smallest of either dialect
WHOLE = {name: (CORPUS / f"{name}.tcap").read_bytes() for name in SOURCES}
RECORDS = {name: read(CORPUS / f"{name}.tcap").records for name in SOURCES}


def uses(capture: Capture) -> list[Callable[[], object]]:
    """All that is made of a capture."""
    return [
        lambda: about(capture),
        lambda: [line(entry) for entry in entries(capture)],
        lambda: sound.tracks(capture),
        lambda: scrubbing.scrub(capture),
        lambda: cutting.trim(capture, 0.2, 0.6),
        lambda: live_line.line(capture, silence=True),
        lambda: side(capture),
    ]


def check(path: Path, name: str) -> None:
    """Only ``CaptureError``, and what was read is the beginning of what was written."""
    judge(Task(path, name))  # raises nothing on purpose
    try:
        capture = read(path)
    except CaptureError:
        return
    assert capture.records == RECORDS[name][: len(capture.records)]
    for use in uses(capture):
        with contextlib.suppress(CaptureError):
            use()


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("damaged") / "damaged.tcap"


damages = settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])


@damages
@given(st.sampled_from(SOURCES), st.floats(0, 1))
def test_a_capture_that_is_cut_is_read_as_far_as_it_goes(
    damaged: Path, name: str, share: float
) -> None:
    damaged.write_bytes(WHOLE[name][: int(share * len(WHOLE[name]))])
    check(damaged, name)


@damages
@given(st.sampled_from(SOURCES), st.integers(0, 2**32), st.integers(1, 4))
def test_flipped_bits_are_never_taken_for_the_call(
    damaged: Path, name: str, seed: int, count: int
) -> None:
    data = bytearray(WHOLE[name])
    dice = random.Random(seed)
    for _ in range(count):
        data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
    damaged.write_bytes(data)
    check(damaged, name)


@damages
@given(st.sampled_from(SOURCES), st.integers(0, 2**32), st.binary(max_size=40))
def test_bytes_put_in_or_appended_end_the_reading_there(
    damaged: Path, name: str, seed: int, more: bytes
) -> None:
    data = WHOLE[name]
    at = random.Random(seed).randrange(len(data) + 1)
    damaged.write_bytes(data[:at] + more + data[at:])
    check(damaged, name)


@damages
@given(st.binary(max_size=200))
def test_a_file_of_anything_is_no_capture(damaged: Path, data: bytes) -> None:
    damaged.write_bytes(PREAMBLE + data)
    with pytest.raises(CaptureError):
        read(damaged)
    assert judge(Task(damaged, "x")).result == "wrong"


def test_a_block_that_promises_too_much_is_not_waited_for(damaged: Path) -> None:
    data = bytearray(WHOLE["outbound"])
    data[len(PREAMBLE) : len(PREAMBLE) + HEAD_BYTES] = b"\xff" * HEAD_BYTES
    damaged.write_bytes(data)
    with pytest.raises(CaptureError, match="damaged before its first record"):
        read(damaged)


@pytest.mark.parametrize(
    ("version", "says"),
    [(2, "has format version 2; this teamscall"), (0, "damaged in its first bytes")],
)
def test_another_version_is_one_clear_error(damaged: Path, version: int, says: str) -> None:
    data = bytearray(WHOLE["outbound"])
    data[len(MAGIC)] = version
    damaged.write_bytes(data)
    with pytest.raises(CaptureError, match=says):
        read(damaged)
    verdict = judge(Task(damaged, "x"))
    assert (verdict.result, says in verdict.error) == ("wrong", True)
    with pytest.raises(CaptureError):
        versions.version_of(damaged)


def test_an_older_version_is_brought_to_the_newest_step_by_step() -> None:
    converters = {1: lambda data: data + b"2", 2: lambda data: data + b"3"}
    assert versions.converted(b"1", 1, converters, newest=3) == b"123"
    with pytest.raises(CaptureError, match="no way from format version 3 to 4"):
        versions.converted(b"1", 1, converters, newest=4)


def test_every_older_version_has_a_converter() -> None:
    assert set(versions.CONVERTERS) == set(range(versions.OLDEST, FORMAT_VERSION))
