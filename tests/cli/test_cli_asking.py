"""Which bridge a command asks when its configuration is broken: the one that is still named."""

from __future__ import annotations

from pathlib import Path

import pytest

from teamscall.cli.asking import Door, where
from teamscall.errors import ConfigError

BROKEN = """
prot = 1
[control]
socket = "c.sock"
token_file = "gone"
[bridge]
secret_file = "gone too"
[serve]
port = "many"
[[webhooks]]
url = 5
"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("TEAMSCALL_CONTROL_URL", raising=False)
    path = tmp_path / "teamscall.toml"
    path.write_text(BROKEN)
    return path


def test_what_is_wrong_elsewhere_keeps_nobody_from_the_bridge(config: Path) -> None:
    assert Path(where(Door(config=config)).socket) == config.parent / "c.sock"


def test_what_names_the_bridge_has_to_be_right(config: Path) -> None:
    with pytest.raises(ConfigError) as wrong:
        where(Door(config=config, url="ws://127.0.0.1:1"))
    assert [problem.partition(":")[0] for problem in wrong.value.problems] == ["control.token_file"]
    config.write_text("[control]\nsocket = 5\n")
    with pytest.raises(ConfigError, match="socket"):
        where(Door(config=config))


def test_a_file_that_cannot_be_read_at_all_leaves_the_socket(config: Path) -> None:
    config.write_text("[control")
    with pytest.raises(ConfigError) as wrong:
        where(Door(config=config))
    assert "--socket" in wrong.value.hint
    assert where(Door(config=config, socket="/s")).socket == "/s"
