"""The life of a worker process: order, restarts, ends. With a real process, no model."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from engines_rig import eventually, run

from teamscall.engines.offline import worker as worker_module
from teamscall.engines.offline.frames import Finished, Spoken, Synthesise
from teamscall.engines.offline.worker import MAX_DEATHS, Worker
from teamscall.errors import EngineError, MissingPackageError

Check = Callable[[Worker], Awaitable[None]]


class Told:
    def __init__(self) -> None:
        self.restarted: list[str] = []
        self.lost: list[str] = []


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    monkeypatch.setattr(worker_module, "BACKOFF_S", (0.0, 0.01))


def made(folder: Path, how: str = "well") -> tuple[Worker, Told]:
    told = Told()
    worker = Worker(
        "engines_stub_worker",
        (str(folder), how),
        stage="speak",
        threads=1,
        restarted=told.restarted.append,
        lost=told.lost.append,
    )
    return worker, told


def with_worker(folder: Path, check: Callable[[Worker, Told], Awaitable[None]]) -> None:
    async def whole() -> None:
        worker, told = made(folder)
        await worker.start()
        try:
            async with asyncio.timeout(30):
                await check(worker, told)
        finally:
            await worker.stop()
            await worker.stop()

    run(whole)


async def said(worker: Worker, text: str) -> str:
    job = worker.submit(Synthesise(0, text))
    parts = [r.pcm.decode() async for r in job.replies() if isinstance(r, Spoken)]
    return "".join(parts)


def test_answers_requests_in_order(tmp_path: Path) -> None:
    async def check(worker: Worker, told: Told) -> None:
        assert worker.about == "a stub"
        order: list[str] = []

        async def one(text: str, urgent: bool) -> None:
            job = worker.submit(Synthesise(0, text), urgent=urgent)
            order.append((await job.finished()).text)

        async with asyncio.TaskGroup() as group:
            for text, urgent in (("slow", True), ("idle", False), ("a", True), ("b", True)):
                group.create_task(one(text, urgent))
        assert order == ["slow", "a", "b", "idle"]

    with_worker(tmp_path, check)


def test_what_waits_knows_how_long(tmp_path: Path) -> None:
    async def check(worker: Worker, told: Told) -> None:
        slow = worker.submit(Synthesise(0, "slow"))
        behind = worker.submit(Synthesise(0, "b"))
        await behind.finished()
        assert behind.waited_s >= 0.2
        assert slow.waited_s < behind.waited_s

    with_worker(tmp_path, check)


def test_an_abandoned_job_is_not_started_and_not_in_the_way(tmp_path: Path) -> None:
    async def check(worker: Worker, told: Told) -> None:
        first = worker.submit(Synthesise(0, "slow"))
        unwanted = worker.submit(Synthesise(0, "unwanted"))
        unwanted.abandon()
        async for _ in first.replies():
            break  # closed early: what it still says is nobody's
        assert await said(worker, "next") == "next"
        assert not unwanted.started

    with_worker(tmp_path, check)


def test_a_failing_request_fails_alone_and_its_words_stay_inside(tmp_path: Path) -> None:
    async def check(worker: Worker, told: Told) -> None:
        with pytest.raises(EngineError, match="ValueError") as caught:
            await said(worker, "raise")
        assert "words" not in str(caught.value)
        assert await said(worker, "next") == "next"
        assert not told.restarted

    with_worker(tmp_path, check)


def test_a_dead_worker_is_restarted_and_its_request_tried_again(tmp_path: Path) -> None:
    async def check(worker: Worker, told: Told) -> None:
        before = worker.pid
        waiting = worker.submit(Synthesise(0, "die-once"))
        behind = worker.submit(Synthesise(0, "behind"))
        assert isinstance(await waiting.finished(), Finished)
        assert (await behind.finished()).text == "behind"
        assert worker.pid != before
        assert len(told.restarted) == 1
        assert worker.restarts == 1

    with_worker(tmp_path, check)


def test_a_request_that_kills_twice_fails(tmp_path: Path) -> None:
    async def check(worker: Worker, told: Told) -> None:
        with pytest.raises(EngineError, match="died twice"):
            await said(worker, "die")
        assert await said(worker, "next") == "next"

    with_worker(tmp_path, check)


def test_a_request_that_was_partly_delivered_is_not_tried_again(tmp_path: Path) -> None:
    async def check(worker: Worker, told: Told) -> None:
        with pytest.raises(EngineError, match="died"):
            await said(worker, "die-midway")
        assert len(told.restarted) == 1

    with_worker(tmp_path, check)


def test_a_worker_that_dies_while_idle_is_back_before_it_is_needed(tmp_path: Path) -> None:
    async def check(worker: Worker, told: Told) -> None:
        assert worker.pid is not None
        os.kill(worker.pid, 9)
        await eventually(lambda: bool(told.restarted))
        assert await said(worker, "hello") == "hello"

    with_worker(tmp_path, check)


def test_a_stalled_worker_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_module, "STALL_S", 0.2)

    async def check(worker: Worker, told: Told) -> None:
        with pytest.raises(EngineError):
            await said(worker, "hang")
        assert "no reply within" in told.restarted[0]
        monkeypatch.setattr(worker_module, "STALL_S", 20.0)
        assert await said(worker, "next") == "next"

    with_worker(tmp_path, check)


def test_a_worker_that_keeps_dying_is_lost(tmp_path: Path) -> None:
    async def whole() -> None:
        worker, told = made(tmp_path, "crash-later")
        await worker.start()
        with pytest.raises(EngineError):
            await said(worker, "die")
        await eventually(lambda: bool(told.lost))
        assert len(told.restarted) == MAX_DEATHS - 1
        assert worker.broken is not None
        with pytest.raises(EngineError, match="died"):
            await said(worker, "x")
        (tmp_path / "started").unlink()  # whatever was wrong is repaired
        await eventually(lambda: worker.broken is None)
        assert await said(worker, "back") == "back"
        await worker.stop()

    run(whole)


@pytest.mark.parametrize(
    ("how", "error", "message"),
    [
        ("missing", MissingPackageError, "a package is missing"),
        ("weights", EngineError, "not the one"),
        ("crash", EngineError, r"cannot load: libmodel\.so"),
    ],
)
def test_a_worker_that_cannot_work_says_why_at_the_start(
    tmp_path: Path, how: str, error: type[Exception], message: str
) -> None:
    async def whole() -> None:
        worker, _ = made(tmp_path, how)
        with pytest.raises(error, match=message):
            await worker.start()
        assert worker.pid is None

    run(whole)


def test_stopping_fails_what_waits_and_what_comes_later(tmp_path: Path) -> None:
    async def whole() -> None:
        worker, _ = made(tmp_path)
        await worker.start()
        pid = worker.pid
        assert pid is not None
        waiting = [worker.submit(Synthesise(0, "hang")), worker.submit(Synthesise(0, "b"))]
        await asyncio.sleep(0)
        await worker.stop()
        for job in [*waiting, worker.submit(Synthesise(0, "late"))]:
            with pytest.raises(EngineError):
                await job.finished()
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)

    run(whole)


def test_a_worker_ends_when_its_parent_is_gone(tmp_path: Path) -> None:
    async def whole() -> None:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "engines_stub_worker", str(tmp_path), "well"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            env=worker_module._environment(1),
        )
        assert process.stdin is not None
        process.stdin.close()
        async with asyncio.timeout(20):
            assert await process.wait() == 0

    run(whole)


def test_a_worker_gets_no_secret_and_no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-x")
    monkeypatch.setenv("TEAMSCALL_BRIDGE_SECRET", "x")
    environment = worker_module._environment(2)
    assert "OPENAI_API_KEY" not in environment
    assert "TEAMSCALL_BRIDGE_SECRET" not in environment
    assert environment["HF_HUB_OFFLINE"] == "1"
