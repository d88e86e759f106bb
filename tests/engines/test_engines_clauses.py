"""Text is cut where it can be spoken, and nothing of it is lost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teamscall.engines.clauses import MAX_CLAUSE_CHARS, ClauseCutter, cut, is_speakable

WORDS = st.text(alphabet="ab Z1.,!?:;\n…。， –'\"", max_size=900)


@given(WORDS, st.lists(st.integers(1, 40), max_size=60))
def test_the_clauses_joined_are_the_text(text: str, sizes: list[int]) -> None:
    cutter = ClauseCutter()
    clauses: list[str] = []
    rest = text
    for size in sizes:
        clauses += cutter.push(rest[:size])
        rest = rest[size:]
    clauses += [*cutter.push(rest), *cutter.flush()]
    assert "".join(clauses) == text
    assert all(0 < len(clause) <= MAX_CLAUSE_CHARS for clause in clauses)


@pytest.mark.parametrize(
    ("text", "clauses"),
    [
        ("Yes. That is right.", ["Yes. ", "That is right."]),
        ("Hello there, how are you today?", ["Hello there, ", "how are you today?"]),
        ("It costs 10.30 euros, e.g. in Berlin.", ["It costs 10.30 euros, ", "e.g. in Berlin."]),
        ("Ask Dr. Brown about it now.", ["Ask Dr. Brown about it now."]),
        ("First one here. No. Second one.", ["First one here. ", "No. Second one."]),
        ("He said “yes.” Then he left.", ["He said “yes.” ", "Then he left."]),
        ("你好。请问你需要什么？", ["你好。", "请问你需要什么？"]),
        ("", []),
    ],
)
def test_cuts_where_one_would_breathe(text: str, clauses: list[str]) -> None:
    assert cut(text) == clauses


def test_the_first_clause_comes_before_the_text_is_complete() -> None:
    cutter = ClauseCutter()
    assert cutter.push("Well, let me see,") == []  # the blank that follows belongs to it
    assert cutter.push(" the answer") == ["Well, let me see, "]


def test_what_never_ends_is_cut_at_a_blank() -> None:
    clauses = cut("word " * 200)
    assert len(clauses) > 3
    assert all(clause.endswith(" ") for clause in clauses)


def test_marks_alone_are_not_speakable() -> None:
    assert not is_speakable(" ... –")
    assert is_speakable("5.")
