"""What bounds a conversation: the limits of a call, taken once from the configuration.

A call keeps the settings it started with; a reload changes the next one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from teamscall.audio.wav import read_wav
from teamscall.config import Config, Price
from teamscall.wire.events import Dialect

# Caller speech begins before the engine is up: this much is kept, oldest dropped first.
KEPT_FRAMES = 250  # 20 ms frames = 5 s
# A final transcript that never comes must not leave the caller waiting for good.
TRANSCRIPT_DEADLINE_S = 15.0
# An answer that began and stops in the middle: silence of this length is its end.
ANSWER_STALL_S = 10.0
# Of several messages of the operator the next is synthesised while this much is still to be
# heard: no pause between them, and no hour of speech in memory.
SAY_AHEAD_S = 30.0
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

# So many answers in a row of which nothing came: the engine is gone, whatever it says.
MAX_FAILED_ANSWERS = 2
# A pause this short over the bot's stopped speech may be the end of a "mhm": what was
# said is asked for, so that the bot can go on soon.
QUICK_PEEK_MS = 200
# So near to its end, the bot has asked what it wanted to ask: "yes" is an answer.
LAST_WORDS_MS = 1500
# A direct session answers at once, unless it is to be seen first whether it was a "mhm".
BACKCHANNEL_WAIT_S = 1.5
# Whoever says more than this over the bot's speech wants the turn.
LONGEST_BACKCHANNEL_S = 1.5

RETRY_PHRASE = "Sorry, I could not answer that. Please say it again."


class Goodbyes(msgspec.Struct, frozen=True):
    """What is said before we hang up, and how long that may take."""

    time_limit: str = ""
    shutdown: str = ""
    apology: str = ""
    deadline_s: float = 5.0


class BargeInSettings(msgspec.Struct, frozen=True):
    """See ``barge_in`` of the configuration."""

    enabled: bool = True
    pause_ms: int = 40
    min_speech_ms: int = 60
    min_words: int = 0
    backchannels: tuple[str, ...] = ("mhm", "uh huh", "yeah", "okay")
    echo_immunity: bool = True


class EndpointSettings(msgspec.Struct, frozen=True):
    """When the caller is taken to have finished; ``speculate_after_ms`` 0: never."""

    silence_ms: int = 800
    adaptive: bool = True
    shortest_ms: int = 0
    longest_ms: int = 1600
    speculate_after_ms: int = 300
    threshold: float = 0.5


class Silence(msgspec.Struct, frozen=True):
    """What happens when nobody says anything; 0: never."""

    reprompt_after_s: float = 0.0
    reprompt: str = ""
    hangup_after_s: float = 0.0
    goodbye: str = ""


class Filler(msgspec.Struct, frozen=True):
    """What fills the time of thinking; ``after_s`` 0: nothing. ``sound``: 16 kHz s16le."""

    after_s: float = 0.0
    words: tuple[str, ...] = ()
    sound: bytes = b""


class CallSettings(msgspec.Struct, frozen=True):
    """The limits and manners of one call."""

    greeting: str = ""
    greeting_interruptible: bool = True
    recording_required: bool = False
    barge_in: BargeInSettings = BargeInSettings()
    endpoint: EndpointSettings = EndpointSettings()
    silence: Silence = Silence()
    filler: Filler = Filler()
    prices: Mapping[str, Price] = {}
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
        barge_in=BargeInSettings(
            enabled=config.barge_in.enabled,
            pause_ms=config.barge_in.pause_ms,
            min_speech_ms=config.barge_in.min_speech_ms,
            min_words=config.barge_in.min_words,
            backchannels=config.barge_in.backchannels,
            echo_immunity=config.barge_in.echo_immunity,
        ),
        endpoint=EndpointSettings(
            silence_ms=config.streaming.silence_duration_ms,
            adaptive=config.endpointing.adaptive,
            shortest_ms=config.endpointing.shortest_ms,
            longest_ms=config.endpointing.longest_ms,
            speculate_after_ms=config.endpointing.speculate_after_ms,
            threshold=config.streaming.vad_threshold,
        ),
        silence=Silence(
            reprompt_after_s=config.idle.reprompt_after_ms / 1000,
            reprompt=config.idle.reprompt,
            hangup_after_s=config.idle.hangup_after_ms / 1000,
            goodbye=config.idle.goodbye,
        ),
        filler=Filler(
            after_s=config.filler.after_ms / 1000,
            words=config.filler.words,
            sound=read_wav(config.filler.sound) if config.filler.sound else b"",
        ),
        prices=config.prices,
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
