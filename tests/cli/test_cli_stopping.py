"""Signals at every stage: hang up a call, end anything else at once, leave nothing behind."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys

import pytest

from teamscall.cli.stopping import stop_on_signals
from teamscall.config import Config, load_config
from teamscall.engines.echo import EchoEngine
from teamscall.errors import ExitCode
from teamscall.server import run

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")

SIGNALS = [signal.SIGINT, signal.SIGTERM]


def kill_me(number: int) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_hangs_up_a_call_and_the_second_cancels(number: int) -> None:
    hung_up: list[str] = []

    async def play() -> None:
        with stop_on_signals(lambda: hung_up.append("once"), lambda: True):
            kill_me(number)
            await asyncio.sleep(0.05)
            assert hung_up == ["once"]
            kill_me(number)
            await asyncio.sleep(60)

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(play())
    assert hung_up == ["once"]


@pytest.mark.parametrize("number", SIGNALS)
def test_without_a_call_the_first_signal_cancels(number: int) -> None:
    async def play() -> None:
        with stop_on_signals(lambda: pytest.fail("there is no call"), lambda: False):
            kill_me(number)
            await asyncio.sleep(60)

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(play())


class Loading(EchoEngine):
    """An engine whose models never get loaded, because a signal comes first."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number
        self.stopped = False

    async def start(self) -> None:
        kill_me(self.number)
        await asyncio.sleep(60)

    async def stop(self) -> None:
        self.stopped = True


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, ExitCode.INTERRUPTED), (signal.SIGTERM, ExitCode.OK)],
)
def test_a_signal_ends_a_start_and_stops_the_engine(
    number: int, code: ExitCode, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Loading(number)
    monkeypatch.setattr(run, "build_engine", lambda config: engine)
    assert run.serve_process(config(), on_ready=lambda bridge: pytest.fail("up")) == code
    assert engine.stopped


def config() -> Config:
    flags: dict[str, object] = {
        "serve.port": 0,
        "bridge.secret": "kQ3vZr8pXw1tYb6nMd4sGh7jLf2cAe9u",
        "journal.enabled": False,
    }
    from pathlib import Path

    return load_config(Path(os.devnull), env={}, flags=flags).config


@pytest.mark.parametrize("number", SIGNALS)
def test_dialling_somebody_who_does_not_answer_ends_at_once(number: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(60)
        url = f"127.0.0.1:{silent.getsockname()[1]}"
        with subprocess.Popen(
            [sys.executable, "-m", "teamscall", "emulate", "--url", url, "--json"],
            env=dict(os.environ) | {"TEAMSCALL_EMULATE_SECRET": "x" * 32},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            peer, _ = silent.accept()
            process.send_signal(number)
            out, err = process.communicate(timeout=60)
            peer.close()
    assert process.returncode == ExitCode.INTERRUPTED
    report = json.loads(out)
    assert (report["event"], report["outcome"]) == ("report", "interrupted")
    assert "Traceback" not in err
