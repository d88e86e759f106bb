"""How a run on this machine is ended early: in order while a call is up, else at once."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def stop_on_signals(
    hang_up: Callable[[], object], in_call: Callable[[], bool]
) -> Iterator[Callable[[], None]]:
    """SIGINT and SIGTERM hang up the call; a second one, or one without a call, cancels.

    Yields what a signal does, for whatever else ends the run. The current task is the
    one that is cancelled: ``asyncio.CancelledError`` leaves it.
    """
    task = asyncio.current_task()
    assert task is not None
    asked = False

    def stop() -> None:
        nonlocal asked
        if asked or not in_call():
            task.cancel()
        else:
            asked = True
            hang_up()

    if sys.platform == "win32":
        yield stop  # no signal handlers in its event loops: Ctrl-C cancels
        return
    loop = asyncio.get_running_loop()
    numbers = (signal.SIGINT, signal.SIGTERM)
    for number in numbers:
        loop.add_signal_handler(number, stop)
    try:
        yield stop
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
