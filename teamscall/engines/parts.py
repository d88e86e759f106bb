"""The three parts that a cascade is made of: an ear, a mind and a mouth.

Owns their protocols and the small structs between them. Refuses to know who implements
them (offline workers, OpenAI, a script) and how a session strings them together
(:mod:`teamscall.engines.cascade`).

Rule for every part: what fails raises :class:`teamscall.errors.EngineError`, whose
message is safe to log (no key, none of the caller's words). Any other exception is a bug
and fails the call.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Protocol

import msgspec

from teamscall.engines.base import (
    BeginUtterance,
    CallBrief,
    CommitUtterance,
    DiscardHeard,
    EngineUsage,
    Hear,
    Line,
    PeekUtterance,
)

__all__ = ["Ear", "EarCommand", "Line", "Mind", "Mouth", "Question", "Speech", "Thought"]

EarCommand = Hear | BeginUtterance | PeekUtterance | CommitUtterance | DiscardHeard


class Question(msgspec.Struct, frozen=True):
    """What a mind is asked: ``text`` the caller said, or one ``digit`` that was pressed.

    ``turns``: the turn of each line of ``history``, for a mind that remembers more of a
    turn than its words; negative: said before this session. ``confirmed``: set once the
    caller is known to have finished; None if that was never in doubt.
    """

    call: CallBrief
    turn: int
    text: str = ""
    digit: str = ""
    history: tuple[Line, ...] = ()  # before this question, oldest first
    turns: tuple[int, ...] = ()
    confirmed: asyncio.Event | None = None

    async def until_confirmed(self) -> None:
        """Wait here before anything that has an effect on the world: a question may be
        half of one, asked ahead of time, and its answer be thrown away."""
        if self.confirmed is not None:
            await self.confirmed.wait()


class Thought(msgspec.Struct, frozen=True):
    """More of an answer. ``end_call``: hang up once the answer has been heard.

    ``usage``: what was used for it. ``busy``: what comes next may take as long as a first
    thought, because a tool is at work.
    """

    text: str = ""
    end_call: bool = False
    usage: EngineUsage | None = None
    busy: bool = False


class Speech(msgspec.Struct, frozen=True):
    """Some s16le mono PCM; any number of bytes, a sample may be split between two."""

    pcm: bytes
    rate: int


class Ear(Protocol):
    """Hears one call. Opened with the ``emit`` that takes its events."""

    async def run(self) -> None:
        """Serve until cancelled: emits ``EngineReady`` once it hears, then ``Transcript``
        (and ``SpeechStarted``/``SpeechStopped`` where the engine takes the turns).

        Raises:
            EngineError: the ear is lost for good; the call cannot go on.
        """
        ...

    def submit(self, command: EarCommand) -> None:
        """Take audio or a mark in it. Never blocks, never raises, never emits."""
        ...

    async def close(self) -> None:
        """Let go of everything. Idempotent."""
        ...


class Mind(Protocol):
    """Thinks for one call."""

    def reply(self, question: Question) -> AsyncGenerator[Thought]:
        """Stream the answer; yielding nothing is a valid answer (nothing to say).

        Closed (``aclose``) or cancelled when the answer is no longer wanted.

        Raises:
            EngineError: it could not answer.
        """
        ...

    async def close(self) -> None:
        """Let go of everything. Idempotent."""
        ...


class Mouth(Protocol):
    """Speaks; one may serve several calls."""

    def speak(self, text: str) -> AsyncGenerator[Speech]:
        """Stream the speech of one clause.

        Raises:
            EngineError: it could not be spoken. ``retryable`` ones are tried again by the
                cascade when nothing of the clause was emitted yet.
        """
        ...
