"""The shapes of the Live API's client events, as the official SDK declares them.

What the SDK declares and this stand-in does not do (decisions, audio fixtures, forks) is
refused as unknown.
"""

from __future__ import annotations

from teamscall.testing.catalogue import LIVE_VOICES
from teamscall.testing.shapes import MAX_APPEND_BYTES
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
    one_of,
    record,
    string,
    tagged,
)

MAX_CONTENT_TOKENS = 500
MAX_INSTRUCTIONS_TOKENS = 16_384
MAX_HISTORY_TOKENS = 8_192
MAX_HISTORY = 128
CHARS_PER_TOKEN = 4  # of English; the real tokeniser is not here

_short = string(512)


def _text(tokens: int) -> Check:
    def check(value: object, path: str) -> None:
        string()(value, path)
        if len(str(value)) > tokens * CHARS_PER_TOKEN:
            raise Wrong(
                f"Invalid '{path}': expected at most {tokens} tokens.",
                code="token_limit_exceeded",
                param=path,
            )

    return check


_FORMAT = tagged(
    {
        "audio/pcm": record({"type": anything, "rate": one_of(16_000, 24_000)}, "rate"),
        "audio/pcmu": record({"type": anything, "rate": one_of(8_000)}, "rate"),
        "audio/pcma": record({"type": anything, "rate": one_of(8_000)}, "rate"),
    }
)
_FUNCTION = {
    "type": anything,
    "name": string(64),
    "description": string(),
    "parameters": free,
    "strict": boolean,
}
_BACKEND: dict[str, Check] = {
    "model": _short,
    "instructions": string(),
    "max_output_tokens": integer(1),
    "parallel_tool_calls": boolean,
    "reasoning": record(
        {
            "effort": one_of("none", "minimal", "low", "medium", "high", "xhigh"),
            "summary": one_of("concise", "detailed", "auto"),
        }
    ),
    "service_tier": one_of(
        *("auto", "default", "fast_tier_temp_pilot", "flex", "priority", "ultrafast")
    ),
    "text": record({"verbosity": one_of("low", "medium", "high")}),
    "tool_choice": any_of(free, one_of("none", "auto", "required")),
    "tools": array(
        tagged({"function": record(_FUNCTION, "name"), "web_search": free, "mcp": free}), most=128
    ),
}


def _delegation(*required: str) -> Check:
    delay = {"acknowledgement_delay_ms": integer(0, 60_000)}
    backend = record(_BACKEND, *required)
    responses = {"type": anything, **delay, "responses": backend}
    return nullable(
        tagged(
            {
                "client": record({"type": anything, **delay}),
                "responses": record(responses, *(("responses",) if required else ())),
            }
        )
    )


def _line(kind: str, *more: str) -> Check:
    part = record({"type": one_of(kind, *more), "text": string()}, "text")
    fields = {
        "type": one_of("message"),
        "role": anything,
        "id": _short,
        "status": one_of("incomplete", "completed"),
        "content": array(part, least=1, most=1),
    }
    return record(fields, "content")


_HISTORY = array(
    tagged(
        {
            "developer": _line("input_text"),
            "user": _line("input_text"),
            "assistant": _line("output_text", "text"),
        },
        "role",
    ),
    most=MAX_HISTORY,
)


def _history(value: object, path: str) -> None:
    _HISTORY(value, path)
    assert isinstance(value, list)
    chars = sum(len(item["content"][0]["text"]) for item in value)
    if chars > MAX_HISTORY_TOKENS * CHARS_PER_TOKEN:
        raise Wrong(
            f"Invalid '{path}': expected at most {MAX_HISTORY_TOKENS} tokens.",
            code="token_limit_exceeded",
            param=path,
        )


_VOICE = any_of(record({"id": _short}, "id"), one_of(*LIVE_VOICES))
_SESSION = record(
    {
        "model": _short,
        "audio": record({"format": _FORMAT, "output": record({"voice": _VOICE})}),
        "delegation": _delegation("model"),
        "input": _history,
        "instructions": _text(MAX_INSTRUCTIONS_TOKENS),
        "safety_identifier": _short,
        "store": boolean,
    },
    "model",
)


def _event(fields: dict[str, Check], *required: str) -> Check:
    return record({"type": anything, "event_id": _short, **fields}, *required)


_append = _event(
    {"content": _text(MAX_CONTENT_TOKENS), "delegation_id": nullable(_short)},
    *("content", "delegation_id"),
)

CLIENT_EVENTS: dict[str, Check] = {
    "session.start": _event({"session": _SESSION}, "session"),
    "session.update": _event({"session": record({"delegation": _delegation()})}, "session"),
    "session.close": _event({}),
    "session.input_audio.append": _event({"audio": string(2 * MAX_APPEND_BYTES)}, "audio"),
    "session.input_audio.mute": _event({}),
    "session.input_audio.unmute": _event({}),
    "session.instructions.append": _append,
    "session.thinking.append": _append,
    "session.commentary.append": _append,
    "response.item.create": _event(
        {
            "item": any_of(
                record(
                    {"type": one_of("message"), "role": one_of("user"), "content": anything},
                    *("role", "content"),
                ),
                record(
                    {
                        "type": one_of("function_call_output"),
                        "id": _short,
                        "call_id": string(64),
                        "output": string(),
                        "status": one_of("in_progress", "completed", "incomplete"),
                    },
                    *("type", "call_id", "output"),
                ),
            )
        },
        "item",
    ),
    "response.create": _event({}),
}
