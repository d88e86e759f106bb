"""The shapes of the service's requests, as its official SDK declares them (GA only).

What is not here is unknown to the service, which refuses the whole request for it. The
old Realtime fields (``modalities``, ``input_audio_format``, ``transcription_session.update``
and so on) are unknown too: they were removed in May 2026.
"""

from __future__ import annotations

import re

from teamscall.testing.catalogue import REALTIME_VOICES, SPEECH_VOICES
from teamscall.testing.strict import (
    Check,
    Wrong,
    any_of,
    anything,
    array,
    boolean,
    free,
    integer,
    nullable,
    number,
    one_of,
    record,
    string,
    tagged,
)

MAX_APPEND_BYTES = 15 * 1024 * 1024
MAX_SPEECH_CHARS = 4096

_short = string(512)


def _pairs(value: object, path: str) -> None:
    free(value, path)
    assert isinstance(value, dict)
    if len(value) > 16:
        raise Wrong(
            f"Invalid '{path}': too many properties. Expected an object with at most 16.",
            code="object_above_max_properties",
            param=path,
        )
    for name, item in value.items():
        string(64)(name, path)
        string(512)(item, f"{path}.{name}")


_metadata = nullable(_pairs)

# --- realtime sessions ------------------------------------------------------------------

_FORMAT = tagged(
    {
        "audio/pcm": record({"type": anything, "rate": one_of(24_000)}),
        "audio/pcmu": record({"type": anything}),
        "audio/pcma": record({"type": anything}),
    }
)
_TURN_DETECTION = nullable(
    tagged(
        {
            "server_vad": record(
                {
                    "type": anything,
                    "threshold": number(0, 1),
                    "prefix_padding_ms": integer(0, 60_000),
                    "silence_duration_ms": integer(0, 60_000),
                    "idle_timeout_ms": nullable(integer(5_000, 30_000)),
                    "create_response": boolean,
                    "interrupt_response": boolean,
                }
            ),
            "semantic_vad": record(
                {
                    "type": anything,
                    "eagerness": one_of("auto", "low", "medium", "high"),
                    "create_response": boolean,
                    "interrupt_response": boolean,
                }
            ),
        }
    )
)
_NOISE_REDUCTION = nullable(
    record({"type": one_of("near_field", "far_field"), "strength": number(0, 1)})
)
_LANGUAGE = re.compile(r"[a-z]{2,3}")
_FORBIDDEN_IN_KEYWORDS = re.compile(r"[<>\r\n]")


def _language(value: object, path: str) -> None:
    string()(value, path)
    if not _LANGUAGE.fullmatch(str(value)):
        raise Wrong(
            f"Invalid '{path}': expected an ISO-639-1 language code.",
            code="invalid_value",
            param=path,
        )


def _keyword(value: object, path: str) -> None:
    string(200)(value, path)
    if _FORBIDDEN_IN_KEYWORDS.search(str(value)):
        raise Wrong(
            f"Invalid '{path}': keywords must not contain '<', '>' or line breaks.",
            code="invalid_value",
            param=path,
        )


_TRANSCRIPTION = nullable(
    record(
        {
            "model": _short,
            "language": _language,
            "languages": array(_language, most=100),
            "keywords": array(_keyword, most=1_000),
            "prompt": string(100_000),
            "delay": one_of("minimal", "low", "medium", "high", "xhigh"),
        }
    )
)
_INPUT = record(
    {
        "format": _FORMAT,
        "transcription": _TRANSCRIPTION,
        "turn_detection": _TURN_DETECTION,
        "noise_reduction": _NOISE_REDUCTION,
    }
)
_VOICE = any_of(record({"id": _short}, "id"), one_of(*REALTIME_VOICES))
_MODALITIES = array(one_of("text", "audio"), least=1, most=1)  # one or the other, never both
_TOOL = tagged(
    {
        "function": record(
            {"type": anything, "name": string(64), "description": string(), "parameters": free},
            "name",
        ),
        "mcp": free,
    }
)
_TOOL_CHOICE = any_of(
    tagged({"function": record({"type": anything, "name": _short}, "name"), "mcp": free}),
    one_of("none", "auto", "required"),
)
_MAX_TOKENS = any_of(one_of("inf"), integer(1, 4096))
_EFFORT = record({"effort": one_of("minimal", "low", "medium", "high", "xhigh")})
_TRUNCATION = any_of(
    record(
        {
            "type": one_of("retention_ratio"),
            "retention_ratio": number(0, 1),
            "token_limits": record({"post_instructions": integer(0)}),
        },
        "type",
        "retention_ratio",
    ),
    one_of("auto", "disabled"),
)
_TRACING = nullable(
    any_of(
        record({"group_id": string(), "metadata": free, "workflow_name": string()}), one_of("auto")
    )
)
_PROMPT = nullable(
    record({"id": string(), "variables": nullable(free), "version": nullable(string())}, "id")
)
_INCLUDE = array(one_of("item.input_audio_transcription.logprobs"))

