"""What the sound of an emulated call says, in its report."""

from __future__ import annotations

import asyncio

import numpy as np

from teamscall.cli.emulate_words import summary
from teamscall.cli.measures_view import as_json
from teamscall.emulator.report import Report
from teamscall.emulator.tracks import Tracks, with_measures

REPORT = Report("completed", 0, "hung up", "call-1", "ws://x", "standin", "inbound")


def tracks(max_ms: int = 10_000) -> Tracks:
    """The caller from 1 to 2 s, the bot from 2.7 to 4 s."""
    t = np.arange(80_000) / 16_000
    tone = 5000 * np.cos(2 * np.pi * 300 * t)
    sides = [
        np.where((t >= start) & (t < end), tone, 0).astype("<i2").tobytes()
        for start, end in ((1, 2), (2.7, 4))
    ]
    out = Tracks(max_ms)
    for at in range(0, len(sides[0]), 640):
        caller, bot = (side[at : at + 640] for side in sides)
        out.add(caller, bot if any(bot) else None)
    return out


def test_a_report_has_what_the_sound_says() -> None:
    report = asyncio.run(with_measures(REPORT, tracks()))
    assert report.measures is not None
    assert [round(one.latency_ms) for one in report.measures.responses] == [700]
    assert "answers   1, after 700 ms" in summary(report, {})
    body = as_json(report.measures, snake=True)
    assert round(body["responses"][0]["latency_ms"]) == 700
    assert body["bot"]["clipped_samples"] == 0


def test_of_a_call_that_is_longer_its_beginning_is_measured() -> None:
    kept = tracks(max_ms=2500)
    assert kept.truncated
    report = asyncio.run(with_measures(REPORT, kept))
    assert report.measures is not None
    assert report.measures.length_ms == 2500
    assert report.measures.responses == ()


def test_without_a_call_there_is_nothing_to_measure() -> None:
    assert asyncio.run(with_measures(REPORT, Tracks())).measures is None
    assert asyncio.run(with_measures(REPORT, None)) is REPORT
