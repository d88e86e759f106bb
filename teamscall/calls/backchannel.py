"""Whether words are only a sign of listening ("mhm"), and whether two texts say the same.

Pure. Refuses to know who said them and what is done about it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_NOT_A_WORD = re.compile(r"[\W_]+")
# "mmm", "hmmm", "mhmm": as long as the caller made it, and as the recogniser spelt it.
_STRETCHED = re.compile(r"([a-z])\1+")


def words_of(text: str) -> list[str]:
    """The words of ``text``, folded: no case, no punctuation."""
    return _NOT_A_WORD.sub(" ", text.casefold()).split()


def same_words(one: str, other: str) -> bool:
    return words_of(one) == words_of(other)


class Backchannels:
    """The words and phrases that do not ask for the turn."""

    def __init__(self, phrases: Iterable[str]) -> None:
        self._phrases = {tuple(map(_squeezed, words_of(phrase))) for phrase in phrases} - {()}
        self._longest = max(map(len, self._phrases), default=0)

    def only(self, text: str) -> bool:
        """Whether ``text`` is made of such phrases and nothing else; "" is not."""
        words = tuple(map(_squeezed, words_of(text)))
        at = 0
        while at < len(words):
            for length in range(min(self._longest, len(words) - at), 0, -1):
                if words[at : at + length] in self._phrases:
                    at += length
                    break
            else:
                return False
        return bool(words)


def _squeezed(word: str) -> str:
    return _STRETCHED.sub(r"\1", word)
