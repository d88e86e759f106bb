"""The pytest plugin, in a user's project of its own."""

from __future__ import annotations

import importlib.metadata
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import msgspec
import pytest

# Every inner run forgets the modules that it imported, and numpy cannot be imported twice.
from teamscall.calls.bargein import BargeIn
from teamscall.capture import suite
from teamscall.emulator.scenario import result
from teamscall.emulator.scenario import run as scenarios
from teamscall.server import run as server

pytest_plugins = ["pytester"]

assert all((suite, scenarios, server))
CORPUS = Path(__file__).resolve().parents[1] / "corpus"
ROOT = CORPUS.parents[1]
# Installed, the plugin is there by itself; a checkout names it.
INSTALLED = any(
    point.value == "teamscall.pytest_plugin"
    for point in importlib.metadata.entry_points(group="pytest11")
)
NAMED = [] if INSTALLED else ["-p", "teamscall.pytest_plugin"]
OPTIONS = [*NAMED, "-p", "no:cacheprovider", "--strict-markers", "-Werror"]


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    """One capture, in a tests directory."""
    (pytester.path / "tests").mkdir()
    shutil.copy(CORPUS / "csharp-question.tcap", pytester.path / "tests" / "question.tcap")
    return pytester


def run(project: pytest.Pytester, *options: str) -> pytest.RunResult:
    return project.runpytest_inprocess(*OPTIONS, *options)


def edit(project: pytest.Pytester, name: str, text: str) -> None:
    (project.path / "tests" / name).write_text(text)


# --- captures -------------------------------------------------------------------------


def test_a_capture_is_a_test(project: pytest.Pytester) -> None:
    result = run(project, "-v")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["tests/question.tcap::question PASSED*"])


def test_a_difference_is_shown_as_the_diff_and_not_as_a_traceback(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(CORPUS / "barge-in.tcap", project.path / "tests" / "question.tcap")
    init = BargeIn.__init__

    def slower(self: Any, settings: Any, hum: Any) -> None:
        init(self, msgspec.structs.replace(settings, min_speech_ms=400), hum)

    monkeypatch.setattr(BargeIn, "__init__", slower)
    result = run(project, "--junit-xml", "out.xml")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*replay of question*", "@@ * s, step *", "- *", "+ *", "FAILED tests/question.tcap::*@@*"]
    )
    assert "Traceback" not in result.stdout.str()
    (case,) = ElementTree.parse(project.path / "out.xml").getroot().iter("testcase")
    assert (case[0].get("message") or "").startswith("@@")


@pytest.mark.parametrize(
    ("name", "text", "failed", "says"),
    [
        ("question.expect.toml", "turns = 1\n", 0, "1 passed"),
        ("question.expect.toml", "turns = 7\n", 1, "turns: expected 7, there were 1"),
        ("expect.toml", "[capture.question]\nheard = 'noon'\n", 1, 'heard: "noon" was not heard*'),
        ("expect.toml", "[capture.other]\nturns = 1\n", 1, "expect.toml: no capture here has *"),
        ("expect.toml", "turn = 1\n", 1, "*turn is unknown; did you mean turns?*"),
    ],
)
def test_what_a_file_beside_it_expects_is_judged_instead_of_the_bytes(
    project: pytest.Pytester, name: str, text: str, failed: int, says: str
) -> None:
    edit(project, name, text)
    result = run(project)
    result.assert_outcomes(passed=1 - failed, failed=failed)
    result.stdout.fnmatch_lines([f"*{says}*"])


def test_a_table_for_another_capture_leaves_this_one_its_bytes(project: pytest.Pytester) -> None:
    shutil.copy(CORPUS / "standin-question.tcap", project.path / "tests" / "other.tcap")
    edit(project, "expect.toml", "[capture.other]\nturns = 7\n")
    run(project).assert_outcomes(passed=1, failed=1)


def test_what_came_can_be_accepted(project: pytest.Pytester) -> None:
    path = project.path / "tests" / "question.tcap"
    before = path.read_bytes()
    run(project, "--teamscall-update").assert_outcomes(passed=1)
    assert path.read_bytes() == before  # nothing differed


def test_what_is_no_capture_fails_and_says_why(project: pytest.Pytester) -> None:
    edit(project, "note.tcap", "hello")
    result = run(project)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*note.tcap is no capture.*"])


@pytest.mark.parametrize("how", ["ini", "option", "conftest", "plugin"])
def test_captures_can_be_left_alone(project: pytest.Pytester, how: str) -> None:
    options = {"option": ["--teamscall-captures", "off"], "plugin": []}.get(how, [])
    if how == "ini":
        project.makeini("[pytest]\nteamscall_captures = off\n")
    elif how == "conftest":
        edit(project, "conftest.py", "collect_ignore_glob = ['*.tcap']\n")
    arguments = OPTIONS if how != "plugin" else ["-p", "no:teamscall"]
    result = project.runpytest_inprocess(*arguments, *options)
    assert result.ret == pytest.ExitCode.NO_TESTS_COLLECTED


