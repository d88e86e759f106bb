"""The service's models and voices, with their shutdown dates, as of November 2026."""

from __future__ import annotations

from datetime import date
from typing import Literal

import msgspec

Purpose = Literal["realtime", "transcription", "speech", "text", "live"]


class Model(msgspec.Struct, frozen=True):
    """One model. ``shutdown``: ISO date, or "" when none is announced."""

    id: str
    purpose: Purpose
    shutdown: str = ""
    own_vad: bool = True  # whether it takes turn_detection
    streams: bool = False  # whether its transcript comes while the caller still speaks
    tokens: bool = False  # how its use is billed: by tokens, or by duration
    reasons: bool = False  # whether it takes reasoning and parallel_tool_calls


_SPEECH_END = "2027-01-06"
_TEXT_END = "2027-01-14"
_REALTIME_END = "2027-01-20"
_TRANSCRIBE_END = "2027-02-26"

MODELS = {
    model.id: model
    for model in (
        Model("gpt-realtime-2.1", "realtime", reasons=True),
        Model("gpt-realtime-2.1-mini", "realtime", reasons=True),
        Model("gpt-realtime-2", "realtime", reasons=True),
        Model("gpt-realtime-1.5", "realtime"),
        Model("gpt-realtime", "realtime", _REALTIME_END),
        Model("gpt-realtime-2025-08-28", "realtime", _REALTIME_END),
        Model("gpt-realtime-mini", "realtime", _REALTIME_END),
        Model("gpt-realtime-mini-2025-12-15", "realtime", _REALTIME_END),
        Model("gpt-live-1", "live"),
        Model("gpt-live-transcribe", "transcription", own_vad=False, streams=True),
        Model("gpt-realtime-whisper", "transcription", own_vad=False, streams=True),
        Model("gpt-transcribe", "transcription"),
        Model("gpt-4o-transcribe", "transcription", _TRANSCRIBE_END, tokens=True),
        Model("gpt-4o-mini-transcribe", "transcription", _TRANSCRIBE_END, tokens=True),
        Model("whisper-1", "transcription", _TRANSCRIBE_END),
        Model("tts-1", "speech", _SPEECH_END),
        Model("tts-1-hd", "speech", _SPEECH_END),
        Model("gpt-4o-mini-tts", "speech", _SPEECH_END),
        Model("gpt-4o-mini-tts-2025-12-15", "speech", _SPEECH_END),
        Model("gpt-6-luna", "text"),
        Model("gpt-4.1", "text", _TEXT_END),
        Model("gpt-4.1-mini", "text", _TEXT_END),
        Model("gpt-4o", "text", _TEXT_END),
        Model("gpt-4o-mini", "text", _TEXT_END),
    )
}

REALTIME_VOICES = (
    "alloy",
    "ash",
    "ballad",
    "coral",
    "echo",
    "sage",
    "shimmer",
    "verse",
    "marin",
    "cedar",
)
LIVE_VOICES = (
    *REALTIME_VOICES,
    *("beacon", "bossa", "cinder", "delta", "gleam", "meridian", "quartz", "ripple", "shida"),
    *("stone", "tempo", "vesper", "willow"),
)
SPEECH_VOICES = (*REALTIME_VOICES, "fable", "onyx", "nova")


def find(
    name: str, purpose: Purpose, *, today: date | None = None, more: tuple[str, ...] = ()
) -> str:
    """Why this model cannot be used for ``purpose``: "" (it can), ``gone`` or ``purpose``."""
    if name in more:
        return ""
    model = MODELS.get(name)
    if model is None:
        return "gone"
    if today and model.shutdown and today >= date.fromisoformat(model.shutdown):
        return "gone"
    return "" if model.purpose == purpose else "purpose"


def traits(name: str) -> Model:
    """What is known of a transcription model; an unknown one is like ``gpt-transcribe``."""
    return MODELS.get(name, MODELS["gpt-transcribe"])
