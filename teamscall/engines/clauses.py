"""Streamed text cut into speakable clauses.

Owns where a text may be cut so that speech can begin before the text is complete and
still sound like whole phrases. Refuses to know who thinks the text or speaks it.

Rule 1: the clauses joined are the text, character for character.
Rule 2: a clause ends after a sentence's end, or after a comma or the like once it is long
enough; the first one may be short, because somebody is waiting for it.
Rule 3: no clause is longer than ``MAX_CLAUSE_CHARS``.
"""

from __future__ import annotations

import re

FIRST_CLAUSE_CHARS = 12  # about a second of speech: enough to synthesise the next meanwhile
SENTENCE_CHARS = 8  # shorter sentences ("Yes.") go with the next one, except as the first
CLAUSE_CHARS = 60  # a comma cuts only what is already this long: prosody wants sentences
MAX_CLAUSE_CHARS = 240  # about 16 s of speech; also bounds one synthesis

_ABBREVIATIONS = frozenset({"mr", "mrs", "ms", "dr", "prof", "st", "vs", "e.g", "i.e"})
# A mark counts only when blank follows ("10.30" and "a.m" go on); CJK marks stand alone.
_CUT = re.compile(r"(?:[.!?…]+[\"'”’)\]]*(?=\s)|[,;:–—]+(?=\s)|[。！？；，]+|\n)\s*")
_SENTENCE_END = re.compile(r"[.!?…。！？\n]")
_LAST_WORD = re.compile(r"(\S+?)[.]\s*$")


class ClauseCutter:
    """Takes text as it is thought, gives clauses as soon as they may be spoken."""

    def __init__(self) -> None:
        self._text = ""
        self._first = True

    def push(self, delta: str) -> list[str]:
        """Add text; return the clauses that are complete now, in order."""
        self._text += delta
        clauses = []
        while (end := self._next_cut()) is not None:
            clauses.append(self._text[:end])
            self._text = self._text[end:]
            self._first = False
        return clauses

    def flush(self) -> list[str]:
        """The text is over: return what is left."""
        rest, self._text = self._text, ""
        self._first = True
        return [rest] if rest else []

    def _next_cut(self) -> int | None:
        for mark in _CUT.finditer(self._text):
            if mark.end() > MAX_CLAUSE_CHARS:
                break
            # Blank may still follow in the next delta: it belongs to this clause.
            if mark.end() == len(self._text) and not mark.group()[-1].isspace():
                break
            if self._cuts_at(mark):
                return mark.end()
        if len(self._text) > MAX_CLAUSE_CHARS:
            blank = self._text.rfind(" ", 1, MAX_CLAUSE_CHARS)
            return blank + 1 if blank > 0 else MAX_CLAUSE_CHARS
        return None

    def _cuts_at(self, mark: re.Match[str]) -> bool:
        length = mark.end()
        if _SENTENCE_END.search(mark.group()):
            if self._is_abbreviation(self._text[:length]):
                return False
            return self._first or length >= SENTENCE_CHARS
        return length >= (FIRST_CLAUSE_CHARS if self._first else CLAUSE_CHARS)

    @staticmethod
    def _is_abbreviation(text: str) -> bool:
        word = _LAST_WORD.search(text)
        return word is not None and word.group(1).lower().lstrip("(\"'") in _ABBREVIATIONS


def cut(text: str) -> list[str]:
    """Cut a complete text into clauses."""
    cutter = ClauseCutter()
    return [*cutter.push(text), *cutter.flush()]


def is_speakable(clause: str) -> bool:
    """Whether there is anything in it to pronounce."""
    return any(c.isalnum() for c in clause)
