"""``teamscall replay``, as a user runs it."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import msgspec
import pytest
from replay_rig import Recorded, conversation
from typer.testing import CliRunner, Result

from teamscall.capture.junit import Case, junit
from teamscall.capture.reader import read
from teamscall.capture.records import Closed, Did
from teamscall.capture.suite import Task, captures_in, judge
from teamscall.capture.writer import write
from teamscall.cli import replay_run
from teamscall.cli.app import app
from teamscall.errors import ConfigError, InputError, TeamscallError

ROOT = Path(__file__).resolve().parents[2]
CORPUS = ROOT / "tests" / "corpus"


@pytest.fixture(scope="module")
def recorded() -> Recorded:
    return conversation()


@pytest.fixture
def suite(tmp_path: Path, recorded: Recorded) -> Path:
    """Two that are the same, in a directory of their own."""
    (tmp_path / "suite" / "deeper").mkdir(parents=True)
    recorded.save(tmp_path / "suite" / "one.tcap")
    recorded.save(tmp_path / "suite" / "deeper" / "two.tcap")
    return tmp_path / "suite"


def altered(call: Recorded, path: Path) -> Path:
    """A capture that expects other words than come."""
    records: list[Any] = []
    for record in call.records:
        if isinstance(record, Did) and record.name == "Heard":
            record = Did("Heard", {**record.fields, "text": "something else"})
        records.append(record)
    write(path, call.header, [*records, Closed(call.now, "ended")])
    return path


def run(*arguments: object, env: dict[str, str] | None = None) -> Result:
    return CliRunner().invoke(app, ["replay", *map(str, arguments)], env=env)


def error(result: Result, kind: type[TeamscallError]) -> TeamscallError:
    assert isinstance(result.exception, kind), result.output
    return result.exception


# --- verdicts and exit codes ----------------------------------------------------------


def test_one_capture_is_one_line(suite: Path) -> None:
    result = run(suite / "one.tcap")
    assert result.exit_code == 0
    assert result.stdout.startswith(f"{suite / 'one.tcap'}: the same (")
    assert "5.1 s of call in" in result.stdout
    assert result.stderr == ""


def test_a_directory_is_a_suite(suite: Path) -> None:
    result = run(suite)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["CAPTURE", "deeper/two", "one", "2"]
    assert lines[-1] == "2 the same"


def test_a_difference_is_shown_above_the_table(suite: Path, recorded: Recorded) -> None:
    altered(recorded, suite / "other.tcap")
    result = run(suite, env={"COLUMNS": "80"})
    assert result.exit_code == 1
    shown = result.stdout
    assert "heard has another text" in shown
    assert '  -     1.800      heard text="something else"' in shown
    assert '  +     1.800      heard text="What time is it?"' in shown
    assert shown.index("  -     1.8") < shown.index("CAPTURE")
    table = shown[shown.index("CAPTURE") :].splitlines()
    assert max(len(line.rstrip()) for line in table) <= 80
    assert table[-1] == "2 the same, 1 different"


def test_a_damaged_capture_is_replayed_as_far_as_it_goes(suite: Path) -> None:
    whole = (suite / "one.tcap").read_bytes()
    (suite / "one.tcap").write_bytes(whole[: len(whole) * 2 // 3])
    result = run(suite / "one.tcap")
    assert result.exit_code == 1
    assert "damaged" in result.stdout
    assert "a block is cut short, at byte" in result.stdout
    assert "; replayed up to 1." in result.stdout


def test_what_cannot_be_replayed_is_exit_2(tmp_path: Path, recorded: Recorded) -> None:
    header = msgspec.structs.replace(recorded.header, content="timing")
    write(tmp_path / "timing.tcap", header, [*recorded.records, Closed(recorded.now, "ended")])
    (tmp_path / "text.tcap").write_text("TCA")
    for name, says in (("timing", "structure and timing only"), ("text", "is no capture")):
        result = run(tmp_path / f"{name}.tcap")
        assert result.exit_code == 2, name
        assert says in result.stdout


@pytest.mark.parametrize("name", ["none.tcap", "."])
def test_no_capture_is_exit_2(tmp_path: Path, name: str) -> None:
    found = error(run(tmp_path / name), InputError)
    assert found.exit_code == 2


def test_a_difference_outweighs_what_cannot_be_replayed(suite: Path, recorded: Recorded) -> None:
    altered(recorded, suite / "other.tcap")
    (suite / "text.tcap").write_text("TCA")
    result = run(suite)
    assert result.exit_code == 1
    assert result.stdout.splitlines()[-1] == "2 the same, 1 different, 1 not replayed"


def test_fail_fast_stops_at_the_first(suite: Path, recorded: Recorded) -> None:
    altered(recorded, suite / "a.tcap")
    result = run(suite, "--fail-fast")
    assert result.exit_code == 1
    assert result.stdout.splitlines()[-1] == "1 different, 2 left out"


def test_each_capture_is_replayed_once(suite: Path) -> None:
    places = [suite, suite / "one.tcap", suite / "deeper"]
    assert [name for name, _ in captures_in(places)] == ["deeper/two", "one"]


def test_several_processes_say_the_same_as_one(suite: Path, recorded: Recorded) -> None:
    altered(recorded, suite / "other.tcap")
    tasks = replay_run.tasks([suite], None, None)
    alone = replay_run.run(tasks, jobs=1)
    together = replay_run.run(tasks, jobs=2)
    plain = [msgspec.structs.replace(verdict, took_s=0.0) for verdict in together]
    assert plain == [msgspec.structs.replace(verdict, took_s=0.0) for verdict in alone]


# --- for machines ---------------------------------------------------------------------


def test_json_is_one_object(suite: Path, recorded: Recorded) -> None:
    altered(recorded, suite / "other.tcap")
    result = run(suite, "--json")
    whole = json.loads(result.stdout)
    assert (whole["version"], whole["passed"], result.exit_code) == (1, False, 1)
    assert whole["results"]["same"] == 2
    other = next(one for one in whole["captures"] if one["capture"] == "other")
    found = other["difference"]
    assert (found["kind"], found["atSeconds"], found["turn"]) == ("changed", 1.8, 1)
    assert found["fields"] == [
        {"path": "text", "expected": '"something else"', "came": '"What time is it?"'}
    ]
    assert found["diff"][0].startswith("@@ 1.800 s, step ")


def test_junit_is_what_a_ci_takes(suite: Path, recorded: Recorded, tmp_path: Path) -> None:
    altered(recorded, suite / "other.tcap")
    (suite / "text.tcap").write_text("TCA")
    out = tmp_path / "junit.xml"
    assert run(suite, "--junit", out).exit_code == 1
    root = ElementTree.parse(out).getroot()
    assert root.tag == "testsuites"
    (whole,) = root
    assert whole.attrib.keys() == {
        *("name", "tests", "failures", "errors", "skipped", "time", "timestamp", "hostname")
    }
    assert [whole.get(name) for name in ("tests", "failures", "errors")] == ["4", "1", "1"]
    cases = {case.get("name"): case for case in whole}
    assert list(cases["one"]) == []
    (failure,) = cases["other"]
    assert (failure.tag, failure.get("type")) == ("failure", "differs")
    assert "heard has another text" in (failure.get("message") or "")
    assert "+     1.800" in (failure.text or "")
    assert [child.tag for child in cases["text"]] == ["error"]
    assert sorted(os.listdir(tmp_path)) == ["junit.xml", "suite"]


def test_junit_has_no_character_that_xml_has_not() -> None:
    text = 'a\x00\x1b[31m\ud800\ufffe]]><&"b'
    data = junit([Case(text, text, 0.5, "failure", "differs", text, text)], suite=text, began_ms=0)
    root = ElementTree.fromstring(data)
    failure = root.find("testsuite/testcase/failure")
    assert failure is not None
    assert failure.text == 'a\ufffd\ufffd[31m\ufffd\ufffd]]><&"b'
    assert root[0].get("timestamp") == "1970-01-01T00:00:00"


def test_a_report_that_cannot_be_written_is_refused_before_the_work(suite: Path) -> None:
    found = error(run(suite, "--junit", suite / "none" / "x.xml"), InputError)
    assert "cannot be written" in found.message


# --- accepting ------------------------------------------------------------------------


def test_update_accepts_what_came_and_keeps_the_inputs(suite: Path, recorded: Recorded) -> None:
    path = altered(recorded, suite / "other.tcap")
    before = read(path)
    result = run(suite, "--update")
    assert (result.exit_code, result.stdout.splitlines()[-1]) == (0, "2 the same, 1 updated")
    after = read(path)
    assert judge(Task(path, "other")).result == "same"
    assert [f.text for f in after.frames] == [f.text for f in before.frames]
    assert [f.index for f in after.frames] == list(range(len(after.frames)))
    heard = [r.fields["text"] for r in after.records if isinstance(r, Did) and r.name == "Heard"]
    assert heard == ["What time is it?", "And the date?"]
    assert after.header.teamscall != before.header.teamscall
    assert sorted(os.listdir(suite)) == ["deeper", "one.tcap", "other.tcap"]


def test_update_writes_messages_that_are_new(
    tmp_path: Path, recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A recording without any message to the gateway: all of them are new.
    silent = [r for r in recorded.records if not (isinstance(r, Did) and r.name == "AudioOut")]
    silent = [r for r in silent if getattr(r, "way", "in") == "in"]
    write(tmp_path / "c.tcap", recorded.header, [*silent, Closed(recorded.now, "ended")])
    assert run(tmp_path / "c.tcap").exit_code == 1
    assert run(tmp_path / "c.tcap", "--update").exit_code == 0
    assert run(tmp_path / "c.tcap").exit_code == 0
    # A failing disk leaves the old one.
    altered(recorded, tmp_path / "d.tcap")
    before = (tmp_path / "d.tcap").read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    result = run(tmp_path / "d.tcap", "--update")
    assert (result.exit_code, "No space left on device" in result.stdout) == (2, True)
    assert (tmp_path / "d.tcap").read_bytes() == before
    assert sorted(os.listdir(tmp_path)) == ["c.tcap", "d.tcap"]


def test_a_damaged_capture_is_not_updated(suite: Path, recorded: Recorded) -> None:
    path = altered(recorded, suite / "other.tcap")
    cut = path.read_bytes()[:-10]
    path.write_bytes(cut)
    assert run(path, "--update").exit_code == 1
    assert path.read_bytes() == cut


def test_update_excludes_what_is_no_comparison_of_bytes(suite: Path) -> None:
    assert run(suite, "--update", "--config", suite / "x.toml").exit_code == 2


# --- expectations and settings --------------------------------------------------------


def test_expectations_are_judged_instead_of_the_bytes(
    suite: Path, recorded: Recorded, tmp_path: Path
) -> None:
    altered(recorded, suite / "other.tcap")
    expect = tmp_path / "expect.toml"
    expect.write_text('heard = "what time"\n[capture."deeper/*"]\nturns = 3\n')
    result = run(suite, "--expect", expect)
    assert result.exit_code == 1
    assert "turns: expected 3, there were 2" in result.stdout
    assert result.stdout.splitlines()[-1] == "2 the same, 1 not as expected"
    expect.write_text("turns = 2\nno_audio_after_flush = true\n")
    result = run(suite / "one.tcap", "--expect", expect)
    assert (result.exit_code, ": as expected (" in result.stdout) == (0, True)


def test_an_expectation_of_a_capture_that_is_not_there_is_a_mistake(
    suite: Path, tmp_path: Path
) -> None:
    expect = tmp_path / "expect.toml"
    expect.write_text("[capture.won]\nturns = 2\n")
    found = error(run(suite, "--expect", expect), InputError)
    assert "no capture here has the name won" in found.message
    assert "one" in found.hint


def test_other_settings_take_the_call_another_way(suite: Path, tmp_path: Path) -> None:
    config = tmp_path / "teamscall.toml"
    config.write_text("[streaming]\nsilence_duration_ms = 400\n[goodbye]\napology = 'Sorry.'\n")
    result = run(suite / "one.tcap", "--config", config)
    assert result.exit_code == 1
    assert "commit-utterance came 400 ms earlier" in result.stdout
    expect = tmp_path / "expect.toml"
    expect.write_text("latency_under_ms = 900\n")
    assert run(suite / "one.tcap", "--expect", expect).exit_code == 1
    assert run(suite / "one.tcap", "--config", config, "--expect", expect).exit_code == 0
    config.write_text("[streaming]\nsilence_duration_ms = 'x'\n")
    error(run(suite / "one.tcap", "--config", config), ConfigError)


# --- a real process -------------------------------------------------------------------


def test_the_corpus_as_a_user_replays_it(tmp_path: Path) -> None:
    for path in CORPUS.glob("*.tcap"):
        shutil.copy(path, tmp_path)
        (tmp_path / path.name).chmod(stat.S_IRUSR)
    command = [sys.executable, "-m", "teamscall", "replay", str(tmp_path), "--jobs", "2"]
    env = dict(os.environ) | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=100, check=False, env=env
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == f"{len(list(CORPUS.glob('*.tcap')))} the same"
    assert "\x1b" not in done.stdout
