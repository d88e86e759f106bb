"""The phrase cache: fixed texts synthesised ahead of need (greeting, goodbyes, apology).

Owns a bounded set of finished syntheses. Refuses to know whose voice it is.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from teamscall.engines.base import Phrase
from teamscall.engines.clauses import is_speakable
from teamscall.engines.parts import Mouth
from teamscall.errors import EngineError

log = logging.getLogger("teamscall.engines")

MAX_PHRASES = 32
MAX_PHRASE_CHARS = 1_000  # about a minute of speech, 3 MB at 24 kHz


class Phrases:
    """Syntheses by text. ``mouth`` is asked for when something is prepared; ``readable``
    makes of a text what the mouth is given."""

    def __init__(
        self, mouth: Callable[[], Mouth], readable: Callable[[str], str] = lambda text: text
    ) -> None:
        self._mouth = mouth
        self._readable = readable
        self._phrases: dict[str, Phrase] = {}

    def get(self, text: str) -> Phrase | None:
        """The cached synthesis of exactly this text (blanks around it do not matter)."""
        return self._phrases.get(text.strip())

    async def prepare(self, texts: Sequence[str]) -> None:
        """Synthesise what is not cached yet. A text that fails, or that is beyond the
        bounds, is simply not cached. What is not among ``texts`` makes room for them."""
        wanted = dict.fromkeys(t.strip() for t in texts)
        for text in wanted:
            if text in self._phrases or not is_speakable(text):
                continue
            if len(self._phrases) >= MAX_PHRASES:
                unwanted = (known for known in self._phrases if known not in wanted)
                self._phrases.pop(next(unwanted, ""), None)
            if len(self._phrases) >= MAX_PHRASES or len(text) > MAX_PHRASE_CHARS:
                log.warning("Phrase not cached: too many or too long", extra={"chars": len(text)})
                continue
            try:
                self._phrases[text] = await self._synthesise(text)
            except EngineError as error:
                log.warning("Phrase not cached: %s", error.message, extra={"stage": error.stage})

    async def _synthesise(self, text: str) -> Phrase:
        pcm = bytearray()
        rate = 0
        async for speech in self._mouth().speak(self._readable(text)):
            pcm += speech.pcm
            rate = speech.rate
        if not pcm:
            raise EngineError("the voice gave no audio", stage="speak")
        return Phrase(text, bytes(pcm), rate)
