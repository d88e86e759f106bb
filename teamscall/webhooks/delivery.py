"""One delivery of one message: to a URL, signed, or to a command's stdin.

Owns what an answer means. Refuses to know queues and when it is tried again.
"""

from __future__ import annotations

import asyncio
import email.utils
import math
from collections.abc import Sequence
from typing import Literal

import msgspec

from teamscall.asking import ask_command, ask_url, outside_environment
from teamscall.clock import Clock
from teamscall.config import Secret
from teamscall.errors import AskError
from teamscall.webhooks.signing import headers

# Statuses that may be others next time, beside 5xx.
_PASSING = frozenset({408, 425, 429})
_GONE = 410

# What a receiver may ask us to wait: more would be an outage of its own.
MAX_RETRY_AFTER_S = 60.0


class Tried(msgspec.Struct, frozen=True):
    """What came of a delivery. ``detail`` is safe to log.

    ``again``: it failed, and may succeed later; ``refused``: it never will; ``gone``: nothing
    is wanted there any more.
    """

    result: Literal["taken", "again", "refused", "gone"]
    detail: str = ""
    status: int = 0
    retry_after_s: float = 0.0


async def deliver(
    message_id: str,
    body: bytes,
    *,
    url: str,
    command: Sequence[str],
    secret: Secret,
    timeout_s: float,
    clock: Clock,
) -> Tried:
    """Try once; ``body`` is JSON on one line. Raises nothing but cancellation."""
    wall_ms = clock.wall_ms()
    try:
        async with asyncio.timeout(timeout_s):
            if command:
                await ask_command(command, body, env=outside_environment())
            else:
                signed = headers(secret, message_id, wall_ms // 1000, body)
                await ask_url(url, body, headers=signed)
    except TimeoutError:
        return Tried("again", f"no answer within {timeout_s:g} s")
    except AskError as error:
        return _judge(error, wall_ms)
    return Tried("taken")


def _judge(error: AskError, wall_ms: int) -> Tried:
    status = error.status
    if 200 <= status < 300:
        return Tried("taken")  # with more to say than anybody wants to hear
    if status == _GONE:
        return Tried("gone", error.message, status)
    if status and status < 500 and status not in _PASSING:
        return Tried("refused", error.message, status)
    return Tried("again", error.message, status, _wait_s(error.retry_after, wall_ms))


def _wait_s(header: str, wall_ms: int) -> float:
    """Seconds that a Retry-After header asks for, capped; 0 where it cannot be read."""
    text = header.strip()
    if text.isdecimal() and text.isascii():
        return min(float(text), MAX_RETRY_AFTER_S)
    try:
        until_s = email.utils.parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError):
        return 0.0
    wait_s = until_s - wall_ms / 1000
    return min(max(wait_s, 0.0), MAX_RETRY_AFTER_S) if math.isfinite(wait_s) else 0.0
