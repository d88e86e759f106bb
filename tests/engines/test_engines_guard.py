"""What recognisers make of nothing, and what people really say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teamscall.engines.guard import Guard, made_up

SUBTITLES = (
    *(
        "Thank you for watching!",
        "Thanks for watching.",
        "Thank you so much for watching my video.",
    ),
    *("Subtitles by the Amara.org community", "Please like and subscribe to my channel."),
    *(
        "Don't forget to subscribe!",
        "See you in the next video.",
        "Transcribed by https://otter.ai",
    ),
    *("Untertitelung des ZDF, 2020", "Untertitel der Amara.org-Community", "Copyright WDR 2021"),
    *("Vielen Dank fürs Zuschauen!", "Sous-titrage ST' 501", "Merci d'avoir regardé cette vidéo !"),
    *("Subtítulos realizados por la comunidad de Amara.org", "¡Suscríbete al canal!"),
    *("Sottotitoli e revisione a cura di QTSS", "Legendas pela comunidade Amara.org"),
    *("Ondertiteling door de Amara.org gemeenschap", "Dziękuję za oglądanie.", "Napisy przez X"),
    *("Субтитры сделал DimaTorzok", "Спасибо за просмотр!", "Altyazı M.K."),
    *(
        "İzlediğiniz için teşekkür ederim.",
        "ご視聴ありがとうございました",
        "請不吝 字幕由Amara.org提供",
    ),
    *("字幕志愿者 李宗盛", "谢谢观看", "시청해주셔서 감사합니다.", "MBC 뉴스 이덕영입니다."),
    *("Thanks for watching! Thanks for watching!", "اشتركوا في القناة"),
)


@pytest.mark.parametrize("text", SUBTITLES)
def test_subtitles_are_never_said(text: str) -> None:
    assert made_up(text, 20_000)


@pytest.mark.parametrize(
    "text",
    ["[BLANK_AUDIO]", "(music)", "*sighs*", "♪ (upbeat music) ♪", "...", "🎵", "[ Silence ]"],
)
def test_sounds_are_no_words(text: str) -> None:
    assert made_up(text, 20_000)


@pytest.mark.parametrize("text", ["Bye.", "Thank you.", "Okay.", "Danke.", "谢谢"])
def test_short_words_need_voice(text: str) -> None:
    assert made_up(text, 120)
    assert not made_up(text, 260)


@pytest.mark.parametrize(
    "text",
    [
        "the the the the",
        "Thank you. Thank you. Thank you.",
        "I'm going to go. " * 4,
        "No " * 30,
        "you you you you you you",
    ],
)
def test_loops_are_made_up(text: str) -> None:
    assert made_up(text, 20_000)


@pytest.mark.parametrize(
    ("text", "voiced_ms"),
    [
        ("Hello? Hello? Hello?", 900),
        ("No, no, no, no!", 900),
        ("Bye bye bye.", 600),
        ("Yes yes yes yes", 900),
        ("9 9 9 9 9 9 9 9 9", 2500),
        ("Thank you, thank you.", 700),
        ("Really, really, really good.", 1200),
    ],
)
def test_people_repeat_themselves_too(text: str, voiced_ms: int) -> None:
    assert not made_up(text, voiced_ms)


def test_nobody_says_so_much_in_so_little_voice() -> None:
    text = "I would like to book a table for two people tomorrow at seven please"
    assert made_up(text, 300)
    assert not made_up(text, 2_500)
    assert made_up("五" * 80, 300)


@pytest.mark.parametrize(
    "text",
    [
        *("", "Yes.", "No", "What can you do?", "五", "Ja.", "Stop!", "नमस्ते"),
        "Thank you for watching my dog.",
    ],
)
def test_words_are_believed(text: str) -> None:
    assert not made_up(text, 240)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[coughs] I need a taxi.", "I need a taxi."),
        ("I need a taxi. Thanks for watching!", "I need a taxi."),
        ("Call (415) 555 0100.", "Call (415) 555 0100."),
        ("Thank you for watching!", ""),
        ("  ", ""),
    ],
)
def test_what_was_said_is_kept(text: str, said: str) -> None:
    guard = Guard()
    assert guard.believe(text, 3_000) == said
    assert guard.dropped == (said != text.strip())


@given(st.text(max_size=60), st.integers(0, 30_000))
def test_any_text_is_judged(text: str, voiced_ms: int) -> None:
    guard = Guard()
    believed = guard.believe(text, voiced_ms)
    assert believed == "" or not made_up(text, voiced_ms)
    assert len(believed) <= len(text)
