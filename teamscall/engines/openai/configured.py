"""From the configuration to OpenAI's engines, one per mode.

Owns which keys go into which plain value. Refuses to know how an engine works.
"""

from __future__ import annotations

import datetime

from teamscall.config import Config, openai_key
from teamscall.config.models import best_speech_endpoint_model, best_with_own_detection, resolve
from teamscall.engines.cascade import Deadlines
from teamscall.engines.openai.endpoint import OPENAI_URL, Endpoint
from teamscall.engines.openai.engine import Hearing, OpenAIEngine, OtherMind, Speaking, Thinking
from teamscall.engines.openai.live import LiveEngine, Manner
from teamscall.engines.openai.messages import Detection
from teamscall.engines.openai.mouth import Voice
from teamscall.engines.openai.realtime import RealtimeEngine, Talking
from teamscall.engines.toolbox import Toolbox


def endpoint(config: Config, url: str = "", setting: str = "openai.base_url") -> Endpoint:
    """The service of a part; ``url`` is its own, and ``setting`` that one's name."""
    key_setting = "openai.api_key" if config.openai.api_key else "streaming.openai_api_key"
    where = setting if url else "openai.base_url"
    own = url or config.openai.base_url
    return Endpoint(own or OPENAI_URL, openai_key(config), where, key_setting)


def toolbox(config: Config, at: Endpoint) -> Toolbox | None:
    """The operator's tools, and hanging up. Not every server takes tools: one of the
    operator's own is told of them only when there are some."""
    if not config.tools and not at.is_openai:
        return None
    tools = Toolbox(config.tools)
    tools.prepare()
    return tools


def streaming(
    config: Config, today: datetime.date, other_mind: OtherMind | None = None
) -> OpenAIEngine:
    """One model hears, one thinks (or another mind does), one speaks."""
    thinks, speaks = thinking(config, today), speaking(config, today)
    return OpenAIEngine(
        hearing(config, today),
        other_mind or thinks,
        speaks,
        tools=toolbox(config, thinks.endpoint),
        speakable=config.tts.speakable,
        deadlines=Deadlines(
            first_thought=thinks.timeout_s,
            # OpenAI's voice takes a quarter of a second; one's own machine takes its time.
            first_audio=5.0 if speaks.endpoint.is_openai else Deadlines().first_audio,
        ),
    )


def hearing(config: Config, today: datetime.date) -> Hearing:
    """What hears in the streaming mode."""
    return Hearing(
        endpoint(config, config.openai.hear_base_url, "openai.hear_base_url"),
        resolve("hear", config.streaming.stt_model, today),
        config.streaming.language,
        Detection(
            config.streaming.turn_detection,
            threshold=config.streaming.vad_threshold,
            silence_duration_ms=config.streaming.silence_duration_ms,
        ),
    )


def thinking(config: Config, today: datetime.date) -> Thinking:
    """What thinks in the streaming mode, unless another mind does."""
    return Thinking(
        endpoint(config, config.openai.think_base_url, "openai.think_base_url"),
        resolve("think", config.response_model, today),
        config.response_system_prompt,
        config.response_timeout_ms / 1000,
    )


def speaking(config: Config, today: datetime.date) -> Speaking:
    """What speaks in the streaming mode."""
    tts = config.tts
    at = endpoint(config, config.openai.speak_base_url, "openai.speak_base_url")
    model = resolve("speak", tts.model, today)
    if not tts.model and not at.is_openai:
        model = best_speech_endpoint_model()
    return Speaking(at, Voice(model, tts.voice, tts.speed, tts.instructions, tts.sample_rate))


def realtime(config: Config, today: datetime.date) -> RealtimeEngine:
    """One model does it all."""
    at, talking = endpoint(config), config.realtime
    transcriber = resolve("hear", talking.transcription_model, today)
    if talking.turn_detection != "local" and not talking.transcription_model:
        transcriber = best_with_own_detection(today)
    return RealtimeEngine(
        at,
        resolve("realtime", talking.model, today),
        Talking(
            voice=talking.voice,
            speed=talking.speed,
            instructions=config.response_system_prompt,
            detection=Detection(
                talking.turn_detection,
                threshold=config.streaming.vad_threshold,
                silence_duration_ms=config.streaming.silence_duration_ms,
                eagerness=talking.eagerness,
            ),
            noise_reduction=talking.noise_reduction,
            transcriber=transcriber,
            language=config.streaming.language,
            reasoning=talking.reasoning,
            renew_after_s=talking.renew_after_minutes * 60,
        ),
        tools=toolbox(config, at),
    )


def live(config: Config, today: datetime.date) -> LiveEngine:
    """Full duplex. Tools are used by the text model that the session delegates to."""
    at = endpoint(config)
    manner = Manner(
        resolve("live", config.live.model, today).name,
        config.live.voice,
        config.response_system_prompt,
        resolve("think", config.response_model, today).name,
    )
    return LiveEngine(at, manner, tools=toolbox(config, at) if config.tools else None)
