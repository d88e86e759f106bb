"""Replays captures, several at once where that is worth it, and says how the whole suite did."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from teamscall.calls.settings import CallSettings, call_settings
from teamscall.capture.expect import read_expectations
from teamscall.capture.junit import Case, junit
from teamscall.capture.suite import Task, Verdict, captures_in, judge
from teamscall.errors import ExitCode, InputError
from teamscall.text import printable
from teamscall.wire.events import Dialect

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

# A process takes about half a second to start; so much of captures is replayed meanwhile.
WORTH_A_PROCESS_BYTES = 1_000_000


def tasks(
    places: Sequence[Path], expect: Path | None, config: Path | None, *, update: bool = False
) -> list[Task]:
    """What is to be done, in order.

    Raises:
        InputError: no capture is there, or the expectations are wrong.
        ConfigError: the configuration is.
    """
    found = captures_in(places)
    wanted = read_expectations(expect) if expect else None
    if wanted is not None and (unused := wanted.unused([name for name, _ in found])):
        names = ", ".join(printable(name, 60) for name in unused)
        raise InputError(
            f"{printable(str(expect))}: no capture here has the name {names}.",
            hint=f"There are {', '.join(printable(name, 60) for name, _ in found[:10])}.",
        )
    settings: dict[Dialect, CallSettings] | None = None
    if config is not None:
        from teamscall.config import load_config

        # Whether serve could start with it is not the question here.
        loaded = load_config(config, env=os.environ, cross_checks=False).config
        settings = {dialect: call_settings(loaded, dialect) for dialect in get_args(Dialect)}
    return [
        Task(path, name, wanted.of(name) if wanted else None, settings, update)
        for name, path in found
    ]


def wall_ms() -> int:
    """Epoch milliseconds."""
    return time.time_ns() // 1_000_000


def run(todo: Sequence[Task], *, jobs: int | None, fail_fast: bool = False) -> list[Verdict]:
    """The verdicts, in the order of the tasks; with ``fail_fast`` those up to a failure."""
    workers = min(jobs or _worth(todo), len(todo))
    with _Progress(len(todo)) as tick:
        if workers <= 1:
            verdicts: list[Verdict] = []
            for task in todo:
                verdicts.append(judge(task))
                tick()
                if fail_fast and not verdicts[-1].passed:
                    break
            return verdicts
        return _parallel(todo, workers, fail_fast, tick)


def _worth(todo: Sequence[Task]) -> int:
    size = sum(task.path.stat().st_size for task in todo if task.path.exists())
    return max(1, min(os.cpu_count() or 1, size // WORTH_A_PROCESS_BYTES))


def _parallel(
    todo: Sequence[Task], workers: int, fail_fast: bool, tick: _Progress
) -> list[Verdict]:
    done: dict[int, Verdict] = {}
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_quiet)
    try:
        left: dict[Future[Verdict], int] = {
            pool.submit(judge, task): index for index, task in enumerate(todo)
        }
        while left:
            finished, _ = wait(left, return_when=FIRST_COMPLETED)
            for future in finished:
                index = left.pop(future)
                done[index] = _result(future, todo[index])
                tick()
            if fail_fast and not all(verdict.passed for verdict in done.values()):
                break
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    return [done[index] for index in sorted(done)]


def _result(future: Future[Verdict], task: Task) -> Verdict:
    try:
        return future.result()
    except BrokenProcessPool:
        error = "The process that replayed it, or another one of the pool, died."
        return Verdict(task.path, task.name, "wrong", error=error, hint="Try it with --jobs 1.")


def _quiet() -> None:
    """Ctrl-C is the parent's business."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


class _Progress:
    """A bar on a terminal, for more than one; it leaves no trace."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> _Progress:
        if self._total > 1 and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

            self._bar = Progress(
                TextColumn("Replaying"),
                BarColumn(),
                MofNCompleteColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self._task = self._bar.add_task("", total=self._total)
            self._bar.start()
        return self

    def __call__(self) -> None:
        if self._bar is not None and self._task is not None:
            self._bar.advance(self._task)

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()


# --- the whole -----------------------------------------------------------------------


def exit_code(verdicts: Sequence[Verdict]) -> ExitCode:
    """A difference outweighs what could not be replayed."""
    results = {verdict.result for verdict in verdicts}
    if results & {"differs", "broken", "damaged"}:
        return ExitCode.FAILED
    return ExitCode.USAGE if "wrong" in results else ExitCode.OK


def write_junit(path: Path, verdicts: Sequence[Verdict], began_ms: int) -> None:
    """As ``write_cases``."""
    write_cases(path, [verdict.case() for verdict in verdicts], began_ms)


def write_cases(path: Path, cases: Sequence[Case], began_ms: int) -> None:
    """For a CI; one that was there is replaced as a whole.

    Raises:
        InputError: it cannot be written.
    """
    data = junit(cases, suite="teamscall replay", began_ms=began_ms)
    try:
        if path.exists() and not path.is_file():
            path.write_bytes(data)  # a pipe, or /dev/stdout
            return
        beside = path.with_name(f".{path.name}.{os.getpid()}")
        beside.write_bytes(data)
        beside.replace(path)
    except OSError as error:
        raise InputError(
            f"{printable(str(path))} cannot be written: {error.strerror or error}."
        ) from error
