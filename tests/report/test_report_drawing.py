"""The SVG, the PNG and the page's text; and the command."""

from __future__ import annotations

import contextlib
import io
import os
import re
import stat
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import PIL.Image
import pytest
from report_rig import CORPUS, HOSTILE, capture, hostile, made

from teamscall.__main__ import command as program
from teamscall.capture.report import page, png, svg
from teamscall.capture.report.palette import INKS
from teamscall.capture.report.picture import picture
from teamscall.capture.report.scene import Label, Rect, Scene, clock, fitted, scene

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def drawn() -> Scene:
    return scene(picture(capture("barge-in")), 1000)


def test_the_svg_says_what_the_scene_does_and_needs_nothing_else(drawn: Scene) -> None:
    text = svg.render(drawn)
    root = ET.fromstring(text)
    said = [element.text for element in root.iter(f"{SVG}text")]
    assert said == [item.text for item in drawn.items if isinstance(item, Label)]
    assert "Tell me all about it." in said
    assert {element.tag.removeprefix(SVG) for element in root.iter()} == {
        "svg", "rect", "line", "polygon", "text", "title"
    }  # fmt: skip
    assert "href" not in text
    assert "url(" not in text


def test_the_png_agrees_with_the_svg(drawn: Scene) -> None:
    with PIL.Image.open(io.BytesIO(png.render(drawn))) as image:
        assert image.size == (drawn.width, drawn.height)
        pixels = image.convert("RGB")
    seen = {colour for _, colour in pixels.getcolors(1 << 24) or []}
    for style in ("caller-power", "bot-power", "stage-endpoint", "stop", "mark-bad"):
        assert _rgb(INKS[style].fill) in seen, style
    turn = next(item for item in drawn.items if isinstance(item, Rect) and item.style == "turn")
    place = (round(turn.x + turn.width - 5), round(turn.y + 2))
    assert pixels.getpixel(place) == _rgb(INKS["turn"].fill)


def _rgb(colour: str) -> tuple[int, ...]:
    return tuple(bytes.fromhex(colour[1:]))


def test_the_same_capture_gives_the_same_bytes(drawn: Scene) -> None:
    again = scene(picture(capture("barge-in")), 1000)
    assert svg.render(again) == svg.render(drawn)
    assert png.render(again) == png.render(drawn)
    one, other = (page.render([picture(capture("digits"))]) for _ in range(2))
    assert one == other


def test_every_call_of_the_corpus_can_be_drawn() -> None:
    calls = [picture(capture(path.stem), audio=False) for path in sorted(CORPUS.glob("*.tcap"))]
    text = page.render(calls)
    assert text.count('<article class="call"') == len(calls) > 7
    for still in re.findall(r'<figure class="still">(.*?)</figure>', text, re.DOTALL):
        ET.fromstring(still)


def test_a_call_of_silence_can_be_drawn(tmp_path: Path) -> None:
    header = capture("barge-in").header
    one = picture(made(tmp_path / "none.tcap", header, []))
    ET.fromstring(svg.render(scene(one)))
    assert "There are no words in this capture" in page.render([one])


def test_everything_lies_inside_the_picture() -> None:
    for name in ("digits", "resume", "hostile-gateway"):
        for width in (480, 1600):
            one = scene(picture(capture(name)), width)
            for item in one.items:
                if isinstance(item, Rect):
                    assert -0.01 <= item.x <= item.x + item.width <= width + 0.01, (name, item)
                    assert item.y + item.height <= one.height
                assert item.style in INKS
    with pytest.raises(ValueError, match="a width from"):
        scene(picture(capture("digits")), 100)


def test_a_text_is_cut_to_its_room() -> None:
    assert fitted("Hello there", 1000, 12) == "Hello there"
    assert fitted("Hello there", 50, 12) == "Hello…"
    assert fitted("Hello there", 15, 12) == ""


@pytest.mark.parametrize(
    ("seconds", "step", "words"),
    [(0, 1, "0 s"), (7.25, 0.1, "7.2 s"), (59.94, 0.1, "59.9 s"), (59.96, 0.1, "1:00.0"),
     (65, 5, "1:05"), (3723, 60, "1:02:03"), (119.97, 0.1, "2:00.0")],
)  # fmt: skip
def test_a_time_is_told_as_clocks_do(seconds: float, step: float, words: str) -> None:
    assert clock(seconds, step) == words


def test_a_page_holds_hostile_words_as_text_alone(tmp_path: Path) -> None:
    call = picture(hostile(tmp_path / "h.tcap"))
    text = page.render([call])
    # One script that runs; data and two sounds.
    assert len(re.findall(r"<script(?: [^>]*)?>", text)) == 4
    assert text.count("</script>") == 4
    assert "<img src=x" not in text
    assert "<!--" not in text
    assert HOSTILE[:20] not in text
    drawn = svg.render(scene(call))
    ET.fromstring(drawn)
    assert "<script" not in drawn


