"""This machine and its configuration: each fault fails its own check, by files and ports."""

from __future__ import annotations

import asyncio
import datetime
import os
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import pytest
from doctor_rig import SECRET, certificate, config, findings, free_port, site

from teamscall.config import Capture, Control, JournalFile
from teamscall.doctor import certificates, knocking, ports
from teamscall.doctor.checks import Finding
from teamscall.doctor.findings import belongs
from teamscall.doctor.here import CHECKS
from teamscall.doctor.here_machine import needed_extras, service
from teamscall.doctor.loading import load
from teamscall.doctor.running import examine, select

# These look at the network or take a second.
LATER = ("TC-CLOCK", "TC-LATENESS", "TC-AUDIO-DEVICES")


def looked(
    folder: Path, text: str = "", *, mode: int = 0o600, env: dict[str, str] | None = None
) -> dict[str, Finding]:
    """What the checks here say of a sound configuration with ``text`` in it."""
    env = {"XDG_RUNTIME_DIR": str(folder)} | (env or {})
    path = folder / "teamscall.toml"
    data = folder / "data"
    path.write_text(
        f"{text}\n[bridge]\nsecret = {SECRET!r}\n[journal]\npath = '{data}/journal.sqlite3'\n",
        "utf-8",
    )
    path.chmod(mode)
    seen = load(path, env=env, flags={"serve.port": 0})
    where = site(
        seen.config,
        config_path=seen.path,
        env=env,
        origins=seen.origins,
        problems=seen.problems,
        warnings=seen.warnings,
    )
    chosen = select(CHECKS, (), LATER)
    return findings(asyncio.run(examine(chosen, where, total_s=60)))


def bad(found: dict[str, Finding]) -> list[str]:
    return [name for name, one in found.items() if one.status in ("failed", "warning")]


OPEN = 'authorization.mode = "open"'


def test_a_sound_machine_has_no_noise(tmp_path: Path) -> None:
    assert bad(looked(tmp_path, OPEN)) == []


@pytest.mark.parametrize(
    ("text", "which"),
    [
        (f"{OPEN}\nmax_concurent_calls = 3", "TC-CONFIG"),
        (f'{OPEN}\nmax_concurrent_calls = "many"', "TC-CONFIG"),
        ("this is no TOML", "TC-CONFIG"),
        ("", "TC-CALLERS"),
        ('authorization.mode = "allowlist"', "TC-CALLERS"),
        ('authorization.mode = "tenant-only"', "TC-CALLERS"),
        (f"{OPEN}\nmax_concurrent_calls = 100000", "TC-DESCRIPTORS"),
        (
            f'{OPEN}\nserve.tls_cert = "/no.pem"\nserve.tls_key = "/no.key"',
            "TC-CERTIFICATE",
        ),
        (f'{OPEN}\ncapture.content = "full"', "TC-CAPTURE"),
    ],
)
def test_each_fault_has_its_own_check(tmp_path: Path, text: str, which: str) -> None:
    found = looked(tmp_path, text)
    assert bad(found) == [which]
    assert found[which].remedy
    assert SECRET not in str(found)


@pytest.mark.parametrize(("mode", "words"), [(0o644, "can be read"), (0o646, "can be written")])
def test_a_configuration_that_others_can_reach(tmp_path: Path, mode: int, words: str) -> None:
    found = looked(tmp_path, OPEN, mode=mode)
    assert bad(found) == ["TC-CONFIG-MODE"]
    assert words in found["TC-CONFIG-MODE"].what


def test_a_misspelt_variable_is_told_but_not_those_of_kubernetes(tmp_path: Path) -> None:
    found = looked(tmp_path, OPEN, env={"TEAMSCALL_BRDIGE_SECRET": SECRET})
    assert bad(found) == ["TC-ENVIRONMENT"]
    assert "TEAMSCALL_BRIDGE_SECRET" in found["TC-ENVIRONMENT"].what
    cluster = {
        "KUBERNETES_SERVICE_HOST": "10.0.0.1",
        "TEAMSCALL_SERVICE_HOST": "10.0.0.2",
        "TEAMSCALL_PORT_3335_TCP": "tcp://10.0.0.2:3335",
    }
    assert bad(looked(tmp_path, OPEN, env=cluster)) == []


def test_a_port_that_somebody_else_holds_names_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(knocking, "ANSWER_S", 0.1)  # it does not answer
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        port = held.getsockname()[1]
        base = config()
        taken = msgspec.structs.replace(base, serve=msgspec.structs.replace(base.serve, port=port))
        where = site(taken, env={"XDG_RUNTIME_DIR": "/nowhere"})
        found = findings(asyncio.run(examine(select(CHECKS, ["TC-PORT"]), where, total_s=30)))
        told = ports.holder("127.0.0.1", port)
    assert bad(found) == ["TC-PORT"]
    if told is not None:  # Linux
        assert told.pid == os.getpid()
        assert found["TC-PORT"].facts["pid"] == os.getpid()
        assert str(os.getpid()) in found["TC-PORT"].what
    assert ports.holder("127.0.0.1", free_port()) is None


