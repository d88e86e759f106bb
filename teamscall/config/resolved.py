"""What a model that was left out of the configuration stands for, by today.

Owns the pairing of keys and roles. Refuses to know the models (``models``) and who asks.
"""

from __future__ import annotations

import datetime

from teamscall.config.checks import resolved_engine, resolved_mode
from teamscall.config.models import best_speech_endpoint_model, best_with_own_detection, resolve
from teamscall.config.tree import Config


def resolved_models(config: Config, today: datetime.date) -> dict[str, str]:
    """Model names by key, of the keys that are used and empty; {} without OpenAI."""
    if resolved_engine(config) != "openai":
        return {}
    mode, _ = resolved_mode(config)
    found: dict[str, str] = {}
    if mode == "streaming" or "streaming" in config.fallback:
        found["streaming.stt_model"] = resolve("hear", "", today).name
        own = config.openai.speak_base_url or config.openai.base_url
        voice = best_speech_endpoint_model() if own else resolve("speak", "", today)
        found["tts.model"] = voice.name
        if not (config.response.command or config.response.base_url):
            found["response_model"] = resolve("think", "", today).name
    if mode == "realtime":
        found["realtime.model"] = resolve("realtime", "", today).name
        ear = resolve("hear", "", today)
        if config.realtime.turn_detection != "local":
            ear = best_with_own_detection(today)
        found["realtime.transcription_model"] = ear.name
    if mode == "live":
        found["live.model"] = resolve("live", "", today).name
        if config.tools:
            found["response_model"] = resolve("think", "", today).name
    return {key: name for key, name in found.items() if not _value(config, key)}


def _value(config: Config, key: str) -> object:
    value: object = config
    for part in key.split("."):
        value = getattr(value, part)
    return value
