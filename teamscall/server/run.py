"""Puts the rooms together into one running bridge, and ends it in order.

Owns start-up order, signals, the drain and the wiring of watchers (log, journal). Every
rule lives elsewhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from teamscall import __version__
from teamscall.calls.narrate import narrate
from teamscall.calls.records import CallRecord
from teamscall.calls.switchboard import Switchboard
from teamscall.calls.tasks import Tasks
from teamscall.capture.writer import Counts
from teamscall.clock import Clock, SystemClock
from teamscall.config import Config
from teamscall.engines.base import Engine
from teamscall.engines.select import build_engine
from teamscall.errors import ExitCode
from teamscall.journal.kept import Kept
from teamscall.journal.store import Journal, default_path
from teamscall.metrics.exposing import Metrics
from teamscall.outbound.placing import Outbound
from teamscall.policy.authorization import Policy
from teamscall.server import systemd
from teamscall.server.bridge import Bridge, Listening
from teamscall.server.capturing import capturing
from teamscall.server.door import Door
from teamscall.server.lock import sole_use
from teamscall.server.measuring import model_names, readings
from teamscall.server.operating import the_door
from teamscall.server.reload import Reloading, Source
from teamscall.server.voice import start_engine, stop_engine
from teamscall.webhooks.hooks import Webhooks
from teamscall.webhooks.undelivered import Teller

log = logging.getLogger("teamscall.bridge")

# Tasks and threads that are still there when nothing is left to do.
EXIT_S = 3.0


class Running:
    """A bridge that is up.

    ``config`` and ``engine`` are what new calls get now. ``reloading`` is None where the
    configuration cannot be read again. ``door`` is None without ``control.enabled``.
    """

    def __init__(
        self,
        config: Config,
        switchboard: Switchboard,
        bridge: Bridge,
        engine: Engine,
        listening: tuple[Listening, ...],
        journal: Journal | None,
        outbound: Outbound,
        webhooks: Webhooks,
        reloading: Reloading | None = None,
    ) -> None:
        self.config = config
        self.switchboard = switchboard
        self.bridge = bridge
        self.engine = engine
        self.listening = listening
        self.journal = journal
        self.outbound = outbound
        self.webhooks = webhooks
        self.reloading = reloading
        self.door: Door | None = None
        if reloading is not None:
            reloading.follow(self._reconfigure)

    def _reconfigure(self, config: Config) -> None:
        assert self.reloading is not None
        self.config, self.engine = config, self.reloading.engine
        self.outbound.reconfigure(config)
        self.outbound.tell_undelivered = Teller(config.outbound)
        self.webhooks.reconfigure(config)
        if self.journal is not None:
            self.journal.reconfigure(
                retention_days=config.journal.retention_days,
                max_mb=config.journal.max_mb,
                transcripts=config.journal.transcripts,
            )


@contextlib.asynccontextmanager
async def running(
    config: Config,
    *,
    clock: Clock | None = None,
    engine: Engine | None = None,
    source: Source | None = None,
    capture: Path | None = None,
) -> AsyncIterator[Running]:
    """A bridge that answers calls from enter to exit; the exit drains it.

    Models are loaded and phrases synthesised before a port opens, so the first call finds
    everything warm. ``source``: where ``config`` came from, if it can be read again.
    ``capture``: the file that its one call, an emulated one, goes to.

    Raises:
        ConfigError, ListenError, EngineError, MissingPackageError: it cannot start.
    """
    clock = clock or SystemClock()
    engine = engine or build_engine(config)
    reloading: Reloading | None = None

    async def stop_current_engine() -> None:
        await stop_engine(engine if reloading is None else reloading.engine)

    async with contextlib.AsyncExitStack() as stack:
        journal: Journal | None = None
        if config.journal.enabled:
            path = Path(config.journal.path) if config.journal.path else default_path()
            stack.enter_context(sole_use(path))
            journal = _open_journal(config, path, clock)
            stack.callback(journal.close, 5.0)
        stack.push_async_callback(stop_current_engine)
        await start_engine(engine, config)
        policy = Policy(config.authorization)
        switchboard = Switchboard(config, engine, policy, clock)
        switchboard.watch(_log_record)
        if journal is not None:
            switchboard.watch(journal.record)
        metrics = Metrics(
            __version__,
            engine=engine.name,
            models=model_names(config),
            read=lambda: readings(
                switchboard, bridge, up.config, journal, outbound, webhooks, up.door, captures
            ),
        )
        switchboard.watch(metrics.record)
        webhooks, telling = Webhooks(config, clock), Tasks()
        switchboard.watch(webhooks.record)
        telling.spawn(webhooks.run(), "webhooks")
        stack.push_async_callback(telling.wait, 1.0)
        stack.push_async_callback(webhooks.stop)  # the ends of calls are told too
        undelivered = Teller(config.outbound, clock)
        outbound = Outbound(config, switchboard, Kept(journal), clock, undelivered)
        bridge = Bridge(config, switchboard, clock)
        captures: Counts | None = None
        if config.capture.dir or capture is not None:
            taps = capturing(config.capture, switchboard, bridge, emulated=capture)
            captures = await stack.enter_async_context(taps)
        if source is not None:
            reloading = Reloading(source, switchboard, bridge, engine, policy, clock)
            stack.push_async_callback(reloading.stop)
        stack.push_async_callback(bridge.stop)
        await outbound.prepare()  # a leg may come with the first socket
        listening = await bridge.start()
        stack.push_async_callback(outbound.stop)  # what the drain ended goes to the disk
        stack.push_async_callback(switchboard.drain, 0.0)
        stack.push_async_callback(outbound.stop)  # what rings is hung up
        await outbound.start()
        up = Running(
            config, switchboard, bridge, engine, listening, journal, outbound, webhooks, reloading
        )
        bridge.expose(metrics.text)
        if reloading is not None:
            reloading.follow(lambda new: metrics.allow_models(model_names(new)))
        if config.control.enabled:
            up.door = the_door(
                config,
                switchboard=switchboard,
                outbound=outbound,
                bridge=bridge,
                listening=listening,
                engine=lambda: up.engine,
                journal=journal,
                reloading=reloading,
                path=source.loaded.path if source else None,
                clock=clock,
            )
            stack.push_async_callback(up.door.stop)
            await up.door.start()
        yield up


async def serve(
    config: Config,
    *,
    on_ready: Callable[[Running], None] | None = None,
    source: Source | None = None,
) -> ExitCode:
    """Answer calls until SIGTERM or SIGINT, then drain; a second signal exits at once.

    A signal that comes before it is up ends the start. With a ``source``, SIGHUP reads the
    configuration again, also where it comes because a terminal went away. Returns OK, or
    INTERRUPTED for a SIGINT during the start.

    Raises: as ``running``.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    assert task is not None
    signals = (signal.SIGTERM, signal.SIGINT)
    up = False
    early: signal.Signals | None = None

    def first(which: signal.Signals) -> None:
        nonlocal early
        if not up:
            early = which
            task.cancel()
            return
        for number in signals:
            loop.remove_signal_handler(number)
            signal.signal(number, _exit_at_once)
        # Said only now: whoever reads it may send the second one at once.
        log.info(
            "Draining: no new calls; a second signal exits at once",
            extra={"signal": which.name},
        )
        stop.set()

    reload_asked = asyncio.Event()
    with contextlib.suppress(NotImplementedError):  # Windows: Ctrl-C interrupts run()
        for number in signals:  # before the start: a container's process 1 has no default
            loop.add_signal_handler(number, first, number)
        if source is not None:  # during the start it waits until that is over
            loop.add_signal_handler(signal.SIGHUP, reload_asked.set)
    try:
        async with running(config, source=source) as bridge:
            up = True
            if on_ready is not None:
                on_ready(bridge)
            systemd.notify("READY=1")
            async with asyncio.TaskGroup() as beat:
                background = [beat.create_task(_heartbeat())]
                if bridge.reloading is not None:
                    following = bridge.reloading.reload_on(reload_asked)
                    background.append(beat.create_task(following))
                await stop.wait()
                systemd.notify("STOPPING=1")
                # It beats on: the watchdog must not cut a drain short.
                beat.create_task(bridge.outbound.stop())
                await asyncio.sleep(0)  # it hangs up what rings before calls are drained
                await bridge.switchboard.drain(float(bridge.config.shutdown.drain_seconds))
                for one in background:
                    one.cancel()
    except asyncio.CancelledError:
        if early is None:
            raise
        log.info("Stopped before it answered", extra={"signal": early.name})
        return ExitCode.INTERRUPTED if early == signal.SIGINT else ExitCode.OK
    log.info("Stopped")
    return ExitCode.OK


