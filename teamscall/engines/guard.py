"""Transcripts that recognisers make of silence and noise.

Owns the list of what is known to be made up, and when it is believed to be. Pure but for
a count. The sentences are those that Whisper and its descendants learnt from subtitles;
the short words are believed when there was voice enough to say them, and no text is when
nobody could have said so much in so little voice.
"""

from __future__ import annotations

import logging
import re
import unicodedata

log = logging.getLogger("teamscall.engines")

# The shortest word that is really said has this much voice.
SPOKEN_MS = 200
# Auctioneers reach 9 words a second; the fastest of languages has 30 letters. Voice
# activity misses soft begins and ends, hence the half second on top.
MAX_WORDS_PER_S = 9
MAX_CHARS_PER_S = 60
MISSED_MS = 500
# Whoever answers "no, no, no" means it, and a number may be all nines; a recogniser that
# loops does not stop before its limit.
WORD_REPEATS = 8
PHRASE_REPEATS = 4
MADE_UP_REPEATS = 3  # of what is often made of nothing

# Of sounds, not words: "[BLANK_AUDIO]", "(music)", "*sighs*". "(415)" is a number.
_SOUND = re.compile(r"\[[^\]\d]*\]|\([^)\d]*\)|\*[^*\d]+\*|[♪♫🎵🎶]+")
_SENTENCE = re.compile(r"(?<=[.!?…])\s+|(?<=[。！？])\s*")

# Nobody says these on the phone, whatever the voice activity. Lower case, one blank for
# whatever is no letter.
_SUBTITLE = re.compile(
    "|".join(
        (
            r"(?:thanks|thank you)(?: (?:so|very) much)?(?: all)? for watching"
            r"(?: (?:my|this|the|our) video)?",
            r"(?:(?:please|and|don t forget to) )*(?:like (?:and )?)?(?:share (?:and )?)?subscribe"
            r"(?: to (?:my|our|the|this) channel)?",
            r"(?:subtitles|captions|closed captions|transcription|transcribed|translated) by .*",
            r"(?:i ll )?see you (?:guys )?in the next (?:video|one)",
            r".*amara org.*",
            r"untertitelung .*|untertitel (?:von|der|im) .*|copyright (?:wdr|swr|zdf|ard) .*",
            r"(?:vielen dank|danke) f(?:ü|ue)rs zuschauen|bis zum n(?:ä|ae)chsten video",
            r"sous titr.*|merci d avoir regardé.*|abonnez vous(?: à (?:ma|la|notre) chaîne)?",
            r"subtítulos .*|gracias por ver(?: el v[ií]deo)?|suscr[ií]bete(?: al canal)?",
            r"sottotitoli .*|grazie per (?:la visione|aver guardato.*)|iscrivetevi al .*canale",
            r"legendas .*|obrigad[oa] por assistir.*|inscreva se no .*canal",
            r"ondertitel.*|bedankt voor het kijken",
            r"napisy (?:stworzone|przez|wykonane) .*|dziękuj(?:ę|emy) za oglądanie",
            r"undertekst(?:er|ning) .*|undertexter .*|textning .*|tack för att (?:ni|du) tittade",
            r"titulky (?:vytvořil|přeložil).*",
            r"субтитры .*|редактор субтитров .*|спасибо за просмотр|дякую за перегляд"
            r"|подписывайтесь на (?:мой |наш )?канал",
            r"altyaz[ıi] .*|.*zlediğiniz için teşekkür.*",
            r"ご視聴(?:いただき)?ありがとうございました|チャンネル登録.*|字幕.*|中文字幕.*"
            r"|请不吝点赞.*|(?:感谢|谢谢|謝謝)(?:大家)?(?:观看|觀看|收看)",
            r"시청해 ?주셔서 감사합니다|구독과 좋아요.*|한글 ?자막.*|mbc 뉴스.*",
            r"ترجمة نانسي قنقر|اشتركوا في القناة",
        )
    )
)
# What Whisper says first of all to loud noise, which can pass for seconds of voice.
_NEVER_ALONE = frozenset({"you"})
# Made of a breath or a click; said by people too, who need voice for it.
_SHORT = frozenset(
    {
        *("bye", "bye bye", "thank you", "thanks", "okay", "ok", "oh", "so", "the", "uh"),
        *("hmm", "mm", "yeah", "i", "a", "and", "music", "silence", "applause", "blank audio"),
        *("danke", "vielen dank", "tschüss", "merci", "au revoir", "gracias", "adiós", "grazie"),
        *("ciao", "obrigado", "obrigada", "tchau", "dank u wel", "tack", "takk", "dziękuję"),
        *("спасибо", "teşekkürler", "谢谢", "ありがとうございました", "감사합니다"),
    }
)
_LOOPED = frozenset({"thank you", "thanks", "you", "the", "a", "i", "and", "so", "uh"})


class Guard:
    """Keeps what was said and drops what was made up; of one call.

    Attributes:
        dropped: transcripts of which something was dropped.
    """

    def __init__(self) -> None:
        self.dropped = 0

    def believe(self, text: str, voiced_ms: int) -> str:
        """What of ``text`` was said; "" if nothing. ``voiced_ms``: of what it transcribes."""
        said = believable(text, voiced_ms)
        if len(said) < len(text.strip()):
            self.dropped += 1
            log.info("A transcript of noise was dropped", extra={"dropped": self.dropped})
        return said


def believable(text: str, voiced_ms: int) -> str:
    """The same, uncounted: for what is not final."""
    said = _said(text)
    return "" if made_up(said, voiced_ms) else said


def made_up(text: str, voiced_ms: int) -> bool:
    """Whether ``text`` was transcribed from nothing. "" was not transcribed at all."""
    if not text.strip():
        return False
    words = _words(_said(text))
    if not words:
        return True
    heard_s = (voiced_ms + MISSED_MS) / 1000
    if len(text.split()) > MAX_WORDS_PER_S * heard_s or len(text) > MAX_CHARS_PER_S * heard_s:
        return True
    phrase = " ".join(words)
    if phrase in _NEVER_ALONE or (voiced_ms < SPOKEN_MS and phrase in _SHORT):
        return True
    return _loops(words)


def _said(text: str) -> str:
    """``text`` without sounds in brackets and sentences of subtitles."""
    sentences = _SENTENCE.split(_SOUND.sub(" ", text))
    kept = [s for s in sentences if not _SUBTITLE.fullmatch(" ".join(_words(s)))]
    if len(kept) == len(sentences) and not _SOUND.search(text):
        return text.strip()
    return " ".join(" ".join(kept).split())


def _words(text: str) -> list[str]:
    plain = unicodedata.normalize("NFC", text).lower()
    return re.sub(r"[\W_]+", " ", plain).split()


def _loops(words: list[str]) -> bool:
    """Whether one phrase, said again and again, is all there is."""
    length = next(n for n in range(1, len(words) + 1) if words[n:] == words[:-n])
    phrase = " ".join(words[:length])
    if phrase.isnumeric():
        return False
    if phrase in _LOOPED:
        most = MADE_UP_REPEATS
    else:
        most = WORD_REPEATS if length == 1 else PHRASE_REPEATS
    return len(words) // length >= most
