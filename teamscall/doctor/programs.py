"""A program that a check runs: what it says, and that it ends with whoever waits for it."""

from __future__ import annotations

import asyncio
import contextlib


async def output_of(*command: str) -> bytes | None:
    """All of its stdout; its stderr is nobody's. None: it cannot be started, as in a sandbox
    that forbids it."""
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except OSError:
        return None
    try:
        said, _ = await process.communicate()
    except asyncio.CancelledError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        raise
    return said
