"""The default texts, spoken already: what is said when no voice can be reached.

Owns one recording of each text that teamscall says by default, 16 kHz s16le mono, by the
offline voice (``__main__`` makes them again, README.md says of what). An apology must be
speakable when the vendor has been down since before the first call, so nothing here needs
an engine, numpy or the network. Refuses to know when something is said, and texts of an
operator's own: those are synthesised ahead of need, or not at all.
"""

from __future__ import annotations

import functools
import logging
import wave
from pathlib import Path

from teamscall.engines.base import Phrase

log = logging.getLogger("teamscall.engines")

FOLDER = Path(__file__).parent

# By the names of their files. A test holds that these are the texts of the configuration.
TEXTS = {
    "apology": "Sorry, something went wrong on my side. Please call again.",
    "time-limit": "Sorry, we have reached the time limit for this call. Goodbye.",
    "retry": "Sorry, I could not answer that. Please say it again.",
    "reprompt": "Are you still there?",
    "idle-goodbye": "I cannot hear you, so I will hang up now. Goodbye.",
    "one-moment": "One moment, please.",
    "let-me-see": "Let me see.",
}
_NAMES = {text: name for name, text in TEXTS.items()}


def packaged_phrase(text: str) -> Phrase | None:
    """The recording of exactly this text (blanks around it do not matter), or None."""
    name = _NAMES.get(text.strip())
    return None if name is None else _read(name)


@functools.cache
def _read(name: str) -> Phrase | None:
    try:
        with wave.open(str(FOLDER / f"{name}.wav")) as file:
            return Phrase(TEXTS[name], file.readframes(file.getnframes()), file.getframerate())
    except (OSError, EOFError, wave.Error) as error:  # a broken installation costs no call
        log.warning("A packaged phrase cannot be read: %s", type(error).__name__)
        return None
