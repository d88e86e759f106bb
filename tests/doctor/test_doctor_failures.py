"""Whom a running bridge turned away: the same diagnosis in its log and in the command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from doctor_rig import PATH, SECRET, free_port
from typer.testing import CliRunner
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from teamscall.cli.app import app
from teamscall.wire.signature import BRIDGE_SECRET_HEADER


def test_a_handshake_that_fails_is_diagnosed_in_the_log_and_on_request(tmp_path: Path) -> None:
    port = free_port()
    file = tmp_path / "teamscall.toml"
    file.write_text(
        f'authorization.mode = "open"\nengine = "echo"\njournal.enabled = false\n'
        f'serve.port = {port}\nbridge.secret = "{SECRET}"\n'
    )
    file.chmod(0o600)
    with TemporaryDirectory(prefix="tc-") as folder:  # a socket's path is short
        env = {"TEAMSCALL_CONTROL_SOCKET": f"{folder}/c.sock"}
        serve = [sys.executable, "-m", "teamscall", "serve", "-c", str(file)]
        with subprocess.Popen(
            serve, env=os.environ | env, stderr=subprocess.PIPE, text=True
        ) as bridge:
            assert bridge.stderr is not None
            assert any("control" in line for line in bridge.stderr)  # its banner, when it is up

            def told(*options: str) -> str:
                words = ["doctor", "-c", str(file), "--last-failures", *options]
                done = CliRunner().invoke(app, words, env=env)
                assert done.exit_code == 0, done.output
                return done.stdout

            assert json.loads(told("--json")) == {"version": 1, "failures": []}
            for wrong in (SECRET[:-1], f'"{SECRET}"'):
                with (
                    pytest.raises(InvalidStatus),
                    connect(
                        f"ws://127.0.0.1:{port}{PATH}",
                        additional_headers={BRIDGE_SECRET_HEADER: wrong},
                    ),
                ):
                    pass
            failures = json.loads(told("--json"))["failures"]
            table = told()
            bridge.kill()
            log = bridge.stderr.read()
    assert [(one["reason"], one["detail"]) for one in failures] == [
        ("secret-mismatch", "wrong secret: theirs looks like yours in double quotes"),
        ("secret-mismatch", "wrong secret: theirs looks like yours without the = at its end"),
    ]
    for failure in failures:
        assert failure["detail"] in log
    assert "double quotes" in table
    assert SECRET not in json.dumps(failures) + table + log
