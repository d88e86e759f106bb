"""Files that cannot be written are refused before the call."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from teamscall.cli.outputs import check_writable
from teamscall.errors import InputError


def test_what_can_be_written_is_left_as_it_is(tmp_path: Path) -> None:
    old = tmp_path / "old.wav"
    old.write_bytes(b"sound")
    check_writable({"--out": tmp_path / "new.wav", "--stereo": old})
    assert not (tmp_path / "new.wav").exists()
    assert old.read_bytes() == b"sound"
    check_writable({"--out": None, "--stereo": None})


@pytest.mark.parametrize("name", ["no/such/folder.wav", ".", "file/x.wav"])
def test_what_cannot_be_written_names_the_file_and_the_option(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written") as caught:
        check_writable({"--stereo": tmp_path / name})
    assert "--stereo" in caught.value.hint


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match="Permission denied"):
        check_writable({"--out": tmp_path / "x.wav"})


def test_one_file_is_not_written_twice_and_the_input_never(tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    with pytest.raises(InputError, match=r"--stereo is .*, and so is --out"):
        check_writable({"--out": path, "--stereo": tmp_path / "." / "x.wav"})
    path.touch()
    (tmp_path / "link.wav").symlink_to(path)
    with pytest.raises(InputError, match="and so is the file that is played"):
        check_writable({"--out": tmp_path / "link.wav"}, reads=path)


def test_devices_take_anything() -> None:
    null = Path(os.devnull)
    check_writable({"--out": null, "--stereo": null})
