"""``teamscall emulate`` as a process: what it prints, writes and returns."""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from emulate_options_rig import emulate_options
from emulator_rig import SECRET, Bridge, tone

from teamscall.audio.wav import read_wav, write_wav
from teamscall.cli.dialling import read_secret
from teamscall.cli.emulate_run import parse_digits, place
from teamscall.cli.emulate_view import METER_COLUMNS
from teamscall.cli.emulate_words import words
from teamscall.cli.meters import meter
from teamscall.emulator import happenings as seen
from teamscall.emulator.plan import Press
from teamscall.errors import InputError

BridgeThread = Callable[..., Bridge]

# The command alone: other verbs have tests of their own.
PROGRAM = [
    sys.executable,
    "-c",
    "import typer; from teamscall.cli.emulate import register\n"
    "app = typer.Typer(); app.callback()(lambda: None); register(app); app()",
    "emulate",
]
ENV = {
    **{k: v for k, v in os.environ.items() if k not in ("CI", "NO_COLOR")},
    "TEAMSCALL_EMULATE_SECRET": SECRET.decode(),
    "TERM": "xterm-256color",
}


def run(*args: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PROGRAM, *args],
        env=env or ENV,
        capture_output=True,
        text=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
        check=False,
    )


def test_a_wav_is_spoken_and_the_answer_written(
    bridge_thread: BridgeThread, tmp_path: Path
) -> None:
    bridge = bridge_thread("csharp")
    speech = tone(500)
    write_wav(tmp_path / "in.wav", speech)
    done = run(
        "--url", bridge.url, "--dialect", "csharp", "--wav", str(tmp_path / "in.wav"),
        "--hang-up-after", "0.3", "--expect-speech", "--json",
        "--out", str(tmp_path / "reply.wav"), "--stereo", str(tmp_path / "call.wav"),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert all(line["v"] == 1 for line in lines)
    kinds = [line["event"] for line in lines]
    assert kinds[:3] == ["connected", "authorized", "started"]
    assert kinds[-2:] == ["ended", "report"]
    assert lines[-1]["outcome"] == "completed"
    assert lines[-1]["heard"]["speech_ms"] == 500
    assert speech in read_wav(tmp_path / "reply.wav")
    assert (tmp_path / "call.wav").stat().st_size > 4 * len(speech)
    assert SECRET.decode() not in done.stdout + done.stderr


def test_plain_lines_go_to_stderr_and_the_summary_to_stdout(bridge_thread: BridgeThread) -> None:
    bridge = bridge_thread("standin", echo=False)
    done = run("--url", bridge.url, "--duration", "0.4", "--dtmf", "5@0.1", "--expect-speech")
    assert done.returncode == 1
    assert done.stdout.startswith("outcome   no-speech")
    assert "pressed 5" in done.stderr
    assert "\x1b" not in done.stdout + done.stderr
    quiet = run("--url", bridge.url, "--duration", "0.1", "--quiet")
    assert (quiet.returncode, quiet.stderr) == (0, "")


def test_a_refusal_is_a_sentence_a_hint_and_its_exit_code(bridge_thread: BridgeThread) -> None:
    bridge = bridge_thread("standin")
    done = run("--url", bridge.url, "--secret", "wrong-secret", "--json")
    assert done.returncode == 5
    (line,) = [json.loads(text) for text in done.stdout.splitlines()]
    assert (line["event"], line["outcome"]) == ("report", "handshake-refused")
    assert "401" in done.stderr
    assert "ps" in done.stderr
    assert "wrong-secret" not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("changes", "code", "expected"),
    [
        ({"url": "127.0.0.1:9"}, 4, "Nothing can be reached"),
        ({"url": ""}, 2, "no --url"),
        ({"wav": Path("no.wav")}, 2, "no.wav"),
        ({"mic": True, "say": "x"}, 2, "Only one of"),
        ({"dtmf": "x"}, 2, "not a digit"),
        ({"dialect": "csharp", "dtmf": "1"}, 2, "neither digits"),
        ({"out": Path("/no/such/folder/x.wav")}, 2, "cannot be written"),
        ({"video": Path("no.jpg")}, 2, "no.jpg"),
        ({"ca": Path("no.pem"), "url": "wss://h"}, 2, "no.pem"),
        ({"call_id": "a/b"}, 2, "call id"),
    ],
)
def test_what_cannot_be_played_is_one_sentence_and_a_code(
    changes: dict[str, object], code: int, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert place(emulate_options(**{"url": "h", "secret": "s", "quiet": True, **changes})) == code
    printed = capsys.readouterr()
    assert expected in printed.err
    assert printed.out == ""


def test_keys_work_on_a_terminal_and_it_is_restored(bridge_thread: BridgeThread) -> None:
    if sys.platform == "win32":
        pytest.skip("no pseudo-terminals")
    import pty
    import termios

    bridge = bridge_thread("standin")
    outer, inner = pty.openpty()
    termios.tcsetwinsize(outer, (30, 80))
    before = termios.tcgetattr(inner)
    process = subprocess.Popen(
        [*PROGRAM, "--url", bridge.url], env=ENV, stdin=inner, stdout=subprocess.PIPE, stderr=inner
    )
    screen = b""

    def read_until(wanted: Callable[[], bool]) -> None:
        nonlocal screen
        deadline = time.monotonic() + 20
        while not wanted() and time.monotonic() < deadline:
            if select.select([outer], [], [], 0.05)[0]:
                screen += os.read(outer, 65536)

    try:
        read_until(lambda: b"in call" in screen and len(bridge.audio) > 5)
        os.write(outer, b"m7#r+")
        read_until(lambda: bridge.types().count("participants") >= 2)
        read_until(lambda: b"muted" in screen)
        os.write(outer, b"q")
        read_until(lambda: process.poll() is not None)
        assert process.wait(20) == 0
        assert [m["digit"] for m in bridge.messages if m["type"] == "dtmf"] == ["7", "#"]
        assert [m["status"] for m in bridge.messages if m["type"] == "recording.status"] == [
            "active",
            "inactive",
        ]
        assert [m["count"] for m in bridge.messages if m["type"] == "participants"] == [1, 2]
        assert bridge.types()[-1] == "session.end"
        assert termios.tcgetattr(inner)[3] == before[3]
        assert process.stdout is not None
        assert b"outcome   completed" in process.stdout.read()
        text = re.sub(rb"\x1b\[[0-9;?]*[a-zA-Z]", b"", screen).decode()
        assert max(len(line) for line in re.split(r"[\r\n]+", text)) <= 80
        assert SECRET.decode() not in text
    finally:
        process.kill()
        process.wait()
        with contextlib.suppress(OSError):
            assert process.stdout is not None
            process.stdout.close()
        os.close(outer)
        os.close(inner)


def test_ctrl_c_hangs_up_as_a_caller_would(bridge_thread: BridgeThread) -> None:
    bridge = bridge_thread("csharp")
    with subprocess.Popen(
        [*PROGRAM, "--url", bridge.url, "--dialect", "csharp", "-q"],
        env=ENV,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    ) as process:
        deadline = time.monotonic() + 20
        while len(bridge.audio) < 5 and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
    assert bridge.types()[-1] == "session_end"


def test_a_secret_comes_from_flag_file_or_environment(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_bytes(b"from a file \xff\n")
    assert read_secret("flag", path, {}) == b"flag"
    assert read_secret(None, path, {}) == b"from a file \xff"
    assert read_secret(None, None, {"TEAMSCALL_EMULATE_SECRET": "env"}) == b"env"
    with pytest.raises(InputError, match="no secret"):
        read_secret(None, None, {})
    assert "flag" not in repr(emulate_options(secret="flag"))


def test_digits_are_parsed_with_and_without_times() -> None:
    assert parse_digits("1, 2@3.5,#") == (Press(1.0, "1"), Press(3.5, "2"), Press(4.0, "#"))
    for bad in ("x", "12", "1@x", "1@-1", "1@inf", "１"):
        with pytest.raises(InputError):
            parse_digits(bad)


def test_every_event_has_words_or_none_and_meters_fit() -> None:
    for dbfs in (-200.0, -60.0, -30.0, 0.0, 5.0):
        assert len(meter(dbfs, METER_COLUMNS)) == METER_COLUMNS
    assert words(seen.Warned(1, "a\x1b[2Jb")) == "warning: a [2Jb"
    assert words(seen.Answered(1, 2.0)) == ""
