"""`teamscall init --teams-manifest`: the package, and each rule that it may break."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import msgspec
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner, Result

from teamscall.cli import init as init_cli
from teamscall.errors import InputError
from teamscall.setup.teams_app import (
    App,
    icon_violations,
    manifest_of,
    own_icons,
    violations,
    write_package,
)

app = typer.Typer()
init_cli.register(app)
ID = "8a7c1d0e-90b4-4a0b-8c5d-6f1e2d3c4b5a"
GOOD = App(
    app_id=ID,
    name="Reception",
    company="Example Ltd",
    website="https://www.example.org",
    privacy_url="https://www.example.org/privacy",
    terms_url="https://www.example.org/terms",
)
FLAGS = (
    "--app-id", ID, "--name", "Reception", "--company", "Example Ltd",
    "--website", GOOD.website, "--privacy-url", GOOD.privacy_url, "--terms-url", GOOD.terms_url,
)  # fmt: skip


def init(*words: str) -> Result:
    return CliRunner().invoke(app, list(words), input="")


def test_a_good_app_breaks_no_rule() -> None:
    manifest = manifest_of(GOOD)
    assert violations(manifest) == []
    (bot,) = manifest["bots"]
    assert bot["supportsCalling"] is True
    assert bot["supportsVideo"] is False
    assert manifest["validDomains"] == ["www.example.org"]
    assert manifest_of(msgspec.structs.replace(GOOD, video=True))["bots"][0]["supportsVideo"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"app_id": "none"}, "id is not a GUID"),
        ({"name": "n" * 31}, "name.short has 31 characters, at most 30"),
        ({"name": " "}, "name.short is missing"),
        ({"full_name": "n" * 101}, "name.full has 101 characters, at most 100"),
        ({"company": "c" * 33}, "developer.name has 33 characters, at most 32"),
        ({"description": "d" * 81}, "description.short has 81 characters, at most 80"),
        ({"description": "d" * 4001}, "description.full has 4001 characters, at most 4000"),
        ({"website": "http://www.example.org"}, "developer.websiteUrl is not an https URL"),
        ({"privacy_url": "www.example.org"}, "developer.privacyUrl is not an https URL"),
        ({"terms_url": "https://x.org/" + "a" * 2048}, "termsOfUseUrl has 2062 characters"),
        ({"version": "1.0"}, "version is not MAJOR.MINOR.PATCH"),
        ({"version": "01.0.0"}, "version is not MAJOR.MINOR.PATCH"),
        ({"accent": "red"}, "accentColor is not a colour"),
        ({"domains": ("https://x.org",)}, "validDomains: https://x.org is not a host name"),
        ({"domains": ("*",)}, "validDomains: * is not a host name"),
        ({"domains": tuple(f"d{n}.example.org" for n in range(17))}, "validDomains has 17"),
    ],
)
def test_each_rule_is_named(change: dict[str, object], words: str) -> None:
    told = violations(manifest_of(msgspec.structs.replace(GOOD, **change)))
    assert any(words in one for one in told), told


def test_every_broken_rule_is_told_at_once(tmp_path: Path) -> None:
    done = init("--teams-manifest", str(tmp_path / "x.zip"), *FLAGS, "--accent", "red",
                "--app-version", "1")  # fmt: skip
    assert isinstance(done.exception, InputError)
    assert "accentColor" in done.exception.message
    assert "version" in done.exception.message
    assert not (tmp_path / "x.zip").exists()


def test_a_manifest_without_calling_is_wrong() -> None:
    manifest = manifest_of(GOOD)
    del manifest["bots"][0]["supportsCalling"]
    assert violations(manifest) == [
        "bots[0].supportsCalling is not true: nobody could call the bot"
    ]
    manifest["bots"] = []
    assert violations(manifest) == ["bots has not exactly one bot"]


def test_the_icons_that_come_with_it_are_right() -> None:
    assert icon_violations(own_icons()) == []


def picture(size: int, colour: tuple[int, int, int, int]) -> bytes:
    made = io.BytesIO()
    Image.new("RGBA", (size, size), colour).save(made, "PNG")
    return made.getvalue()


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("color.png", picture(191, (1, 2, 3, 255)), "not a PNG of 192 x 192"),
        ("color.png", b"no", "is no picture"),
        ("color.png", own_icons()["color.png"][:300], "is no picture"),
        ("outline.png", picture(32, (255, 255, 255, 255)), "not white on transparent"),
        ("outline.png", picture(32, (9, 9, 9, 90)), "not white on transparent"),
        ("outline.png", picture(64, (255, 255, 255, 0)), "not a PNG of 32 x 32"),
    ],
)
def test_a_wrong_icon_is_named(name: str, data: bytes, words: str) -> None:
    (told,) = icon_violations({**own_icons(), name: data})
    assert told.startswith(name)
    assert words in told


def test_a_zip_has_the_three_files_at_its_top_and_is_the_same_each_time(tmp_path: Path) -> None:
    write_package(GOOD, tmp_path / "one.zip")
    write_package(GOOD, tmp_path / "two.zip")
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "one.zip") as archive:
        assert archive.namelist() == ["manifest.json", "color.png", "outline.png"]
        assert archive.testzip() is None
        assert json.loads(archive.read("manifest.json"))["manifestVersion"] == "1.17"


def test_a_folder_gets_the_three_files_and_nothing_is_overwritten(tmp_path: Path) -> None:
    done = init("--teams-manifest", str(tmp_path / "app"), *FLAGS, "--json")
    assert done.exit_code == 0, done.output
    assert len(json.loads(done.stdout)["files"]) == 3
    again = init("--teams-manifest", str(tmp_path / "app"), *FLAGS)
    assert isinstance(again.exception, InputError)
    assert "is there already" in again.exception.message


def test_what_is_missing_is_named_by_its_flag(tmp_path: Path) -> None:
    done = init("--teams-manifest", str(tmp_path / "app"), "--app-id", ID)
    assert isinstance(done.exception, InputError)
    assert "--name, --company, --website, --privacy-url, --terms-url" in done.exception.message
