"""What makes no sense in the operator's door."""

from __future__ import annotations

from pathlib import Path

import pytest

from teamscall.config import load_config
from teamscall.config.check_control import check_control
from teamscall.config.operate import Control
from teamscall.config.secret import Secret

TOKEN = Secret("0123456789abcdef0123456789abcdef")


@pytest.mark.parametrize(
    ("control", "words"),
    [
        (Control(port=7443), "without control.token"),
        (Control(port=7443, token=Secret("short")), "has 5 characters"),
        (Control(port=7443, token=Secret(f" {TOKEN.reveal()}")), "no HTTP header carries"),
        (Control(port=7443, token=Secret("ü" * 32)), "no HTTP header carries"),
        (Control(port=7443, token=TOKEN, bind="0.0.0.0"), "not loopback"),
        (Control(port=7443, token=TOKEN, tls_cert=__file__), "both, or none"),
        (Control(port=7443, token=TOKEN, tls_cert="/nowhere", tls_key=__file__), "does not exist"),
    ],
)
def test_a_door_that_lets_anybody_in_is_an_error(control: Control, words: str) -> None:
    (finding,) = check_control(control)
    assert finding.fatal
    assert words in finding.text
    assert TOKEN.reveal() not in finding.text


@pytest.mark.parametrize(
    "control",
    [
        Control(),
        Control(enabled=False, port=1),
        Control(port=7443, token=TOKEN),
        Control(port=7443, token=TOKEN, bind="::1"),
        Control(port=7443, token=TOKEN, bind="0.0.0.0", tls_cert=__file__, tls_key=__file__),
    ],
)
def test_a_sound_door_is_no_finding(control: Control) -> None:
    assert list(check_control(control)) == []


def test_a_token_for_nothing_is_a_warning() -> None:
    (finding,) = check_control(Control(token=TOKEN))
    assert not finding.fatal


def test_the_commands_variable_is_known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    env = {"TEAMSCALL_CONTROL_URL": "ws://127.0.0.1:1"}
    assert load_config(env=env, cross_checks=False).warnings == ()
