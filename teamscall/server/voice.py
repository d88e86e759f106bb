"""The engine of the bridge, from a configuration to its end.

Owns building it beside the event loop, its fixed phrases, and the bounds on its start and
stop. Refuses to know calls.
"""

from __future__ import annotations

import asyncio
import logging

from teamscall.calls.settings import RETRY_PHRASE
from teamscall.config import Config
from teamscall.engines.base import Engine
from teamscall.engines.select import build_engine, load_packages
from teamscall.errors import EngineError

log = logging.getLogger("teamscall.bridge")

# Loading the models of a slow machine from a slow disk, and saying every fixed phrase once.
ENGINE_START_S = 120.0
# Stopping the engine, workers and all, once every call is over.
ENGINE_STOP_S = 10.0


async def another_engine(config: Config) -> Engine:
    """An engine that is ready to take calls; built while others are talking.

    Raises:
        ConfigError, InputError, EngineError, MissingPackageError: it cannot work; nothing
            of it is left.
    """
    engine: Engine | None = None
    try:
        async with asyncio.timeout(ENGINE_START_S):
            # In a thread: the first use of an engine imports its vendor's packages, which
            # held up every call for 1.2 s.
            await asyncio.to_thread(load_packages, config)
            engine = await asyncio.to_thread(build_engine, config)
            await start_engine(engine, config)
    except BaseException as error:
        if engine is not None:
            await stop_engine(engine)
        if isinstance(error, TimeoutError):
            words = f"The engine did not start within {ENGINE_START_S:.0f} s."
            raise EngineError(words) from error
        raise
    return engine


async def start_engine(engine: Engine, config: Config) -> None:
    """Start it and say every fixed phrase once. Raises: as ``Engine.start``."""
    await engine.start()
    await engine.prepare(fixed_phrases(config))


async def prepare_phrases(engine: Engine, config: Config) -> None:
    """Let an engine that is at work say the fixed phrases of another configuration once."""
    try:
        async with asyncio.timeout(ENGINE_START_S):
            await engine.prepare(fixed_phrases(config))
    except TimeoutError:  # said when they are needed, then
        log.warning("Phrases not cached: too slow", extra={"engine": engine.name})


async def stop_engine(engine: Engine) -> None:
    """Stop it, in bounded time."""
    try:
        async with asyncio.timeout(ENGINE_STOP_S):
            await engine.stop()
    except TimeoutError:
        log.error("The engine does not stop", extra={"engine": engine.name})


def fixed_phrases(config: Config) -> list[str]:
    """What callers will hear in these very words."""
    goodbye = config.goodbye
    texts = [
        config.inbound.greeting,
        goodbye.time_limit,
        goodbye.shutdown,
        goodbye.apology,
        RETRY_PHRASE,
        config.idle.reprompt if config.idle.reprompt_after_ms else "",
        config.idle.goodbye if config.idle.hangup_after_ms else "",
        *(config.filler.words if config.filler.after_ms and not config.filler.sound else ()),
    ]
    return [text for text in texts if text]
