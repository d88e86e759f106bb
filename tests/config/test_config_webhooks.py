"""[[webhooks]]: reading them, their secrets, and what makes no sense."""

from __future__ import annotations

import datetime
import sys
import tomllib
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from teamscall.cli.app import app
from teamscall.config import (
    Config,
    JournalFile,
    Loaded,
    Metrics,
    Outbound,
    Secret,
    Serve,
    Webhook,
    load_config,
)
from teamscall.config.checks import check
from teamscall.errors import ConfigError

TEXT = """
engine = "echo"
[[webhooks]]
url = "https://example.com/calls"
secretFile = "hook-secret"
events = ["call.ended", "outbound.ended"]
timeoutMs = 900

[[webhooks]]
url = "https://example.com/more"
secret_env = "HOOK_SECRET"
transcripts = true

[[webhooks]]
command = "notify --call"
attempts = 2
"""
VALUE = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def load(tmp_path: Path, text: str = TEXT, **env: str) -> Loaded:
    file = tmp_path / "teamscall.toml"
    file.write_text(text)
    file.chmod(0o600)
    secret = tmp_path / "hook-secret"
    secret.write_text(VALUE + "\n")
    secret.chmod(0o600)
    return load_config(file, env=env, cross_checks=False)


def problems_of(tmp_path: Path, text: str, **env: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text, **env)
    return [problem.replace("file teamscall.toml ", "") for problem in caught.value.problems]


def findings(config: Config) -> dict[str, bool]:
    found = check(config, {}, datetime.date(2026, 11, 1))
    keys = ("webhooks", "outbound.undelivered", "metrics")
    return {f.text: f.fatal for f in found if f.text.startswith(keys)}


def test_they_are_read_with_their_secrets_and_origins(tmp_path: Path) -> None:
    loaded = load(tmp_path, HOOK_SECRET="by hand")
    first, second, third = loaded.config.webhooks
    assert first == Webhook(
        url="https://example.com/calls",
        events=("call.ended", "outbound.ended"),
        secret=Secret(VALUE),
        secret_file=str(tmp_path / "hook-secret"),
        timeout_ms=900,
    )
    assert second.secret == Secret("by hand")
    assert second.transcripts
    assert third == Webhook(command=("notify", "--call"), attempts=2)
    assert loaded.origins["webhooks[2]"] == "file teamscall.toml line 14"
    assert "hook-secret, named by webhooks[0].secret_file" in loaded.origins["webhooks[0].secret"]
    assert loaded.origins["webhooks[1].secret"].startswith("environment HOOK_SECRET")


def test_every_problem_names_its_key_and_line(tmp_path: Path) -> None:
    text = """
[[webhooks]]
url = "https://example.com"
command = "cat"
[[webhooks]]
events = ["call.began"]
[[webhooks]]
url = "https://example.com"
secret = "a"
secret_env = "B"
[[webhooks]]
url = "https://example.com"
secret_env = "NOT_THERE"
[[webhooks]]
command = "cat"
secret = "a"
[[webhooks]]
url = "https://example.com"
secret_file = "nowhere"
"""
    found = problems_of(tmp_path, text)
    assert found == [
        'webhooks[1].events: ["call.began"] is not a list of call.started, call.answered, '
        "call.turn, call.ended, outbound.ended (line 6)",
        "webhooks[0]: give it a url or a command, and not both (line 2)",
        "webhooks[4]: a command gets no signature: leave its secret out (line 14)",
        "webhooks[2].secret: has two sources, webhooks[2].secret (line 7) and "
        "webhooks[2].secret_env (line 7); keep one",
        "webhooks[3].secret_env: names NOT_THERE, which is not set (line 11)",
        f"webhooks[5].secret_file: {tmp_path / 'nowhere'} cannot be read: "
        "No such file or directory (line 17)",
    ]


def test_one_table_where_many_are_meant_is_told(tmp_path: Path) -> None:
    assert problems_of(tmp_path, "[webhooks]\nurl = 'https://example.com'") == [
        "webhooks: write each webhook as [[webhooks]] (line 1)"
    ]


def test_a_secret_in_a_file_that_others_can_read_is_told(tmp_path: Path) -> None:
    file = tmp_path / "teamscall.toml"
    file.write_text(f"[[webhooks]]\nurl = 'https://example.com'\nsecret = '{VALUE}'")
    file.chmod(0o644)
    (warning,) = load_config(file, env={}, cross_checks=False).warnings
    assert "holds webhooks[0].secret and can be read by other users" in warning


@pytest.mark.parametrize(
    ("webhook", "told", "fatal"),
    [
        (Webhook(url="https://example.com"), "webhooks[0].secret is missing", False),
        (Webhook(url="http://127.0.0.1:8"), "", False),
        (Webhook(url="http://example.com", secret=Secret(VALUE)), "in clear", False),
        (Webhook(url="https://u:p@localhost/"), "credentials", True),
        (Webhook(url="https://localhost", secret=Secret("whsec_!")), "not base64", True),
        (Webhook(url="https://localhost", secret=Secret("whsec_YWJj")), "3 bytes", False),
        (Webhook(command=("/no/such",)), "not an executable", True),
        (Webhook(command=(sys.executable,), transcripts=True), "has no effect", False),
    ],
)
def test_what_makes_no_sense_is_told(webhook: Webhook, told: str, fatal: bool) -> None:
    found = findings(Config(webhooks=(webhook,)))
    assert len(found) == bool(told)
    assert told in "".join(found)
    assert list(found.values()) == [fatal] * bool(told)


def test_transcripts_that_the_journal_allows_are_no_finding() -> None:
    hook = Webhook(command=(sys.executable,), transcripts=True)
    assert findings(Config(webhooks=(hook,), journal=JournalFile(transcripts="on"))) == {}


def test_undelivered_messages_go_to_one_place() -> None:
    outbound = Outbound(undelivered_command=(sys.executable,), undelivered_url="http://localhost")
    (problem,) = findings(Config(outbound=outbound))
    assert problem.endswith("are both given: keep one")


def test_a_port_for_metrics_is_its_own_and_loopback() -> None:
    told = findings(Config(metrics=Metrics(port=3335, bind="0.0.0.0"), serve=Serve(bind="0.0.0.0")))
    assert list(told.values()) == [False, True]
    assert "whoever reaches port 3335" in next(iter(told))


def test_config_show_masks_their_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEAMSCALL_BRIDGE_SECRET", "kQ3vZr8pXw1tYb6nMd4sGh7jLf2cAe9u")
    monkeypatch.setenv("HOOK_SECRET", "never shown to anybody")
    load(tmp_path, HOOK_SECRET="x")
    file = tmp_path / "teamscall.toml"
    file.write_text(TEXT.replace("notify --call", f"'{sys.executable}' --call"))
    for how in ((), ("--json",), ("--toml",)):
        result = CliRunner().invoke(app, ["config", "show", "--config", str(file), *how])
        assert result.exit_code == 0
        assert "never shown" not in result.output
        assert VALUE not in result.output
    again = tomllib.loads(result.stdout)["webhooks"]
    assert [hook["timeout_ms"] for hook in again] == [900, 10_000, 10_000]
    assert again[1]["secret_env"] == "HOOK_SECRET"


def test_a_webhook_does_not_encode_its_secret() -> None:
    with pytest.raises(NotImplementedError):
        msgspec.to_builtins(Webhook(secret=Secret("a")), enc_hook=_refuse)


def _refuse(value: object) -> object:
    raise NotImplementedError(type(value).__name__)
