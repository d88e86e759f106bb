"""Peer text is made printable."""

from __future__ import annotations

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from teamscall.text import MAX_MARKS, harmless, kebab, printable


@given(st.text(), st.integers(1, 50))
def test_what_is_printable_has_no_control_and_is_capped(text: str, limit: int) -> None:
    safe = printable(text, limit)
    assert len(safe) <= limit
    assert not {unicodedata.category(c) for c in safe} & {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
    assert "\n" not in safe


def test_a_terminal_is_not_obeyed() -> None:
    assert printable("a\x1b[2Jb\r\nc\u202ed") == "a [2Jb c d"


def test_long_text_ends_in_an_ellipsis() -> None:
    assert printable("x" * 1_000_000, 10) == "x" * 9 + "…"


def test_event_names_are_kebab_case() -> None:
    assert [kebab(n) for n in ("CallerSpoke", "Heard")] == ["caller-spoke", "heard"]


@given(st.text())
def test_what_is_harmless_has_no_control_and_keeps_its_blanks(text: str) -> None:
    safe = harmless(text, 1000)
    assert not {unicodedata.category(c) for c in safe} & {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
    assert len(safe) == min(len(text), 1000)
    assert harmless(" and \x1b[2J so\u202e on ", 1000) == " and  [2J so  on "
    assert harmless("x" * 2000, 1000) == "x" * 1000


def test_towers_of_combining_marks_do_not_hide_the_lines_above() -> None:
    assert printable("a" + "\u0301" * 500 + "b") == "a" + "\u0301" * MAX_MARKS + "b"
    assert printable("e" + "\u20dd" * 500).count("\u20dd") == MAX_MARKS
    assert printable("Nguyễn שָׁלוֹם नमस्ते") == "Nguyễn שָׁלוֹם नमस्ते"
