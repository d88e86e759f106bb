"""`teamscall init --import`: another program's settings, key by key."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from teamscall.cli import init as init_cli
from teamscall.config import load_config
from teamscall.errors import InputError
from teamscall.setup.foreign import MAX_JSON5_BYTES, Block, read_blocks, variable_of
from teamscall.setup.taking import Row, take

app = typer.Typer()
init_cli.register(app)
SECRET = "kQ3vZr8pXw1tYb6nMd4sGh7jLf2cAe9u"
KEY = "sk-proj-0123456789abcdef"

PLUGIN = """
// as the plugin's page has it
{ plugins: { entries: { "msteams-call": { enabled: true, config: {
  serve: { port: 3335, bind: "127.0.0.1", path: "/teams-call/stream" },
  bridge: { secret: "SECRET" },
  inbound: { enabled: true, greeting: "Hello! How can I help you?" },
  outbound: { enabled: true, ringTimeoutMs: 30000, defaultMode: "notify" },
  tts: { model: "gpt-4o-mini-tts", voice: "coral", },
  streaming: { openaiApiKey: "KEY", sttModel: "gpt-4o-transcribe", silenceDurationMs: 800,
               vadThreshold: 0.5, maxParallelTTS: 3 },
  responseModel: "openai/gpt-4o-mini", responseTimeoutMs: 30000,
  authorization: { mode: "allowlist", allowFrom: ["user@example.com", "user-object-id"],
                   allowedTenants: ["your-tenant-guid"], allowPstn: false },
  colour: "red", maxConcurrentCalls: 0,
}}}}}
""".replace("SECRET", SECRET).replace('"KEY"', f'"{KEY}"')
OPENCLAW = {
    "channels": {"msteams": {"enabled": True}},
    "plugins": {"entries": {"msteams-bridge": {"enabled": True, "config": {
        "mode": "realtime", "port": 9442, "path": "/msteams/calling/{callId}",
        "secret": SECRET, "requireRecordingStatus": True, "inboundPolicy": "pairing",
        "allowFrom": ["3f0d2a53-2f6e-4c11-9f0a-5d5f0f6f5e11"], "inboundGreeting": "Hello.",
        "maxConcurrentCalls": 4, "bindAddress": "0.0.0.0", "bilingual": True,
        "groupCall": {"requireAddress": True, "wakePhrases": ["assistant"]},
        "outbound": {"enabled": True, "workerBaseUrl": "https://out.example.org",
                     "tenantId": "8a7c1d0e-90b4-4a0b-8c5d-6f1e2d3c4b5a", "answerTimeoutMs": 45000},
        "realtime": {"provider": "openai", "instructions": "Be brief.", "toolPolicy": "none",
                     "providers": {"openai": {"apiKey": KEY, "model": "gpt-realtime-2.1"}}},
    }}}},
}  # fmt: skip
HERMES = {
    "plugins": {"entries": {"teams_call": {"config": {
        "shared_secret": "${TEAMS_SECRET}", "host": "127.0.0.1", "port": 8443,
        "allowlist": ["3f0d2a53-2f6e-4c11-9f0a-5d5f0f6f5e11"], "heartbeat_s": 20,
        "pre_start_timeout_s": 10, "max_call_duration_s": 1800, "hmac_window_ms": 60000,
        "max_connections_per_ip": 8, "wake_phrases": ["hermes"], "session_scope": "per-call",
        "managed_bot": {"secret": "x" * 40, "port": 8444},
    }}}},
}  # fmt: skip


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [n for n in os.environ if n.startswith(("TEAMSCALL_", "OPENAI_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))


def saved(tmp_path: Path, text: object, name: str = "openclaw.json") -> Path:
    file = tmp_path / name
    file.write_text(text if isinstance(text, str) else json.dumps(text), "utf-8")
    return file


def rows(tmp_path: Path, text: object, **env: str) -> dict[str, Row]:
    return {row.key: row for row in take(read_blocks(saved(tmp_path, text)), env).rows}


def import_(file: Path, out: Path, *words: str) -> Result:
    return CliRunner().invoke(app, ["--import", str(file), "-o", str(out), *words])


def test_the_plugins_own_page_is_taken_over(tmp_path: Path) -> None:
    told = rows(tmp_path, PLUGIN)
    verdicts = {key: row.verdict for key, row in told.items()}
    assert verdicts.pop("streaming.maxParallelTTS") == "not-needed"
    assert verdicts.pop("colour") == "wrong"
    assert verdicts.pop("maxConcurrentCalls") == "wrong"
    assert verdicts.pop("plugins.entries.msteams-call.enabled") == "not-needed"
    assert set(verdicts.values()) == {"taken"}
    assert told["maxConcurrentCalls"].why == ("max_concurrent_calls is an integer from 1 to 100000")

    done = import_(saved(tmp_path, PLUGIN), tmp_path / "out.toml")
    assert done.exit_code == 0, done.output
    assert SECRET not in done.output
    assert KEY not in done.output
    config = load_config(tmp_path / "out.toml", env={}).config
    assert config.bridge.secret.reveal() == SECRET
    assert config.streaming.openai_api_key.reveal() == KEY
    assert config.response_model == "openai/gpt-4o-mini"
    assert config.authorization.allow_from == ("user@example.com", "user-object-id")
    assert not config.standin.enabled
    text = (tmp_path / "out.toml").read_text()
    assert SECRET not in text
    assert KEY not in text


def test_openclaws_block_for_standin_is_taken_over(tmp_path: Path) -> None:
    told = rows(tmp_path, OPENCLAW)
    moved = {row.key: row.to for row in told.values() if row.verdict == "renamed"}
    assert moved == {
        "port": "standin.port", "path": "standin.paths", "secret": "standin.secret",
        "requireRecordingStatus": "recording.require", "inboundPolicy": "authorization.mode",
        "allowFrom": "authorization.allow_from", "inboundGreeting": "inbound.greeting",
        "outbound.workerBaseUrl": "standin.worker_base_url", "outbound.tenantId": "outbound.tenant",
        "outbound.answerTimeoutMs": "outbound.ring_timeout_ms",
        "realtime.instructions": "response_system_prompt",
        "realtime.providers.openai.apiKey": "openai.api_key",
        "realtime.providers.openai.model": "realtime.model",
    }  # fmt: skip
    assert "is not loopback" in told["bindAddress"].why
    for key in ("groupCall.wakePhrases", "bilingual", "realtime.provider", "realtime.toolPolicy"):
        assert told[key].verdict == "not-needed", key
        assert told[key].why

    done = import_(saved(tmp_path, OPENCLAW), tmp_path / "out.toml", "--json")
    about = json.loads(done.stdout)
    assert {row["verdict"] for row in about["keys"]} == {"taken", "renamed", "not-needed", "wrong"}
    assert about["freshSecrets"] == []
    config = load_config(tmp_path / "out.toml", env={}).config
    assert config.standin.secret.reveal() == SECRET
    assert config.standin.paths == ("/msteams/calling",)
    assert (config.authorization.mode, config.mode) == ("allowlist", "realtime")
    assert config.standin.allow_remote_worker  # there it was allowed by naming it
    assert not config.serve.enabled
    assert config.standin.bind == "127.0.0.1"


def test_hermes_block_is_taken_over_with_its_units(tmp_path: Path) -> None:
    told = rows(tmp_path, HERMES, TEAMS_SECRET=SECRET)
    assert told["shared_secret"].to == "standin.secret_env"
    assert told["managed_bot.secret"].verdict == "not-needed"
    values = take(read_blocks(saved(tmp_path, HERMES)), {"TEAMS_SECRET": SECRET}).values
    assert values["standin.port"] == 8443
    assert values["serve.ping_interval_ms"] == 20_000
    assert values["standin.start_timeout_ms"] == 10_000
    assert values["max_duration_seconds"] == 1800
    assert values["authorization.mode"] == "allowlist"


def test_a_secret_that_would_not_do_is_made_anew(tmp_path: Path) -> None:
    block = {"bridge": {"secret": "your-shared-secret-min-32-chars"}}
    file = saved(tmp_path, block)
    assert "placeholder" in rows(tmp_path, block)["bridge.secret"].why
    done = import_(file, tmp_path / "out.toml")
    assert "bridge.secret is a fresh one" in done.stderr
    assert len(load_config(tmp_path / "out.toml", env={}).config.bridge.secret.reveal()) == 44


def test_blocks_are_found_wherever_they_stand(tmp_path: Path) -> None:
    block = {"bridge": {"secret": SECRET}}
    for text, where in (
        (block, ""),
        ({"msteams-call": block}, "msteams-call"),
        ({"msteams_call": {"config": block}}, "msteams_call.config"),
        ({"channels": {"msteams-call": block}}, "channels.msteams-call"),
        ({"platforms": {"teams_call": {"extra": {"shared_secret": "x"}}}},
         "platforms.teams_call.extra"),
    ):  # fmt: skip
        (found,) = read_blocks(saved(tmp_path, text))
        assert found.where == where
    both = {"msteams-call": block, "msteams-voice": {"config": {"sharedSecret": SECRET}}}
    assert [one.kind for one in read_blocks(saved(tmp_path, both))] == ["csharp", "standin"]


def test_of_two_that_differ_the_first_is_heard() -> None:
    blocks = [
        Block("csharp", "one", {"maxConcurrentCalls": 3}),
        Block("standin", "two", {"maxConcurrentCalls": 4}),
    ]
    taken = take(blocks, {})
    assert taken.values["max_concurrent_calls"] == 3
    assert taken.rows[1] == Row(
        "two.maxConcurrentCalls", "wrong", "", "max_concurrent_calls has another value already"
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{}", "has no settings of a Teams calling plugin"),
        ("[1, 2]", "not an object"),
        ("", "neither JSON nor JSON5"),
        ("{a: 1", "neither JSON nor JSON5"),
        ("[" * 100_000, "nested more than"),
        ('{"a":' * 60 + "1" + "}" * 60, "nested more than"),
        ("{a: 1, " + " " * MAX_JSON5_BYTES + "}", "too long to be read as JSON5"),
        (" " * 4_200_000, "longer than"),
        ("plugins:\n  entries: 1\n", "neither JSON nor JSON5"),
        ("msteams-call: {bridge", "neither JSON nor JSON5"),
    ],
)
def test_hostile_files_are_sentences(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(InputError) as refusal:
        read_blocks(saved(tmp_path, text))
    assert words in refusal.value.message
    assert len(refusal.value.message) < 700


def test_a_file_that_is_no_text_or_not_there(tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    file.write_bytes(b"\xff\xfe{}")
    for one in (file, tmp_path / "none.json", tmp_path):
        with pytest.raises(InputError):
            read_blocks(one)


def test_hostile_keys_are_shown_safely(tmp_path: Path) -> None:
    block = {"bridge": {"secret": SECRET}, "\x1b[31mred\u202e": 1, "serve": {"port": {"a": 1}},
             "k" * 5000: 1, "inbound": None, "outbound": []}  # fmt: skip
    told = rows(tmp_path, block)
    assert all("\x1b" not in key and len(key) <= 120 for key in told)
    assert told["serve.port.a"].verdict == "wrong"
    done = import_(saved(tmp_path, block), tmp_path / "out.toml")
    assert done.exit_code == 0
    assert "\x1b" not in done.output


def test_strange_values_cost_themselves_alone(tmp_path: Path) -> None:
    text = (
        '{"sharedSecret": "", "heartbeat_s": Infinity, "pre_start_timeout_s": 1e308,'
        ' "port": 1e400, "inboundGreeting": "\\ud800",'
        ' "hmac_window_ms": -1, "allowFrom": [["a"]], "maxConcurrentCalls": 7, "path": 5,'
        ' "response": {"apiKeyFile": "/etc/passwd"}}'
    )
    told = rows(tmp_path, text)
    assert told.pop("sharedSecret").verdict == "not-needed"
    assert told.pop("maxConcurrentCalls").verdict == "taken"
    assert {row.verdict for row in told.values()} == {"wrong"}
    assert import_(saved(tmp_path, text), tmp_path / "out.toml").exit_code == 0


def test_yaml_gets_a_hint(tmp_path: Path) -> None:
    with pytest.raises(InputError) as refusal:
        read_blocks(saved(tmp_path, "plugins:\n  entries: 1\n", "config.yaml"))
    assert "yq" in refusal.value.hint


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("${A_B}", "A_B"),
        ("${A_B:-x}", "A_B"),
        ({"source": "env", "id": "A_B"}, "A_B"),
        ({"env": "A_B"}, "A_B"),
        ("plain", ""),
        ({"source": "file", "id": "/x"}, ""),
    ],
)
def test_a_secret_may_be_a_variable(value: object, name: str) -> None:
    assert variable_of(value) == name


def test_the_old_gateways_names_are_known(tmp_path: Path) -> None:
    tenant = "8a7c1d0e-90b4-4a0b-8c5d-6f1e2d3c4b5a"
    old = {"CallAuthMode": "TenantOnly", "AllowedTenants": [tenant], "AllowPstn": True}
    taken = take(read_blocks(saved(tmp_path, old | {"AllowedUsers": ["a@b.example"]})), {})
    assert {row.verdict for row in taken.rows} == {"renamed"}
    assert dict(taken.values) == {
        "authorization.mode": "tenant-only",
        "authorization.allowed_tenants": [tenant],
        "authorization.allow_pstn": True,
        "authorization.allow_from": ["a@b.example"],
    }


def test_a_key_that_came_along_is_not_asked_for_again(tmp_path: Path) -> None:
    block = {"msteams-call": {"bridge": {"secret": SECRET}, "streaming": {"openaiApiKey": KEY}}}
    done = import_(saved(tmp_path, block), tmp_path / "x.toml")
    assert done.exit_code == 0
    assert "OPENAI_API_KEY" not in done.stderr


def test_what_stands_around_a_block_has_a_verdict(tmp_path: Path) -> None:
    inside = {"shared_secret": SECRET, "port": 8443}
    around = {"platforms": {"teams_voice": {"enabled": True, "token": KEY, "extra": inside}}}
    found = rows(tmp_path, around)
    assert found["platforms.teams_voice.enabled"].verdict == "not-needed"
    assert found["platforms.teams_voice.token"].verdict == "not-needed"
    assert KEY not in repr(found)
