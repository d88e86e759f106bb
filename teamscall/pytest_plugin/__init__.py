"""The pytest plugin: recorded calls and scripted callers as tests, a bridge and a caller as
fixtures.

    *.tcap              replayed, byte for byte; with NAME.expect.toml or expect.toml beside it,
                        judged by that instead
    *.scenario.toml     played by an emulated caller to a bridge of your configuration
    teamscall_bridge    a running bridge on a free port
    teamscall_caller    somebody who calls it

Owns what pytest asks for: options, collection, fixtures. Refuses to import anything but
pytest before something of it is used: it is loaded in every test run of a machine that has
teamscall installed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from teamscall.pytest_plugin.bridge import Bridge
    from teamscall.pytest_plugin.caller import Caller

__all__ = [
    "pytest_addoption",
    "pytest_collect_file",
    "pytest_configure",
    "teamscall_bridge",
    "teamscall_caller",
    "teamscall_settings",
]

CAPTURE = ".tcap"
SCENARIO = ".scenario.toml"

_MARKER = (
    "teamscall(settings, config=FILE): the configuration of this test's teamscall_bridge, as in "
    '@pytest.mark.teamscall({"engine": "echo"})'
)


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("teamscall", "calls with teamscall")
    group.addoption(
        "--teamscall-config",
        metavar="FILE",
        default=None,
        help="The configuration of the bridge that scenarios and teamscall_bridge get "
        "(ini: teamscall_config).",
    )
    group.addoption(
        "--teamscall-engine",
        metavar="NAME",
        default=None,
        help="Its engine: offline, openai, echo or scripted, in place of the configuration's.",
    )
    for name, what in (("captures", f"*{CAPTURE}"), ("scenarios", f"*{SCENARIO}")):
        group.addoption(
            f"--teamscall-{name}",
            choices=("on", "off"),
            default=None,
            help=f"Collect {what} as tests (ini: teamscall_{name}).",
        )
    group.addoption(
        "--teamscall-update",
        action="store_true",
        default=False,
        help="Accept: what came of a capture is expected from now on.",
    )
    parser.addini("teamscall_config", "Configuration file of the bridge, from the ini's folder.")
    parser.addini("teamscall_captures", f"Collect *{CAPTURE} as tests.", "bool", default=True)
    parser.addini("teamscall_scenarios", f"Collect *{SCENARIO} as tests.", "bool", default=True)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", _MARKER)


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    name = file_path.name
    if name.endswith(CAPTURE) and wanted(parent.config, "captures"):
        from teamscall.pytest_plugin.captures import CaptureFile

        return CaptureFile.from_parent(parent, path=file_path)
    if name.endswith(SCENARIO) and wanted(parent.config, "scenarios"):
        from teamscall.pytest_plugin.scenarios import ScenarioFile

        return ScenarioFile.from_parent(parent, path=file_path)
    return None


def wanted(config: pytest.Config, what: str) -> bool:
    """Whether ``captures`` or ``scenarios`` are collected."""
    given: str | None = config.getoption(f"teamscall_{what}")
    return bool(config.getini(f"teamscall_{what}")) if given is None else given == "on"


@pytest.fixture
def teamscall_settings() -> Mapping[str, Any]:
    """Configuration keys of teamscall_bridge, such as {"engine": "echo"}; yours to replace."""
    return {}


@pytest.fixture
def teamscall_bridge(
    request: pytest.FixtureRequest, teamscall_settings: Mapping[str, Any]
) -> Iterator[Bridge]:
    """A running bridge on a free port, in a thread: url, secret, records, wait_for."""
    from teamscall.pytest_plugin.bridge import Bridge, configured

    marker = request.node.get_closest_marker("teamscall")
    settings = dict(teamscall_settings)
    path: str | None = None
    if marker is not None:
        settings |= dict(*marker.args)
        path = marker.kwargs.get("config")
    with Bridge(configured(request.config, settings, path)) as bridge:
        yield bridge


@pytest.fixture
def teamscall_caller(teamscall_bridge: Bridge) -> Caller:
    """Somebody who calls teamscall_bridge: call(say=, wav=, pcm= or script=)."""
    from teamscall.pytest_plugin.caller import Caller

    return Caller(teamscall_bridge)
