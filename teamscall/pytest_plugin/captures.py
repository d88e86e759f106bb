"""``*.tcap`` as tests: one capture is one test.

Owns which expectations a capture has. Refuses to know how it is judged.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from _pytest._code.code import ExceptionInfo, TerminalRepr

from teamscall.capture.expect import Expectation, read_expectations
from teamscall.capture.suite import SUFFIX, Task, judge
from teamscall.errors import TeamscallError
from teamscall.pytest_plugin.shown import NotAsWantedError, Shown

COMMON = "expect.toml"
OWN = ".expect.toml"


class CaptureFile(pytest.File):
    """A capture."""

    def collect(self) -> Iterator[CaptureItem]:
        yield CaptureItem.from_parent(self, name=self.path.stem)


class CaptureItem(pytest.Item):
    """Its replay."""

    def runtest(self) -> None:
        try:
            expectation = expectation_of(self.path)
        except TeamscallError as error:
            raise NotAsWantedError([error.message, *filter(None, [error.hint])]) from error
        update = bool(self.config.getoption("teamscall_update")) and expectation is None
        verdict = judge(Task(self.path, self.name, expectation, update=update))
        self.add_report_section(
            "call", "teamscall", f"{verdict.result}: {verdict.steps} events replayed"
        )
        if not verdict.passed:
            raise NotAsWantedError(verdict.lines() or [verdict.summary() or verdict.result])

    def repr_failure(
        self, excinfo: ExceptionInfo[BaseException], style: object = None
    ) -> str | TerminalRepr:
        if isinstance(excinfo.value, NotAsWantedError):
            return Shown(excinfo.value.lines, self.path)
        return super().repr_failure(excinfo)

    def reportinfo(self) -> tuple[Path, None, str]:
        return self.path, None, f"replay of {self.name}"


def expectation_of(path: Path) -> Expectation | None:
    """What is asked of a capture by the file beside it; None: its bytes.

    A table of ``expect.toml`` is for the capture that it names; one that none of the folder's
    captures has is a mistake.

    Raises:
        InputError: the file has mistakes.
    """
    own = path.with_name(path.name.removesuffix(SUFFIX) + OWN)
    common = path.with_name(COMMON)
    beside = own if own.is_file() else common
    if not beside.is_file():
        return None
    expectations = read_expectations(beside)
    names = [path.stem] if beside == own else [p.stem for p in path.parent.glob(f"*{SUFFIX}")]
    if unused := expectations.unused(names):
        raise NotAsWantedError(
            [f"{beside.name}: no capture here has the name {', '.join(map(repr, unused))}."]
        )
    found = expectations.of(path.stem)
    return None if found == Expectation() else found
