"""Which engine the configuration asks for, and building it.

Owns the choice and the only way from configuration to engines: every engine's constructor
takes plain values. Refuses to know how an engine works.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Literal

import msgspec

from teamscall.config import Config, openai_key, resolved_engine, resolved_mode
from teamscall.engines.base import CallBrief, Engine
from teamscall.engines.parts import Mind
from teamscall.engines.tools import Tools
from teamscall.errors import ConfigError

EngineName = Literal["offline", "openai", "echo", "scripted"]


class Choice(msgspec.Struct, frozen=True):
    """The engine that will be built, and one sentence that says why."""

    engine: EngineName
    reason: str


def describe_choice(config: Config) -> Choice:
    """Resolve ``engine``, "auto" included."""
    if config.engine != "auto":
        mode = f"; {resolved_mode(config)[1]}" if config.engine == "openai" else ""
        return Choice(config.engine, f"engine = {config.engine}{mode}")
    if resolved_engine(config) == "openai":
        what = "an OpenAI key" if openai_key(config) else "openai.base_url"
        return Choice("openai", f"engine = auto: {what} is set; {resolved_mode(config)[1]}")
    return Choice("offline", "engine = auto: no OpenAI key is set")


def build_engine(config: Config, *, today: datetime.date | None = None) -> Engine:
    """Build the chosen engine; nothing is started. ``today``: by which a model is current.

    Raises:
        ConfigError: it cannot be built as configured.
        InputError: a file that it needs cannot be read.
    """
    today = today or datetime.date.today()
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
            return _with_fallback(_openai(config, today), config, today)


def load_packages(config: Config) -> None:
    """Import what the chosen engine would import at its start. Blocks for about a second:
    for a thread, where calls go on."""
    if describe_choice(config).engine == "openai":
        from teamscall.engines.openai import imports

        imports.load()


def _with_fallback(first: Engine, config: Config, today: datetime.date) -> Engine:
    """The chain of ``fallback``; the first engine alone where there is none."""
    others: list[Engine] = []
    for name in config.fallback:
        if name == "offline":
            others.append(_offline(config))
        elif resolved_mode(config)[0] != "streaming":
            others.append(_streaming(config, today))
    if not others:
        return first
    from teamscall.engines.fallback import FallbackEngine

    return FallbackEngine([first, *others])


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
        speakable=config.tts.speakable,
        deadlines=Deadlines(first_thought=config.response_timeout_ms / 1000),
    )


def _openai(config: Config, today: datetime.date) -> Engine:
    from teamscall.engines.openai import configured

    match resolved_mode(config)[0]:
        case "realtime":
            return configured.realtime(config, today)
        case "live":
            return configured.live(config, today)
        case "streaming":
            return _streaming(config, today)


def _streaming(config: Config, today: datetime.date) -> Engine:
    from teamscall.engines.openai import configured
    from teamscall.engines.openai.engine import OtherMind

    own = config.response.command or config.response.base_url
    return configured.streaming(config, today, OtherMind(*_mind(config)) if own else None)


def _tools(config: Config) -> Tools | None:
    """Servers differ in what they make of tools: they are told of them where there are any."""
    if not config.tools:
        return None
    from teamscall.engines.toolbox import Toolbox

    tools = Toolbox(config.tools)
    tools.prepare()
    return tools


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
        tools = _tools(config)
        return (
            lambda call: chat.ChatMind(
                base_url=response.base_url,
                api_key=response.api_key.reveal(),
                model=model,
                system_prompt=config.response_system_prompt,
                timeout_s=timeout_s,
                tools=tools,
            ),
            f"{model} at response.base_url",
        )
    from teamscall.engines.minds.builtin import BuiltinMind

    return lambda call: BuiltinMind(), "the built-in responder"
