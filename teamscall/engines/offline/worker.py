"""The bridge's side of a worker process: one queue, one request at a time, restarts.

Owns the process's life and the order of requests. Refuses to know what is asked.

Rule 1: urgent jobs run in the order they came, across calls; the others only when no
urgent one waits.
Rule 2: a worker that dies or stalls is started again, ever later; the job it held is
tried once more if nothing of it was delivered.
Rule 3: after ``MAX_DEATHS`` in a row without a finished job everything that waits fails,
and new jobs fail at once until a later start succeeds.
Rule 4: ``stop`` leaves no process.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from pathlib import Path

from teamscall.engines.base import Stage
from teamscall.engines.offline.frames import (
    Fault,
    Finished,
    Ready,
    Refused,
    Reply,
    Request,
    Spoken,
    Synthesise,
    Transcribe,
    encode,
    read_reply,
)
from teamscall.errors import EngineError, MissingPackageError, TeamscallError
from teamscall.text import printable

log = logging.getLogger("teamscall.engines")

START_S = 60.0  # loading takes 2 s warm, much longer from a cold disk beside other work
STALL_S = 20.0  # without a reply to a request; the slowest took 1 s
MAX_DEATHS = 5
MAX_WAITING = 64  # urgent jobs: at 0.4 s each, whoever is last would wait half a minute
BACKOFF_S = (0.0, 0.5, 1.0, 2.0, 5.0, 30.0)  # before the next start, by deaths in a row
STDERR_TAIL_BYTES = 4_096
# What a worker may not know, by a part of the variable's name.
_SECRET_NAMES = ("TEAMSCALL", "SECRET", "TOKEN", "KEY", "PASSWORD")


class Job:
    """One request on its way. Made by :meth:`Worker.submit`."""

    def __init__(self, request: Transcribe | Synthesise, now: float) -> None:
        self.request = request
        self.submitted = now
        self.waited_s = 0.0
        self.started = False
        self.attempts = 0
        self.delivered = 0  # parts that its owner got
        # Bounded by what one request can make: the replies to one clause.
        self._replies: asyncio.Queue[Spoken | Finished | EngineError] = asyncio.Queue()
        self.over = False

    async def replies(self) -> AsyncGenerator[Spoken | Finished]:
        """What comes, up to and with ``Finished``. Abandoned when closed early.

        Raises:
            EngineError: the job failed.
        """
        try:
            while True:
                reply = await self._replies.get()
                if isinstance(reply, EngineError):
                    raise reply
                yield reply
                if isinstance(reply, Finished):
                    return
        finally:
            self.over = True

    async def finished(self) -> Finished:
        """Wait for the end; raises as :meth:`replies`."""
        async for reply in self.replies():
            if isinstance(reply, Finished):
                return reply
        raise EngineError("the worker gave no result")  # not reachable: the stream ends in one

    def abandon(self) -> None:
        """Nobody waits any more: it is not started, or its replies are ignored."""
        if not self.over:
            self.fail(EngineError("abandoned"))

    def give(self, reply: Spoken | Finished) -> None:
        self.delivered += 1
        if not self.over:
            self._replies.put_nowait(reply)
        self.over = self.over or isinstance(reply, Finished)

    def fail(self, error: EngineError) -> None:
        self.over = True
        self._replies.put_nowait(error)


class Worker:
    """A worker process and the jobs for it.

    Args:
        module: run with ``python -m``; a module that calls ``child.serve``.
        arguments: for it.
        stage: what a failure is attributed to.
        threads: for the numeric libraries in it.
        restarted: told of each restart, with a text that is safe to log.
        lost: told when it failed for good (for now, see rule 3).
    """

    def __init__(
        self,
        module: str,
        arguments: Sequence[str],
        *,
        stage: Stage,
        threads: int,
        restarted: Callable[[str], None] = lambda detail: None,
        lost: Callable[[str], None] = lambda detail: None,
    ) -> None:
        self.about = ""
        self.load_ms = 0
        self.pid: int | None = None
        self.restarts = 0
        self._module = module
        self._arguments = tuple(arguments)
        self._stage: Stage = stage
        self._threads = threads
        self._restarted = restarted
        self._lost = lost
        self._urgent: deque[Job] = deque()
        self._other: deque[Job] = deque(maxlen=MAX_WAITING)
        self._current: Job | None = None
        self._wake = asyncio.Event()
        self._progress = asyncio.Event()
        self._deaths = 0
        self._broken: EngineError | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._started: asyncio.Future[None] | None = None
        self._ids = 0
        self._stderr_tail = b""

    @property
    def broken(self) -> EngineError | None:
        """Why it fails every job just now (rule 3); None while it works."""
        return self._broken

    async def start(self) -> None:
        """Start the process and wait until its model is loaded.

        Raises:
            MissingPackageError, EngineError: it cannot work.
        """
        if self._keeper is not None:
            return
        loop = asyncio.get_running_loop()
        self._started = loop.create_future()
        # Lives from start to stop, which no task group spans; stop awaits it.
        self._keeper = loop.create_task(self._keep(), name=f"keeper of {self._module}")
        try:
            await self._started
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Kill the process, fail what waits. Idempotent."""
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.cancel()
            await asyncio.wait({keeper})
            if not keeper.cancelled() and (error := keeper.exception()) is not None:
                log.error("The keeper of a worker failed", exc_info=error)
        self._fail_all(EngineError("the engine was stopped", stage=self._stage))

    def submit(self, request: Request, *, urgent: bool = True) -> Job:
        """Queue a request; its id is set here. Never blocks, never raises."""
        self._ids += 1
        if isinstance(request, Transcribe):
            request = Transcribe(self._ids, request.pcm)
        else:
            request = Synthesise(self._ids, request.text)
        job = Job(request, time.monotonic())
        if self._keeper is None:
            job.fail(EngineError("the engine is not running", stage=self._stage))
        elif self._broken is not None:
            job.fail(self._broken)
        elif urgent and len(self._urgent) >= MAX_WAITING:
            job.fail(EngineError("too many turns queue", stage=self._stage))
        else:
            if not urgent and len(self._other) == MAX_WAITING:
                self._other.popleft().abandon()
            (self._urgent if urgent else self._other).append(job)
            self._wake.set()
        return job

    # --- the keeper ------------------------------------------------------------------------

    async def _keep(self) -> None:
        """One process after the other, until cancelled."""
        while True:
            end = await self._one_life()
            self._deaths += 1
            self._take_back(self._current)
            self._current = None
            gone_for_good = self._deaths >= MAX_DEATHS or not _can_retry(end)
            if self._started is not None and not self._started.done():
                # It never ran, so what is wrong is for the operator to read.
                if self._deaths > 1 or gone_for_good:
                    self._started.set_exception(end)
                    return
            elif not gone_for_good:
                self.restarts += 1
                self._restarted(f"a worker is restarted: {end.message}")
            else:
                self._fail_all(EngineError(end.message, stage=self._stage))
                if self._broken is None:
                    self._broken = EngineError(end.message, stage=self._stage)
                    self._lost(end.message)
            await asyncio.sleep(BACKOFF_S[min(self._deaths, len(BACKOFF_S)) - 1])

    async def _one_life(self) -> TeamscallError:
        """Run one process until it ends; return why. It is gone and reaped then."""
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                # Not the working directory: a stray module there must not be imported.
                *("-P", "-m", self._module, *self._arguments),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=_environment(self._threads),
                # Out of the terminal's process group: Ctrl-C is for the bridge alone.
                start_new_session=os.name == "posix",
            )
        except OSError as error:
            return EngineError(f"a worker cannot be started: {error.strerror}", retryable=True)
        self.pid = process.pid
        self._stderr_tail = b""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._drain(process))
                group.create_task(self._serve(process, group))
        except BaseExceptionGroup as failures:
            ends, bugs = failures.split(TeamscallError)
            if bugs is not None or ends is None:
                raise
            return _first(ends)
        finally:
            self.pid = None
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
            # The transport closes its pipes in a callback; a loop that stops first warns.
            process._transport.close()  # type: ignore[attr-defined]
        return EngineError("a worker ended", retryable=True)

    async def _serve(self, process: asyncio.subprocess.Process, group: asyncio.TaskGroup) -> None:
        try:
            async with asyncio.timeout(START_S):
                first = await self._read(process)
        except TimeoutError:
            raise self._death(f"not loaded within {START_S:g} s") from None
        match first:
            case Refused(kind="missing-package", message=message, hint=hint):
                raise MissingPackageError(message, hint=hint)
            case Refused(message=message, hint=hint):
                raise EngineError(message, hint=hint, stage=self._stage)
            case Ready(about=about, load_ms=load_ms):
                self.about, self.load_ms = about, load_ms
            case _:
                raise self._death("it spoke before it was ready")
        self._broken = None
        if self._started is not None and not self._started.done():
            self._started.set_result(None)
        group.create_task(self._deliver(process))
        while True:
            job = await self._next_job()
            await self._do(process, job)

    async def _next_job(self) -> Job:
        while True:
            for queue in (self._urgent, self._other):
                while queue:
                    job = queue.popleft()
                    if not job.over:
                        return job
            self._wake.clear()
            await self._wake.wait()

    async def _do(self, process: asyncio.subprocess.Process, job: Job) -> None:
        assert process.stdin is not None
        self._current = job
        job.started = True
        job.attempts += 1
        job.waited_s = time.monotonic() - job.submitted
        try:
            process.stdin.write(encode(job.request))
            while self._current is job:
                self._progress.clear()
                async with asyncio.timeout(STALL_S):
                    await process.stdin.drain()
                    await self._progress.wait()
        except TimeoutError:
            raise self._death(f"no reply within {STALL_S:g} s") from None
        except ConnectionError:
            raise self._death("its pipe is closed") from None

    async def _deliver(self, process: asyncio.subprocess.Process) -> None:
        """Hand replies to the job they belong to; notices a death also while idle."""
        while True:
            reply = await self._read(process)
            job = self._current
            if job is None or isinstance(reply, Ready | Refused) or reply.id != job.request.id:
                raise self._death("a reply to nothing")
            if isinstance(reply, Fault):
                job.fail(EngineError(f"a worker failed: {reply.message}", stage=self._stage))
            else:
                job.give(reply)
            if not isinstance(reply, Spoken):
                self._current = None
                self._deaths = 0
            self._progress.set()

    async def _read(self, process: asyncio.subprocess.Process) -> Reply:
        assert process.stdout is not None
        try:
            return await read_reply(process.stdout)
        except EOFError:
            raise self._death(self._last_words()) from None
        except (ValueError, ConnectionError):
            raise self._death("its pipe holds garbage") from None

    async def _drain(self, process: asyncio.subprocess.Process) -> None:
        """Keep stderr from filling up; remember its end."""
        assert process.stderr is not None
        while data := await process.stderr.read(STDERR_TAIL_BYTES):
            self._stderr_tail = (self._stderr_tail + data)[-STDERR_TAIL_BYTES:]

    def _last_words(self) -> str:
        # Only before a request was sent: afterwards stderr might quote a caller.
        started = self._started is not None and self._started.done()
        if started or not (lines := self._stderr_tail.strip().splitlines()):
            return "its process died"
        return "its process died: " + printable(lines[-1].decode(errors="replace"))

    def _death(self, why: str) -> EngineError:
        part = "recogniser" if self._stage == "hear" else "voice"
        return EngineError(f"the {part}: {why}", stage=self._stage, retryable=True)

    def _take_back(self, job: Job | None) -> None:
        """The job that a dead worker held: once more if nothing of it was delivered."""
        if job is None or job.over:
            return
        if job.attempts < 2 and not job.delivered:
            self._urgent.appendleft(job)
        else:
            job.fail(self._death("its process died twice over one request"))

    def _fail_all(self, error: EngineError) -> None:
        job, self._current = self._current, None
        if job is not None and not job.over:
            job.fail(error)
        for queue in (self._urgent, self._other):
            while queue:
                job = queue.popleft()
                if not job.over:
                    job.fail(error)


def _can_retry(error: TeamscallError) -> bool:
    return isinstance(error, EngineError) and error.retryable


def _first(group: BaseExceptionGroup[TeamscallError]) -> TeamscallError:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, TeamscallError)
    return error


def _environment(threads: int) -> dict[str, str]:
    """Ours, without secrets, without a way to a model hub, with ``teamscall`` importable."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not any(part in name.upper() for part in _SECRET_NAMES)
    }
    home = str(Path(__file__).resolve().parents[3])
    path = [home, *filter(None, kept.get("PYTHONPATH", "").split(os.pathsep))]
    return kept | {
        "PYTHONPATH": os.pathsep.join(path),
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "OMP_NUM_THREADS": str(threads),
    }
