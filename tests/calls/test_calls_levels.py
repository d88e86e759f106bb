"""The meters: on demand, of what may be listened to, and nowhere but to those who watch."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from switchboard_rig import rig

from teamscall.audio.dbfs import SILENCE_DBFS
from teamscall.calls.levels import Meter
from teamscall.calls.narrate import narrate
from teamscall.calls.records import AudioLevels, GateChanged
from teamscall.wire import events as wire

LOUD = np.full(320, 16384, "<i2").tobytes()  # -6 dBFS


def test_a_meter_tells_both_sides_since_the_last_look() -> None:
    meter = Meter()
    meter.heard(LOUD)
    meter.sent(LOUD)
    meter.sent(bytes(640))
    assert meter.take(listens=True) == (-6.0, -9.0)
    assert meter.take(listens=True) == (SILENCE_DBFS, SILENCE_DBFS)


def test_what_came_before_the_gate_closed_is_thrown_away() -> None:
    meter = Meter()
    meter.heard(LOUD)
    assert meter.take(listens=False)[0] is None
    assert meter.take(listens=True)[0] == SILENCE_DBFS


def test_a_peer_that_floods_costs_a_second_of_sound() -> None:
    meter = Meter()
    for _ in range(100_000):
        meter.heard(LOUD)
    assert len(meter._caller) == 50


def test_levels_reach_no_log() -> None:
    assert narrate(AudioLevels("c", 0, -6.0, -9.0)) is None


def test_levels_come_while_they_are_wanted() -> None:
    async def run() -> None:
        async with rig() as site:
            link = site.call("c1")
            await asyncio.sleep(0)
            assert not site.of(AudioLevels)
            site.board.measure_levels(True)
            site.board.measure_levels(True)  # the second time changes nothing
            await site.until(lambda: site.of(AudioLevels))  # from here on it is measured
            for seq in range(20):
                site.board.received(link, wire.AudioIn("c1", seq, LOUD))
            seen = len(site.of(AudioLevels))
            await site.until(lambda: len(site.of(AudioLevels)) > seen)
            assert max(r.caller_dbfs or -999 for r in site.of(AudioLevels)) == -6.0
            site.board.measure_levels(False)
            count = len(site.of(AudioLevels))
            assert site.board._desk.calls["c1"]._meter is None
            for seq in range(20, 40):
                site.board.received(link, wire.AudioIn("c1", seq, LOUD))
            assert not site.board._desk._ticks.on
            assert len(site.of(AudioLevels)) == count

    asyncio.run(run())


@pytest.mark.parametrize("status", ["inactive", "unknown"])
def test_a_closed_gate_lets_no_level_out(status: wire.RecordingStatus) -> None:
    async def run() -> None:
        async with rig() as site:
            link = site.standin("s1")
            site.board.received(
                link, wire.CallStarted("s1", wire.Caller(user_id="u"), recording=status)
            )
            await site.until(lambda: site.of(GateChanged) or site.board.active)
            site.board.measure_levels(True)
            await site.until(lambda: site.of(AudioLevels))
            for seq in range(20):
                site.board.received(link, wire.AudioIn("s1", seq, LOUD))
            seen = len(site.of(AudioLevels))
            await site.until(lambda: len(site.of(AudioLevels)) > seen)
            assert {record.caller_dbfs for record in site.of(AudioLevels)} == {None}
            site.board.measure_levels(False)

    asyncio.run(run())
