"""`config set` and `unset` on real files: mode, links, several at once, and refusals."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from teamscall.cli import config as config_cli
from teamscall.config import load_config
from teamscall.config.changing import change_file
from teamscall.config.editing import Change
from teamscall.config.rewriting import rewrite
from teamscall.errors import ConfigError, InputError, TeamscallError

app = typer.Typer()
config_cli.register(app)
SECRET = "kQ3vZr8pXw1tYb6nMd4sGh7jLf2cAe9u"
TEXT = """\
# mine
[serve]
port = 4000  # the port

[bridge]
secret = "{secret}"  # theirs too
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [n for n in os.environ if n.startswith("TEAMSCALL_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    file = tmp_path / "teamscall.toml"
    file.write_text(TEXT.replace("{secret}", SECRET), "utf-8")
    file.chmod(0o640)
    return file


def config(*words: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(app, ["config", *words], input=stdin)


def refused(result: Result) -> str:
    assert isinstance(result.exception, TeamscallError), result.exception
    problems = result.exception.problems if isinstance(result.exception, ConfigError) else ()
    return " | ".join([result.exception.message, *problems, result.exception.hint])


def test_setting_keeps_every_other_line_and_the_mode(file: Path) -> None:
    before = file.read_text().splitlines()
    done = config("set", "serve.port", "5000", "inbound.greeting", "Hi!", "-c", str(file))
    assert done.exit_code == 0, done.output
    after = file.read_text().splitlines()
    assert [line for line in after if line not in before] == [
        "port = 5000  # the port", "[inbound]", 'greeting = "Hi!"',
    ]  # fmt: skip
    assert [line for line in before if line not in after] == ["port = 4000  # the port"]
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert done.stdout == 'serve.port = 5000\ninbound.greeting = "Hi!"\n'
    assert os.listdir(file.parent) == ["teamscall.toml"]  # no lock, nothing half-written


def test_what_would_not_load_is_not_written(file: Path) -> None:
    before, inode = file.read_bytes(), file.stat().st_ino
    for words, why in (
        (("serve.port", "70000"), "serve.port: 70000 is not an integer from 0 to 65535"),
        (("serve.port", "x"), 'serve.port: "x" is not an integer'),
        (("mode", "streming"), "did you mean streaming?"),
        (("serve.bind", "0.0.0.0"), "is not loopback and there is no TLS"),
        (("serve.tls_cert", "/none.pem"), "serve.tls_cert is given without serve.tls_key"),
        (("serve.prot", "1"), "Did you mean serve.port?"),
        (("serve", "1"), "serve is a table"),
        (("tools", "x"), "[[tools]]"),
        (("tools[0].name", "x"), "[[tools]]"),
        (("bridge.secret", SECRET), "a command line is seen by every user"),
    ):
        assert why in refused(config("set", *words, "-c", str(file))), words
    assert (file.read_bytes(), file.stat().st_ino) == (before, inode)


def test_two_keys_that_need_each_other_are_set_together(file: Path) -> None:
    for name in ("cert.pem", "key.pem"):
        (file.parent / name).touch()
    pair = ["serve.tls_cert", str(file.parent / "cert.pem")]
    pair += ["serve.tls_key", str(file.parent / "key.pem")]
    assert config("set", *pair, "-c", str(file)).exit_code == 0
    assert load_config(file, env={}).config.serve.tls_key == pair[3]


def test_a_secret_comes_from_stdin_and_is_never_shown(file: Path) -> None:
    fresh = SECRET[::-1]
    done = config("set", "bridge.secret", "-", "-c", str(file), stdin=f"{fresh}\n")
    assert done.exit_code == 0
    assert fresh not in done.output
    assert load_config(file, env={}).config.bridge.secret.reveal() == fresh
    assert "  # theirs too" in file.read_text()
    assert "stdin is empty" in refused(
        config("set", "bridge.secret", "-", "-c", str(file), stdin="")
    )


def test_a_secrets_other_source_gives_way(file: Path) -> None:
    other = file.parent / "bridge.secret"
    other.write_text(SECRET)
    other.chmod(0o600)
    done = config("set", "bridge.secret_file", str(other), "-c", str(file))
    assert done.exit_code == 0
    assert "bridge.secret taken out" in done.stderr
    assert SECRET not in file.read_text()


def test_problems_that_were_there_are_no_hindrance_and_are_told(file: Path) -> None:
    file.write_text("[serve]\nport = 99999\n")
    done = config("set", "engine", "echo", "-c", str(file))
    assert done.exit_code == 0
    assert "still: serve.port: 99999" in done.stderr
    assert config("set", "serve.port", "9", "-c", str(file)).exit_code == 0
    assert "port = 9\n" in file.read_text()


def test_a_file_that_is_no_toml_stays(file: Path) -> None:
    file.write_text("[serve\n")
    assert "cannot be used" in refused(config("set", "engine", "echo", "-c", str(file)))
    assert file.read_text() == "[serve\n"


def test_without_a_file_one_is_made_for_its_owner_alone(tmp_path: Path, file: Path) -> None:
    done = config("set", "engine", "echo")
    made = tmp_path / "home" / "teamscall" / "teamscall.toml"
    assert done.exit_code == 0
    assert made.read_text() == 'engine = "echo"\n'
    assert stat.S_IMODE(made.stat().st_mode) == 0o600
    assert stat.S_IMODE(made.parent.stat().st_mode) == 0o700


def test_a_symlink_stays_and_its_target_is_changed(file: Path) -> None:
    link = file.parent / "links" / "teamscall.toml"
    link.parent.mkdir()
    link.symlink_to("../teamscall.toml")
    assert config("set", "serve.port", "5", "-c", str(link)).exit_code == 0
    assert link.is_symlink()
    assert "port = 5 " in file.read_text()


def test_lists_are_added_to_and_taken_from(file: Path) -> None:
    allow = "authorization.allow_from"
    add = ["--add", "anna@example.org", "--add", "bert@example.org"]
    assert config("set", "authorization.mode", "allowlist", "-c", str(file)).exit_code == 0
    assert config("set", allow, *add, "-c", str(file)).exit_code == 0
    again = config("set", allow, "--add", "anna@example.org", "-c", str(file))
    assert "says so already" in again.stderr
    assert config("set", allow, "--remove", "anna@example.org", "-c", str(file)).exit_code == 0
    assert load_config(file, env={}).config.authorization.allow_from == ("bert@example.org",)
    gone = config("set", allow, "--remove", "carl@example.org", "-c", str(file))
    assert "no such item" in refused(gone)
    assert "is no list" in refused(config("set", "serve.port", "--add", "1", "-c", str(file)))
    config("set", "fallback", "--add", "offline", "-c", str(file))
    assert load_config(file, env={}).config.fallback == ("offline",)


def test_unset_brings_the_default_back(file: Path) -> None:
    done = config("unset", "serve.port", "engine", "-c", str(file))
    assert done.stdout == "serve.port taken out; now 3335\n"
    assert f"engine is not in {file}" in done.stderr
    assert load_config(file, env={}).config.serve.port == 3335


def test_json_has_no_secret_in_it(file: Path) -> None:
    done = config("set", "bridge.secret", "-", "--json", "-c", str(file), stdin=SECRET[::-1])
    about = json.loads(done.stdout)
    assert about["set"] == {"bridge.secret": "********"}
    assert (about["version"], about["changed"], about["created"]) == (1, True, False)


def test_the_environment_that_wins_is_named(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEAMSCALL_SERVE_PORT", "1")
    done = config("set", "serve.port", "5", "-c", str(file))
    assert "TEAMSCALL_SERVE_PORT is set and wins" in done.stderr


def test_many_at_once_lose_nothing(file: Path) -> None:
    keys = ["engine", "log.level", "serve.path", "idle.goodbye", "inbound.greeting", "tts.voice"]
    values = ["echo", "debug", "/x", "Bye", "Hi", "coral"]
    failed: list[BaseException] = []

    def change(key: str, value: str) -> None:
        try:
            change_file(file, [Change(key, value)], env={})
        except TeamscallError as error:
            failed.append(error)

    pairs = zip(keys, values, strict=True)
    threads = [threading.Thread(target=change, args=pair) for pair in pairs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    origins = load_config(file, env={}).origins
    assert all(origins[key].startswith("file") for key in keys)


def test_a_writer_in_another_process_is_waited_for(file: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path\n"
        "from teamscall.config.rewriting import rewrite\n"
        "def slow(old):\n"
        "    print('in', flush=True); time.sleep(0.3); return old + b'# one\\n'\n"
        "rewrite(Path(sys.argv[1]), slow)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(file)], stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "in\n"
        rewrite(file, lambda old: (old or b"") + b"# two\n")
    assert file.read_text().endswith("# one\n# two\n")


def test_what_fails_in_the_middle_leaves_no_trace(file: Path) -> None:
    before = file.read_bytes()

    def fail(old: bytes | None) -> bytes:
        raise ConfigError("no")

    with pytest.raises(ConfigError):
        rewrite(file, fail)
    assert (file.read_bytes(), os.listdir(file.parent)) == (before, ["teamscall.toml"])


@pytest.mark.parametrize("name", ["teamscall.toml/inside.toml", "."])
def test_places_that_cannot_be_written_are_sentences(file: Path, name: str) -> None:
    with pytest.raises(InputError) as refusal:
        rewrite(file.parent / name, lambda old: b"")
    assert str(file.parent) in str(refusal.value)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="root alone gives files away")
def test_the_owner_stays(file: Path) -> None:
    os.chown(file, 1234, 1234)
    assert config("set", "serve.port", "5", "-c", str(file)).exit_code == 0
    assert (file.stat().st_uid, file.stat().st_gid) == (1234, 1234)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="root alone can become another")
def test_another_users_folder_is_refused_in_words(file: Path) -> None:
    script = (
        "import os, sys; from pathlib import Path\n"
        "from teamscall.config.rewriting import rewrite\n"
        "from teamscall.errors import InputError\n"
        "os.setgid(12345); os.setuid(12345)\n"
        "try:\n    rewrite(Path(sys.argv[1]), lambda old: b'x')\n"
        "except InputError as error:\n    print(error)\n"
    )
    with tempfile.TemporaryDirectory() as folder:  # pytest's own is closed to others
        mine = Path(folder) / "teamscall.toml"
        mine.write_bytes(file.read_bytes())
        mine.parent.chmod(0o755)
        mine.chmod(0o644)
        done = subprocess.run(
            [sys.executable, "-c", script, str(mine)], capture_output=True, text=True, check=False
        )
    assert "cannot be written: Permission denied" in done.stdout, done.stderr
    assert "must be writable" in done.stdout


def test_what_a_killed_edit_left_is_cleared_away_by_the_next(tmp_path: Path) -> None:
    file = tmp_path / "a[1].toml"
    file.write_text(TEXT)
    file.chmod(0o600)
    left = tmp_path / ".a[1].toml.k2j3h4g5.unfinished"
    left.write_text("half of it")
    swap = tmp_path / ".a[1].toml.swp"
    swap.write_text("an editor's")
    rewrite(file, lambda _: b"engine = 'echo'\n")
    assert not left.exists()
    assert swap.read_text() == "an editor's"
    assert set(tmp_path.iterdir()) == {file, swap}
