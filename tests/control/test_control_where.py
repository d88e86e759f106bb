"""Where a door is, and how a command finds it."""

from __future__ import annotations

import contextlib
import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from door_rig import short_folder

from teamscall.config import Config, Control, JournalFile, Secret
from teamscall.control import where
from teamscall.control.where import MAX_PATH_BYTES, find, name_for, socket_for
from teamscall.errors import InputError

TOKEN = Secret("token-0123456789abcdef0123456789abcdef")


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """An environment with a runtime directory of its own, and no system service."""
    with short_folder() as folder:
        folder.chmod(0o700)
        monkeypatch.setattr(tempfile, "tempdir", str(folder))
        monkeypatch.setattr(where, "SERVICE_FOLDER", folder / "service")
        yield {"XDG_RUNTIME_DIR": str(folder)}


@contextlib.contextmanager
def living(path: Path) -> Iterator[None]:
    path.parent.mkdir(mode=0o700, exist_ok=True)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        yield
    path.unlink()


def dead(path: Path) -> None:
    path.parent.mkdir(mode=0o700, exist_ok=True)
    with socket.socket(socket.AF_UNIX) as gone:
        gone.bind(str(path))


def test_a_journal_of_its_own_gives_a_socket_of_its_own(tmp_path: Path) -> None:
    one, other = (Config(journal=JournalFile(path=str(tmp_path / n))) for n in ("a", "b"))
    assert name_for(Config()) == "control.sock"
    assert name_for(one) != name_for(other)
    winding = Config(journal=JournalFile(path=str(tmp_path / "x" / ".." / "a")))
    assert name_for(winding) == name_for(one)


def test_the_bridge_takes_the_first_directory_that_is_ours(runtime: dict[str, str]) -> None:
    path = socket_for(Config(), runtime)
    assert path == Path(runtime["XDG_RUNTIME_DIR"]) / "teamscall" / "control.sock"
    assert path.parent.stat().st_mode & 0o777 == 0o700
    path.parent.chmod(0o777)  # anybody could put a socket there
    assert socket_for(Config(), runtime).parent != path.parent
    assert find(Config(), runtime).socket != str(path)


def test_systemds_directory_comes_first(runtime: dict[str, str], tmp_path: Path) -> None:
    with short_folder() as service:
        found = socket_for(Config(), {**runtime, "RUNTIME_DIRECTORY": f"{service}:/other"})
        assert found == service / "control.sock"


def test_too_long_a_path_is_told_before_anything_is_made(tmp_path: Path) -> None:
    long = tmp_path / ("x" * MAX_PATH_BYTES) / "c.sock"
    with pytest.raises(InputError, match="at most"):
        socket_for(Config(control=Control(socket=str(long))), {})
    assert not long.parent.exists()
    with pytest.raises(InputError, match="at most"):
        find(Config(), {}, socket=str(long))
    fallback = {"XDG_RUNTIME_DIR": str(tmp_path)} if len(str(tmp_path)) > 90 else {}
    assert len(str(socket_for(Config(), fallback))) <= MAX_PATH_BYTES


def test_without_a_name_the_only_bridge_is_meant(runtime: dict[str, str]) -> None:
    folder = Path(runtime["XDG_RUNTIME_DIR"]) / "teamscall"
    own = Config(journal=JournalFile(path="/elsewhere/journal"))
    with living(folder / "control-aaaaaaaa.sock"):
        dead(folder / "control.sock")
        dead(folder / "control-cccccccc.sock")
        only = find(Config(), runtime)
        assert (only.socket, only.guessed) == (str(folder / "control-aaaaaaaa.sock"), True)
        # Whoever has named a journal means that one and no other.
        assert find(own, runtime).socket == str(folder / name_for(own))
        with living(folder / "control-bbbbbbbb.sock"):
            several = find(Config(), runtime)
            assert len(several.others) == 2
            (folder / "control.sock").unlink()
            with living(folder / "control.sock"):
                usual = find(Config(), runtime)
                assert (usual.socket, usual.guessed) == (str(folder / "control.sock"), False)


def test_the_services_directory_is_the_last_resort(runtime: dict[str, str]) -> None:
    own = Config(journal=JournalFile(path="/var/lib/teamscall/journal.sqlite3"))
    for config in (Config(), own):
        service = where.SERVICE_FOLDER / name_for(config)
        assert find(config, runtime).socket != str(service)
        with living(service):
            assert find(config, runtime).socket == str(service)
            assert find(Config(), runtime).socket == str(service)  # the only one


def test_a_url_needs_a_token_and_never_sends_it_in_clear(tmp_path: Path) -> None:
    config = Config(control=Control(token=TOKEN))
    there = find(config, {"TEAMSCALL_CONTROL_URL": "wss://bridge.example:7443"})
    assert (there.url, there.token) == ("wss://bridge.example:7443", TOKEN)
    assert find(config, {}, url="ws://127.0.0.1:7443").url
    assert find(config, {}, url="ws://[::1]:7443").url
    for url in ("ws://bridge.example:1", "http://127.0.0.1", "ws://a:b@127.0.0.1", "ws://[", "x"):
        with pytest.raises(InputError):
            find(config, {}, url=url)
    with pytest.raises(InputError, match="no token"):
        find(Config(), {}, url="ws://127.0.0.1:7443")
    file = tmp_path / "token"
    file.write_text(f"{TOKEN.reveal()}\n")
    assert find(Config(), {}, url="ws://127.0.0.1:1", token_file=str(file)).token == TOKEN
    for text in (b"", b"\xff"):
        file.write_bytes(text)
        with pytest.raises(InputError):
            find(Config(), {}, url="ws://127.0.0.1:1", token_file=str(file))


def test_what_is_named_counts_before_what_is_configured() -> None:
    config = Config(control=Control(socket="/run/mine.sock", token=TOKEN))
    env = {"TEAMSCALL_CONTROL_URL": "ws://127.0.0.1:1"}
    assert find(config, {}).socket == "/run/mine.sock"
    assert find(config, env).url == "ws://127.0.0.1:1"
    assert find(config, env, socket="/run/other.sock").socket == "/run/other.sock"
    with pytest.raises(InputError, match="Both"):
        find(config, {}, socket="/a", url="ws://127.0.0.1:1")


def test_a_directory_of_somebody_elses_is_not_trusted(runtime: dict[str, str]) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a directory away")
    folder = Path(runtime["XDG_RUNTIME_DIR"]) / "teamscall"
    with living(folder / "control.sock"):
        assert find(Config(), runtime).socket == str(folder / "control.sock")
        os.chown(folder, 12345, 12345)
        assert find(Config(), runtime).socket != str(folder / "control.sock")
