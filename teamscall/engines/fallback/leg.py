"""One engine's session while it serves a call, or is let go of.

Owns how long a call waits for it, and its end: whatever way a session ends, it is said in
words that are safe to log, and it is closed in bounded time. Refuses to know why the call
moves on.
"""

from __future__ import annotations

import asyncio
import logging

import msgspec

from teamscall.engines.base import Engine, EngineCommand, EngineSession, TurnTaking
from teamscall.errors import TeamscallError

log = logging.getLogger("teamscall.engines")


class Patience(msgspec.Struct, frozen=True):
    """How long a call waits for its engines, in seconds."""

    # For a session to get ready, shared by all that are tried in a row but the last: a call
    # waits 10 s in all (calls' ENGINE_READY_S), and a vendor that is up needs one or two.
    ready: float = 6.0
    # For a transcript, while another engine could hear what was said: a recogniser that
    # stalls is given the time to notice, to dial again and to be sent it once more.
    final: float = 6.0
    close: float = 1.0  # for a session to let go; then it is cancelled


class Leg:
    """One engine's session in the call.

    Attributes:
        session: None if it could not be opened.
        error: what its ``run`` raised.
        since: the turn at which the history ended that it was opened with.
        base: what its own utterance numbers begin after.
        turns: that it was told of.
        misses: utterances in a row that it failed to hear.
        failed: it did, and that was counted. told: the call was told that it is dead.
        lost: the call has moved on.
        news: it is ready, or over. over: lost, or ``run`` has ended.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.session: EngineSession | None = None
        self.task: asyncio.Task[None] | None = None
        self.error: Exception | None = None
        self.turn_taking: TurnTaking = engine.turn_taking
        self.direct = False
        self.since = self.base = self.misses = 0
        self.turns: set[int] = set()
        self.ready = self.failed = self.told = self.lost = False
        self.news = asyncio.Event()
        self.over = asyncio.Event()

    @property
    def name(self) -> str:
        return self.engine.name

    def tell(self, command: EngineCommand) -> None:
        assert self.session is not None
        self.session.submit(command)

    async def outcome(self) -> str:
        """Run the session; how it ended. Raises only our own cancellation."""
        assert self.session is not None
        try:
            await self.session.run()
        except asyncio.CancelledError:
            if (task := asyncio.current_task()) is None or task.cancelling():
                raise
            return "the session cancelled itself"
        except Exception as error:
            self.error = error
            if isinstance(error, TeamscallError):
                return error.message
            log.error("An engine failed in its own task", exc_info=error)
            return type(error).__name__
        return "the session ended by itself"

    async def let_go(self, seconds: float) -> None:
        """Close it, for at most ``seconds``, then cancel what is left of it."""
        try:
            if self.session is not None:
                async with asyncio.timeout(seconds):
                    await self.session.close()
        except TimeoutError:
            log.warning("An engine's session does not close", extra={"engine": self.name})
        except Exception as error:
            log.error("An engine's session failed to close", exc_info=error)
        finally:
            if self.task is not None:
                self.task.cancel()
