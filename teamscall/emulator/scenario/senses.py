"""What a scripted caller is given from outside: a voice, ears, and the bridge's own word.

Owns the protocols only.
"""

from __future__ import annotations

from typing import Protocol


class Voice(Protocol):
    """Makes speech of text, before anything is dialled."""

    async def speak(self, text: str, voice: str = "") -> bytes:
        """16 kHz s16le mono PCM. ``voice``: a model file, or "" for the usual one.

        Raises:
            TeamscallError: it cannot be spoken.
        """
        ...


class Ears(Protocol):
    """Makes text of speech, off the event loop."""

    async def words(self, pcm: bytes) -> str:
        """What at most 30 s of 16 kHz s16le mono PCM say; "" for nothing.

        Raises:
            TeamscallError: it cannot be recognised.
        """
        ...


class Witness(Protocol):
    """The bridge under test, asked what it heard."""

    async def heard(self, call_id: str) -> tuple[str, ...]:
        """The final transcripts of the caller in this call, in order.

        Raises:
            TeamscallError: the bridge cannot be asked, or does not know any more.
        """
        ...
