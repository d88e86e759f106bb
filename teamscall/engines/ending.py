"""How a session's task group ends: by a close, or by the first thing that failed.

Owns what of a group's exceptions is raised and told. Refuses to know what the tasks did.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import NoReturn

from teamscall.engines.base import Emit, EngineFailed, Stage
from teamscall.errors import EngineError


class Closed(Exception):
    """Ends a session's task group; no failure."""


async def until(closing: asyncio.Event) -> NoReturn:
    """Wait for the close, then end the group."""
    await closing.wait()
    raise Closed


def raise_first(
    failures: BaseExceptionGroup[BaseException],
    *,
    stage: Stage,
    closing: asyncio.Event,
    emit: Emit,
) -> None:
    """Re-raise what failed, unwrapped; ``Closed`` alone is a normal end.

    A bug goes before an ``EngineError``, which is told as fatal, of ``stage``, unless the
    session was being closed anyway.
    """
    leaves = list(_leaves(failures))
    for leaf in leaves:
        if not isinstance(leaf, EngineError | Closed):
            raise leaf from None
    for leaf in leaves:
        if isinstance(leaf, EngineError) and not closing.is_set():
            emit(EngineFailed(stage, leaf.message, fatal=True))
            raise leaf from None


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error
