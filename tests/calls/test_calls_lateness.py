"""How late frames left: what is counted, and that a held-up loop is seen in it."""

from __future__ import annotations

import asyncio
import time

import pytest
from switchboard_rig import SCRIPT, rig

from teamscall.calls.lateness import BOUNDS_S, Lateness
from teamscall.config import Inbound
from teamscall.engines.scripted import ScriptedEngine

GREETING = Inbound(greeting="One two three four five six seven eight nine ten.")


def test_frames_that_leave_together_were_due_a_frames_length_apart() -> None:
    lateness = Lateness()
    lateness.note(0.05, 4)
    found = {bound: n for bound, n in zip((*BOUNDS_S, None), lateness.counts, strict=True) if n}
    assert found == {0.001: 1, 0.02: 1, 0.04: 1, 0.06: 1}
    assert lateness.total_s == pytest.approx(0.05 + 0.03 + 0.01)


def test_what_is_later_than_every_bound_is_in_the_last_bucket() -> None:
    lateness = Lateness()
    lateness.note(BOUNDS_S[-1], 1)
    lateness.note(9.0, 1)
    assert lateness.counts[-2:] == [1, 1]


def test_a_loop_that_was_held_up_is_seen() -> None:
    async def play(stall_s: float) -> list[int]:
        async with rig(ScriptedEngine(SCRIPT), inbound=GREETING) as site:
            link = site.csharp()
            site.call("c1", link)
            await site.until(lambda: sum(site.board.lateness.counts) >= 3)
            before = list(site.board.lateness.counts)
            time.sleep(stall_s)  # noqa: ASYNC251  (it is meant to hold up the loop)
            await site.until(lambda: sum(site.board.lateness.counts) > sum(before))
            after = site.board.lateness.counts
            return [b - a for a, b in zip(before, after, strict=True)]

    late = asyncio.run(play(0.3))
    beyond = [n for bound, n in zip((*BOUNDS_S, 9.0), late, strict=True) if bound > 0.16]
    assert sum(beyond) > 0


def test_what_leaves_before_its_deadline_is_not_late() -> None:
    async def play() -> int:
        async with rig(ScriptedEngine(SCRIPT), inbound=GREETING) as site:
            site.call("c1", site.csharp())
            return sum(site.board.lateness.counts)

    # The first frames left in the moment in which there was something to say.
    assert asyncio.run(play()) == 0
