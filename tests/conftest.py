"""What holds for every test."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator

import pytest
from hypothesis import settings

# No test asserts an absolute time, and a property is no exception.
settings.register_profile("house", deadline=None)
settings.load_profile("house")


def pytest_configure() -> None:
    """What a shell without job control starts in the background is deaf to Ctrl-C, and so would
    every process be that a test starts."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True, scope="module")
def _own_priority() -> Iterator[None]:
    """A command gives way to the bridge by its niceness, which a process never gets back: run
    within the tests' own, it would starve every test after it."""
    if not hasattr(os, "getpriority"):
        yield
        return
    before = os.getpriority(os.PRIO_PROCESS, 0)
    yield
    assert os.getpriority(os.PRIO_PROCESS, 0) == before, "a test gave the process a niceness"


@pytest.fixture(autouse=True, scope="module")
def _own_logging() -> Iterator[None]:
    """A command sets its process's logging up; run within the tests' own, it is put back."""
    ours, root = logging.getLogger("teamscall"), logging.getLogger()
    before = (ours.handlers[:], ours.level, ours.propagate, root.level, root.manager.disable)
    handlers = root.handlers[:]
    yield
    ours.handlers[:], ours.level, ours.propagate, root.level, root.manager.disable = before
    root.handlers[:] = handlers
    root.manager._clear_cache()  # type: ignore[attr-defined]  # of what each logger lets pass
