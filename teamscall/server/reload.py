"""Reading the configuration again while calls go on.

Owns what a change touches: at once, beside a new engine, or only after a restart. Refuses to
know files and flags (``Source.load`` does) and what the parts do with their new settings.

Rules:

1. What can fail comes first and beside what runs: loading, checking, certificates, the new
   engine. Then everything is swapped in one turn of the loop. A reload that fails has changed
   nothing.
2. A call keeps the settings and the engine that it began with. An engine is stopped once its
   last call is over.
3. One reload at a time; the next one reads the files anew.
4. A log line names keys and never a value.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import logging
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from teamscall.calls.records import Audited
from teamscall.calls.settings import CallSettings, call_settings
from teamscall.calls.switchboard import Switchboard
from teamscall.calls.tasks import Tasks
from teamscall.clock import Clock
from teamscall.config import (
    Config,
    Loaded,
    differing,
    resolved_engine,
    stamps,
    with_values_of,
)
from teamscall.config.checks import check
from teamscall.control.protocol import Reloaded
from teamscall.engines.base import Engine
from teamscall.errors import ConfigError, TeamscallError
from teamscall.policy.authorization import Policy
from teamscall.server import systemd
from teamscall.server.bridge import Bridge, Certificates
from teamscall.server.voice import (
    ENGINE_STOP_S,
    another_engine,
    fixed_phrases,
    prepare_phrases,
    stop_engine,
)
from teamscall.wire.events import Dialect

log = logging.getLogger("teamscall.bridge")

# Reading and checking takes tens of milliseconds; a disk that hangs must not hold up the next
# reload for good.
READ_S = 30.0

# A configuration with every line wrong must not fill the log.
MAX_LOGGED = 20

# What is opened once, at the start. A name that ends with a dot is a whole table.
RESTART = (
    *("serve.enabled", "serve.port", "serve.bind", "serve.path"),
    *("serve.tls_cert", "serve.tls_key"),  # the same files with new contents are read again
    *("standin.enabled", "standin.port", "standin.bind", "standin.paths"),
    *("standin.tls_cert", "standin.tls_key"),
    *("journal.enabled", "journal.path", "control.", "metrics.port", "metrics.bind"),
    *("log.format", "capture."),
)

# What an engine is made of: if any of it changes, new calls get another one. Not in it: how a
# call listens, waits and says goodbye, which is a call's own (``calls.settings``).
_MIND = (
    *("response_model", "response_system_prompt", "response.", "tools"),  # who answers, and how
    "response_timeout_ms",  # its parts give up by it
)
_LOCAL = ("offline.", "tts.speed", "tts.speakable")  # its workers are told at their start
ENGINE: Mapping[str, tuple[str, ...]] = {
    "echo": (),
    "scripted": ("scripted.",),
    "offline": (*_MIND, *_LOCAL),
    "openai": (
        *_MIND,
        *_LOCAL,  # of a fallback
        *("mode", "fallback", "openai."),  # which of its parts, where, with which key
        *("tts.", "streaming.", "realtime.", "live."),
    ),
}

# Files that are read when they are named, so that the same name may mean something new.
FILES = (
    *("scripted.path", "offline.stt_model", "offline.tts_voice", "filler.sound"),
    *("serve.tls_cert", "serve.tls_key", "standin.tls_cert", "standin.tls_key"),
)

Stamps = Mapping[str, tuple[int, int, int] | None]
Follower = Callable[[Config], None]


class Source(msgspec.Struct, frozen=True):
    """Where a configuration came from, and how to read it again. Make it with ``read``."""

    load: Callable[[], Loaded]
    loaded: Loaded
    stamps: Stamps

    @classmethod
    def read(cls, load: Callable[[], Loaded]) -> Source:
        """Load for the first time.

        Raises:
            ConfigError: with every problem found.
        """
        loaded = load()
        return cls(load, loaded, stamps(loaded.config, FILES))


class _Plan(msgspec.Struct, frozen=True):
    """A configuration that can be swapped in; only the engine is still to be built."""

    source: Source
    config: Config  # with what needs a restart as it was
    changed: tuple[str, ...]
    needs_restart: tuple[str, ...]
    policy: Policy
    settings: dict[Dialect, CallSettings]
    certificates: Certificates


class Reloading:
    """The configuration of a running bridge, and its engine; both change here alone.

    ``follow`` for everything that has settings besides calls and listeners.
    """

    def __init__(
        self,
        source: Source,
        switchboard: Switchboard,
        bridge: Bridge,
        engine: Engine,
        policy: Policy,
        clock: Clock,
    ) -> None:
        self.config = source.loaded.config
        self.engine = engine
        self._source = source
        self._switchboard = switchboard
        self._bridge = bridge
        self._policy = policy
        self._clock = clock
        self._followers: list[Follower] = []
        self._tasks = Tasks()  # engines that wait for their last call
        self._one = asyncio.Lock()
        self._ended = False

    def follow(self, follower: Follower) -> None:
        """Give ``follower`` every new configuration, in the turn in which all is swapped. It
        must not fail and takes what is there at once."""
        self._followers.append(follower)

    async def reload(self) -> Reloaded:
        """Read the configuration again and let new calls have it.

        Raises:
            ConfigError: with every problem found; nothing at all has changed.
        """
        async with self._one:
            systemd.notify_reloading()
            try:
                return await self._reload()
            except ConfigError as error:
                _log_problems(error)
                raise
            finally:
                if not self._switchboard.readiness().draining:
                    systemd.notify("READY=1")

    async def reload_on(self, signalled: asyncio.Event) -> None:
        """Reload whenever it is set, for good. What comes of it is in the log; signals that
        come during a reload are one."""
        while True:
            await signalled.wait()
            signalled.clear()
            result, detail = "error", ""
            try:
                detail = ", ".join((await self.reload()).changed)
                result = "ok"
            except ConfigError as error:
                result, detail = "reload-failed", error.message
            except Exception as error:  # a bug must not end the bridge; nothing was swapped
                log.error("The configuration could not be reloaded", exc_info=error)
            self._switchboard.tell(
                Audited("", self._clock.wall_ms(), "reload", "SIGHUP", result, detail)
            )

    async def stop(self) -> None:
        """No reload takes effect any more; engines that wait are stopped. The calls are over
        by now. The engine of new calls is left to whoever started the first one."""
        self._ended = True
        await self._tasks.wait(ENGINE_STOP_S)

    # --- beside what runs -----------------------------------------------------------

    async def _reload(self) -> Reloaded:
        engine = self.engine
        try:
            async with asyncio.timeout(READ_S):
                plan = await asyncio.to_thread(self._plan)
            if _engine_changes(self.config, plan):
                engine = await another_engine(plan.config)
            elif fixed_phrases(plan.config) != fixed_phrases(self.config):
                await prepare_phrases(engine, plan.config)
        except TimeoutError as error:
            words = f"The configuration could not be read within {READ_S:.0f} s."
            raise ConfigError(words, problems=(words,)) from error
        except ConfigError as error:
            if error.problems:
                raise
            raise ConfigError(error.message, problems=(error.message,), hint=error.hint) from error
        except TeamscallError as error:
            raise ConfigError(error.message, problems=(str(error),), hint=error.hint) from error
        if self._ended:
            if engine is not self.engine:
                await stop_engine(engine)
            raise ConfigError("The bridge stops.", problems=("the bridge stops",))
        return self._swap(plan, engine)

    def _plan(self) -> _Plan:
        """Everything but the engine. Runs in a thread, changes nothing.

        Raises:
            ConfigError, InputError, ListenError: something is wrong with it.
        """
        file = self._source.loaded.path
        if file is not None and not file.exists():
            raise _gone(file, None)
        loaded = self._source.load()
        if file is not None and loaded.path != file:
            raise _gone(file, loaded.path)
        running = self.config
        needs_restart = tuple(
            path for path in differing(running, loaded.config) if _under(path, RESTART)
        )
        config = with_values_of(loaded.config, running, needs_restart)
        if needs_restart:
            _fits_until_restart(config, loaded, needs_restart)
        source = Source(self._source.load, loaded, stamps(config, FILES))
        changed = dict.fromkeys(differing(running, config))
        for path, stamp in source.stamps.items():
            if self._source.stamps.get(path) != stamp:
                changed[path] = None
        same_rules = config.authorization == running.authorization
        return _Plan(
            source,
            config,
            tuple(changed),
            needs_restart,
            self._policy if same_rules else Policy(config.authorization),
            {
                "standin": call_settings(config, "standin"),
                "csharp": call_settings(config, "csharp"),
            },
            self._bridge.read_certificates(),
        )

    # --- in one turn of the loop -----------------------------------------------------------

    def _swap(self, plan: _Plan, engine: Engine) -> Reloaded:
        known = self._source.loaded.warnings
        before = self.engine
        self._switchboard.reconfigure(plan.config, engine, plan.policy, plan.settings)
        self._bridge.reconfigure(plan.config, plan.certificates)
        self.config, self.engine = plan.config, engine
        self._policy, self._source = plan.policy, plan.source
        for follower in self._followers:
            try:
                follower(plan.config)
            except Exception as error:  # a bug; the others have the new one already
                log.error("A part did not take the configuration", exc_info=error)
        if engine is not before:
            self._tasks.spawn(self._retire(before), f"retire {before.name}")
        _log_changes(plan, known)
        return Reloaded(
            changed=plan.changed,
            needs_restart=plan.needs_restart,
            warnings=tuple(map(str, plan.source.loaded.warnings)),  # plain, to be encoded
        )

    async def _retire(self, engine: Engine) -> None:
        with contextlib.suppress(asyncio.CancelledError):  # of a stop: then at once
            await self._switchboard.unused(engine)
        await stop_engine(engine)
        log.info("The engine of before is stopped", extra={"engine": engine.name})


def _under(path: str, names: tuple[str, ...]) -> bool:
    """Whether a key is one of ``names``, or in a table that is."""
    return any(path.startswith(name) if name.endswith(".") else path == name for name in names)


def _engine_changes(running: Config, plan: _Plan) -> bool:
    engine = resolved_engine(plan.config)
    if engine != resolved_engine(running):
        return True
    return any(_under(path, ENGINE[engine]) for path in plan.changed)


def _gone(file: Path, instead: Path | None) -> ConfigError:
    """Without the file it must not come to the defaults, or to another file by itself."""
    problem = f"{instead} would be read instead of {file}" if instead else f"{file} is gone"
    return ConfigError(
        "The configuration file is not there any more.",
        problems=(problem,),
        hint="Put it back, or restart the bridge.",
    )


def _fits_until_restart(config: Config, loaded: Loaded, needs_restart: tuple[str, ...]) -> None:
    findings = check(config, loaded.origins, datetime.date.today())
    problems = tuple(finding.line for finding in findings if finding.fatal)
    if problems:
        raise ConfigError(
            "The configuration makes sense only after a restart.",
            problems=problems,
            hint=f"Restart the bridge, which {', '.join(needs_restart)} needs.",
        )


# --- words ----------------------------------------------------------------------------


def _log_changes(plan: _Plan, known: tuple[str, ...]) -> None:
    changed = ", ".join(plan.changed) or "nothing"
    log.info("The configuration was read again", extra={"changed": changed})
    if plan.needs_restart:
        keys = ", ".join(plan.needs_restart)
        log.warning("Changed, but only a restart makes it so", extra={"keys": keys})
    fresh = [warning for warning in plan.source.loaded.warnings if warning not in known]
    for warning in fresh[:MAX_LOGGED]:
        log.warning("Configuration warning", extra={"warning": warning})


def _log_problems(error: ConfigError) -> None:
    log.error("The configuration is as it was", extra={"detail": error.message})
    for problem in error.problems[:MAX_LOGGED]:
        log.error("Configuration problem", extra={"problem": problem})
    if len(error.problems) > MAX_LOGGED:
        log.error("More problems", extra={"count": len(error.problems) - MAX_LOGGED})
