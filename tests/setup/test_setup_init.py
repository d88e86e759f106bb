"""`teamscall init`: what it writes is right, is nobody else's, and takes a call."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import shutil
import stat
import subprocess
import tomllib
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from teamscall.cli import init as init_cli
from teamscall.cli.init_ask import answer, ask
from teamscall.clock import SystemClock
from teamscall.config import load_config
from teamscall.config.load import examine
from teamscall.emulator.call import run_call
from teamscall.emulator.plan import Dial
from teamscall.emulator.plan import Plan as Call
from teamscall.emulator.report import Report
from teamscall.emulator.sources import Silence
from teamscall.errors import ConfigError, InputError, TeamscallError
from teamscall.server.run import running
from teamscall.setup.plan import Plan, public_address, values_of
from teamscall.setup.toml import commented
from teamscall.setup.variants import environment, systemd_unit
from teamscall.setup.writing import fresh_secret, write
from teamscall.wire.events import Caller, Dialect

app = typer.Typer()
init_cli.register(app)
TENANT = "8a7c1d0e-90b4-4a0b-8c5d-6f1e2d3c4b5a"
USER = "3f0d2a53-2f6e-4c11-9f0a-5d5f0f6f5e11"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [n for n in os.environ if n.startswith(("TEAMSCALL_", "OPENAI_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "teamscall"


def init(*words: str) -> Result:
    return CliRunner().invoke(app, list(words), input="")


def refused(result: Result) -> str:
    assert isinstance(result.exception, TeamscallError), result.output
    return f"{result.exception.message} {result.exception.hint}"


def test_without_an_answer_it_writes_what_loads(home: Path) -> None:
    done = init()
    assert done.exit_code == 0, done.output
    names = ["bridge.secret", "standin.secret", "teamscall.toml"]
    assert sorted(os.listdir(home)) == names
    assert {stat.S_IMODE((home / name).stat().st_mode) for name in names} == {0o600}
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    loaded = load_config(env={})
    assert len(loaded.config.bridge.secret.reveal()) == 44
    assert loaded.config.bridge.secret != loaded.config.standin.secret
    assert loaded.config.authorization.mode == "disabled"
    for secret in (loaded.config.bridge.secret, loaded.config.standin.secret):
        assert secret.reveal() not in done.output
        assert secret.reveal() not in (home / "teamscall.toml").read_text()
    assert done.stdout.splitlines() == [
        str(home / n) for n in ("teamscall.toml", "bridge.secret", "standin.secret")
    ]


def test_answers_become_keys(tmp_path: Path) -> None:
    file = tmp_path / "one.toml"
    done = init(
        "-o", str(file), "--dialect", "standin", "--public-url", "https://bridge.example.org/",
        "--allow", USER, "--allow", "anna@example.org", "--allow", f"tenant:{TENANT}",
        "--engine", "echo", "--greeting", 'Say "hi"\n', "--json",
    )  # fmt: skip
    about = json.loads(done.stdout)
    assert about["secretFiles"] == {"standin.secret": str(tmp_path / "one.standin.secret")}
    assert about["warnings"] == []
    assert "wss://bridge.example.org/msteams/calling" in about["todo"][1]["lines"]
    config = load_config(file, env={}).config
    assert not config.serve.enabled
    assert config.standin.enabled
    assert config.standin.public_url == "wss://bridge.example.org/msteams/calling"
    assert config.authorization.allow_from == (USER, "anna@example.org")
    assert config.authorization.allowed_tenants == (TENANT,)
    assert (config.authorization.mode, config.engine) == ("allowlist", "echo")
    assert config.inbound.greeting == 'Say "hi"\n'


def test_each_side_is_told_its_three_things(tmp_path: Path) -> None:
    done = init("-o", str(tmp_path / "one.toml"), "--dialect", "csharp")
    assert "cat " + str(tmp_path / "one.bridge.secret") in done.stderr
    assert "wss://YOUR-ADDRESS/teams-call/stream" in done.stderr
    assert "Calls.AccessMedia.All" in done.stderr
    assert "adminconsent" in done.stderr
    assert "StandIn" not in done.stderr
    assert f"serve --config {tmp_path / 'one.toml'}" in done.stderr


def test_a_terminal_is_asked_until_the_answer_is_one() -> None:
    asking = typer.Typer()
    got: list[object] = []

    @asking.command()
    def question() -> None:
        got.append(ask(None, None, None, None))

    callers = ["anna", "http://u:p@x", "anna@example.org, *"]
    answers = ["4", "2", "ftp://x", "b.example.org", *callers, "x", ""]
    done = CliRunner().invoke(asking, [], input="\n".join(answers) + "\n")
    assert got == [("csharp", "b.example.org", ["anna@example.org", "*"], "auto")]
    for words in ("4 is none of 1, 2, 3", "is not an address", "anna is no caller"):
        assert words in " ".join(done.stderr.split())
    assert ask("both", "", [], "echo") == ("both", "", [], "echo")  # nothing to ask


def test_nothing_is_overwritten(home: Path, tmp_path: Path) -> None:
    assert init().exit_code == 0
    before = {name: (home / name).read_bytes() for name in os.listdir(home)}
    assert "is there already" in refused(init())
    (home / "teamscall.toml").unlink()
    assert "standin.secret is there already" in refused(init("--dialect", "standin"))
    assert not (home / "teamscall.toml").exists()
    assert (home / "bridge.secret").read_bytes() == before["bridge.secret"]
    link = tmp_path / "link.toml"
    link.symlink_to(tmp_path / "nowhere")
    assert "is there already" in refused(init("-o", str(link)))
    assert "is a folder" in refused(init("-o", str(tmp_path)))


@pytest.mark.parametrize(
    "words",
    [
        ("--public-url", "ftp://x"),
        ("--public-url", "wss://me:pw@x"),
        ("--public-url", "not an address"),
        ("--allow", "anna"),
        ("--allow", "tenant:contoso"),
    ],
)
def test_a_wrong_answer_writes_nothing(home: Path, words: tuple[str, ...]) -> None:
    assert refused(init(*words))
    assert not home.exists()


def test_what_would_not_load_leaves_no_secret_behind(tmp_path: Path) -> None:
    values = values_of(Plan("csharp")) | {"serve.bind": "0.0.0.0"}
    with pytest.raises(ConfigError):
        write(tmp_path / "x.toml", values, {"bridge.secret": fresh_secret()}, env={})
    (tmp_path / "file").touch()
    with pytest.raises(InputError):
        write(tmp_path / "file" / "x.toml", {}, {"bridge.secret": fresh_secret()}, env={})
    assert os.listdir(tmp_path) == ["file"]


def test_openai_without_a_key_is_auto(
    home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    done = init("--engine", "openai")
    assert "OPENAI_API_KEY is not set" in done.stderr
    assert load_config(env={}).config.engine == "auto"
    monkeypatch.setenv("OPENAI_API_KEY", "sk-0123456789")
    init("--engine", "openai", "-o", str(tmp_path / "two.toml"))
    assert load_config(tmp_path / "two.toml", env=dict(os.environ)).config.engine == "openai"


@pytest.mark.parametrize(
    ("typed", "path", "wanted"),
    [
        ("b.example.org", "/a", "wss://b.example.org/a"),
        ("b.example.org:8443", "/a", "wss://b.example.org:8443/a"),
        ("https://b.example.org/", "/a", "wss://b.example.org/a"),
        ("http://127.0.0.1:3335", "/a", "ws://127.0.0.1:3335/a"),
        ("wss://b.example.org/of/proxy", "/a", "wss://b.example.org/of/proxy"),
    ],
)
def test_an_address_is_made_whole(typed: str, path: str, wanted: str) -> None:
    assert public_address(typed, path) == wanted


def test_both_sides_share_a_port_and_have_their_own_paths() -> None:
    values = values_of(Plan("both", public_url="b.example.org"))
    assert values["standin.port"] == 3335
    assert values["serve.public_url"] == "wss://b.example.org/teams-call/stream"
    assert values["standin.public_url"] == "wss://b.example.org/msteams/calling"
    with pytest.raises(InputError, match="each side has its own"):
        values_of(Plan("both", public_url="b.example.org/typed"))


def test_every_kind_of_value_is_read_back() -> None:
    values: dict[str, object] = {
        "engine": "echo", "inbound.greeting": 'a "b" \\ \x7f\n\t😀', "tts.speed": 1.5,
        "authorization.allow_from": [f"user-{n}@example.org" for n in range(9)],
        "barge_in.enabled": False, "serve.port": 1,
    }  # fmt: skip
    text = commented(values, notes={})
    document = tomllib.loads(text)
    for path, value in values.items():
        table, _, leaf = path.rpartition(".")
        assert (document[table] if table else document)[leaf] == value
    assert all(len(line) < 100 for line in text.splitlines())


def test_the_offered_keys_are_right_when_they_are_taken() -> None:
    text = commented(values_of(Plan("both")), notes={})
    taken = "\n".join(
        line.removeprefix("# ") if line.startswith("# ") and " = " in line else line
        for line in text.splitlines()
    )
    seen = examine(Path("/x.toml"), env={}, contents=taken.encode(), cross_checks=False)
    assert seen.problems == ()
    assert seen.config.inbound.greeting.startswith("Hello")


def test_the_variables_say_the_same_as_the_file(tmp_path: Path) -> None:
    plan = Plan("both", "b.example.org", (USER, "a@b"), "echo", "Hello, you; 'hi'")
    text = environment(values_of(plan), ("bridge.secret", "standin.secret"))
    assert "openssl rand" in text
    shell = subprocess.run(
        ["sh", "-c", f"set -a; {text}\nenv -0"],
        capture_output=True, check=True, env={"PATH": "/bin:/usr/bin"},
    )  # fmt: skip
    env = dict(one.split("=", 1) for one in shell.stdout.decode().split("\0") if "=" in one)
    for key in ("bridge.secret", "standin.secret"):
        (tmp_path / key).write_text(fresh_secret())
        (tmp_path / key).chmod(0o600)
        name = f"TEAMSCALL_{key.replace('.', '_').upper()}_FILE"
        assert env[name] == f"/etc/teamscall/{key}"
        env[name] = str(tmp_path / key)
    made = write(
        tmp_path / "x.toml", values_of(plan),
        {"bridge.secret": fresh_secret(), "standin.secret": fresh_secret()}, env={},
    )  # fmt: skip
    by_file = load_config(made.path, env={})
    by_env = load_config(Path(os.devnull), env=env)
    assert {k for k, o in by_env.origins.items() if o != "default"} >= set(values_of(plan))
    for path in values_of(plan):
        table, _, leaf = path.rpartition(".")
        one = getattr(by_file.config, table) if table else by_file.config
        other = getattr(by_env.config, table) if table else by_env.config
        assert getattr(one, leaf) == getattr(other, leaf), path


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")
def test_the_unit_is_one(tmp_path: Path) -> None:
    unit = tmp_path / "teamscall.service"
    text = systemd_unit(["/bin/true"], '/etc/a folder/100% "$HOME".toml')
    assert '--config "/etc/a folder/100%% \\"$$HOME\\".toml"\n' in text
    unit.write_text(text.replace("User=teamscall", "User=root").replace("Group=teamscall", ""))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", str(unit)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    # systemd before 253 does not know notify-reload, and goes on.
    mine = [
        line
        for line in done.stderr.splitlines()
        if "teamscall.service" in line and "notify-reload" not in line
    ]
    assert mine == []
    assert "Type=notify-reload" in text


def test_printing_writes_nothing_and_has_no_secret(home: Path) -> None:
    for variant in ("toml", "env", "systemd"):
        done = init("--print", variant)
        assert done.exit_code == 0
        assert "ecret" in done.stdout or variant == "systemd"
    assert not home.exists()


DIALECTS: tuple[Dialect, ...] = ("standin", "csharp")


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_signed_call_comes_through_what_was_written(home: Path, dialect: Dialect) -> None:
    assert init("--allow", "*", "--engine", "echo").exit_code == 0
    written = home / "bridge.secret" if dialect == "csharp" else home / "standin.secret"
    secret = written.read_bytes().removesuffix(b"\n")
    flags = {"serve.port": 0, "standin.port": 0, "journal.enabled": False, "control.enabled": False}
    config = load_config(env={}, flags=flags).config

    async def call() -> Report:
        async with asyncio.timeout(30), running(config) as up:
            url = next(one.urls[0] for one in up.listening if dialect in one.dialects)
            who = Caller(user_id=USER, tenant_id=TENANT)
            plan = Call(dial=Dial(url, secret, dialect), caller=who, duration_s=0.4)
            return await run_call(plan, Silence(), clock=SystemClock())

    report = asyncio.run(call())
    assert report.outcome == "completed", report
    assert report.received.frames > 0


def test_variables_keep_a_comma_in_an_item_and_a_secret_that_is_known(tmp_path: Path) -> None:
    plan = Plan("csharp", allow=("*",), taken={"filler.words": ["Well, then.", " hm", "it's"]})
    text = environment(values_of(plan), ("bridge.secret",), ("bridge.secret",))
    assert "put the secret that you have into /etc/teamscall/bridge.secret" in text
    assert "openssl" not in text
    words = next(line for line in shlex.split(text, comments=True) if "FILLER_WORDS" in line)
    env = {"TEAMSCALL_FILLER_WORDS": words.partition("=")[2]}
    seen = examine(Path(os.devnull), env=env, cross_checks=False)
    assert seen.config is not None
    assert seen.config.filler.words == ("Well, then.", " hm", "it's")


def test_the_unit_starts_with_the_file_that_was_named(tmp_path: Path) -> None:
    done = init("--print", "systemd", "-o", str(tmp_path / "a b.toml"))
    assert f'--config "{tmp_path}/a b.toml"' in done.stdout
    assert "--config /etc/teamscall/teamscall.toml" in init("--print", "systemd").stdout


@pytest.mark.parametrize(("ending", "code"), [(KeyboardInterrupt, 130), (EOFError, 2)])
def test_stopping_at_a_question_has_its_own_code(
    ending: type[BaseException], code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: object, **__: object) -> str:
        raise ending

    monkeypatch.setattr(f"{typer.prompt.__module__}.visible_prompt_func", stopped)
    with pytest.raises(typer.Exit) as left:
        answer("address", "")
    assert left.value.exit_code == code
