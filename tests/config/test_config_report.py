"""`config check`: every problem, with its parts; and where the file is no TOML, a picture."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from teamscall.cli import config as config_cli
from teamscall.config.options import options
from teamscall.config.renamed import MOVED, NOT_NEEDED, STANDIN, renamed, snake_case
from teamscall.config.report import Problem, Report, report
from teamscall.config.syntax import syntax_error

app = typer.Typer()
config_cli.register(app)
SECRET = "kQ3vZr8pXw1tYb6nMd4sGh7jLf2cAe9u"
WRONG = f"""\
mode = "streming"
sharedSecret = "{SECRET}"
[serve]
port = 70000
prot = 1
[bridge]
secret = "{SECRET[:9]}"
[authorization]
mode = "open"
[realtime]
maxSessionDurationMs = 5
[outbound]
tenantId = "t 1"
"""


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [n for n in os.environ if n.startswith(("TEAMSCALL_", "OPENAI_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "none"))


def looked_at(tmp_path: Path, text: str, *, strict: bool = False) -> Report:
    file = tmp_path / "teamscall.toml"
    file.write_text(text, "utf-8")
    file.chmod(0o600)
    return report(file, env={}, strict=strict)


def check(*words: str) -> Result:
    return CliRunner().invoke(app, ["config", "check", *words])


def by_key(found: Report) -> dict[str, Problem]:
    return {problem.key: problem for problem in (*found.problems, *found.warnings)}


def test_every_problem_has_its_parts(tmp_path: Path) -> None:
    found = looked_at(tmp_path, WRONG)
    assert not found.ok
    assert [one.line for one in found.problems] == [1, 2, 4, 5, 7, 11, 13]
    told = by_key(found)
    port = told["serve.port"]
    assert (port.value, port.allowed) == ("70000", "an integer from 0 to 65535")
    assert (port.file, port.origin) == (found.path, "file teamscall.toml line 4")
    assert port.suggestion == "see: teamscall config explain serve.port"
    assert told["mode"].suggestion == "did you mean streaming?"
    assert told["serve.prot"].suggestion == "did you mean serve.port?"
    assert told["bridge.secret"].value == "********"
    assert told["bridge.secret"].suggestion == "make one with: openssl rand -base64 32"
    assert told["authorization.mode"].severity == "warning"
    assert all(one.suggestion for one in found.problems)


def test_a_key_of_another_program_says_what_became_of_it(tmp_path: Path) -> None:
    told = by_key(looked_at(tmp_path, WRONG))
    assert told["sharedSecret"].suggestion == (
        "it is standin.secret here: teamscall config set standin.secret -"
    )
    assert told["outbound.tenantId"].suggestion == (
        "it is outbound.tenant here: teamscall config set outbound.tenant 't 1'"
    )
    assert told["realtime.maxSessionDurationMs"].suggestion.startswith("take it out: a session")


def test_no_secret_is_in_a_report(tmp_path: Path) -> None:
    file = tmp_path / "teamscall.toml"
    looked_at(tmp_path, WRONG)
    for words in ([], ["--json"]):
        done = check("-c", str(file), *words)
        assert done.exit_code == 3
        assert SECRET[:9] not in done.output


def test_warnings_fail_where_it_is_strict(tmp_path: Path) -> None:
    text = f'[bridge]\nsecret = "{SECRET}"\n'
    assert looked_at(tmp_path, text).ok
    assert not looked_at(tmp_path, text, strict=True).ok
    file = str(tmp_path / "teamscall.toml")
    assert check("-c", file).exit_code == 0
    assert check("-c", file, "--strict").exit_code == 3
    assert check("-c", file, "--strict", "--set", "inbound.enabled=false").exit_code == 0


def test_lines_are_as_compilers_write_them(tmp_path: Path) -> None:
    looked_at(tmp_path, WRONG)
    file = tmp_path / "teamscall.toml"
    done = check("-c", str(file))
    assert f"{file}:4: error: serve.port: 70000 is not an integer from 0 to 65535\n" in done.stdout
    assert done.stderr == f"{file}: 7 problems and 1 warning\n"


def test_what_a_flag_or_the_environment_says_is_placed_there() -> None:
    found = report(
        None, env={"TEAMSCALL_SERVE_PORT": "x"}, flags={"log.level": "loud"},
        flag_names={"log.level": "--log-level"},
    )  # fmt: skip
    told = by_key(found)
    assert told["serve.port"].origin == "environment TEAMSCALL_SERVE_PORT"
    assert (told["log.level"].origin, told["log.level"].file) == ("flag --log-level", "")


def test_json_of_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    done = check("-c", str(tmp_path / "none.toml"), "--json")
    about = json.loads(done.stdout)
    assert (done.exit_code, about["version"], about["ok"]) == (3, 1, False)
    assert "cannot be read" in about["problems"][0]["what"]


@pytest.mark.parametrize(
    ("text", "line", "caret", "meant"),
    [
        ("[serve]\nmode = open\n", 2, "mode = ^", "text stands in quotes"),
        ('a = "x\nb = 1\n', 1, 'a = "x^', "close the quote"),
        ("a = [1,\n", 1, "a = [1,^", ""),
        ("a = 1\na = 2\n", 2, "a = 2^", "twice"),
        ('a = "C:\\dir"\n', 1, 'a = "C:\\d^', "single quotes"),
        ("just words\n", 1, "just ^", "key = value"),
        ("a = 名前 x\n", 1, "a = ^", "quotes"),
        ("[serve\n", 1, "[serve^", "]"),
    ],
)
def test_a_syntax_error_has_a_picture(
    tmp_path: Path, text: str, line: int, caret: str, meant: str
) -> None:
    (problem,) = looked_at(tmp_path, text).problems
    assert problem.line == line
    row, mark = problem.excerpt
    assert row == f"{line} | {text.splitlines()[line - 1]}"
    assert mark.endswith("^")
    assert row[: len(mark) - 1] == f"{line} | {caret.removesuffix('^')}"
    assert meant in problem.suggestion


@pytest.mark.parametrize(
    "row",
    [
        f'secret = "{SECRET}',
        f'bridge = {{ port = 1, secret = "{SECRET}", x }}',
        f"apiKey={SECRET} x",
        f'"token" = "{SECRET}',
        f'secret_file = "x"  secret = "{SECRET}',
        f"openaiApiKey : '{SECRET}'",
    ],
)
def test_the_picture_covers_secrets(tmp_path: Path, row: str) -> None:
    (problem,) = looked_at(tmp_path, f"[bridge]\n{row}\n").problems
    assert SECRET[:6] not in str(problem)
    assert "***" in problem.excerpt[0]


def test_the_picture_is_safe_and_short() -> None:
    row = "a = " + "x" * 500 + "\x1b[31m" + "y" * 500
    found = syntax_error("Invalid value (at line 1, column 505)", row)
    assert all(len(line) < 120 for line in found.excerpt)
    assert "\x1b" not in "".join(found.excerpt)


def test_what_moved_leads_to_a_key_that_is_there() -> None:
    for old, moved in [*MOVED.items(), *STANDIN.items()]:
        assert moved.to in options(), old
    assert not set(MOVED) & set(options()) - {"realtime.turn_detection"}
    assert not set(NOT_NEEDED) & set(options()) - {"realtime.turn_detection"}


def test_names_are_brought_to_one_spelling() -> None:
    for name, plain in (("maxParallelTTS", "max_parallel_tts"), ("allowFrom", "allow_from"),
                        ("msteams-call", "msteams_call"), ("port", "port")):  # fmt: skip
        assert snake_case(name) == plain


def test_units_are_brought_along() -> None:
    assert renamed("heartbeat_s", 20) == (
        "it is serve.ping_interval_ms here: teamscall config set serve.ping_interval_ms 20000"
    )
    assert renamed("inboundPolicy", "pairing").endswith("config set authorization.mode allowlist")
    assert renamed("sharedSecret", SECRET).endswith("config set standin.secret -")
    assert renamed("serve.prot", 1) == ""


def test_a_remedy_is_told_once_and_a_type_is_no_news(tmp_path: Path) -> None:
    file = tmp_path / "x.toml"
    file.write_text(
        f'[bridge]\nsecret = "{"kQ3vZr8pXw1tYb6n" * 2}"\n[serve]\ntls_cert = "/no.pem"\n'
    )
    file.chmod(0o644)
    told = check("--config", str(file))
    assert (told.stdout + told.stderr).count("chmod 600") == 1
    assert "a string" not in told.stdout
    file.write_bytes(b"engine = 'echo'\nx = '\xff'\n")
    told = check("--config", str(file))
    assert f"{file}:2: error: not UTF-8\n" in told.stdout


def test_a_list_with_a_slip_in_it_gets_the_nearest(tmp_path: Path) -> None:
    found = by_key(looked_at(tmp_path, 'fallback = ["offline", "streeming"]\n'))
    assert found["fallback"].suggestion == "did you mean streaming?"
