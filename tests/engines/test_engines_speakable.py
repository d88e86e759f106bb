"""What a model writes is said as one would say it, however it streams in."""

from __future__ import annotations

import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from teamscall.engines import english
from teamscall.engines.speakable import LEFT_OUT, Speakable, speakable

MARKUP = set("*_`~#|[]{}<>\\^")
# What takes decisions: markup, numbers, what may belong together, scripts, emoji.
SCRAPS = st.sampled_from(
    [
        *(
            "**",
            "*",
            "_",
            "`",
            "```",
            "```\n",
            "~~",
            "~",
            "# ",
            "## ",
            "- ",
            "* ",
            "> ",
            "1. ",
            "2) ",
        ),
        *(
            "| a | b |\n",
            "|---|\n",
            "---\n",
            "[",
            "](",
            ")",
            "](http://a.b/c_d)",
            "![",
            "[1]",
            "<b>",
        ),
        *("<", ">", "<br/>", "\\", "\n", " ", "  ", "\t", "&amp;", "https://www.example.com/a_b*c"),
        *("www.", "a@b.com", "http", "://", "10", "10:05", "3.5%", "$1,250.00", "$5", "1/2", "+49"),
        *(
            "30",
            "1234",
            "kg",
            "10kg",
            "%",
            "e.g.",
            "etc.",
            "Dr.",
            "No.",
            "March",
            "2026",
            "PM",
            "the",
        ),
        *(
            "is",
            "word",
            "Ünal",
            "你",
            "好。",
            "🎉",
            "👍🏽",
            "👩‍💻",
            ":)",
            "<3",
            "+",
            "=",
            "×",
            "million",
            ".",
        ),
        *(",", "!", "?", "(", "3 * 4", "x_y", "\r\n", "\ue000", "0", "€", "½", "C#"),
    ]
)
TEXTS = st.one_of(st.text(max_size=120), st.lists(SCRAPS, max_size=25).map("".join))
LANGUAGES = st.sampled_from(["", "en", "de"])


@settings(deadline=None, max_examples=400)
@given(TEXTS, LANGUAGES, st.lists(st.integers(1, 9), max_size=60))
def test_the_deltas_make_no_difference(text: str, language: str, sizes: list[int]) -> None:
    stream = Speakable(language)
    said, rest = "", text
    for size in sizes:
        said += stream.push(rest[:size])
        rest = rest[size:]
    said += stream.push(rest) + stream.flush()
    assert said == speakable(text, language)
    # It can be used again, as if nothing had been said.
    assert stream.push(text) + stream.flush() == said


@settings(deadline=None, max_examples=400)
@given(TEXTS, LANGUAGES)
def test_no_markup_is_left(text: str, language: str) -> None:
    assert not MARKUP & set(speakable(text, language))


WORDS = st.text(string.ascii_letters + "äöüéß'", min_size=1, max_size=9).filter(
    lambda word: word.lower() not in english._ABBREVIATIONS and word.strip("xXD") != ""
)
SENTENCES = st.builds(
    lambda words, mark: " ".join(words) + mark,
    st.lists(WORDS, min_size=1, max_size=12),
    st.sampled_from([".", "!", "?", "…", ""]),
)


@given(st.lists(SENTENCES, min_size=1, max_size=5), LANGUAGES)
def test_plain_sentences_are_unchanged(sentences: list[str], language: str) -> None:
    text = " ".join(sentences)
    assert speakable(text, language) == text


@given(st.lists(SENTENCES, min_size=1, max_size=5), LANGUAGES)
def test_plain_prose_waits_for_the_end_of_a_word_only(sentences: list[str], language: str) -> None:
    stream = Speakable(language)
    said = ""
    for place, c in enumerate(text := " ".join(sentences)):
        said += stream.push(c)
        whole_words = text[: place + 1].rpartition(" ")
        assert len(said) >= len(whole_words[0] + whole_words[1])


