"""`config get`, `explain`, `show` and `path`: one key, a table, all of it, and the files."""

from __future__ import annotations

import json
import os
import tomllib
from pathlib import Path
from typing import Any

import pytest
import tomli_w
import typer
from typer.testing import CliRunner, Result

from teamscall.cli import config as config_cli
from teamscall.cli.config_keys import complete_key, complete_table
from teamscall.config import Config, iter_options
from teamscall.config.entries import ENTRIES
from teamscall.config.explaining import explain, written_out
from teamscall.config.load import examine
from teamscall.config.options import tables
from teamscall.config.places import place
from teamscall.errors import ConfigError, InputError

app = typer.Typer()
config_cli.register(app)
SECRET = "kQ3vZr8pXw1tYb6nMd4sGh7jLf2cAe9u"
TEXT = f"""\
[serve]
port = 4000
[bridge]
secret = "{SECRET}"
[authorization]
mode = "allowlist"
allow_from = ["anna@example.org", "bert@example.org"]
[[tools]]
name = "door"
description = "Open it."
url = "https://door.example.org"
[[webhooks]]
url = "https://hooks.example.org"
secret = "{SECRET}"
[prices."gpt.x"]
input = 1.5
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [n for n in os.environ if n.startswith(("TEAMSCALL_", "OPENAI_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    file = tmp_path / "teamscall.toml"
    file.write_text(TEXT, "utf-8")
    file.chmod(0o600)
    return file


def config(*words: str) -> Result:
    return CliRunner().invoke(app, ["config", *words])


@pytest.mark.parametrize(
    ("key", "printed"),
    [
        ("serve.port", "4000\n"),
        ("serve.publicUrl", "\n"),
        ("inbound.enabled", "true\n"),
        ("authorization.allowFrom", "anna@example.org\nbert@example.org\n"),
        ("authorization.allowed_tenants", ""),
        ("tools[0].name", "door\n"),
        ('prices."gpt.x".input', "1.5\n"),
        ("tools[0].timeoutMs", "5000\n"),
    ],
)
def test_a_value_is_printed_as_a_script_wants_it(file: Path, key: str, printed: str) -> None:
    assert config("get", key, "-c", str(file)).stdout == printed


def test_a_table_is_printed_with_its_secrets_masked(file: Path) -> None:
    done = config("get", "bridge", "-c", str(file))
    assert 'bridge.secret = "********"' in done.stdout
    for words in (["tools"], ["webhooks"], ["webhooks", "--json"], ["bridge", "--json"]):
        done = config("get", *words, "-c", str(file))
        assert done.exit_code == 0
        assert SECRET not in done.output


def test_a_secret_is_not_printed(file: Path) -> None:
    for key in ("bridge.secret", "webhooks[0].secret"):
        done = config("get", key, "-c", str(file))
        assert (done.exit_code, done.stdout) == (1, "")
        assert "is a secret and not shown" in done.stderr
    about = json.loads(config("get", "bridge.secret", "--json", "-c", str(file)).stdout)
    assert (about["value"], about["set"]) == (None, True)
    assert about["origin"] == "file teamscall.toml line 4"
    assert config("get", "standin.secret", "-c", str(file)).stderr == "standin.secret is not set\n"


def test_a_mistake_elsewhere_is_in_nobodys_way(file: Path) -> None:
    file.write_text("[serve]\nport = 70000\nbind = '::1'\nprot = 1\n")
    assert config("get", "serve.bind", "-c", str(file)).stdout == "::1\n"
    done = config("get", "serve.port", "-c", str(file))
    assert isinstance(done.exception, ConfigError)


@pytest.mark.parametrize(
    ("typed", "hint"),
    [
        ("serve.prot", "Did you mean serve.port?"),
        ("authorization.alow_from", "Did you mean authorization.allow_from?"),
        ("tools[0].nam", "Did you mean name?"),
        ("sharedSecret", "It is standin.secret here"),
        ("qqqq", "lists them all"),
    ],
)
def test_a_key_that_is_none_gets_the_nearest(typed: str, hint: str) -> None:
    with pytest.raises(InputError) as refusal:
        place(typed)
    assert hint in refusal.value.hint


def test_there_is_no_such_entry(file: Path) -> None:
    assert isinstance(config("get", "tools[7].name", "-c", str(file)).exception, InputError)


def test_every_key_and_table_can_be_explained() -> None:
    for name in [o.path for o in iter_options()] + sorted(tables()) + list(ENTRIES):
        about = explain(place(name), Config(), {})
        assert about.about, name
        assert about.keys or about.type, name
    for option in iter_options():
        assert option.path not in explain(place(option.path), Config(), {}).related


def test_every_example_can_be_loaded() -> None:
    whole: dict[str, Any] = {}
    shown = [o for o in iter_options() if not (o.secret or o.path.endswith(("_env", "_file")))]
    for text in [written_out(option) for option in shown] + [
        explain(place(table), Config(), {}).example for table in ENTRIES
    ]:
        for name, value in tomllib.loads(text).items():
            whole[name] = whole.get(name, {}) | value if isinstance(value, dict) else value
    seen = examine(
        Path("/x.toml"), env={"HOOK_SECRET": SECRET}, contents=tomli_w.dumps(whole).encode(),
        cross_checks=False,
    )  # fmt: skip
    assert seen.problems == ()
    assert all(seen.origins[option.path].startswith("file") for option in shown)


def test_explaining_says_what_it_is_now_and_why(file: Path) -> None:
    done = config("explain", "serve.port", "-c", str(file))
    for words in ("WebSocket port", "from 0 to 65535", "3335", "4000", "teamscall.toml line 2",
                  "TEAMSCALL_SERVE_PORT", "[serve]\n  port = "):  # fmt: skip
        assert words in done.stdout
    assert SECRET not in config("explain", "bridge.secret", "-c", str(file)).output
    about = json.loads(config("explain", "bridge.secret", "--json", "-c", str(file)).stdout)
    assert about["related"][:2] == ["bridge.secret_file", "bridge.secret_env"]
    assert (about["secret"], about["value"], about["version"]) == (True, "********", 1)


def test_completion_offers_keys_with_their_meaning() -> None:
    assert ("serve.port", "WebSocket port; 0 takes any free one.") in complete_key("serve.p")
    assert {name for name, _ in complete_table("st")} == {"standin", "streaming"}


@pytest.mark.parametrize(
    ("typed", "begun", "offered"),
    [
        ("config set serve.p", "serve.path", True),
        ("config set recording.require ", "auto", True),
        ("config set recording.require ", "serve.path", False),
        ("config set engine echo log.l", "log.level", True),
    ],
)
def test_a_value_is_completed_after_its_key(
    typed: str, begun: str, offered: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("_TEAMSCALL_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", f"teamscall {typed}")
    monkeypatch.setenv("COMP_CWORD", str(typed.count(" ") + 1))
    done = CliRunner().invoke(app, prog_name="teamscall")
    assert (begun in done.stdout.split()) is offered


def test_show_can_be_narrowed(file: Path) -> None:
    done = config("show", "--changed", "--json", "-c", str(file))
    rows = json.loads(done.stdout)
    assert rows["version"] == 1
    keys = set(rows["config"])
    assert {"serve.port", "bridge.secret", "authorization.mode", "tools[0].name"} <= keys
    assert "serve.bind" not in keys
    assert SECRET not in done.stdout
    done = config("show", "serve", "log.level", "-c", str(file))
    assert {line.split(".")[0] for line in done.stdout.split("\n") if line} == {"serve", "log"}


def test_path_tells_which_file_is_used(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = tmp_path / "home" / "teamscall" / "teamscall.toml"
    about = json.loads(config("path", "--json").stdout)
    assert about["files"][0] == {
        "path": str(user), "by": "the user's", "exists": False, "readable": False, "used": False,
    }  # fmt: skip
    user.parent.mkdir(parents=True)
    user.touch()
    assert json.loads(config("path", "--json").stdout)["used"] == str(user)
    monkeypatch.setenv("TEAMSCALL_CONFIG", str(file))
    lines = config("path").stdout.splitlines()
    assert lines[0] == f"{file}  ($TEAMSCALL_CONFIG; used)"
    assert lines[1] == f"{user}  (the user's; there, not used)"
    assert json.loads(config("path", "-c", "/none", "--json").stdout)["used"] == "/none"


def test_the_schema_is_printed() -> None:
    assert json.loads(config("schema").stdout)["title"] == "teamscall.toml"
