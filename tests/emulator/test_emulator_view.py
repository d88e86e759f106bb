"""The live picture of `teamscall emulate`."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from teamscall.cli.emulate_view import LiveView
from teamscall.cli.emulate_words import words
from teamscall.emulator import happenings as seen
from teamscall.emulator.report import Report

UP = "\x1b[1A"
ADDRESS = "http://127.0.0.1:9440"
REPORT = Report("ended-by-bot", 0, "hangup-bot", "c-1", "ws://127.0.0.1:1", "standin", "outbound")


@pytest.mark.parametrize("many", [False, True])
def test_nothing_is_drawn_over_a_report(capsys: pytest.CaptureFixture[str], many: bool) -> None:
    terminal = io.StringIO()
    view = LiveView()
    view.many = many
    view._console = Console(file=terminal, force_terminal=True, width=80, _environ={})
    with view.live():
        view.event(seen.Waiting(0, "standin", ADDRESS, ""))
        view.report(REPORT, {})
        before = terminal.tell()
        view.event(seen.Ringing(9, "c-2", "user", "u-1", "", ""), "c-2")
        reported = terminal.getvalue()[before:]
    assert "ended-by-bot" in capsys.readouterr().out
    assert UP not in reported
    assert (ADDRESS in reported) == many  # with more calls to come there is a picture again


def test_the_address_to_be_rung_at_fits_on_a_line() -> None:
    line = f"{0:7.2f}  {words(seen.Waiting(0, 'standin', ADDRESS + '0', ''))}"
    assert "standin.worker_base_url" in line
    assert len(line) <= 80
