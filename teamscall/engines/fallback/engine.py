"""The chain of engines: who is in it, and who rests because it failed too often.

Owns the lives of the engines and the order in which a call tries them. Refuses to know
what a session says (:mod:`teamscall.engines.fallback.session`) and which engines exist.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence

import msgspec

from teamscall.engines.base import CallBrief, Emit, Engine, Phrase, TurnTaking
from teamscall.engines.fallback.leg import Patience
from teamscall.engines.fallback.session import FallbackSession
from teamscall.errors import EngineError, MissingPackageError

log = logging.getLogger("teamscall.engines")


class Limits(msgspec.Struct, frozen=True):
    """How long a call waits for a session, and how often an engine may fail."""

    patience: Patience = Patience()
    failures: int = 3  # in so many calls ...
    within_s: float = 60.0  # ... in this time, an engine rests:
    rest_s: float = 30.0  # calls begin with the next one, and then try it again


class _Member:
    """An engine of the chain and how it fared lately."""

    def __init__(self, engine: Engine, limits: Limits, now: Callable[[], float]) -> None:
        self.engine = engine
        self._limits = limits
        self._now = now
        self._failed_at: deque[float] = deque(maxlen=limits.failures)
        self._rests_until = float("-inf")

    @property
    def rests(self) -> bool:
        return self._now() < self._rests_until

    def failed(self) -> None:
        """It failed in a call."""
        now = self._now()
        self._failed_at.append(now)
        often = len(self._failed_at) == self._limits.failures
        if often and now - self._failed_at[0] <= self._limits.within_s and not self.rests:
            self._rests_until = now + self._limits.rest_s
            log.warning(
                "An engine failed in several calls: the next ones begin without it",
                extra={"engine": self.engine.name, "seconds": self._limits.rest_s},
            )


class FallbackEngine:
    """Opens each call with the first of ``engines``, and goes on with the next when it fails.

    Args:
        engines: in the order they are tried; at least one.
        limits: see :class:`Limits`.
        now: the clock, for tests.
    """

    def __init__(
        self,
        engines: Sequence[Engine],
        *,
        limits: Limits | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limits = limits or Limits()
        self._all = tuple(engines)
        self._chain = [_Member(engine, self._limits, now) for engine in engines]

    @property
    def name(self) -> str:
        return self._chain[0].engine.name

    @property
    def turn_taking(self) -> TurnTaking:
        return self._chain[0].engine.turn_taking

    def describe(self) -> str:
        return ", then ".join(member.engine.describe() for member in self._chain)

    async def start(self) -> None:
        """Start every engine; one that cannot start is left out, with a warning.

        Raises:
            EngineError, MissingPackageError: none can; the first one's error.
        """
        results = await asyncio.gather(
            *(member.engine.start() for member in self._chain), return_exceptions=True
        )
        failures = [result for result in results if isinstance(result, BaseException)]
        for failure in failures:
            every = len(failures) == len(results)
            if every or not isinstance(failure, EngineError | MissingPackageError):
                await self.stop()
                raise failure
        pairs = list(zip(self._chain, results, strict=True))
        for member, result in pairs:
            if isinstance(result, EngineError | MissingPackageError):
                log.warning(
                    "An engine cannot start and is left out: %s",
                    result.message,
                    extra={"engine": member.engine.name, "hint": result.hint},
                )
                await member.engine.stop()
        self._chain = [member for member, result in pairs if result is None]

    async def stop(self) -> None:
        results = await asyncio.gather(
            *(engine.stop() for engine in self._all), return_exceptions=True
        )
        for result in results:
            if isinstance(result, BaseException):
                raise result

    def open(self, call: CallBrief, emit: Emit) -> FallbackSession:
        """Those that rest come last: better an engine that fails often than none."""
        order = sorted(self._chain, key=lambda member: member.rests)
        by_engine = {id(member.engine): member for member in order}
        return FallbackSession(
            call,
            emit,
            [member.engine for member in order],
            expected=self._chain[0].engine,
            on_failure=lambda engine: by_engine[id(engine)].failed(),
            patience=self._limits.patience,
        )

    def warm(self) -> None:
        """Only the one that the next call begins with; the others stay as they are."""
        min(self._chain, key=lambda member: member.rests).engine.warm()

    async def prepare(self, texts: Sequence[str]) -> None:
        async with asyncio.TaskGroup() as group:
            for member in self._chain:
                group.create_task(member.engine.prepare(texts))

    def phrase(self, text: str) -> Phrase | None:
        """In the first engine's voice, or else in any."""
        for member in self._chain:
            if (phrase := member.engine.phrase(text)) is not None:
                return phrase
        return None
