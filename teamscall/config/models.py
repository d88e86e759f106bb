"""OpenAI's models that teamscall knows: what each is for, until when it lives, what it can.

One table, read off the official SDK and OpenAI's deprecation page in November 2026. Pure:
the date is an argument. Refuses to know how a model is talked to.
"""

from __future__ import annotations

import datetime
from typing import Literal

import msgspec

Role = Literal["hear", "think", "speak", "realtime", "live"]

# Nobody wants to touch a phone bot every month: a model that dies sooner is no default,
# and a configured one is worth a warning.
NEAR = datetime.timedelta(days=90)

_SPEECH_ENDS = datetime.date(2027, 1, 6)  # every model of the speech endpoint
_CHAT_ENDS = datetime.date(2027, 1, 14)
_REALTIME_ENDS = datetime.date(2027, 1, 20)
_TRANSCRIBE_ENDS = datetime.date(2027, 2, 26)


class Model(msgspec.Struct, frozen=True):
    """One model.

    Attributes:
        shutdown: its last day is the one before; None: not announced.
        successor: OpenAI's own recommendation.
        server_vad: takes a ``turn_detection`` of its own (hear).
        language_list: takes ``languages``, not ``language``; both together are refused (hear).
        streams: transcribes while the caller speaks, before a commit (hear).
        over_realtime: speaks through a realtime session, not the speech endpoint (speak).
        styled: takes ``instructions`` (speak).
    """

    name: str
    role: Role
    shutdown: datetime.date | None = None
    successor: str = ""
    server_vad: bool = False
    language_list: bool = False
    streams: bool = False
    over_realtime: bool = False
    styled: bool = True


# Best first, within each role.
MODELS = (
    Model("gpt-live-transcribe", "hear", language_list=True, streams=True),
    Model("gpt-transcribe", "hear", server_vad=True, language_list=True),
    Model("gpt-realtime-whisper", "hear", streams=True),
    *(
        Model(name, "hear", _TRANSCRIBE_ENDS, "gpt-live-transcribe", server_vad=True)
        for name in (
            *("gpt-4o-transcribe", "gpt-4o-mini-transcribe", "gpt-4o-transcribe-diarize"),
            "whisper-1",
        )
    ),
    Model("gpt-6-luna", "think"),
    *(
        Model(name, "think", _CHAT_ENDS, "gpt-6-luna")
        for name in ("gpt-4o", "gpt-4o-mini", "gpt-4.1", "gpt-4.1-mini")
    ),
    Model("gpt-4o-mini-tts", "speak", _SPEECH_ENDS, "gpt-realtime-2.1-mini"),
    Model("gpt-4o-mini-tts-2025-12-15", "speak", _SPEECH_ENDS, "gpt-realtime-2.1-mini"),
    Model("gpt-realtime-2.1-mini", "speak", over_realtime=True),
    Model("gpt-realtime-2.1", "speak", over_realtime=True),
    Model("tts-1-hd", "speak", _SPEECH_ENDS, "gpt-realtime-2.1-mini", styled=False),
    Model("tts-1", "speak", _SPEECH_ENDS, "gpt-realtime-2.1-mini", styled=False),
    Model("gpt-realtime-2.1", "realtime"),
    Model("gpt-realtime-2.1-mini", "realtime"),
    Model("gpt-realtime-2", "realtime"),
    Model("gpt-realtime-1.5", "realtime"),
    *(
        Model(name, "realtime", _REALTIME_ENDS, successor)
        for name, successor in (
            ("gpt-realtime", "gpt-realtime-2.1"),
            ("gpt-realtime-2025-08-28", "gpt-realtime-2.1"),
            ("gpt-realtime-mini", "gpt-realtime-2.1-mini"),
            ("gpt-realtime-mini-2025-12-15", "gpt-realtime-2.1-mini"),
        )
    ),
    Model("gpt-live-1", "live"),
)


def resolve(role: Role, configured: str, today: datetime.date) -> Model:
    """The model to use: the configured one, else the best that lives on for a while.

    ``openai/`` before a name (as the msteams-call plugin writes it) is taken off. A name
    that is not in the table is taken as it is, with the least abilities of its role.
    """
    name = configured.strip().removeprefix("openai/")
    for model in MODELS:
        if model.role != role:
            continue
        if model.name == name if name else model.shutdown is None or model.shutdown > today + NEAR:
            return model
    if role == "speak":
        # A realtime session reads aloud with whichever realtime model is asked for.
        return Model(name, role, _shutdown_of(name), over_realtime=name.startswith("gpt-realtime"))
    return Model(name, role)


def best_with_own_detection(today: datetime.date) -> Model:
    """The best recogniser that may hear where the service detects speech by itself."""
    fit = [model for model in MODELS if model.role == "hear" and model.server_vad]
    return next((m for m in fit if m.shutdown is None or m.shutdown > today + NEAR), fit[0])


def best_speech_endpoint_model() -> Model:
    """For a server of one's own: the speech endpoint lives on there."""
    return next(model for model in MODELS if model.role == "speak" and not model.over_realtime)


def lifetime_warning(setting: str, model: Model, today: datetime.date) -> str:
    """What to say of a model that is gone or soon will be; "" of any other."""
    if model.shutdown is None or model.shutdown > today + NEAR:
        return ""
    instead = f"; use {model.successor}, or leave it empty" if model.successor else ""
    days = (model.shutdown - today).days
    if days <= 0:
        return f"{setting}: OpenAI switched {model.name} off on {model.shutdown}{instead}"
    when = f"on {model.shutdown}, in {days} day{'' if days == 1 else 's'}"
    return f"{setting}: OpenAI switches {model.name} off {when}{instead}"


def _shutdown_of(name: str) -> datetime.date | None:
    return next((model.shutdown for model in MODELS if model.name == name), None)
