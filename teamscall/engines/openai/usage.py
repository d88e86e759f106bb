"""What the Realtime API counted, as the engine seam tells it. Pure."""

from __future__ import annotations

from teamscall.engines.base import EngineUsage, Stage
from teamscall.engines.openai.messages import Usage


def usage_event(stage: Stage, model: str, usage: Usage, turn: int = 0) -> EngineUsage:
    """One response's or transcript's usage; what the service left out is 0."""
    heard, said = usage.input_token_details, usage.output_token_details
    return EngineUsage(
        stage,
        model,
        turn,
        input_tokens=usage.input_tokens or 0,
        cached_tokens=(heard.cached_tokens if heard is not None else 0) or 0,
        output_tokens=usage.output_tokens or 0,
        audio_input_tokens=(heard.audio_tokens if heard is not None else 0) or 0,
        audio_output_tokens=(said.audio_tokens if said is not None else 0) or 0,
        audio_in_s=usage.seconds or 0.0,
    )
