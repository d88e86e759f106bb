"""Whether a record may hold media and words: Microsoft's recording rule.

A bridge may persist what comes from media only of a call whose recording status is active;
a status that turns inactive ends that from the next record on. Pure.
"""

from __future__ import annotations

from teamscall.capture.records import Content
from teamscall.wire.events import (
    CallStarted,
    Dialect,
    Dropped,
    FromGateway,
    RecordingChanged,
    RecordingStatus,
    ToGateway,
)

EMULATED = "an emulated call: no Teams media"


class Rule:
    """Of one call. ``full`` says it for the next record.

    Args:
        wanted: what the operator asked for.
        emulated: there is no Teams media in it.
        without_status: the operator's explicit switch for calls whose gateway tells no
            recording status (the C# dialect).
        required: processing needs an active status, so writing does too.
    """

    def __init__(
        self,
        wanted: Content,
        dialect: Dialect,
        *,
        emulated: bool = False,
        without_status: bool = False,
        required: bool = False,
    ) -> None:
        self._wanted = wanted
        self._emulated = emulated
        self._unknown_is_fine = without_status and dialect == "csharp" and not required
        self._may_become = dialect == "standin" or self._unknown_is_fine
        self.status: RecordingStatus | None = None

    @property
    def content(self) -> Content:
        """What the capture is called: ``full`` where it may come to hold media."""
        if self._wanted == "full" and (self._emulated or self._may_become):
            return "full"
        return "timing"

    @property
    def why(self) -> str:
        """Why media are in it, for the header."""
        if self.content == "timing":
            return ""
        if self._emulated:
            return EMULATED
        if self._unknown_is_fine:
            return "capture.content = full, capture.without_status = true"
        return "capture.content = full, while the recording status is active"

    @property
    def full(self) -> bool:
        if self._wanted != "full":
            return False
        if self._emulated or self.status == "active":
            return True
        return self._unknown_is_fine and self.status is None

    def follow(self, event: FromGateway | ToGateway | Dropped) -> None:
        """A message was seen: it may tell the status. An explicit one latches."""
        if isinstance(event, RecordingChanged):
            self.status = event.status
        elif isinstance(event, CallStarted) and self.status is None:
            self.status = event.recording