@pytest.mark.parametrize(
    ("written", "said"),
    [
        # emphasis, headings, lists, tables, quotes, rules
        ("**Bold**, *it*, ***both*** and __this__ is `code`.", "Bold, it, both and this is code."),
        ("# Title\nThe text", "Title.\nThe text"),
        ("## What now?\nGo.", "What now?\nGo."),
        ("- one\n* two\n+ three", "one.\ntwo.\nthree."),
        ("1. Open it\n2. Close it", "one: Open it.\ntwo: Close it."),
        ("24. December is near.", "twenty-four. December is near."),
        ("| Day | Open |\n|:---|---:|\n| Mon | 9 |\nOK", "Day, Open.\n\nMon, nine.\nOK"),
        ("> Quoted\n> twice", "Quoted\ntwice"),
        ("Above\n\n---\n\nbelow", "Above\n\n\n\nbelow"),
        ("- [ ] to do\n- [x] done", "to do.\ndone."),
        ("A ~~wrong~~ right <b>word</b>.", "A wrong right word."),
        (r"\*stars\* and C:\\dir", "stars and C:dir"),
        ("The snake_case name", "The snake case name"),
        # code
        ("See:\n```python\nx = 1\n```\nDone.", f"See:\n{LEFT_OUT} Done."),
        ("See:\n~~~\nnever closed\nat all", f"See:\n{LEFT_OUT} "),
        ("Say ```this``` now", "Say this now"),
        # links and addresses
        ("See [the **docs**](https://a.example/x_y) now.", "See the docs now."),
        ("![A cat](cat.png) sat[^1] [here][ref] [2].", "A cat sat here ."),
        ("Go to https://www.example.com/a_b?c=d#e, please.", "Go to example dot com, please."),
        ("It is <https://example.org/x> there.", "It is example dot org there."),
        ("Mail ada.l@example.com or see example.com/x.", None),
        ("[https://a.example](https://a.example)", "a dot example"),
        # emoji
        ("Great 🎉🎉 job! 👍🏽", "Great job! "),
        ("A family 👩‍👩‍👧 of three :-) came", "A family of three came"),
        ("I <3 you & you :)", "I you and you "),
        ("Press 1️⃣ now", "Press one now"),
        ("It is 20 °C ©", "It is twenty degrees Celsius ©"),
        # numbers
        ("There are 1,250 of 42.", "There are one thousand two hundred fifty of forty-two."),
        ("3.5% is 0.07 and -5", "three point five percent is zero point zero seven and minus five"),
        ("the 1st, 22nd and 100th", "the first, twenty-second and one hundredth"),
        ("1/2, 3/4, 2 1/2 and 1½", None),
        ("open 24/7", "open twenty-four seven"),
        ("10-12 people", "ten to twelve people"),
        ("3 * 4 = 12", "three times four equals twelve"),
        ("#5, ~10 and <4 or < 4", "number five, about ten and less than four or less than four"),
        ("version 1.2.3", "version one point two point three"),
        ("the code 0042", "the code zero zero four two"),
        ("a 5G phone, H2O and A4", "a 5G phone, H2O and A4"),
        ("1234567890123456789", None),
        # money
        ("$1,250.00", "one thousand two hundred fifty dollars"),
        ("$1.01, €0.50 or 5 €", "one dollar and one cent, fifty cents or five euros"),
        ("$2.5 million, £3k and -$4", None),
        # dates and times
        ("10:05, 10:00, 14:30 and 9:30am", None),
        ("at 10:00 a.m. tomorrow", "at ten AM tomorrow"),
        ("5pm", "five PM"),
        ("2026-11-21", "November twenty-first, twenty twenty-six"),
        ("on March 3, 2026", "on March third, twenty twenty-six"),
        ("on 3 March 2005", "on the third of March two thousand five"),
        ("in 1999 there were 1999", None),
        # telephones, units, abbreviations
        ("Call +49 30 1234, please", "Call plus four nine, three zero, one two three four, please"),
        ("Call 555-123-4567", "Call five five five, one two three, four five six seven"),
        ("1 kg, 5km and 3 GB", "one kilogram, five kilometers and three gigabytes"),
        ("e.g. Dr. Smith, i.e. him", "for example Doctor Smith, that is him"),
        ("tea, milk etc. are here, etc. They", "tea, milk et cetera are here, et cetera. They"),
        ("No. 5 is alive. No. Really.", "Number five is alive. No. Really."),
        ("R&amp;D &lt; x", "R&D x"),
    ],
)
def test_english_is_said_as_one_would_say_it(written: str, said: str | None) -> None:
    expected = said if said is not None else REST[written]
    assert speakable(written, "en") == expected


