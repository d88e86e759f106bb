"""How long a voice session may go without progress. Data only."""

from __future__ import annotations

import msgspec


class Waits(msgspec.Struct, frozen=True):
    """Seconds. Together with a reconnection, each is less than the call's own patience.

    Attributes:
        created: from asking for an answer to the word that it is being made.
        first_audio: from there to its first sound, or to a tool; a model may think.
        next_audio: within an answer (E7).
        stopped: from a cancellation to the word that it is over, before the next answer.
        heard: for a sign of life after voice that our own detection is sure of (E2).
        transcript: from the end of an utterance, for the record (E3).
    """

    created: float = 4.0
    first_audio: float = 6.0
    next_audio: float = 5.0
    stopped: float = 2.0
    heard: float = 4.0
    transcript: float = 10.0


# Of a model that is told to think for long before it speaks.
THOUGHTFUL = Waits(first_audio=15.0)
