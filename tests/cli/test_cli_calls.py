"""`teamscall calls`: what a person, a pipe and a spreadsheet get of the history."""

from __future__ import annotations

import contextlib
import csv
import datetime
import io
import json
import os
import pty
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from teamscall.calls.records import (
    CallClosed,
    CallCounters,
    CallOpened,
    CallRecord,
    Decided,
    EngineTrouble,
    GateChanged,
    Heard,
    Interrupted,
    RecordingSeen,
    TurnBegan,
    TurnEnded,
    TurnKind,
    TurnLatency,
    TurnStatus,
    Usage,
)
from teamscall.cli.app import app
from teamscall.cli.calls_stats import spark
from teamscall.cli.calls_view import short_ids
from teamscall.cli.moments import moment_ms
from teamscall.clock import ManualClock
from teamscall.errors import InputError
from teamscall.journal.store import Journal
from teamscall.wire.events import Caller

NOW = time.time_ns() // 1_000_000
# After the call and before the refusal; no age, for a test may run minutes after NOW.
BETWEEN = datetime.datetime.fromtimestamp((NOW - 30_000) / 1000, datetime.UTC).isoformat()
ANNA = Caller("u-anna", "t-1", "Anna\x1b[31m=x", "anna@example.org", "+4930123")
RUDE = Caller("u-rude", "t-1", "=cmd|'/c calc'!A1", "", "+49 30;x")
CALL = "7c1e2f60-aaaa"


def call(at: int) -> list[CallRecord]:
    def turn(
        number: int, over: int, text: str, heard: str, status: TurnStatus, kind: TurnKind
    ) -> list[CallRecord]:
        latency = TurnLatency(700.0, 800.0, 850.0, 900.0, 1000.0 + number)
        heard_ms = 100 * len(heard)
        return [
            TurnBegan(CALL, at + over - 100, number, kind),
            TurnEnded(
                CALL, at + over, number, kind, status, text, heard, heard_ms + 9, heard_ms, latency
            ),
        ]

    used = (Usage("think", "gpt-x", 900, 0, 40, cost=0.0061, currency="USD"),)
    return [
        Decided(CALL, at - 1, "standin", True, "allowlist", "", ANNA, "session_start"),
        CallOpened(CALL, at, "standin", "inbound", ANNA, "192.0.2.1:5", "offline"),
        GateChanged(CALL, at, False, "unknown"),
        RecordingSeen(CALL, at + 2000, "active", 0),
        GateChanged(CALL, at + 2000, True, "active"),
        Heard(CALL, at + 6000, 1, "what time is it", True),
        *turn(1, 9000, "It is noon.", "It is noon.", "completed", "answer"),
        Interrupted(CALL, at + 14_000, 2, "caller", 500, 60.0),
        *turn(2, 15_000, "And it rains.", "And it", "interrupted", "answer"),
        EngineTrouble(CALL, at + 16_000, "hear", "slow \x1b]0;x\x07", False),
        CallClosed(CALL, at + 20_000, "hangup", "caller", 20_000, CallCounters(turns=2), "", used),
    ]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "journal.sqlite3"
    journal = Journal(path, ManualClock(), transcripts="on")
    journal.open()
    denied = Decided(
        "refused-1", NOW - 5000, "csharp", False, "allowlist", "@not in list", RUDE, "auth_request"
    )
    for record in (*call(NOW - 60_000), denied):
        journal.record(record)
    assert journal.close(10)
    return path


def run(path: Path | None, *arguments: str, columns: int = 120) -> tuple[int, str]:
    """Exit code and stdout, of this process: an error of ours is raised."""
    where = [] if path is None else ["--journal", str(path)]
    done = CliRunner().invoke(
        app, ["calls", *arguments, *where], env={"COLUMNS": str(columns)}, catch_exceptions=False
    )
    return done.exit_code, done.stdout


def process(*arguments: str, env: dict[str, str] | None = None, **more: Any) -> Any:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TEAMSCALL_")}
    more = {"capture_output": True, "text": True, "timeout": 60, "check": False, **more}
    return subprocess.run(
        [sys.executable, "-m", "teamscall", "calls", *arguments],
        env=environment | (env or {}),
        **more,
    )


# --- the list -------------------------------------------------------------------------------