REST = {
    "Mail ada.l@example.com or see example.com/x.": (
        "Mail ada dot l at example dot com or see example dot com."
    ),
    "1/2, 3/4, 2 1/2 and 1½": ("one half, three quarters, two and one half and one and one half"),
    "1234567890123456789": (
        "one two three four five six seven eight nine zero one two three four five six seven "
        "eight nine"
    ),
    "$2.5 million, £3k and -$4": (
        "two point five million dollars, three thousand pounds and minus four dollars"
    ),
    "10:05, 10:00, 14:30 and 9:30am": (
        "ten oh five, ten o'clock, fourteen thirty and nine thirty AM"
    ),
    "in 1999 there were 1999": (
        "in nineteen ninety-nine there were one thousand nine hundred ninety-nine"
    ),
}


@pytest.mark.parametrize(
    ("language", "written", "said"),
    [
        ("de", "Das kostet **5 €**, z.B. um 10:05.", "Das kostet 5 €, z.B. um 10:05."),
        (
            "de",
            "Siehe [hier](http://x.de) oder www.example.de/x 🎉.",
            "Siehe hier oder example.de ",
        ),
        ("de-CH", "1. Öffnen\n2. Schließen", "1: Öffnen.\n2: Schließen."),
        ("de", "So:\n```\nx\n```\nFertig.", "So:\nFertig."),
        ("en-GB", "It costs £5.", "It costs five pounds."),
        ("", "Das kostet 5 Euro.", "Das kostet 5 Euro."),
        ("", "That costs 5 euros.", "That costs five euros."),
        ("zh", "你好。请问10:05？", "你好。请问10:05？"),
    ],
)
def test_digits_are_put_into_words_in_english_only(language: str, written: str, said: str) -> None:
    assert speakable(written, language) == said


def test_what_may_belong_together_waits_and_no_longer() -> None:
    stream = Speakable("en")
    assert stream.push("It is 10 ") == "It is "
    assert stream.push("k") == ""
    assert stream.push("g now") == "ten kilograms "
    assert stream.push(" ") == "now "
    assert stream.push("你好") == "你好"  # no blank will come
    assert stream.flush() == ""


@pytest.mark.parametrize(
    "text", ["[" * 5_000, "`" * 5_000, "|" * 5_000, "a" * 5_000, "<b " * 2_000]
)
def test_what_waits_is_bounded(text: str) -> None:
    stream = Speakable("en")
    stream.push(text)
    assert len(stream._text) + len(stream._unmarked._text) <= 2_001


def test_numbers_in_words() -> None:
    assert english.cardinal(1_000_001) == "one million one"
    assert english.cardinal(900_000_000_000_000) == "nine hundred trillion"
    assert [english.year(n) for n in (1905, 2000, 2009, 1900, 2026)] == [
        "nineteen oh five",
        "two thousand",
        "two thousand nine",
        "nineteen hundred",
        "twenty twenty-six",
    ]
    assert [english.ordinal(n) for n in (3, 12, 20, 101)] == [
        "third",
        "twelfth",
        "twentieth",
        "one hundred first",
    ]


@given(st.integers(0, 10**18))
def test_every_number_has_words(number: int) -> None:
    assert english.cardinal(number)
    assert english.ordinal(number)
