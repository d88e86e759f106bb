"""What the demo makes of its surroundings, and says when it cannot start."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from teamscall.cli.demo_run import demo_flags
from teamscall.cli.demo_view import print_failure
from teamscall.config import load_config
from teamscall.errors import MissingPackageError
from teamscall.wire.events import Dialect


@pytest.mark.parametrize("dialect", ["standin", "csharp"])
def test_no_variable_of_a_real_bridge_keeps_the_demo_from_its_call(dialect: Dialect) -> None:
    env = {
        "TEAMSCALL_BRIDGE_SECRET_FILE": "/no/such/file",
        "TEAMSCALL_STANDIN_SECRET_ENV": "NOT_SET",
        "TEAMSCALL_SERVE_BIND": "0.0.0.0",
        "TEAMSCALL_SERVE_TLS_CERT": "/no/such/cert",
        "TEAMSCALL_STANDIN_TLS_KEY": "/no/such/key",
        "TEAMSCALL_INBOUND_ENABLED": "false",
        "TEAMSCALL_AUTHORIZATION_MODE": "disabled",
        "TEAMSCALL_AUTHORIZATION_HOOK_URL": "http://127.0.0.1:9/",
        "TEAMSCALL_AUTHORIZATION_HOOK_COMMAND": "no-such-command",
    }
    config = load_config(Path(os.devnull), env=env, flags=demo_flags(dialect)).config
    assert config.inbound.enabled
    assert config.authorization.mode == "open"
    assert config.authorization.hook_url == ""
    assert config.authorization.hook_command == ()
    assert config.serve.tls_cert == config.standin.tls_key == ""
    secret = (config.bridge if dialect == "csharp" else config.standin).secret
    assert len(secret.reveal()) >= 32


def test_a_configuration_that_names_no_file_blames_none() -> None:
    from teamscall.errors import ConfigError

    with pytest.raises(ConfigError) as caught:
        load_config(Path(os.devnull), env={}, flags={"engine": "openai"})
    assert os.devnull not in caught.value.message


def test_a_demo_that_could_not_start_ends_its_json_with_a_summary_too(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_failure(MissingPackageError("It needs x.", hint="Install it: x"))
    print_failure(None)
    missing, interrupted = map(json.loads, capsys.readouterr().out.splitlines())
    assert missing == {
        "v": 1,
        "event": "summary",
        "ok": False,
        "failed": "It needs x.",
        "hint": "Install it: x",
    }
    assert interrupted["failed"] == "Interrupted before the call."
