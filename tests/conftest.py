"""What holds for every test."""

from __future__ import annotations

import functools
import logging
import os
import signal
from collections.abc import Callable, Iterator

import pytest
import typer.main
import typer.testing
from hypothesis import HealthCheck, settings

# No test asserts an absolute time, and a property is no exception. The same examples in each
# run: what fails here failed before. A test that is run again has another instance as its self.
settings.register_profile(
    "house",
    deadline=None,
    derandomize=True,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.differing_executors],
)
# `pytest --hypothesis-profile search` looks for what nobody has seen.
settings.register_profile(
    "search", settings.get_profile("house"), derandomize=False, max_examples=1000
)
settings.load_profile("house")


def pytest_configure() -> None:
    """What a shell without job control starts in the background is deaf to Ctrl-C, and so would
    every process be that a test starts."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """A test that is run again looks at calls that are made again, not at the same ones."""
    if getattr(item, "execution_count", 1) == 1 or not isinstance(item, pytest.Function):
        return
    module = item.nodeid.partition("::")[0]
    for definition, *_ in item._fixtureinfo.name2fixturedefs.values():
        if definition.scope in ("module", "class") and definition.baseid.startswith(module):
            definition.finish(item._request)


@pytest.fixture(scope="module")
def chosen(request: pytest.FixtureRequest) -> Callable[[str], list[str]]:
    """The values of a parameter that the tests of this module are run with: what is selected
    by name or mark costs no more than what was asked for."""

    def values(parameter: str) -> list[str]:
        specs = [
            getattr(i, "callspec", None) for i in request.session.items if i.path == request.path
        ]
        return list(
            dict.fromkeys(s.params[parameter] for s in specs if s and parameter in s.params)
        )

    return values


@pytest.fixture(autouse=True, scope="session")
def _one_tree() -> Iterator[None]:
    """Typer would build all commands anew each time that a test runs one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(typer.testing, "_get_command", functools.cache(typer.main.get_command))
        yield


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
