"""Tasks outside of a call: none is lost, and their end is bounded."""

from __future__ import annotations

import asyncio

import pytest

from teamscall.calls.tasks import Tasks


def test_what_is_done_is_forgotten() -> None:
    async def run() -> None:
        tasks = Tasks()
        tasks.spawn(asyncio.sleep(0), "short")
        assert len(tasks) == 1
        assert await tasks.wait(10.0)
        await asyncio.sleep(0)
        assert len(tasks) == 0

    asyncio.run(run())


def test_what_hangs_is_cancelled_at_the_deadline() -> None:
    async def run() -> None:
        tasks = Tasks()
        hanging = tasks.spawn(asyncio.sleep(3600), "long")
        assert not await tasks.wait(0.01)
        assert hanging.cancelled()

    asyncio.run(run())


def test_what_raises_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def fail() -> None:
        raise RuntimeError("a bug")

    async def run() -> None:
        tasks = Tasks()
        tasks.spawn(fail(), "broken")
        await tasks.wait(10.0)
        await asyncio.sleep(0)

    asyncio.run(run())
    (record,) = caplog.records
    assert record.exc_info is not None
    assert record.__dict__["task"] == "broken"