def serve_process(
    config: Config,
    *,
    on_ready: Callable[[Running], None] | None = None,
    source: Source | None = None,
) -> ExitCode:
    """``serve`` as the whole of this process, which ends even if something in it does not.

    asyncio waits for good for a task that swallows its cancellation (an engine's session)
    and for a thread that hangs; by then the calls are over and the journal is closed, so
    the process exits under them.

    Raises: as ``running``.
    """
    exit_anyway = threading.Timer(EXIT_S, _exit_anyway)
    exit_anyway.daemon = True
    with asyncio.Runner() as runner:
        code = runner.run(serve(config, on_ready=on_ready, source=source))
        exit_anyway.start()
    exit_anyway.cancel()
    return code


def _exit_anyway() -> None:
    log.error("Something does not end: the process exits without it")
    os._exit(0)


async def _heartbeat() -> None:
    interval = systemd.watchdog_interval_s()
    while interval:
        systemd.notify("WATCHDOG=1")
        await asyncio.sleep(interval)


def _exit_at_once(number: int, frame: object) -> None:
    """A second signal. No clean-up may hold it up: workers end with their pipes, sockets
    with the process, and the journal says ``interrupted`` at the next start."""
    os._exit(128 + number)


def _open_journal(config: Config, path: Path, clock: Clock) -> Journal:
    journal = Journal(
        path,
        clock,
        warn=_warn_of_journal,
        retention_days=config.journal.retention_days,
        max_mb=config.journal.max_mb,
        transcripts=config.journal.transcripts,
    )
    journal.open()
    return journal


def _warn_of_journal(detail: str) -> None:
    log.warning("Journal", extra={"detail": detail})


def _log_record(record: CallRecord) -> None:
    if (line := narrate(record)) is not None:
        logging.getLogger("teamscall.call").log(line.level, line.message, extra=line.fields)
