"""Text made speakable while it streams: what a model writes, as one would say it.

Owns what becomes of addresses, emoji and whatever a voice would spell or stumble over, and
in which language numbers may be put into words. Refuses to know who thinks the text and
who speaks it. Markdown is :mod:`teamscall.engines.markup`'s, English words are
:mod:`teamscall.engines.english`'s.

Rule 1: what comes out does not depend on how the text was cut into deltas.
Rule 2: a word goes on as soon as its end is known; only what may belong to the next word
("10 kg", "+49 30 …") waits for that one.
Rule 3: digits are put into words only in English; the voices of other languages read them.
"""

from __future__ import annotations

import html
import re
import unicodedata

from teamscall.engines import english
from teamscall.engines.markup import CODE, Unmarked

MAX_WORD = 2_000  # an address may be long; beyond it, it is two words
MAX_TOGETHER = 8  # words that belong together: a telephone number's groups
LEFT_OUT = "Here is some code, which I leave out."

# Scripts that put no blanks between words: each character is a word.
_UNSPACED = (
    r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3000-\u30ff\u3400-\u9fff\uf900-\ufaff\uff00-\uffef"
)
_WORD = re.compile(rf"[{_UNSPACED}]|[^\s{_UNSPACED}]+")
_BLANK = re.compile(r"\n|[^\S\n]+")
_ADDRESS = re.compile(
    r"(?:[a-z][a-z0-9+.-]*://(?:[^\s/@]*@)?(?:www\.)?|www\.)([^\s/?#:\"'()<>*_~]+)\S*",
    re.IGNORECASE,
)
_DOMAIN = re.compile(
    r"((?:[a-z0-9-]+\.)+(?:com|org|net|io|ai|dev|app|info|eu|de|uk|fr|nl|at|ch|us|edu|gov))"
    r"(?:/\S*)?",
    re.IGNORECASE,
)
_MAIL = re.compile(r"(?:mailto:)?([\w.+-]+)@((?:[\w-]+\.)+\w+)", re.IGNORECASE)
_EMOTICON = re.compile(
    r"(?:[:;=]['’]?[-o]?[)(\]\[DPpOo/|]+|[)(][-o]?[:;=]|<3+|\^_?\^|¯\S*|[xX]D+|8-\))[.,!]*"
)
_OPENING, _CLOSING = "\"'“‘«(¿¡", "\"'”’»).,;:!?…"
_SPOKEN_SYMBOLS = frozenset("°©®™‰№℃℉→")
# Whatever is still there of these was no markup that we know: a voice would spell it.
_SCRUBBED = {
    **dict.fromkeys(map(ord, "*_`~#[]{}\\" + CODE)),
    **dict.fromkeys(map(ord, "|<>^"), " "),
}


class Speakable:
    """Takes text as it is thought, gives it as it is said.

    Args:
        language: ISO 639-1 of the text; "" tells by its words whether it is English.
    """

    def __init__(self, language: str = "") -> None:
        self._language = language.partition("-")[0].lower()
        self._unmarked = Unmarked()
        self._begin()

    def _begin(self) -> None:
        self._text = ""
        self._previous = ""  # the word before
        self._dropped = False  # the word before, and so is the blank after it
        self._english = self._language == "en"

    def push(self, delta: str) -> str:
        """Add text; return what may be spoken now."""
        self._text += self._unmarked.push(delta)
        return self._spoken(over=False)

    def flush(self) -> str:
        """The text is over: return what is left."""
        self._text += self._unmarked.flush()
        said = self._spoken(over=True)
        self._begin()
        return said

    def _spoken(self, *, over: bool) -> str:
        said = []
        place = 0
        while place < len(self._text):
            if blank := _BLANK.match(self._text, place):
                place = blank.end()
                if blank[0] == "\n" or not self._dropped:
                    said.append(blank[0])
                continue
            words, more = self._words(place, over=over)
            if not words:
                break
            taken = self._say([word[0][:MAX_WORD] for word in words], more=more)
            if taken is None:
                break
            count, text = taken
            said.append(text)
            place = min(words[count - 1].end(), words[count - 1].start() + MAX_WORD)
        self._text = self._text[place:]
        return "".join(said)

    def _words(self, place: int, *, over: bool) -> tuple[list[re.Match[str]], bool]:
        """The complete words from ``place`` to the end of the line, and whether more of
        them may come."""
        words: list[re.Match[str]] = []
        while len(words) < MAX_TOGETHER:
            word = _WORD.match(self._text, place)
            if word is None:
                return words, not over and place == len(self._text)
            is_long = len(word[0]) > MAX_WORD
            if word.end() == len(self._text) and not (over or is_long or _stands_alone(word[0])):
                return words, True
            words.append(word)
            if is_long:
                return words, False
            blank = _BLANK.match(self._text, word.end())
            place = blank.end() if blank is not None else word.end()
            if blank is not None and blank[0] == "\n":
                return words, False
        return words, False

    def _say(self, written: list[str], *, more: bool) -> tuple[int, str] | None:
        """How many words are said, and how; None: that depends on what comes next."""
        words = [_without_emoji(word) for word in written]
        count, text = 1, words[0]
        if written[0] == CODE:
            text = LEFT_OUT if self._english or not (self._language or self._previous) else ""
        elif (plain := _without_address(words[0], self._english)) is not None:
            text = plain
        elif self._english:
            said = english.spoken(words, self._previous, more=more)
            if said is None:
                return None
            count, text = said
        text = text.translate(_SCRUBBED).strip(" ")
        self._dropped = not text
        self._previous = words[count - 1]
        if not self._language:
            self._english = self._english or any(map(english.is_telling, words[:count]))
        return count, text


def speakable(text: str, language: str = "") -> str:
    """A whole text as it is said."""
    stream = Speakable(language)
    return stream.push(text) + stream.flush()


def _stands_alone(word: str) -> bool:
    return len(word) == 1 and re.match(rf"[{_UNSPACED}]", word) is not None


def _without_address(word: str, is_english: bool) -> str | None:
    """An emoticon is not said; of an address, what one would say of it."""
    if _EMOTICON.fullmatch(word):
        return ""
    core = word.lstrip(_OPENING).rstrip(_CLOSING)
    start = word.find(core)
    before, after = word[:start], word[start + len(core) :]
    dot, at = (" dot ", " at ") if is_english else (".", "@")
    if mail := _MAIL.fullmatch(core):
        said = mail[1].replace(".", dot) + at + mail[2].replace(".", dot)
    elif host := _ADDRESS.fullmatch(core) or _DOMAIN.fullmatch(core):
        said = host[1].removeprefix("www.").rstrip(".").replace(".", dot)
    else:
        return None
    return before + said + after


def _without_emoji(word: str) -> str:
    if "&" in word:
        word = html.unescape(word)
    if word.isascii():
        return word
    kept = [c for c in word if not _is_emoji(c)]
    if len(kept) == len(word):
        return word
    kept = [c for c in kept if c != "\u200d"]  # it only joined them
    return "".join(kept) if any(c.isalnum() for c in kept) else ""


def _is_emoji(c: str) -> bool:
    return (
        (unicodedata.category(c) == "So" and c not in _SPOKEN_SYMBOLS)
        or unicodedata.category(c) in ("Co", "Cs")
        or c in "\ufe0e\ufe0f\u20e3"
        or "\U0001f3fb" <= c <= "\U0001f3ff"
        or "\U000e0020" <= c <= "\U000e007f"
    )
