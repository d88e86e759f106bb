"""Log lines: what a peer chose is one field, whatever it looks like."""

from __future__ import annotations

import logging
import shlex

import pytest

from teamscall.cli.logs import HumanLines


@pytest.mark.parametrize("name", ["callId", "reason"])
@pytest.mark.parametrize(
    "chosen", ["c level=error by=operator", 'c" by="operator', "c\x1b[31m by=operator", ""]
)
def test_a_peers_words_are_one_field(name: str, chosen: str) -> None:
    record = logging.LogRecord("teamscall.call", logging.INFO, "", 0, "Call ended", None, None)
    setattr(record, name, chosen)
    line = HumanLines(colour=False).format(record)
    fields = shlex.split(line.partition("Call ended")[2])
    assert [field.partition("=")[0] for field in fields] == [name]
    assert "\x1b" not in line
