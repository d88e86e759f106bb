"""``teamscall doctor`` as it is typed: options, table, JSON, exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from doctor_rig import SECRET, free_port
from typer.testing import CliRunner

from teamscall.cli.app import app
from teamscall.doctor.registry import CHECKS
from teamscall.errors import InputError

GOOD = 'engine = "echo"\nauthorization.mode = "open"\njournal.enabled = false\n'


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "80")
    path = tmp_path / "teamscall.toml"
    path.write_text(f"{GOOD}serve.port = {free_port()}\nbridge.secret = '{SECRET}'\n")
    path.chmod(0o600)
    return path


def doctor(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["doctor", *words])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout


def test_a_good_set_up_exits_with_0_and_shows_no_secret(file: Path) -> None:
    code, said = doctor("-c", str(file), "--only", "TC-CONFIG", "--only", "TC-SECRET,TC-PORT")
    assert code == 0
    assert "3 checks: 0 failed, 3 ok." in said
    assert SECRET not in said
    assert max(map(len, said.splitlines())) <= 80


def test_json_is_one_object_in_the_order_of_the_catalogue(file: Path) -> None:
    code, said = doctor("-c", str(file), "--only", "TC-SECRET-COPY,TC-CONFIG", "--json")
    found = json.loads(said)
    assert code == 0
    assert found["version"] == 1
    assert [one["id"] for one in found["checks"]] == ["TC-CONFIG", "TC-SECRET-COPY"]
    assert set(found["checks"][0]) == {
        "id",
        "group",
        "title",
        "status",
        "what",
        "remedy",
        "facts",
        "tookMs",
    }
    assert found["summary"] == {"ok": 2, "warning": 0, "failed": 0, "skipped": 0, "exitCode": 0}


def test_a_failure_exits_with_1_and_says_what_to_do(file: Path) -> None:
    only = ("--only", "TC-SECRET-COPY")
    code, said = doctor("-c", str(file), "--set", f"standin.secret= {SECRET}", *only)
    assert code == 0  # that dialect is not served
    file.write_text(f"{GOOD}serve.enabled = false\nstandin.enabled = true\n")
    code, said = doctor("-c", str(file), "--set", f"standin.secret= {SECRET}", *only)
    assert code == 1
    assert "FAILED   TC-SECRET-COPY" in said
    assert "-> Take the blank off" in said
    assert "teamscall doctor --explain TC-SECRET-COPY" in said


def test_a_configuration_that_cannot_be_loaded_exits_with_3_and_the_rest_is_looked_at(
    file: Path,
) -> None:
    with file.open("a") as opened:
        opened.write("no_such_key = 1\n")
    code, said = doctor("-c", str(file), "--only", "TC-CONFIG,TC-PYTHON,TC-PORT", "--json")
    told = {one["id"]: one["status"] for one in json.loads(said)["checks"]}
    assert code == 3
    assert told == {"TC-CONFIG": "failed", "TC-PORT": "skipped", "TC-PYTHON": "ok"}


def test_a_warning_is_a_failure_only_where_it_is_asked_for(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEAMSCALL_BRDIGE_SECRET", "x")
    assert doctor("-c", str(file), "--only", "TC-ENVIRONMENT")[0] == 0
    assert doctor("-c", str(file), "--only", "TC-ENVIRONMENT", "--strict")[0] == 1


def test_every_check_is_listed_and_explained() -> None:
    _, listed = doctor("--list")
    assert all(f"  {one.id} " in listed for one in CHECKS)
    _, told = doctor("--explain", "tc-clock")
    assert told.startswith("TC-CLOCK  The clock (This machine)")
    assert "What to do:" in told
    _, said = doctor("--explain", "TC-PORT", "--json")
    assert json.loads(said)["after"] == ["TC-CONFIG", "TC-SECOND-BRIDGE"]


def test_a_wrong_name_is_a_wrong_option(file: Path) -> None:
    with pytest.raises(InputError, match="TC-CLOKC"):
        doctor("-c", str(file), "--only", "TC-CLOKC")
