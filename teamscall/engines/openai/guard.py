"""Transcripts that recognisers make of silence and noise.

Owns the list of what is known to be made up, and when it is believed to be. Pure. The
sentences are those that Whisper and its descendants learnt from subtitles; the short
words are believed when there was voice enough to say them.
"""

from __future__ import annotations

import re

# The shortest word that is really said has this much voice.
SPOKEN_MS = 200

# Nobody says these on the phone, whatever the voice activity.
_SUBTITLES = re.compile(
    r"(?:(?:thanks|thank you)(?: so much)? for watching(?: (?:my|this|the|our) video)?"
    r"|(?:please )?(?:like and )?subscribe to (?:my|our|the) channel"
    r"|(?:subtitles|captions|transcription|transcribed|translated) by .*"
    r"|see you in the next video"
    r"|.*\bamara org\b.*"
    r"|untertitelung .*|untertitel (?:von|der) .*|sous titr.*|sottotitoli .*|subtítulos .*"
    r"|ご視聴ありがとうございました|字幕.*|mbc 뉴스.*)"
)
# Made of a breath or a click; said by people too, who need voice for it.
_SHORT = frozenset(
    {
        *("you", "bye", "bye bye", "thank you", "thanks", "okay", "ok", "oh", "so", "the", "uh"),
        *("hmm", "mm", "yeah", "i", "a", "and", "music", "silence", "applause", "blank audio"),
    }
)


def made_up(text: str, voiced_ms: int) -> bool:
    """Whether ``text`` was transcribed from nothing. ``voiced_ms``: of the utterance."""
    words = " ".join(re.sub(r"[\W_]+", " ", text.lower()).split())
    if not words:
        return bool(text.strip())
    if _SUBTITLES.fullmatch(words):
        return True
    return voiced_ms < SPOKEN_MS and words in _SHORT
