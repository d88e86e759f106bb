"""The golden samples: raw text on one side, the event or the refusal on the other.

``tests/golden/<dialect>.jsonl`` has one sample per line: name, direction, raw text, and
what must be read from it. ``exact``: the event encodes to that very text again.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import pytest

from teamscall.wire import csharp, events, standin

GOLDEN = Path(__file__).parent.parent / "golden"
PATH_ID = "path-id"  # what StandIn's messages do not carry themselves


def samples() -> list[Any]:
    cases = []
    for dialect in (csharp, standin):
        name = dialect.__name__.rpartition(".")[2]
        for line in (GOLDEN / f"{name}.jsonl").read_text("utf-8").splitlines():
            sample = json.loads(line)
            cases.append(pytest.param(dialect, sample, id=f"{name}: {sample['name']}"))
    return cases


def codec(dialect: ModuleType, direction: str) -> tuple[Callable[..., Any], Callable[..., Any]]:
    if direction == "from-gateway":
        return dialect.decode_from_gateway, dialect.encode_from_gateway
    return dialect.decode_to_gateway, dialect.encode_to_gateway


def expected_event(expected: dict[str, Any]) -> object:
    fields = {k: v for k, v in expected.items() if k != "event"}
    return msgspec.convert(fields, getattr(events, expected["event"]))


@pytest.mark.parametrize(("dialect", "sample"), samples())
def test_a_golden_sample_reads_and_writes_as_recorded(
    dialect: ModuleType, sample: dict[str, Any]
) -> None:
    decode, encode = codec(dialect, sample["direction"])
    expected = sample["expected"]
    for data in (sample["raw"], sample["raw"].encode()):
        got = decode(data, call_id=PATH_ID)
        if "dropped" in expected:
            assert isinstance(got, events.Dropped), got
            assert got.cause == expected["dropped"]
            assert got.detail == expected.get("detail", got.detail)
        else:
            assert got == expected_event(expected)
    if sample.get("exact"):
        assert encode(expected_event(expected)).decode() == sample["raw"]