TRANSCRIPTION_SESSION = record(
    {"type": anything, "audio": record({"input": _INPUT}), "include": _INCLUDE}
)
REALTIME_SESSION = record(
    {
        "type": anything,
        "model": _short,
        "instructions": string(1_000_000),
        "output_modalities": _MODALITIES,
        "audio": record(
            {
                "input": _INPUT,
                "output": record({"format": _FORMAT, "voice": _VOICE, "speed": number(0.25, 1.5)}),
            }
        ),
        "tools": array(_TOOL, most=128),
        "tool_choice": _TOOL_CHOICE,
        "parallel_tool_calls": boolean,
        "reasoning": _EFFORT,
        "max_output_tokens": _MAX_TOKENS,
        "truncation": _TRUNCATION,
        "tracing": _TRACING,
        "prompt": _PROMPT,
        "include": _INCLUDE,
    }
)
SESSION = tagged({"transcription": TRANSCRIPTION_SESSION, "realtime": REALTIME_SESSION})

# --- realtime events --------------------------------------------------------------------


def _content(*kinds: str) -> Check:
    return array(
        record(
            {
                "type": one_of(*kinds),
                "text": string(),
                "audio": string(),
                "transcript": string(),
                "image_url": string(),
                "detail": one_of("auto", "low", "high"),
            },
            "type",
        ),
        least=1,
    )


_ITEM = {
    "type": anything,
    "id": string(32),
    "object": one_of("realtime.item"),
    "status": one_of("completed", "incomplete", "in_progress"),
}


def _message(role: str, *kinds: str) -> Check:
    fields: dict[str, Check] = {**_ITEM, "role": one_of(role), "content": _content(*kinds)}
    return record(fields, "content")


ITEM = tagged(
    {
        "message": tagged(
            {
                "user": _message("user", "input_text", "input_audio", "input_image"),
                "assistant": _message("assistant", "output_text", "output_audio"),
                "system": _message("system", "input_text"),
            },
            "role",
        ),
        "function_call": record(
            {**_ITEM, "name": _short, "arguments": string(), "call_id": _short},
            "name",
            "arguments",
        ),
        "function_call_output": record(
            {**_ITEM, "call_id": _short, "output": string()}, "call_id", "output"
        ),
        "item_reference": record({"type": anything, "id": string(32)}, "id"),
    }
)
RESPONSE = record(
    {
        "audio": record({"output": record({"format": _FORMAT, "voice": _VOICE})}),
        "conversation": one_of("auto", "none"),
        "input": array(ITEM),
        "instructions": string(1_000_000),
        "max_output_tokens": _MAX_TOKENS,
        "metadata": _metadata,
        "output_modalities": _MODALITIES,
        "parallel_tool_calls": boolean,
        "prompt": _PROMPT,
        "reasoning": _EFFORT,
        "tool_choice": _TOOL_CHOICE,
        "tools": array(_TOOL, most=128),
    }
)


def _event(fields: dict[str, Check], *required: str) -> Check:
    return record({"type": anything, "event_id": _short, **fields}, *required)


CLIENT_EVENTS: dict[str, Check] = {
    "session.update": _event({"session": SESSION}, "session"),
    "input_audio_buffer.append": _event({"audio": string(2 * MAX_APPEND_BYTES)}, "audio"),
    "input_audio_buffer.commit": _event({}),
    "input_audio_buffer.clear": _event({}),
    "conversation.item.create": _event(
        {"item": ITEM, "previous_item_id": nullable(_short)}, "item"
    ),
    "conversation.item.retrieve": _event({"item_id": _short}, "item_id"),
    "conversation.item.delete": _event({"item_id": _short}, "item_id"),
    "conversation.item.truncate": _event(
        {"item_id": _short, "content_index": integer(0), "audio_end_ms": integer(0)},
        "item_id",
        "content_index",
        "audio_end_ms",
    ),
    "response.create": _event({"response": nullable(RESPONSE)}),
    "response.cancel": _event({"response_id": _short}),
}
# A transcription session has no conversation to answer in.
TRANSCRIPTION_EVENTS = frozenset(
    {
        "session.update",
        "input_audio_buffer.append",
        "input_audio_buffer.commit",
        "input_audio_buffer.clear",
        "conversation.item.retrieve",
        "conversation.item.delete",
    }
)

# --- HTTP -------------------------------------------------------------------------------

SPEECH = record(
    {
        "model": _short,
        "input": string(MAX_SPEECH_CHARS),
        "voice": any_of(record({"id": _short}, "id"), one_of(*SPEECH_VOICES)),
        "instructions": string(4096),
        "response_format": one_of("mp3", "opus", "aac", "flac", "wav", "pcm"),
        "speed": number(0.25, 4.0),
        "stream_format": one_of("sse", "audio"),
    },
    "model",
    "input",
    "voice",
)