@pytest.mark.parametrize("columns", [80, 100, 120, 200])
def test_the_list_fits_its_width_and_holds_who_and_how(path: Path, columns: int) -> None:
    code, out = run(path, columns=columns)
    assert code == 0
    rows = out.splitlines()
    assert all(len(row) <= columns for row in rows)
    assert len(rows) == 3
    assert "refused" in rows[1]
    assert re.search(r"7c1e2f60 .* in +Anna.* completed +0:20 +2 .*1001", rows[2])
    if columns >= 100:
        assert "@not in list" in rows[1]
    assert "\x1b" not in out


def test_json_is_one_versioned_object(path: Path) -> None:
    code, out = run(path, "--json")
    assert code == 0
    found = json.loads(out)
    assert found["version"] == 1
    refused, up = found["calls"]
    assert (refused["callId"], refused["outcome"]) == ("refused-1", "refused")
    assert (up["callId"], up["endedBy"], up["cost"]) == (CALL, "caller", {"USD": 0.0061})
    assert up["latency"]["firstFrame"] == {"p50": 1001, "p95": 1002, "count": 2}
    assert up["who"]["displayName"] == "Anna [31m=x"


def test_csv_is_rfc_4180_and_no_formula(path: Path) -> None:
    done = process("--csv", "--journal", str(path), text=False)
    assert done.returncode == 0
    out = done.stdout.decode()
    assert out.count("\r\n") == out.count("\n") == 3
    refused, up = csv.DictReader(io.StringIO(out, newline=""))
    assert refused["displayName"] == "'=cmd|'/c calc'!A1"
    assert refused["phoneNumber"] == "'+49 30;x"
    assert refused["decisionReason"] == "'@not in list"
    assert up["phoneNumber"] == "+4930123"  # a plain number stays one
    assert (up["cost"], up["currency"], up["firstFrameP95Ms"]) == ("0.006100", "USD", "1002.0")
    assert up["started"].endswith("Z")
    assert up["authorized"] == "true"


@pytest.mark.parametrize(
    ("arguments", "ids"),
    [
        (["--refused"], ["refused-1"]),
        (["--since", BETWEEN], ["refused-1"]),
        (["--since", "2h"], ["refused-1", CALL]),
        (["--limit", "1"], ["refused-1"]),
        (["--outcome", "completed"], [CALL]),
        (["--direction", "outbound"], []),
    ],
)
def test_what_is_asked_for_is_listed(path: Path, arguments: list[str], ids: list[str]) -> None:
    code, out = run(path, "--json", *arguments)
    assert code == 0
    assert [one["callId"] for one in json.loads(out)["calls"]] == ids


@pytest.mark.parametrize(
    "arguments",
    [
        ["--since", "yesterday"],
        ["--limit", "0"],
        ["--json", "--csv"],
        ["--refused", "--outcome", "busy"],
        ["show"],
        ["forget"],
        ["forget", CALL, "--before", "1d"],
    ],
)
def test_a_wrong_command_line_is_refused(path: Path, arguments: list[str]) -> None:
    assert run(path, *arguments)[0] == 2


def test_a_moment_is_an_age_a_day_or_a_time() -> None:
    assert moment_ms("10m", 1_000_000, "--since") == 400_000
    assert moment_ms("3d", 1_000_000, "--since") == 0
    assert moment_ms("2026-11-20T10:00:00Z", 0, "--since") == 1_795_168_800_000
    day = moment_ms("2026-11-20", 0, "--since")
    assert moment_ms("2026-11-21", 0, "--since") - day == 86_400_000
    for text in ("9" * 30 + "d", "25:00", "12:60", "noon"):
        with pytest.raises(typer.BadParameter, match="no time"):
            moment_ms(text, 0, "--since")


def test_a_time_of_day_is_the_latest_that_is_not_to_come() -> None:
    now = datetime.datetime(2026, 3, 1, 14, 5)
    now_ms = round(now.timestamp() * 1000)
    assert moment_ms("14:05", now_ms, "--since") == now_ms
    assert moment_ms("14:04:30", now_ms, "--since") == now_ms - 30_000
    yesterday = now.replace(day=28, month=2, minute=6)
    assert moment_ms("14:06", now_ms, "--since") == round(yesterday.timestamp() * 1000)


