"""Which engine the configuration asks for, and building it.

Owns the choice and the only way from configuration to engines: every engine's constructor
takes plain values. Refuses to know how an engine works.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import msgspec

from teamscall.config import Config
from teamscall.engines.base import CallBrief, Engine
from teamscall.engines.parts import Mind
from teamscall.errors import ConfigError

EngineName = Literal["offline", "echo", "scripted"]


class Choice(msgspec.Struct, frozen=True):
    """The engine that will be built, and one sentence that says why."""

    engine: EngineName
    reason: str


def describe_choice(config: Config) -> Choice:
    """Resolve ``engine``, "auto" included.

    Raises:
        ConfigError: the engine asked for does not exist in this version.
    """
    if config.engine == "openai":
        raise ConfigError(
            'engine = "openai" is not in this version yet.',
            problems=('engine: "openai" is not available yet',),
            hint='Use "offline", or put a chat model behind it with response.base_url.',
        )
    if config.engine != "auto":
        return Choice(config.engine, f"engine = {config.engine}")
    if config.streaming.openai_api_key:
        return Choice(
            "offline",
            "engine = auto: an OpenAI key is set, but the OpenAI engine is not in this version",
        )
    return Choice("offline", "engine = auto: no OpenAI key is set")


def build_engine(config: Config) -> Engine:
    """Build the chosen engine; nothing is started.

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