_PART = tagged(
    {
        "text": record({"type": anything, "text": string()}, "text"),
        "image_url": free,
        "input_audio": free,
    }
)
_parts = any_of(array(_PART), string())
_TOOL_CALL = record(
    {
        "id": _short,
        "type": one_of("function"),
        "function": record({"name": _short, "arguments": string()}, "name", "arguments"),
    },
    "id",
    "type",
    "function",
)
_FUNCTION = {
    "name": string(64),
    "description": string(),
    "parameters": free,
    "strict": nullable(boolean),
}
_plain = {"role": anything, "content": _parts, "name": _short}
CHAT = record(
    {
        "model": _short,
        "messages": array(
            tagged(
                {
                    "developer": record(_plain, "content"),
                    "system": record(_plain, "content"),
                    "user": record(_plain, "content"),
                    "assistant": record(
                        {
                            **_plain,
                            "content": nullable(_parts),
                            "refusal": nullable(string()),
                            "audio": nullable(free),
                            "tool_calls": array(_TOOL_CALL),
                        }
                    ),
                    "tool": record(
                        {"role": anything, "content": _parts, "tool_call_id": _short},
                        "content",
                        "tool_call_id",
                    ),
                },
                "role",
            ),
            least=1,
        ),
        "stream": nullable(boolean),
        "stream_options": nullable(
            record({"include_usage": boolean, "include_obfuscation": boolean})
        ),
        "tools": array(
            tagged(
                {
                    "function": record(
                        {"type": anything, "function": record(_FUNCTION, "name")}, "function"
                    ),
                    "custom": free,
                }
            ),
            most=128,
        ),
        "tool_choice": any_of(free, one_of("none", "auto", "required")),
        "parallel_tool_calls": boolean,
        "temperature": nullable(number(0, 2)),
        "top_p": nullable(number(0, 1)),
        "n": nullable(integer(1, 1)),
        "stop": nullable(any_of(array(string(), most=4), string())),
        "max_tokens": nullable(integer(1)),
        "max_completion_tokens": nullable(integer(1)),
        "frequency_penalty": nullable(number(-2, 2)),
        "presence_penalty": nullable(number(-2, 2)),
        "logit_bias": nullable(free),
        "logprobs": nullable(boolean),
        "top_logprobs": nullable(integer(0, 20)),
        "metadata": _metadata,
        "modalities": nullable(array(one_of("text"))),
        "prediction": nullable(free),
        "prompt_cache_key": _short,
        "prompt_cache_options": free,
        "prompt_cache_retention": nullable(one_of("in_memory", "24h")),
        "reasoning_effort": nullable(one_of("none", "minimal", "low", "medium", "high", "xhigh")),
        "response_format": free,
        "safety_identifier": _short,
        "seed": nullable(integer()),
        "service_tier": nullable(one_of("auto", "default", "flex", "scale", "priority", "fast")),
        "store": nullable(boolean),
        "user": _short,
        "verbosity": nullable(one_of("low", "medium", "high")),
    },
    "model",
    "messages",
)

RESPONSES = record(
    {
        "model": _short,
        "input": any_of(array(free), string()),
        "instructions": nullable(string()),
        "stream": nullable(boolean),
        "stream_options": nullable(record({"include_obfuscation": boolean})),
        "tools": array(
            tagged({"function": record({**_FUNCTION, "type": anything}, "name"), "mcp": free}),
            most=128,
        ),
        "tool_choice": any_of(free, one_of("none", "auto", "required")),
        "parallel_tool_calls": nullable(boolean),
        "previous_response_id": nullable(_short),
        "conversation": nullable(any_of(free, string())),
        "background": nullable(boolean),
        "include": nullable(array(string())),
        "max_output_tokens": nullable(integer(16)),
        "max_tool_calls": nullable(integer(1)),
        "metadata": _metadata,
        "prompt": _PROMPT,
        "prompt_cache_key": _short,
        "prompt_cache_options": free,
        "prompt_cache_retention": nullable(one_of("in_memory", "24h")),
        "reasoning": nullable(free),
        "safety_identifier": _short,
        "service_tier": nullable(string()),
        "store": nullable(boolean),
        "temperature": nullable(number(0, 2)),
        "text": free,
        "top_logprobs": nullable(integer(0, 20)),
        "top_p": nullable(number(0, 1)),
        "truncation": nullable(one_of("auto", "disabled")),
        "user": _short,
    },
    "model",
)

# --- the stand-in's own -----------------------------------------------------------------

CONTROL_FAIL = record({"failures": array(string(500), least=1, most=100)}, "failures")
CONTROL_DROP = record({"code": integer(1000, 4999)})
