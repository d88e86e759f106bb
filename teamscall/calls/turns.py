"""A turn of the bot: what is known of it and when each stage happened.

Bookkeeping only; the conversation decides.
"""

from __future__ import annotations

import msgspec

from teamscall.audio.pacer import Played
from teamscall.calls.records import TurnKind, TurnLatency, Usage


class Stopped(msgspec.Struct):
    """A turn that the caller's voice stopped, and that may still go on.

    ``told``: the engine and the record were told that it was interrupted.
    """

    line: Played
    at: float
    onset_to_flush_ms: float
    onset_to_detected_ms: float
    told: bool = False


class Kept(msgspec.Struct, frozen=True):
    """Speech of an answer that may not be heard yet."""

    pcm: bytes
    rate: int
    text: str


class Turn:
    """A turn that is not over. Times are monotonic seconds, None until they happen.

    Attributes:
        question, utterance: of a speculative answer; ``kept`` is its speech. None: it is no
            speculation, or is one no more.
        retold: its end must be told to the engine once more: more of it was heard than the
            engine was told when it was stopped.
        waiting: words that the engine has not been given yet: others are before them.
    """

    def __init__(
        self,
        number: int,
        kind: TurnKind,
        began: float,
        deadline: float,
        *,
        interruptible: bool = True,
    ) -> None:
        self.number = number
        self.kind = kind
        self.began = began
        self.deadline = deadline  # of the engine's next sound; infinite once it is complete
        self.interruptible = interruptible
        self.complete = False  # the engine has given all of it
        self.failed = False
        self.cancelled = False
        self.retold = False
        self.waiting: str | None = None
        self.end_call = False
        self.question: str | None = None
        self.utterance = 0
        self.kept: list[Kept] = []
        self.stopped: Stopped | None = None
        self.fill_at = float("inf")
        self.said: list[str] = []
        self.usage: list[Usage] = []
        self.speech_ended: float | None = None
        self.endpointed: float | None = None
        self.transcribed: float | None = None
        self.first_text: float | None = None
        self.first_audio: float | None = None
        self.first_frame: float | None = None

    @property
    def speculative(self) -> bool:
        return self.question is not None

    @property
    def said_text(self) -> str:
        return "".join(self.said).strip()

    def latency(self) -> TurnLatency:
        """Milliseconds from the caller's last voiced frame; greetings count from their start."""
        origin = self.speech_ended if self.speech_ended is not None else self.began

        def since(moment: float | None) -> float | None:
            return None if moment is None else round((moment - origin) * 1000, 1)

        return TurnLatency(
            endpoint_ms=since(self.endpointed),
            transcript_ms=since(self.transcribed),
            first_text_ms=since(self.first_text),
            first_audio_ms=since(self.first_audio),
            first_frame_ms=since(self.first_frame),
        )
