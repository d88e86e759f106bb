"""Which engine the configuration asks for, and building it.

Owns the choice and the only way from configuration to engines: every engine's constructor
takes plain values. Refuses to know how an engine works.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Literal

import msgspec

from teamscall.config import Config, openai_key, resolved_engine
from teamscall.config.models import best_speech_endpoint_model, resolve
from teamscall.engines.base import CallBrief, Engine
from teamscall.engines.parts import Mind
from teamscall.errors import ConfigError

EngineName = Literal["offline", "openai", "echo", "scripted"]


class Choice(msgspec.Struct, frozen=True):
    """The engine that will be built, and one sentence that says why."""

    engine: EngineName
    reason: str


def describe_choice(config: Config) -> Choice:
    """Resolve ``engine``, "auto" included."""
    if config.engine != "auto":
        return Choice(config.engine, f"engine = {config.engine}")
    if resolved_engine(config) == "openai":
        what = "an OpenAI key" if openai_key(config) else "openai.base_url"
        return Choice("openai", f"engine = auto: {what} is set")
    return Choice("offline", "engine = auto: no OpenAI key is set")


def build_engine(config: Config, *, today: datetime.date | None = None) -> Engine:
    """Build the chosen engine; nothing is started. ``today``: by which a model is current.

    Raises:
        ConfigError: it cannot be built as configured.
        InputError: a file that it needs cannot be read.
    """
    match describe_choice(config).engine:
        case "echo":
            from teamscall.engines.echo import EchoEngine

            return EchoEngine()
        case "scripted":
            from teamscall.engines.scripted import ScriptedEngine

            return ScriptedEngine(config.scripted.path or None)
        case "offline":
            return _offline(config)
        case "openai":
            return _openai(config, today or datetime.date.today())


def _offline(config: Config) -> Engine:
    from teamscall.engines.cascade import Deadlines
    from teamscall.engines.offline.engine import OfflineEngine

    open_mind, mind = _mind(config)
    return OfflineEngine(
        open_mind,
        mind=mind,
        stt_model=config.offline.stt_model,
        tts_voice=config.offline.tts_voice,
        language=config.offline.language,
        beam_size=config.offline.beam_size,
        threads=config.offline.threads,
        speed=config.tts.speed,
        deadlines=Deadlines(first_thought=config.response_timeout_ms / 1000),
    )


def _openai(config: Config, today: datetime.date) -> Engine:
    from teamscall.engines.cascade import Deadlines
    from teamscall.engines.openai.endpoint import OPENAI_URL, Endpoint
    from teamscall.engines.openai.engine import (
        Hearing,
        OpenAIEngine,
        OtherMind,
        Speaking,
        Thinking,
    )
    from teamscall.engines.openai.messages import Detection
    from teamscall.engines.openai.mouth import Voice

    at, tts, streaming = config.openai, config.tts, config.streaming
    key_setting = "openai.api_key" if at.api_key else "streaming.openai_api_key"

    def endpoint(url: str, setting: str) -> Endpoint:
        own = url or at.base_url
        where = setting if url else "openai.base_url"
        return Endpoint(own or OPENAI_URL, openai_key(config), where, key_setting)

    speak_at = endpoint(at.speak_base_url, "openai.speak_base_url")
    model = resolve("speak", tts.model, today)
    if not tts.model and not speak_at.is_openai:
        model = best_speech_endpoint_model()
    timeout_s = config.response_timeout_ms / 1000
    thinking: Thinking | OtherMind = Thinking(
        endpoint(at.think_base_url, "openai.think_base_url"),
        resolve("think", config.response_model, today),
        config.response_system_prompt,
        timeout_s,
    )
    if config.response.command or config.response.base_url:
        thinking = OtherMind(*_mind(config))
    return OpenAIEngine(
        Hearing(
            endpoint(at.hear_base_url, "openai.hear_base_url"),
            resolve("hear", streaming.stt_model, today),
            streaming.language,
            Detection(
                streaming.turn_detection,
                threshold=streaming.vad_threshold,
                silence_duration_ms=streaming.silence_duration_ms,
            ),
        ),
        thinking,
        Speaking(speak_at, Voice(model, tts.voice, tts.speed, tts.instructions, tts.sample_rate)),
        deadlines=Deadlines(first_thought=timeout_s),
    )


def _mind(config: Config) -> tuple[Callable[[CallBrief], Mind], str]:
    """What makes a call's mind, and its name for the banner."""
    response = config.response
    timeout_s = config.response_timeout_ms / 1000
    if response.command and response.base_url:
        raise ConfigError(
            "response.command and response.base_url are both set.",
            problems=("response: command and base_url exclude each other",),
            hint="Keep one of them.",
        )
    if response.command:
        from teamscall.engines.minds.command import CommandMind

        return lambda call: CommandMind(response.command, timeout_s=timeout_s), "response.command"
    if response.base_url:
        model = response.model or config.response_model
        if not model:
            raise ConfigError(
                "response.base_url is set, but no model.",
                problems=("response.model: empty",),
                hint="Set response.model to a model that this endpoint serves.",
            )
        from teamscall.engines.minds import chat

        chat.load()
        return (
            lambda call: chat.ChatMind(
                base_url=response.base_url,
                api_key=response.api_key.reveal(),
                model=model,
                system_prompt=config.response_system_prompt,
                timeout_s=timeout_s,
            ),
            f"{model} at response.base_url",
        )
    from teamscall.engines.minds.builtin import BuiltinMind

    return lambda call: BuiltinMind(), "the built-in responder"
