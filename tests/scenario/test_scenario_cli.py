"""``emulate --script`` and ``--calls`` on the command line, against a bridge in this process."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from emulate_options_rig import emulate_options
from scenario_rig import SECRET, bridge, dial, script_of

from teamscall.audio.wav import write_wav
from teamscall.cli import emulate_script
from teamscall.cli.emulate_run import Options, read_impairments
from teamscall.cli.emulate_script_view import choose_view
from teamscall.emulator.impairments import Impairment
from teamscall.errors import ExitCode, InputError
from teamscall.testing.voice import tone_speech


def options(*typed: str, **changes: object) -> Options:
    """What the command line gives, with these options typed."""
    more = {"given": frozenset(typed) | changes.keys(), "secret": SECRET, "json_lines": True}
    return emulate_options(**more | changes)


def run(folder: Path, capsys: pytest.CaptureFixture[str], **changes: Any) -> tuple[Any, Any]:
    """Against a scripted bridge: the exit code, and the lines of stdout as JSON."""

    async def main() -> ExitCode:
        async with bridge(folder) as up:
            chosen = options(url=dial(up).url, quiet=True, **changes)
            return await emulate_script.act(chosen, choose_view(json_lines=True, quiet=True))

    code = asyncio.run(main())
    return code, [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@pytest.fixture
def spoken(tmp_path: Path) -> Path:
    path = tmp_path / "question.wav"
    write_wav(path, tone_speech("what time", word_ms=200, pause_ms=60, rate=16_000))
    return path


SCRIPT = """
[call]
name = "Ann"
[[step]]
play = "question.wav"
[[step]]
expect = { latency_under_ms = 20000 }
"""


def test_a_script_is_played_and_told_as_json(
    tmp_path: Path, spoken: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, stereo, base = tmp_path / "a.toml", tmp_path / "a.wav", tmp_path / "base.json"
    path.write_text(SCRIPT, "utf-8")
    code, lines = run(tmp_path, capsys, script=path, stereo=stereo, save_baseline=base)
    last = lines[-1]
    assert (last["version"], last["event"], last["exitCode"]) == (1, "result", int(code))
    assert [line["event"] for line in lines if "step" in line["event"]] == [
        "step-began", "step-ended", "step-began", "step-ended",
    ]  # fmt: skip
    steps = last["calls"][0]["played"]["steps"]
    assert [(step["number"], step["line"], step["state"]) for step in steps] == [
        (1, 4, "done"),
        (2, 6, "held"),
    ]
    assert last["figures"]["responses"]["count"] == 1
    assert stereo.stat().st_size > 40_000
    assert base.exists() is last["passed"]  # of a busy machine, figures are no baseline
    assert not last["passed"] or json.loads(base.read_text())["figures"]["response_p50_ms"] > 0
    assert SECRET not in json.dumps(lines)


def test_many_calls_have_files_of_their_own_and_are_no_baseline_when_they_failed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = {"expect_speech": True, "save_baseline": tmp_path / "base.json"}
    _, lines = run(tmp_path, capsys, calls=2, duration=0.4, stereo=tmp_path / "a.wav", **more)
    assert not lines[-1]["passed"]
    assert not (tmp_path / "base.json").exists()
    assert lines[-1]["figures"]["calls"] == 2
    assert {line["call"] for line in lines[:-1]} == {1, 2}
    assert sorted(path.name for path in tmp_path.glob("a-*.wav")) == ["a-1.wav", "a-2.wav"]


def test_flags_win_over_the_script(tmp_path: Path) -> None:
    text = '[call]\nname = "Ann"\nurl = "h:1"\nparticipants = 4\n[[step]]\nwait = 1\n'
    found = script_of(tmp_path, text)
    merged = emulate_script._merged(options(name="Bea", script=tmp_path / "a"), found)
    assert (merged.name, merged.url, merged.participants) == ("Bea", "h:1", 4)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"script": Path("a"), "say": "x"}, "--say does not go with --script"),
        ({"calls": 0}, "--calls is to be from 1"),
        ({"calls": 3, "capture": Path("x")}, "--capture is for one call"),
        ({"calls": 3}, "Many calls need something to do"),
        ({"script": Path("/no/such/file")}, "cannot be read"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_sentence(
    changes: dict[str, Any], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert emulate_script.play_script(options(url="h", **changes)) == ExitCode.USAGE
    told = capsys.readouterr()
    assert why in told.err
    last = json.loads(told.out)
    assert (last["version"], last["passed"], last["exitCode"]) == (1, False, 2)
    assert why in last["reason"]


def test_impairments_are_typed_as_a_script_has_them() -> None:
    found = read_impairments(("loss_percent=2", "from_bridge.jitter_ms=40", "seed=7"))
    assert found.to_bridge == Impairment(loss=0.02)
    assert found.from_bridge == Impairment(loss=0.02, jitter_s=0.04)
    assert found.seed == 7
    for bad in ("loss", "loss_percent=x", "los_percent=1", "loss_percent=101", "a.b.c=1"):
        with pytest.raises(InputError, match="--impair"):
            read_impairments((bad,))