@pytest.mark.load  # three processes
def test_workers_share_the_captures(project: pytest.Pytester) -> None:
    edit(project, "broken.tcap", "hello")
    outcome = subprocess.run(
        [sys.executable, "-m", "pytest", *OPTIONS, "-n", "2"],
        cwd=project.path,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        capture_output=True,
        text=True,
    )
    assert "1 failed, 1 passed" in outcome.stdout
    assert "broken.tcap is no capture." in outcome.stdout


def test_the_options_are_in_the_help(project: pytest.Pytester) -> None:
    text = " ".join(run(project, "--help").stdout.str().split())
    for name in ("--teamscall-config", "--teamscall-captures", "teamscall_scenarios (bool)"):
        assert name in text


def test_loading_the_plugin_imports_nothing_of_the_product() -> None:
    code = (
        "import sys, pytest, teamscall.pytest_plugin; "
        "print([m for m in sys.modules if m.startswith(('teamscall.', 'msgspec', 'numpy', "
        "'websockets')) and m != 'teamscall.pytest_plugin'])"
    )
    outcome = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert outcome.stdout.strip() == "[]"


# --- a bridge and a caller -------------------------------------------------------------

BRIDGE = """
import numpy as np
import pytest
from teamscall.calls.records import CallClosed, Decided, Heard

@pytest.fixture
def teamscall_settings():
    return {"engine": "scripted", "scripted": {"path": "script.toml"}}

def voice():
    t = np.arange(9600) / 16000
    sound = sum(np.sin(2 * np.pi * 120 * k * t + k * k) / k for k in range(1, 25))
    sound *= np.sin(np.pi * t / 0.2) ** 2
    return (sound / abs(sound).max() * 12000).astype("<i2").tobytes()

def test_a_question(teamscall_bridge, teamscall_caller):
    call = teamscall_caller.call(pcm=voice(), dialect="csharp", hang_up_after_s=0.3)
    assert call.heard == ("What time is it?",)
    assert call.said == ("It is noon now.",)
    assert len(call.latencies_ms) == 1
    assert call.report.outcome == "completed"
    assert call.closed == teamscall_bridge.wait_for(CallClosed)
    assert len(call.bot) == len(call.caller)
    assert teamscall_bridge.wait_for(Decided).authorized

@pytest.mark.teamscall({"engine": "echo", "authorization.mode": "allowlist"})
def test_a_caller_on_no_list(teamscall_bridge, teamscall_caller):
    call = teamscall_caller.call(duration_s=0.2)
    assert call.report.outcome == "refused"
    assert not teamscall_bridge.wait_for(Decided).authorized
    with pytest.raises(AssertionError, match="no Heard within 0.05 s; there were: Decided"):
        teamscall_bridge.wait_for(Heard, timeout=0.05)

@pytest.mark.teamscall({"engine": "nonsense"})
def test_a_wrong_setting(teamscall_bridge):
    pass

async def place(caller):
    return await caller.place(duration_s=0.1)

@pytest.mark.teamscall({"engine": "echo"})
def test_from_a_coroutine(teamscall_caller):
    import asyncio

    async def scene():
        return teamscall_caller.call(duration_s=0.1), await teamscall_caller.place(duration_s=0.1)

    first, second = asyncio.run(scene())
    assert first.report.call_id != second.report.call_id
"""

SCRIPT = """
word_ms = 120
[[line]]
heard = "What time is it?"
answer = "It is noon now."
"""


def test_a_test_has_a_bridge_and_somebody_who_calls_it(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(BRIDGE)
    (pytester.path / "script.toml").write_text(SCRIPT)
    result = run(pytester)
    result.assert_outcomes(passed=3, errors=1)
    result.stdout.fnmatch_lines(['*engine: "nonsense" is not one of auto, offline*'])
    assert "Traceback" not in result.stdout.str()


SCENARIO = """
[call]
dialect = "csharp"

[[step]]
wait = 0.1

[[step]]
hang_up = true

[expect]
ended_by = "{ended_by}"
"""


def test_a_scenario_is_a_test(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    # A busy machine is no reason to fail here.
    monkeypatch.setattr(result, "TRUSTED_PACING_MS", 60_000.0)
    pytester.makeini("[pytest]\nteamscall_config = conf/bridge.toml\n")
    (pytester.path / "conf").mkdir()
    (pytester.path / "conf" / "bridge.toml").write_text('engine = "echo"\n')
    for name, ended_by in (("good", "caller"), ("bad", "bot")):
        text = SCENARIO.format(ended_by=ended_by)
        (pytester.path / f"{name}.scenario.toml").write_text(text)
    (pytester.path / "wrong.scenario.toml").write_text("[[stop]]\n")
    came = run(pytester)
    came.assert_outcomes(passed=1, failed=2)
    came.stdout.fnmatch_lines(
        ["*scenario bad*", "*ended_by*", "*scenario wrong*", "*has 2 mistakes*"]
    )
    assert "Traceback" not in came.stdout.str()