def test_another_bridge_on_the_journal_is_named(tmp_path: Path) -> None:
    from teamscall.server.lock import sole_use

    journal = tmp_path / "data" / "journal.sqlite3"
    base = msgspec.structs.replace(config(), journal=JournalFile(path=str(journal)))
    where = site(base, env={"XDG_RUNTIME_DIR": str(tmp_path)})
    chosen = select(CHECKS, ["TC-SECOND-BRIDGE"])
    with sole_use(journal):
        found = findings(asyncio.run(examine(chosen, where, total_s=30)))
        assert bad(found) == ["TC-SECOND-BRIDGE"]
        assert str(os.getpid()) in found["TC-SECOND-BRIDGE"].what
        # Looking takes nothing away.
        assert Path(f"{journal}.lock").read_text().strip() == str(os.getpid())
    assert bad(findings(asyncio.run(examine(chosen, where, total_s=30)))) == []


def test_a_bridge_of_this_file_with_another_journal_is_this_one(tmp_path: Path) -> None:
    """A service has its journal from its environment, which who looks does not share."""
    port = free_port()
    file = tmp_path / "teamscall.toml"
    file.write_text(f'{OPEN}\nengine = "echo"\nserve.port = {port}\nbridge.secret = "{SECRET}"\n')
    file.chmod(0o600)
    chosen = select(CHECKS, ["TC-SECOND-BRIDGE", "TC-PORT"])
    with TemporaryDirectory(prefix="tc-") as folder:  # a socket's path is short
        env = {"XDG_RUNTIME_DIR": str(folder), "XDG_DATA_HOME": str(tmp_path)}
        its = {**os.environ, **env, "TEAMSCALL_JOURNAL_PATH": str(tmp_path / "its.sqlite3")}
        serve = [sys.executable, "-m", "teamscall", "serve", "-c", str(file)]
        with subprocess.Popen(serve, env=its, stderr=subprocess.PIPE, text=True) as bridge:
            assert bridge.stderr is not None
            assert any("control" in line for line in bridge.stderr)  # its banner, when it is up

            def told(of: Path) -> dict[str, Finding]:
                config_ = load(of, env=env, flags={}).config
                where = site(config_, config_path=of, env=env)
                return findings(asyncio.run(examine(chosen, where, total_s=60)))

            same = told(file)
            copy = tmp_path / "copy.toml"
            copy.write_text(file.read_text())
            copy.chmod(0o600)
            other = told(copy)
            bridge.kill()
            bridge.stderr.close()
    assert bad(same) == []
    assert same["TC-SECOND-BRIDGE"].facts["pid"] == bridge.pid
    assert bad(other) == ["TC-PORT"]


