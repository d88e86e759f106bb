"""`teamscall demo` as a process: a spoken question, a spoken answer, and honest failure."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from teamscall.audio.wav import read_wav, write_wav
from teamscall.cli.demo_run import QUESTION, words_heard

offline = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("faster_whisper", "piper")),
    reason="the offline extra is not installed: pip install '.[offline]'",
)


def demo(tmp_path: Path, *options: str) -> tuple[int, list[dict[str, object]], str]:
    """Run it; the exit code, its JSON lines, and stderr."""
    done = subprocess.run(
        [
            sys.executable, "-m", "teamscall", "demo", "--json",
            "--out", str(tmp_path / "reply.wav"), *options,
        ],
        capture_output=True, text=True, timeout=180, check=False,
        env={k: v for k, v in os.environ.items() if not k.startswith("TEAMSCALL_")},
    )  # fmt: skip
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr


def loud_ms(path: Path) -> int:
    """How much of a WAV is louder than -40 dBFS, in 20 ms frames."""
    samples = np.frombuffer(read_wav(path), "<i2").astype(np.float64)
    frames = samples[: samples.size // 320 * 320].reshape(-1, 320)
    return int((np.sqrt((frames**2).mean(axis=1)) > 328).sum()) * 20


@offline
@pytest.mark.offline
@pytest.mark.parametrize("dialect", ["csharp", pytest.param("standin", marks=pytest.mark.load)])
def test_the_question_is_heard_understood_and_answered_with_speech(
    tmp_path: Path, dialect: str
) -> None:
    stereo = tmp_path / "call.wav"
    code, lines, _ = demo(tmp_path, "--dialect", dialect, "--stereo", str(stereo))
    summary = lines[-1]
    assert (code, summary["event"], summary["ok"]) == (0, "summary", True)
    assert words_heard(QUESTION, " ".join(summary["heard"])) >= 0.9  # type: ignore[arg-type]
    assert loud_ms(tmp_path / "reply.wav") > 2000
    assert loud_ms(stereo) > loud_ms(tmp_path / "reply.wav")
    kinds = {line["event"] for line in lines}
    assert {"call-opened", "heard", "said", "turn-ended", "call-closed"} <= kinds


def test_silence_is_an_honest_failure(tmp_path: Path) -> None:
    write_wav(tmp_path / "silence.wav", bytes(32_000))
    script = tmp_path / "script.toml"
    script.write_text('[[line]]\nheard = "Hello?"\nanswer = "Hello."\n')
    code, lines, _ = demo(
        tmp_path, "--engine", "scripted", "--set", f"scripted.path={script}",
        "--wav", str(tmp_path / "silence.wav"), "--patience", "2",
    )  # fmt: skip
    assert code == 1
    assert lines[-1]["ok"] is False
    assert lines[-1]["failed"] == "The engine heard no speech."


def test_a_file_that_is_no_wav_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "x.wav").write_bytes(b"not a wav at all")
    code, _, stderr = demo(tmp_path, "--engine", "echo", "--wav", str(tmp_path / "x.wav"))
    assert code == 2
    assert "x.wav" in stderr
    assert "Traceback" not in stderr


def test_with_the_echo_engine_the_callers_voice_comes_back(tmp_path: Path) -> None:
    code, lines, _ = demo(tmp_path, "--engine", "echo")
    assert code == 0
    assert lines[-1]["ok"] is True
    assert loud_ms(tmp_path / "reply.wav") > 1000