def test_a_page_of_no_call_is_none() -> None:
    with pytest.raises(ValueError, match="no call"):
        page.render([])


# --- the command ----------------------------------------------------------------------------


def run(*arguments: object) -> tuple[int, str, str]:
    """The whole command in this process: exit code, stdout, stderr."""
    raw = io.BytesIO()
    out, err = io.TextIOWrapper(raw, "utf-8", write_through=True), io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["teamscall", "report", *map(str, arguments)])
        patch.setattr(os, "nice", lambda _: 0)
        patch.setattr("teamscall.cli.streams.set_up", lambda: None)
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                program()
                code: object = 0
            except SystemExit as ended:
                code = ended.code
    assert isinstance(code, int)
    return code, raw.getvalue().decode("utf-8", "replace"), err.getvalue()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_page_gets_the_captures_name_and_is_its_owners_alone(here: Path) -> None:
    code, out, err = run(CORPUS / "barge-in.tcap")
    assert (code, out) == (0, "")
    made = here / "barge-in.html"
    assert f"barge-in.html: 1 call, with sound, 5.7 s, {made.stat().st_size / 1e3:.0f} KB" in err
    if os.name == "posix":
        assert stat.S_IMODE(made.stat().st_mode) == 0o600
    assert sorted(path.name for path in here.iterdir()) == ["barge-in.html"]


def test_nothing_is_overwritten_unless_it_is_asked_for(here: Path) -> None:
    one = CORPUS / "digits.tcap"
    (here / "digits.html").write_text("mine")
    code, _, err = run(one)
    assert code == 2
    assert "digits.html is there already" in err
    assert (here / "digits.html").read_text() == "mine"
    assert run(one, "--force")[0] == 0
    assert (here / "digits.html").read_text().startswith("<!doctype html>")
    assert [path.name for path in here.iterdir()] == ["digits.html"]


def test_the_timeline_alone(here: Path) -> None:
    code, _, err = run(CORPUS / "digits.tcap", "--svg", "a.svg", "--png", "a.png", "--width", 640)
    assert code == 0, err
    assert sorted(path.name for path in here.iterdir()) == ["a.png", "a.svg"]
    with PIL.Image.open(here / "a.png") as image:
        assert image.width == 640
    assert ET.parse(here / "a.svg").getroot().get("width") == "640"


def test_stdout_takes_one_of_them(here: Path) -> None:
    code, out, err = run(CORPUS / "digits.tcap", "--no-audio", "-o", "-")
    assert (code, err) == (0, "")
    assert out.startswith("<!doctype html>")
    assert out.endswith("</html>")
    assert 'class="sound-' not in out
    assert run(CORPUS / "digits.tcap", "--svg", "-")[1].startswith("<svg ")
    assert run(CORPUS / "digits.tcap", "-o", "-", "--svg", "-")[0] == 2
    assert list(here.iterdir()) == []


def test_several_calls_are_one_page(here: Path) -> None:
    code, _, err = run(CORPUS / "digits.tcap", CORPUS / "resume.tcap", "--no-audio")
    assert code == 0
    assert "calls.html: 2 calls, without sound" in err
    assert (here / "calls.html").read_text().count('<article class="call"') == 2
    assert run(CORPUS / "digits.tcap", CORPUS / "resume.tcap", "--svg", "x.svg")[0] == 2


def test_a_damaged_capture_is_drawn_and_is_a_failure(here: Path) -> None:
    data = (CORPUS / "barge-in.tcap").read_bytes()
    (here / "torn.tcap").write_bytes(data[: len(data) // 2])
    code, _, err = run("torn.tcap")
    assert code == 1
    assert "warning: torn.tcap" in err
    assert "The capture is damaged" in (here / "torn.html").read_text()


@pytest.mark.parametrize("data", [b"", b"RIFF....WAVE", b"TCAP\x09\n", b"TCAP\x01\nxxxxxxxxxx"])
def test_what_is_no_capture_is_refused_and_nothing_is_written(here: Path, data: bytes) -> None:
    (here / "x.tcap").write_bytes(data)
    code, out, err = run(CORPUS / "digits.tcap", "x.tcap")
    assert (code, out) == (1, "")
    assert "x.tcap" in err
    assert "Traceback" not in err
    assert [path.name for path in here.iterdir()] == ["x.tcap"]


def test_a_place_that_cannot_take_it_is_told_before_the_work(here: Path) -> None:
    one = here / "one.tcap"
    one.write_bytes((CORPUS / "digits.tcap").read_bytes())
    for wrong, words in (
        (["-o", "one.tcap", "--force"], "and so is a capture"),
        (["-o", "no/such/x.html"], "no such folder"),
        (["-o", "."], "is a folder"),
        (["--svg", "x", "--png", "x"], "and so is --svg"),
    ):
        code, _, err = run("one.tcap", *wrong)
        assert code == 2, wrong
        assert words in err
    assert [path.name for path in here.iterdir()] == ["one.tcap"]
