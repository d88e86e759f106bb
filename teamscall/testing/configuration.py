"""A realtime session's configuration: what it begins with and how updates change it.

An update is applied whole or refused whole.
"""

from __future__ import annotations

import copy
from typing import Literal

from teamscall.testing import catalogue, transcribing
from teamscall.testing.cloud import Cloud, new_id
from teamscall.testing.strict import Wrong
from teamscall.testing.visits import Json

Kind = Literal["transcription", "realtime"]

_PCM: Json = {"type": "audio/pcm", "rate": 24_000}
_SERVER_VAD: Json = {
    "type": "server_vad",
    "threshold": 0.5,
    "prefix_padding_ms": 300,
    "silence_duration_ms": 500,
    "idle_timeout_ms": None,
}


def initial(kind: Kind, model: str, expires_at: int) -> Json:
    """A new session. ``expires_at``: epoch seconds."""
    detection = dict(_SERVER_VAD)
    hears: Json = {"format": _PCM, "transcription": None, "noise_reduction": None}
    hears["turn_detection"] = detection
    common: Json = {"type": kind, "id": new_id("sess"), "expires_at": expires_at, "include": None}
    if kind == "transcription":
        return {**common, "object": "realtime.transcription_session", "audio": {"input": hears}}
    detection |= {"create_response": True, "interrupt_response": True}
    return {
        **common,
        "object": "realtime.session",
        "model": model,
        "instructions": "You are a helpful assistant.",
        "output_modalities": ["audio"],
        "audio": {
            "input": hears,
            "output": {"format": _PCM, "voice": "marin", "speed": 1.0},
        },
        "tools": [],
        "tool_choice": "auto",
        "max_output_tokens": "inf",
        "truncation": "auto",
        "tracing": None,
        "prompt": None,
    }


def updated(cloud: Cloud, kind: Kind, session: Json, update: Json, *, spoken: bool) -> Json:
    """``session`` with the fields of ``update``, which already has a session's shape.

    ``spoken``: whether audio was given, after which the voice stays.

    Raises:
        Wrong: this session does not take that; nothing is changed.
    """
    if update["type"] != kind:
        raise Wrong(
            f"Passing a {update['type']} session update event to a {kind} session is not allowed.",
            code="invalid_parameter",
            param="session.type",
        )
    if update.get("model", session.get("model")) != session.get("model"):
        raise Wrong(
            "The model of a session cannot be changed.",
            code="invalid_parameter",
            param="session.model",
        )
    check_reasoning(str(session.get("model", "")), update, "session")
    new = copy.deepcopy(session)
    new |= {name: value for name, value in update.items() if name != "audio"}
    audio = update.get("audio", {})
    for side in ("input", "output"):
        new["audio"].setdefault(side, {}).update(audio.get(side, {}))
        if not new["audio"][side]:
            del new["audio"][side]
    if spoken and new["audio"]["output"]["voice"] != session["audio"]["output"]["voice"]:
        raise Wrong(
            "Cannot update a conversation's voice if assistant audio is present.",
            code="cannot_update_voice",
            param="session.audio.output.voice",
        )
    hears = new["audio"]["input"]
    if hears["transcription"] is not None:
        transcribing.check(cloud, hears["transcription"])
        _check_detection(hears, audio.get("input", {}), session)
    _complete(hears, kind)
    return new


def check_reasoning(model: str, given: Json, where: str) -> None:
    """Raise Wrong when ``given`` asks a model to reason that does not."""
    known = catalogue.MODELS.get(model)
    for name in ("reasoning", "parallel_tool_calls"):
        if name in given and known is not None and not known.reasons:
            raise Wrong(
                f"Unsupported parameter: '{where}.{name}' is not supported with the `{model}` "
                "model.",
                code="unsupported_parameter",
                param=f"{where}.{name}",
            )


def _check_detection(hears: Json, given: Json, session: Json) -> None:
    """A model without voice activity detection refuses it, unless it is only the default."""
    model = str(hears["transcription"].get("model", ""))
    if catalogue.traits(model).own_vad:
        return
    before = session["audio"]["input"]
    untouched = "turn_detection" not in given and before["transcription"] is None
    if hears["turn_detection"] is not None and not untouched:
        raise Wrong(
            f"Turn detection is not supported with the `{model}` model.",
            code="unsupported_parameter",
            param="session.audio.input.turn_detection",
        )
    hears["turn_detection"] = None


def _complete(hears: Json, kind: Kind) -> None:
    """Fill in what a given turn detection leaves out."""
    detection = hears["turn_detection"]
    if detection is None:
        return
    extra = {"create_response": True, "interrupt_response": True} if kind == "realtime" else {}
    defaults = _SERVER_VAD if detection["type"] == "server_vad" else {"eagerness": "auto"}
    hears["turn_detection"] = {**extra, **defaults, **detection}
