"""A suite of replays as JUnit XML, as CI systems take it.

The common form: ``testsuites`` > ``testsuite`` > ``testcase`` with ``failure`` (a difference,
an expectation that does not hold), ``error`` (it could not be replayed) or ``skipped``.
Refuses to know how a verdict was reached.
"""

from __future__ import annotations

import datetime
import platform
import re
from collections.abc import Container, Sequence
from pathlib import Path
from typing import Literal, Protocol
from xml.etree import ElementTree

import msgspec

# XML 1.0 has no character for these, not even escaped.
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Case(msgspec.Struct, frozen=True):
    """One capture. ``message`` is one line, ``text`` all there is to say."""

    name: str
    file: str
    took_s: float
    result: Literal["passed", "failure", "error", "skipped"] = "passed"
    kind: str = ""  # a word for it, as "differs"
    message: str = ""
    text: str = ""


class Judged(Protocol):
    """How one capture did, however it was replayed."""

    @property
    def path(self) -> Path: ...
    @property
    def name(self) -> str: ...
    @property
    def took_s(self) -> float: ...
    @property
    def result(self) -> str: ...
    @property
    def passed(self) -> bool: ...
    def summary(self) -> str:
        """One line."""

    def lines(self) -> list[str]:
        """All there is to say."""


def case_of(verdict: Judged, errors: Container[str]) -> Case:
    """``errors``: the results of what could not be judged."""
    kind: Literal["passed", "failure", "error"] = "failure"
    if verdict.passed:
        kind = "passed"
    elif verdict.result in errors:
        kind = "error"
    return Case(
        name=verdict.name,
        file=str(verdict.path),
        took_s=verdict.took_s,
        result=kind,
        kind=verdict.result,
        message=verdict.summary(),
        text="\n".join(verdict.lines()),
    )


def junit(cases: Sequence[Case], *, suite: str, began_ms: int) -> bytes:
    """The whole file, UTF-8. ``began_ms``: epoch milliseconds."""
    counts = {word: sum(case.result == word for case in cases) for word in _COUNTED}
    took = f"{sum(case.took_s for case in cases):.3f}"
    totals = {
        "tests": str(len(cases)),
        "failures": str(counts["failure"]),
        "errors": str(counts["error"]),
        "skipped": str(counts["skipped"]),
        "time": took,
    }
    root = ElementTree.Element("testsuites", {"name": _safe(suite), **totals})
    began = datetime.datetime.fromtimestamp(began_ms / 1000, datetime.UTC)
    whole = ElementTree.SubElement(
        root,
        "testsuite",
        {
            "name": _safe(suite),
            **totals,
            "timestamp": began.strftime("%Y-%m-%dT%H:%M:%S"),
            "hostname": _safe(platform.node() or "localhost"),
        },
    )
    for case in cases:
        one = ElementTree.SubElement(
            whole,
            "testcase",
            {
                "name": _safe(case.name),
                "classname": _safe(suite),
                "file": _safe(case.file),
                "time": f"{case.took_s:.3f}",
            },
        )
        if case.result != "passed":
            told = {"message": _safe(case.message)}
            if case.result != "skipped":
                told["type"] = _safe(case.kind)
            why = ElementTree.SubElement(one, case.result, told)
            why.text = _safe(case.text)
    ElementTree.indent(root)
    whole_file: bytes = ElementTree.tostring(root, "utf-8", xml_declaration=True)
    return whole_file + b"\n"


_COUNTED = ("failure", "error", "skipped")


def _safe(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text)
