"""Every log record of the server, for tests that look at what an operator reads; and the
rigs of the rooms around, for those that run a whole bridge."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parent.parent
for room in ("bridge", "faults"):
    if str(TESTS / room) not in sys.path:
        sys.path.append(str(TESTS / room))


class Records(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture
def log() -> Iterator[list[logging.LogRecord]]:
    handler = Records()
    logger = logging.getLogger("teamscall.server")
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    yield handler.records
    logger.removeHandler(handler)
    logger.setLevel(before)