@pytest.mark.parametrize("arguments", [(), ("show", "7c1e"), ("stats",)])
def test_lines_in_a_pipe_end_without_blanks(path: Path, arguments: tuple[str, ...]) -> None:
    lines = run(path, *arguments)[1].splitlines()
    assert len(lines) >= 3
    assert [line for line in lines if line != line.rstrip(" ")] == []


def test_ids_are_as_short_as_they_stay_apart() -> None:
    assert short_ids(["teams-call-0001", "teams-call-0002", "zz", "0123456789"]) == {
        "teams-call-0001": "teams-call-0001",
        "teams-call-0002": "teams-call-0002",
        "zz": "zz",
        "0123456789": "01234567",
    }


# --- one call -------------------------------------------------------------------------------


@pytest.mark.parametrize("columns", [80, 120])
def test_one_call_has_facts_a_timeline_and_its_words(path: Path, columns: int) -> None:
    code, out = run(path, "show", "7c1e", columns=columns)
    assert code == 0
    rows = [row.rstrip() for row in out.splitlines()]
    assert all(len(row) <= columns for row in rows)
    assert rows[0].startswith(f"{CALL}  completed")
    text = "\n".join(rows)
    assert "granted by allowlist" in text
    assert re.search(r"ended +.*after 0:20: hangup by the caller", text)
    lanes = {row[:10].strip(): row[10:] for row in rows if row[:10].strip()}
    width = columns - 10
    # 20 s from edge to edge: the gate opens after 2 s, the bot speaks from 7.9 s to 9 s and
    # from 13.4 s until it was cut after 14 s.
    assert lanes["gate"].count("┄") == width // 10
    bot = {column * 20 // width for column, cell in enumerate(lanes["bot"]) if cell == "█"}
    assert bot == {7, 8, 13, 14}
    assert lanes["cut"].index("▼") == 14 * width // 20
    assert lanes["errors"].index("!") == 16 * width // 20
    assert "◆·" in lanes["caller"]
    assert "0s" in text
    assert "what time is it" in text
    assert "And it / rains." in text
    assert "\x1b" not in out
    assert "\x07" not in out


def test_one_call_as_json(path: Path) -> None:
    code, out = run(path, "show", CALL, "--json")
    found = json.loads(out)
    assert (code, found["version"], found["call"]["callId"]) == (0, 1, CALL)
    assert [turn["status"] for turn in found["turns"]] == ["completed", "interrupted"]
    assert [words["speaker"] for words in found["transcript"]] == ["caller", "bot", "bot"]
    assert found["usage"][0]["model"] == "gpt-x"


def test_a_refused_caller_can_be_shown(path: Path) -> None:
    code, out = run(path, "show", "refused-1")
    assert code == 0
    assert "refused by allowlist: @not in list" in out


def test_an_unknown_call_is_one_sentence(path: Path) -> None:
    with pytest.raises(InputError, match="knows no call nobody"):
        run(path, "show", "nobody")


# --- sums -----------------------------------------------------------------------------------


def test_sums_have_tables_and_sparklines(path: Path) -> None:
    code, out = run(path, "stats", columns=80)
    assert code == 0
    assert out.startswith("2 calls from")
    assert all(len(row) <= 80 for row in out.splitlines())
    for words in ("refused 1", "completed 1", "first frame sent", "gpt-x", "0.0061 USD", "hear"):
        assert words in out
    assert "█" in out
    found = json.loads(run(path, "stats", "--json", "--since", BETWEEN)[1])
    assert (found["version"], found["stats"]["calls"]) == (1, 1)


def test_a_sparkline_scales_to_its_largest() -> None:
    assert spark([0, 1, 4, 8, None]) == "▁▁▄█ ".replace("▁▁▄", "▁▂▅")
    assert spark([0, 0]) == "▁▁"


# --- forgetting -----------------------------------------------------------------------------


def test_forgetting_asks_on_a_terminal_and_wants_yes_without(path: Path) -> None:
    done = process("forget", CALL, "--journal", str(path), stdin=subprocess.DEVNULL)
    assert done.returncode == 2
    assert done.stderr.startswith(f"teamscall: The call {CALL} would be forgotten.")
    assert "--yes" in done.stderr
    ours, theirs = pty.openpty()
    try:
        for word, code in (("n", 1), ("y", 0)):
            os.write(ours, f"{word}\n".encode())
            done = process("forget", "7c1e", "--journal", str(path), stdin=theirs)
            assert done.returncode == code, done.stderr
            assert f"Forget the call {CALL} for good?" in done.stderr
            assert (CALL.encode() in path.read_bytes()) is (word == "n")
    finally:
        os.close(ours)
        os.close(theirs)
    assert done.stdout.startswith(f"Forgotten: the call {CALL} (")
    assert b"what time is it" not in path.read_bytes()


def test_what_was_forgotten_as_json(path: Path) -> None:
    code, out = run(path, "forget", "7c1e", "--yes", "--json")
    told = json.loads(out)
    assert (code, told["version"], told["callId"]) == (0, 1, CALL)
    assert told["forgotten"]["calls"] == 1
    assert told["forgotten"]["rows"] > 3
    assert told["forgotten"]["traces"] == ""


def test_forgetting_all_before_a_moment(path: Path) -> None:
    code, out = run(path, "forget", "--before", BETWEEN, "--yes")
    assert code == 0
    assert out.startswith("Forgotten: 1 call from before ")
    assert [one["callId"] for one in json.loads(run(path, "--json")[1])["calls"]] == ["refused-1"]


# --- the file -------------------------------------------------------------------------------


def test_no_journal_is_one_sentence_and_exit_2(tmp_path: Path) -> None:
    for verb in ([], ["forget", "abcd", "--yes"]):
        done = process(*verb, "--journal", str(tmp_path / "none.sqlite3"))
        assert done.returncode == 2
        assert done.stdout == ""
        assert done.stderr.startswith("teamscall: There is no journal at ")
    assert list(tmp_path.iterdir()) == []


def test_the_configuration_names_the_journal(path: Path, tmp_path: Path) -> None:
    done = process("--json", env={"TEAMSCALL_JOURNAL_PATH": str(path)})
    assert len(json.loads(done.stdout)["calls"]) == 2
    config = tmp_path / "teamscall.toml"
    config.write_text(f"[journal]\npath = {json.dumps(str(path))}\n")
    done = process("--config", str(config), "show", CALL, "--json")
    assert json.loads(done.stdout)["call"]["callId"] == CALL


def test_an_empty_history_is_said_on_stderr(tmp_path: Path) -> None:
    empty = tmp_path / "empty.sqlite3"
    journal = Journal(empty, ManualClock())
    journal.open()
    assert journal.close(10)
    done = process("--journal", str(empty))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "No calls.\n")


