"""The rig as fixtures, and a watch for leaks under every test of this room."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from emulator_rig import Bridge


@pytest.fixture
def bridge_thread() -> Iterator[Callable[..., Bridge]]:
    """A bridge in a thread of its own, for tests that start a process."""
    stops: list[Callable[[], None]] = []

    def start(dialect: str, **quirks: Any) -> Bridge:
        bridge = Bridge(dialect, **quirks)
        ready = threading.Event()
        loop_box: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

        async def main() -> None:
            async with bridge.listening():
                stop = asyncio.Event()
                loop_box.append((asyncio.get_running_loop(), stop))
                ready.set()
                await stop.wait()

        thread = threading.Thread(target=lambda: asyncio.run(main()))
        thread.start()
        assert ready.wait(10)

        def end() -> None:
            loop, stop = loop_box[0]
            loop.call_soon_threadsafe(stop.set)
            thread.join(10)

        stops.append(end)
        return bridge

    yield start
    for stop in stops:
        stop()


@pytest.fixture(autouse=True)
def _no_leaks() -> Iterator[None]:
    """No thread is left over."""
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before
