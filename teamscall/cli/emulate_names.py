"""The words that options of ``emulate`` take."""

from __future__ import annotations

import enum


class DialectName(enum.StrEnum):
    """Which gateway is played."""

    STANDIN = "standin"
    CSHARP = "csharp"


class GenerationName(enum.StrEnum):
    """StandIn's names."""

    TODAY = "today"
    ONE = "1"
    BOTH = "both"


class DirectionName(enum.StrEnum):
    """Who called whom."""

    INBOUND = "inbound"
    OUTBOUND = "outbound"


class RecordingName(enum.StrEnum):
    """StandIn's recording status; ``none`` says nothing."""

    ACTIVE = "active"
    INACTIVE = "inactive"
    UNKNOWN = "unknown"
    NONE = "none"


class AnswerName(enum.StrEnum):
    """What becomes of a call that the bridge places."""

    PICK_UP = "pick-up"
    NO_ANSWER = "no-answer"
    BUSY = "busy"
    DECLINED = "declined"
    FAILED = "failed"


class VideoSource(enum.StrEnum):
    """What the picture is."""

    CAMERA = "camera"
    SCREENSHARE = "screenshare"
