"""What recognisers make of nothing."""

from __future__ import annotations

import pytest

from teamscall.engines.openai.guard import made_up


@pytest.mark.parametrize(
    "text",
    [
        "Thank you for watching!",
        "Thanks for watching.",
        "Subtitles by the Amara.org community",
        "Please like and subscribe to my channel.",
        "Untertitelung des ZDF, 2020",
        "ご視聴ありがとうございました",
        "...",
        "🎵",
    ],
)
def test_subtitles_are_never_said(text: str) -> None:
    assert made_up(text, 5_000)


@pytest.mark.parametrize("text", ["you", "Bye.", "Thank you.", "[BLANK_AUDIO]"])
def test_short_words_need_voice(text: str) -> None:
    assert made_up(text, 120)
    assert not made_up(text, 400)


@pytest.mark.parametrize(
    "text", ["", "Yes.", "No", "What can you do?", "Thank you for watching my dog yesterday.", "五"]
)
def test_words_are_believed(text: str) -> None:
    assert not made_up(text, 100)
