"""Which of an answer's words go with which of its audio.

A session gives the transcript of its speech piece by piece, some way ahead of the audio;
how far, it does not say. The playout ledger cuts words by the position of the audio that
they came with, so words that are handed over too early would be remembered as heard
without having been. Pure.
"""

from __future__ import annotations

import re

CHARS_PER_S = 15  # conversational speech, as the ledger takes it to be

# An ideograph or kana is a word of its own, as it is for the ledger.
_WORD = re.compile(r"[\u2e80-\u9fff\uf900-\ufaff]|[^\s\u2e80-\u9fff\uf900-\ufaff]+")


class Words:
    """The words of one response. ``speed``: of the voice."""

    def __init__(self, speed: float = 1.0) -> None:
        self._chars_per_s = CHARS_PER_S * speed
        self._given = 0  # characters
        self._lead: int | None = None  # characters that were known before the first audio
        self._seconds = 0.0
        self.text = ""

    def known(self, delta: str) -> None:
        """More of the transcript."""
        self.text += delta

    def for_audio(self, seconds: float) -> str:
        """The words that begin with the next ``seconds`` of audio.

        The lead is taken to stay what it was when the first audio came, unless that would
        have the voice speak more slowly than people do. A word that may go on is not
        given, except as the very first.
        """
        self._seconds += seconds
        if self._lead is None:
            first = _WORD.search(self.text)
            if first is None:
                return ""
            self._lead = len(self.text) - first.end()
            if not self._lead:
                return self._give(first.end())
        due = max(len(self.text) - self._lead, int(self._seconds * self._chars_per_s))
        end = self._given
        for word in _WORD.finditer(self.text, self._given):
            if word.end() > due or word.end() == len(self.text):
                break
            end = word.end()
        return self._give(end)

    def rest(self) -> str:
        """What was not given yet: there is no more audio."""
        return self._give(len(self.text))

    def _give(self, end: int) -> str:
        start, self._given = self._given, end
        return self.text[start:end]