def test_the_journal_and_its_directory(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    journal = folder / "journal.sqlite3"
    base = msgspec.structs.replace(config(), journal=JournalFile(path=str(journal)))
    chosen = select(CHECKS, ["TC-DATA", "TC-DATA-MODE", "TC-JOURNAL", "TC-DISK"])

    def told() -> list[str]:
        return bad(findings(asyncio.run(examine(chosen, site(base), total_s=30))))

    assert told() == []
    assert not folder.exists()  # looking makes nothing
    folder.mkdir(mode=0o700)
    with closing(sqlite3.connect(journal)) as database:
        database.execute("CREATE TABLE a (b)")
    journal.chmod(0o600)
    assert told() == []
    folder.chmod(0o755)
    journal.chmod(0o644)
    assert told() == ["TC-DATA-MODE"]
    folder.chmod(0o700)  # the remedy's half that matters: nobody else gets there
    assert told() == []
    folder.chmod(0o777)
    assert told() == ["TC-DATA-MODE"]
    folder.chmod(0o700)
    with closing(sqlite3.connect(journal)) as database:
        database.execute("PRAGMA user_version = 99")  # a newer teamscall's: serve refuses it
    assert told() == ["TC-JOURNAL"]
    journal.write_bytes(b"no database at all " * 100)
    assert told() == ["TC-JOURNAL"]
    journal.unlink()
    folder.rmdir()
    folder.write_text("a file")
    assert told() == ["TC-DATA"]


def test_the_folder_of_captures(tmp_path: Path) -> None:
    folder = tmp_path / "captures"
    base = msgspec.structs.replace(config(), capture=Capture(dir=str(folder)))
    chosen = select(CHECKS, ["TC-CAPTURE"])

    def told() -> str:
        (one,) = asyncio.run(examine(chosen, site(base), total_s=30))
        return one.finding.status

    assert told() == "ok"
    folder.mkdir(mode=0o755)
    folder.chmod(0o755)
    assert told() == "warning"
    folder.chmod(0o700)
    assert told() == "ok"
    folder.rmdir()
    folder.write_text("a file")
    assert told() == "failed"


def test_a_file_that_is_not_there_is_named_with_what_writes_it(tmp_path: Path) -> None:
    def told(path: Path) -> Finding:
        seen = load(path, env={}, flags={})
        where = site(seen.config, config_path=seen.path, problems=seen.problems)
        (one,) = asyncio.run(examine(select(CHECKS, ["TC-CONFIG"]), where, total_s=30))
        return one.finding

    gone = told(tmp_path / "it is gone.toml")
    assert gone.status == "failed"
    assert "No such file" in gone.what
    assert f"teamscall init -o '{tmp_path / 'it is gone.toml'}'" in gone.remedy
    folder = told(tmp_path)
    assert folder.status == "failed"
    assert "another file" in folder.remedy


def test_a_control_socket_fits_its_path(tmp_path: Path) -> None:
    def told(path: Path) -> Finding:
        base = msgspec.structs.replace(config(), control=Control(socket=str(path)))
        (one,) = asyncio.run(examine(select(CHECKS, ["TC-CONTROL"]), site(base), total_s=30))
        return one.finding

    assert told(Path("a.sock")).status == "ok"
    long = told(tmp_path / ("x" * 108))
    assert (long.status, "107" in long.what) == ("failed", True)
    (tmp_path / "file").touch()
    assert told(tmp_path / "file" / "a.sock").status == "failed"


@pytest.mark.parametrize(
    ("days", "status"),
    [((-9, -1), "failed"), ((1, 9), "failed"), ((-9, 9), "warning"), ((-9, 20), "ok")],
)
def test_a_certificate_has_its_time(tmp_path: Path, days: tuple[int, int], status: str) -> None:
    crt, _ = certificate(tmp_path, days=days)
    cert = certificates.read_pem(crt.read_bytes())
    now = datetime.datetime.now(datetime.UTC)
    assert certificates.expiry(cert, now, "a").status == status


@pytest.mark.parametrize(
    ("host", "fits"),
    [
        ("bot.example.com", True),
        ("BOT.example.com.", True),
        ("a.wild.example.com", True),
        ("a.b.wild.example.com", False),
        ("wild.example.com", False),
        ("example.com", False),
        ("127.0.0.1", False),
    ],
)
def test_a_certificate_has_its_names(tmp_path: Path, host: str, fits: bool) -> None:
    crt, _ = certificate(tmp_path, names=("bot.example.com", "*.wild.example.com"))
    assert certificates.is_for(certificates.read_pem(crt.read_bytes()), host) is fits


@pytest.mark.parametrize(
    ("env", "status"),
    [
        ({}, "skipped"),
        ({"NOTIFY_SOCKET": "/nowhere/notify"}, "failed"),
        ({"NOTIFY_SOCKET": "@abstract"}, "ok"),
        ({"WATCHDOG_USEC": "30000000"}, "failed"),
        ({"NOTIFY_SOCKET": "@a", "WATCHDOG_USEC": "500000"}, "warning"),
        ({"NOTIFY_SOCKET": "@a", "WATCHDOG_USEC": "30000000"}, "ok"),
    ],
)
def test_what_systemd_says(env: dict[str, str], status: str) -> None:
    assert asyncio.run(service(site(config(), env=env))).status == status


def test_an_extra_is_needed_where_the_engine_is_offline() -> None:
    assert needed_extras(config()) == set()
    assert needed_extras(msgspec.structs.replace(config(), engine="offline")) == {"offline"}
    assert needed_extras(msgspec.structs.replace(config(), fallback=("offline",))) == {"offline"}


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("bridge.secret is missing: the gateway", ""),
        ("bridge.secret_file: /x cannot be read: No such file", "TC-SECRET-FILE"),
        ("standin.secret: has two sources", "TC-SECRET"),
        ("environment TEAMSCALL_X is no option", "TC-ENVIRONMENT"),
        ("serve.tls_key: /x does not exist", "TC-CERTIFICATE"),
        ("authorization.mode is open: whoever", ""),
        ("authorization.mode is disabled: every", "TC-CALLERS"),
        ("serve.port: 99999 is not", "TC-CONFIG"),
        ("unknown key x", "TC-CONFIG"),
    ],
)
def test_a_line_of_the_loader_belongs_to_one_check(line: str, name: str) -> None:
    assert belongs(line) == name
