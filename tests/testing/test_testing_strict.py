"""Requests are refused as the real service refuses them, and for nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teamscall.testing import shapes
from teamscall.testing.strict import Check, Wrong

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=20), inner),
    max_leaves=20,
)
SHAPES: dict[str, Check] = {
    **shapes.CLIENT_EVENTS,
    "session": shapes.SESSION,
    "speech": shapes.SPEECH,
    "chat": shapes.CHAT,
    "responses": shapes.RESPONSES,
}


def transcription(**sound: Any) -> dict[str, Any]:
    return {"type": "transcription", "audio": {"input": sound}}


def voice(**more: Any) -> dict[str, Any]:
    return {"type": "realtime", **more}


PCM = {"type": "audio/pcm", "rate": 24000}
VAD = {
    "type": "server_vad",
    "threshold": 0.5,
    "prefix_padding_ms": 300,
    "silence_duration_ms": 500,
    "idle_timeout_ms": None,
    "create_response": True,
    "interrupt_response": False,
}
TOOL = {"type": "function", "name": "f", "description": "d", "parameters": {"type": "object"}}

GOOD: list[dict[str, Any]] = [
    {"type": "transcription"},
    transcription(format=PCM, turn_detection=VAD, noise_reduction={"type": "near_field"}),
    transcription(turn_detection=None, noise_reduction=None),
    transcription(turn_detection={"type": "semantic_vad", "eagerness": "low"}),
    transcription(
        transcription={"model": "gpt-transcribe", "languages": ["en"], "keywords": ["x"]}
    ),
    voice(instructions="Hi", output_modalities=["audio"], max_output_tokens="inf"),
    voice(audio={"output": {"voice": {"id": "voice_1"}, "speed": 1.5, "format": PCM}}),
    voice(tools=[TOOL], tool_choice={"type": "function", "name": "f"}, parallel_tool_calls=True),
    voice(tool_choice="required", reasoning={"effort": "low"}, tracing=None, truncation="auto"),
    voice(truncation={"type": "retention_ratio", "retention_ratio": 0.8}),
    voice(include=["item.input_audio_transcription.logprobs"], max_output_tokens=4096),
]


@pytest.mark.parametrize("session", GOOD)
def test_what_the_sdk_declares_is_taken(session: dict[str, Any]) -> None:
    shapes.SESSION(session, "session")


BAD: list[tuple[dict[str, Any], str, str]] = [
    ({}, "missing_required_parameter", "session.type"),
    ({"type": "beta"}, "invalid_value", "session.type"),
    # the shapes that were removed in May 2026
    (voice(modalities=["audio"]), "unknown_parameter", "session.modalities"),
    (voice(voice="alloy"), "unknown_parameter", "session.voice"),
    (voice(input_audio_format="pcm16"), "unknown_parameter", "session.input_audio_format"),
    (voice(turn_detection=VAD), "unknown_parameter", "session.turn_detection"),
    (voice(temperature=0.8), "unknown_parameter", "session.temperature"),
    (transcription(voice="alloy"), "unknown_parameter", "session.audio.input.voice"),
    (
        {"type": "transcription", "instructions": "x"},
        "unknown_parameter",
        "session.instructions",
    ),
    (
        transcription(turn_detection={"type": "server_vad", "eagerness": "low"}),
        "unknown_parameter",
        "session.audio.input.turn_detection.eagerness",
    ),
    (
        transcription(turn_detection={"type": "server_vad", "threshold": "0.5"}),
        "invalid_type",
        "session.audio.input.turn_detection.threshold",
    ),
    (
        transcription(turn_detection={"type": "server_vad", "silence_duration_ms": 500.5}),
        "invalid_type",
        "session.audio.input.turn_detection.silence_duration_ms",
    ),
    (
        transcription(turn_detection={"type": "server_vad", "threshold": 1.5}),
        "decimal_above_max_value",
        "session.audio.input.turn_detection.threshold",
    ),
    (
        transcription(format={"type": "audio/pcm", "rate": 16000}),
        "invalid_value",
        "session.audio.input.format.rate",
    ),
    (
        transcription(transcription={"model": "gpt-transcribe", "languages": ["en-US"]}),
        "invalid_value",
        "session.audio.input.transcription.languages[0]",
    ),
    (
        transcription(transcription={"keywords": ["<b>"]}),
        "invalid_value",
        "session.audio.input.transcription.keywords[0]",
    ),
    (
        voice(output_modalities=["text", "audio"]),
        "array_above_max_length",
        "session.output_modalities",
    ),
    (
        voice(audio={"output": {"voice": "fable"}}),
        "invalid_value",
        "session.audio.output.voice",
    ),
    (
        voice(audio={"output": {"speed": 2}}),
        "decimal_above_max_value",
        "session.audio.output.speed",
    ),
    (
        voice(max_output_tokens=5000),
        "integer_above_max_value",
        "session.max_output_tokens",
    ),
    (voice(instructions=None), "invalid_type", "session.instructions"),
]


@pytest.mark.parametrize(("session", "code", "param"), BAD)
def test_what_it_does_not_declare_is_refused_by_name(
    session: dict[str, Any], code: str, param: str
) -> None:
    with pytest.raises(Wrong) as refused:
        shapes.SESSION(session, "session")
    assert (refused.value.code, refused.value.param) == (code, param)


@pytest.mark.parametrize("name", sorted(SHAPES))
@given(value=JSON, tag=st.sampled_from(["type", "role", "model"]), kind=st.text(max_size=12))
def test_no_json_breaks_a_shape(name: str, value: object, tag: str, kind: str) -> None:
    if isinstance(value, dict):
        value = {**value, tag: kind}
    for each in (value, {"session": value, "item": value, "response": value}):
        try:
            SHAPES[name](each, "x")
        except Wrong:
            continue
