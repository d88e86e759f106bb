"""One turn of the bot: what was asked, what was said, and when each stage happened.

Bookkeeping only; the conversation decides.
"""

from __future__ import annotations

from teamscall.calls.records import TurnKind, TurnLatency


class Turn:
    """A turn that is not over. Times are monotonic seconds, None until they happen."""

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
        self.end_call = False
        self.said: list[str] = []
        self.speech_ended: float | None = None
        self.endpointed: float | None = None
        self.transcribed: float | None = None
        self.first_text: float | None = None
        self.first_audio: float | None = None
        self.first_frame: float | None = None

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
