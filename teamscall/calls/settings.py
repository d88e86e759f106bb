"""What bounds a conversation: the limits of a call, taken once from the configuration.

A call keeps the settings it started with; a reload changes the next one.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from teamscall.config import Config
from teamscall.wire.events import Dialect

# Caller speech begins before the engine is up: this much is kept, oldest dropped first.
KEPT_FRAMES = 250  # 20 ms frames = 5 s
# A final transcript that never comes must not leave the caller waiting for good.
TRANSCRIPT_DEADLINE_S = 15.0
# An answer that began and stops in the middle: silence of this length is its end.
ANSWER_STALL_S = 10.0
# An answer that has not begun waits while the caller speaks, but not for a monologue's end.
HOLD_LIMIT_S = 30.0
# A gateway that stops sending in the middle of speech (the caller muted): the pause that
# ends an utterance is then measured on our clock, this much longer because frames jitter.
LAPSE_S = 0.5
# Opening a session takes a vendor seconds at worst; then it is broken.
ENGINE_READY_S = 10.0
# After a dropped socket the gateway says which frame it got last; this much can be sent again.
RESEND_FRAMES = 250
# Audio may come in bursts after a stall, but not faster than real time for long.
AUDIO_BURST_FRAMES = 500  # 10 s at once
AUDIO_RATE_FPS = 75.0  # sustained: 1.5 times real time
# Letting go of an engine session is bounded whatever the vendor does.
ENGINE_CLOSE_S = 2.0
ENGINE_CANCEL_S = 0.5  # what is left then is cancelled, and left behind after this

RETRY_PHRASE = "Sorry, I could not answer that. Please say it again."


class Goodbyes(msgspec.Struct, frozen=True):
    """What is said before we hang up, and how long that may take."""

    time_limit: str = ""
    shutdown: str = ""
    apology: str = ""
    deadline_s: float = 5.0


class CallSettings(msgspec.Struct, frozen=True):
    """The limits and manners of one call."""

    greeting: str = ""
    greeting_interruptible: bool = True
    recording_required: bool = False
    silence_ms: int = 800
    barge_in: bool = True
    barge_in_min_speech_ms: int = 160
    max_duration_s: float = 3600.0
    idle_timeout_s: float = 90.0
    ring_timeout_s: float = 30.0
    response_timeout_s: float = 30.0
    resume_grace_s: float = 15.0
    goodbyes: Goodbyes = Goodbyes()


def call_settings(config: Config, dialect: Dialect) -> CallSettings:
    """The settings of a call in ``dialect``."""
    require: bool | Literal["auto"] = config.recording.require
    standin = dialect == "standin"
    idle_ms = config.standin.idle_timeout_ms if standin else config.serve.idle_timeout_ms
    return CallSettings(
        greeting=config.inbound.greeting,
        greeting_interruptible=config.inbound.greeting_interruptible,
        recording_required=standin if require == "auto" else require,
        silence_ms=config.streaming.silence_duration_ms,
        barge_in=config.barge_in.enabled,
        barge_in_min_speech_ms=config.barge_in.min_speech_ms,
        max_duration_s=float(config.max_duration_seconds),
        idle_timeout_s=idle_ms / 1000,
        ring_timeout_s=config.outbound.ring_timeout_ms / 1000,
        response_timeout_s=config.response_timeout_ms / 1000,
        resume_grace_s=config.bridge.resume_grace_ms / 1000,
        goodbyes=Goodbyes(
            time_limit=config.goodbye.time_limit,
            shutdown=config.goodbye.shutdown,
            apology=config.goodbye.apology,
            deadline_s=config.goodbye.deadline_ms / 1000,
        ),
    )
