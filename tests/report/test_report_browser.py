"""The page, in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from report_rig import Browser, Page, capture, found_browser, hostile, running

from teamscall.capture.report import page
from teamscall.capture.report.picture import picture

SPAN = "Number(document.querySelector('.stage').dataset.span)"  # seconds in view
NOW = "Number(document.querySelector('.stage').getAttribute('aria-valuenow'))"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    program = found_browser()
    if program is None:
        pytest.skip("no chromium, chromium-browser or google-chrome is installed")
    with running(program, tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "one.html"
    path.write_text(page.render([picture(capture("barge-in"))]), "utf-8")
    return path


@pytest.fixture
def shown(browser: Browser, one: Path) -> Iterator[Page]:
    tab = Page(browser)
    tab.open(one)
    yield tab
    assert tab.complaints() == []
    tab.close()


def test_a_page_shows_the_call_and_asks_nobody(shown: Page) -> None:
    assert shown.run("document.querySelector('h1').textContent") == "Call from Demo Caller"
    words = shown.run("[...document.querySelectorAll('.it.heard')].map(e => e.textContent)")
    assert words == ["Tell me all about it.", "Stop, what about Monday?"]
    assert shown.run("document.querySelectorAll('.it.cut').length") == 1
    assert shown.run("document.querySelectorAll('.ev.barge-in').length") == 1
    blank = "[...c.getContext('2d').getImageData(0, 0, c.width, c.height).data].every(v => !v)"
    for canvas in (".waves", ".overview"):
        assert not shown.run(f"(c => {blank})(document.querySelector('{canvas}'))"), canvas


def test_each_side_plays_and_the_cursor_moves(shown: Page) -> None:
    for side in ("both", "caller", "bot"):
        button = f"[data-play={side}]"
        before = shown.run(NOW)
        shown.click(button)
        shown.until(f"{NOW} > {before} + 0.05")
        assert shown.run(f"document.querySelector('{button}').ariaPressed") == "true"
        shown.click(button)
        shown.until(f"document.querySelector('{button}').ariaPressed === 'false'")
    assert shown.run("document.querySelector('.now').textContent").endswith(" s")


def test_what_is_played_is_what_was_captured(shown: Page) -> None:
    shown.run("""(() => {
        const make = URL.createObjectURL;
        URL.createObjectURL = (blob) => { window.made = blob; return make(blob); };
    })()""")
    shown.click("[data-play=both]")
    shown.until("window.made !== undefined")
    shown.click("[data-play=both]")
    heard = shown.run("""window.made.arrayBuffer().then((data) =>
        new OfflineAudioContext(2, 16000, 16000).decodeAudioData(data)).then((sound) =>
        [sound.duration, sound.numberOfChannels, ...[0, 1].map((side) => {
            const samples = sound.getChannelData(side);
            const first = samples.findIndex((value) => Math.abs(value) > 0.02);
            return [first / sound.sampleRate, samples.reduce((a, b) => Math.max(a, b))];
        })])""")
    drawn = picture(capture("barge-in"))
    assert heard[:2] == [pytest.approx(drawn.length, abs=0.001), 2]
    for side, track in zip(heard[2:], drawn.tracks, strict=True):
        loud = next(i for i, value in enumerate(track.peaks) if value > 255 * 0.02**0.5)
        assert side[0] == pytest.approx(loud * track.bucket_ms / 1000, abs=0.011), track.who
        assert side[1] == pytest.approx((max(track.peaks) / 255) ** 2, abs=0.03), track.who


def test_zoom_by_button_key_and_wheel_and_back(shown: Page) -> None:
    fitted = shown.run(SPAN)
    assert fitted == pytest.approx(picture(capture("barge-in")).length, abs=0.001)
    axis = "document.querySelector('.waves').toDataURL()"
    drawn = shown.run(axis)
    wide = shown.run("document.querySelector('.it.heard').offsetWidth")
    shown.click("[data-zoom=in]")
    shown.until(f"{SPAN} < {fitted} * 0.51")
    assert shown.run(axis) != drawn
    assert shown.run("document.querySelector('.it.heard').offsetWidth") > 1.9 * wide
    shown.click(".stage", x=0.2, y=0.6)
    shown.key("+")
    shown.until(f"{SPAN} < {fitted} * 0.26")
    shown.run("""document.querySelector('.stage').dispatchEvent(new WheelEvent('wheel',
        {deltaY: -200, clientX: 300, clientY: 300, cancelable: true}))""")
    shown.until(f"{SPAN} < {fitted} * 0.15")
    shown.click("[data-zoom=fit]")
    shown.until(f"Math.abs({SPAN} - {fitted}) < 0.001")


def test_a_click_on_the_axis_seeks_and_keys_move_on(shown: Page) -> None:
    shown.click(".plot", x=0.5, y=0.45)
    middle = picture(capture("barge-in")).length / 2
    assert shown.run(NOW) == pytest.approx(middle, abs=0.02)
    shown.key("ArrowRight")
    assert shown.run(NOW) == pytest.approx(middle + 1, abs=0.02)
    shown.key("Home")
    assert shown.run(NOW) == 0
    shown.key("]")
    assert shown.run(NOW) == pytest.approx(0.581, abs=0.001)


def test_search_filters_and_jumps(shown: Page) -> None:
    shown.click(".search input")
    shown.ask("Input.insertText", text="monday")
    left = "[...document.querySelectorAll('.log li')].filter((row) => !row.hidden).length"
    assert 0 < shown.run(left) < shown.run("document.querySelectorAll('.log li').length")
    found = shown.run("document.querySelector('.found').textContent")
    assert found == f"{shown.run('''document.querySelectorAll('li.hit').length''')} found"
    shown.key("Enter")
    assert shown.run("document.querySelector('.found').textContent").startswith("1 of ")
    assert shown.run(NOW) == pytest.approx(2.821, abs=0.001)
    assert "Monday" in shown.run("document.querySelector('.at-hit').textContent")
    shown.click("[data-leg=gateway]")
    assert not shown.run("document.querySelector('.log li.gateway:not([hidden])')")


def test_nothing_sticks_out_at_400_pixels(browser: Browser, one: Path) -> None:
    tab = Page(browser, width=400)
    tab.open(one)
    assert tab.run("document.documentElement.scrollWidth") <= 400
    tab.close()


def test_a_hostile_call_runs_nothing(browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "hostile.html"
    call = picture(hostile(tmp_path / "hostile.tcap"))
    path.write_text(page.render([call]), "utf-8")
    tab = Page(browser, width=400)
    tab.open(path)
    tab.click("[data-zoom=in]")
    tab.run("document.querySelectorAll('[data-item]').forEach((e) => e.dispatchEvent("
            "new PointerEvent('pointermove', {bubbles: true})))")  # fmt: skip
    assert tab.run("window.pwned") is None
    assert tab.run("document.querySelectorAll('img[src=x]').length") == 0
    assert tab.run("document.querySelectorAll('script').length") == 1 + 3
    assert "<img src=x" in tab.run("document.querySelector('h1').textContent")
    assert "{{7*7}}" in tab.run("document.querySelector('.facts').textContent")
    assert tab.run("document.documentElement.scrollWidth") <= 400
    # The policy would hold even if something got through.
    tab.run("document.body.append(Object.assign(document.createElement('script'),"
            " {textContent: 'window.pwned = 2'}))")  # fmt: skip
    assert tab.run("window.pwned") is None
    tab.close()


def test_several_calls_share_a_scale_until_they_are_told_not_to(
    browser: Browser, tmp_path: Path
) -> None:
    path = tmp_path / "two.html"
    calls = [picture(capture(name), audio=False) for name in ("barge-in", "engine-dropped")]
    path.write_text(page.render(calls), "utf-8")
    tab = Page(browser)
    tab.open(path)
    assert tab.run("document.querySelectorAll('.compare tbody tr').length") == 2
    assert tab.run("document.querySelector('[data-play=both]').disabled") is True
    end = "document.querySelectorAll('.plot')[1].querySelector('.ev.end').offsetLeft"
    shared = tab.run(end)
    tab.click("#same-scale")
    tab.until(f"{end} > {shared} * 1.8")
    assert tab.complaints() == []
    tab.close()


def test_print_has_all_of_it_and_no_buttons(shown: Page) -> None:
    shown.ask("Emulation.setEmulatedMedia", media="print")
    hidden = "getComputedStyle(document.querySelector('{}')).display === 'none'"
    assert shown.run(hidden.format(".bar"))
    assert shown.run(hidden.format(".stage"))
    assert not shown.run(hidden.format(".still"))
    assert shown.run("getComputedStyle(document.querySelector('.log')).maxHeight") == "none"