def test_ids_complete_and_a_shell_hears_no_complaints(path: Path, tmp_path: Path) -> None:
    def complete(journal: Path) -> Any:
        words = f"teamscall calls --journal {journal} show 7c"
        count = str(len(words.split()) - 1)
        return process(
            env={
                "_TEAMSCALL_COMPLETE": "complete_bash",
                "COMP_WORDS": words,
                "COMP_CWORD": count,
            }
        )

    assert complete(path).stdout.split() == [CALL]
    for wrong in (tmp_path / "none", Path(os.devnull)):
        done = complete(wrong)
        assert (done.stdout.strip(), done.stderr) == ("", "")


def test_colours_follow_the_terminal_and_content_does_not(path: Path) -> None:
    plain = process("--journal", str(path), env={"COLUMNS": "100"}).stdout
    seen = {}
    for name, extra in (("coloured", {}), ("plain", {"NO_COLOR": "1"})):
        ours, theirs = pty.openpty()
        environment = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "CI")}
        environment |= {"COLUMNS": "100", "TERM": "xterm-256color", **extra}
        child = subprocess.Popen(
            [sys.executable, "-m", "teamscall", "calls", "--journal", str(path)],
            stdout=theirs,
            env=environment,
        )
        os.close(theirs)
        got = b""
        with contextlib.suppress(OSError):  # the terminal's other end is closed
            while more := os.read(ours, 65536):
                got += more
        os.close(ours)
        assert child.wait(60) == 0
        seen[name] = got.decode().replace("\r\n", "\n")
    assert "\x1b[32m" in seen["coloured"]
    assert not re.search(r"\x1b\[3[0-9]m", seen["plain"])
    for text in seen.values():
        bare = re.sub(r"\x1b\[[0-9;]*m", "", text)
        assert [row.rstrip() for row in bare.splitlines()] == [
            row.rstrip() for row in plain.splitlines()
        ]
