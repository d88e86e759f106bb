"""``POST /chat/completions`` and ``POST /responses``: text, streamed or whole, and tools."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from teamscall.testing import shapes
from teamscall.testing.cloud import Cloud, new_id
from teamscall.testing.door import Request
from teamscall.testing.failures import Drop, Empty, Failure, Report, Stall, spare
from teamscall.testing.settings import Answer, choose
from teamscall.testing.strict import Wrong
from teamscall.testing.visits import Json

_TOKEN = re.compile(r"\s*\S+\s*$|\s*\S+")


def tokens(text: str) -> list[str]:
    """``text`` in the pieces in which a model would say it; joined they are ``text``."""
    return _TOKEN.findall(text)


# --- chat -------------------------------------------------------------------------------


async def chat(cloud: Cloud, request: Request, body: Json, failure: Failure | None) -> None:
    """Answer one request, as planned."""
    shapes.CHAT(body, "")
    cloud.check_model(body["model"], "text", "/v1/chat/completions")
    if body.get("stream_options") is not None and not body.get("stream"):
        raise Wrong(
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
            param="stream_options",
        )
    _check_tool_results(body["messages"])
    answer = _answer_to(cloud, body["messages"], body.get("tools") or [])
    about = {"id": new_id("chatcmpl"), "created": cloud.clock.wall_ms() // 1000}
    about["model"] = body["model"]
    usage = _usage(json.dumps(body["messages"]), answer)
    if not body.get("stream"):
        await _whole(cloud, request, _chat_body(about, answer, usage), failure)
        return
    await _stream(cloud, request, _chat_chunks(about, answer, body, usage), failure, preamble=1)


def _chat_body(about: Json, answer: Answer, usage: Json) -> Json:
    message: Json = {"role": "assistant", "content": answer.say or None, "refusal": None}
    if answer.tool:
        message["tool_calls"] = [_tool_call(answer)]
    choice = {"index": 0, "message": message, "logprobs": None}
    choice["finish_reason"] = "tool_calls" if answer.tool else "stop"
    return {**about, "object": "chat.completion", "choices": [choice], "usage": usage}


def _chat_chunks(about: Json, answer: Answer, body: Json, usage: Json) -> Iterator[bytes]:
    counted = bool((body.get("stream_options") or {}).get("include_usage"))
    head = {**about, "object": "chat.completion.chunk"}
    if counted:
        head["usage"] = None  # until the last chunk

    def chunk(delta: Json, finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return _sse({**head, "choices": [choice]})

    yield chunk({"role": "assistant", "content": None if answer.tool else "", "refusal": None})
    if answer.tool:
        call = _tool_call(answer)
        begun = {**call["function"], "arguments": ""}
        yield chunk({"tool_calls": [{"index": 0, **call, "function": begun}]})
        for piece in _halves(answer.arguments):
            yield chunk({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]})
    for token in tokens(answer.say):
        yield chunk({"content": token})
    yield chunk({}, "tool_calls" if answer.tool else "stop")
    if counted:
        yield _sse({**head, "choices": [], "usage": usage})
    yield b"data: [DONE]\n\n"


def _tool_call(answer: Answer) -> Json:
    function = {"name": answer.tool, "arguments": answer.arguments}
    return {"id": new_id("call"), "type": "function", "function": function}


def _check_tool_results(messages: list[Json]) -> None:
    asked: set[str] = set()
    for index, message in enumerate(messages):
        asked |= {call["id"] for call in message.get("tool_calls", ())}
        if message["role"] == "tool" and message["tool_call_id"] not in asked:
            raise Wrong(
                "Invalid parameter: messages with role 'tool' must be a response to a preceeding "
                "message with 'tool_calls'.",
                param=f"messages.[{index}].role",
            )


# --- responses --------------------------------------------------------------------------


async def responses(cloud: Cloud, request: Request, body: Json, failure: Failure | None) -> None:
    """Answer one request, as planned."""
    shapes.RESPONSES(body, "")
    cloud.check_model(body["model"], "text", "/v1/responses")
    given = body.get("input", "")
    items = [{"role": "user", "content": given}] if isinstance(given, str) else given
    answer = _answer_to(cloud, items, body.get("tools") or [])
    response: Json = {
        "id": new_id("resp"),
        "object": "response",
        "created_at": cloud.clock.wall_ms() // 1000,
        "status": "in_progress",
        "model": body["model"],
        "instructions": body.get("instructions"),
        "metadata": body.get("metadata") or {},
        "output": [],
        "parallel_tool_calls": body.get("parallel_tool_calls") is not False,
        "tool_choice": body.get("tool_choice", "auto"),
        "tools": body.get("tools") or [],
        "error": None,
        "incomplete_details": None,
        "usage": None,
    }
    usage = response_usage(json.dumps(items), answer)
    if not body.get("stream"):
        done = {**response, "status": "completed", "output": [_output(answer, "")], "usage": usage}
        await _whole(cloud, request, done, failure)
        return
    events = (
        f"event: {event['type']}\n".encode() + _sse(event)
        for event in response_events(response, answer, usage)
    )
    await _stream(cloud, request, events, failure, preamble=3 if answer.tool else 4)


def response_usage(question: str, answer: Answer) -> Json:
    """What an answer used, as responses tell it."""
    used = _usage(question, answer)
    return {
        "input_tokens": used["prompt_tokens"],
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": used["completion_tokens"],
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": used["total_tokens"],
    }


def _output(answer: Answer, call_id: str) -> Json:
    if answer.tool:
        item = {"id": new_id("fc"), "type": "function_call", "status": "completed"}
        item |= {
            "call_id": call_id or new_id("call"),
            "name": answer.tool,
            "arguments": answer.arguments,
        }
        return item
    part = {"type": "output_text", "text": answer.say, "annotations": [], "logprobs": []}
    return {
        "id": new_id("msg"),
        "type": "message",
        "status": "completed",
        "role": "assistant",
        "content": [part],
    }


def response_events(
    response: Json, answer: Answer, usage: Json, *, call_id: str = "", brief: bool = False
) -> Iterator[Json]:
    """The events of a streamed response. ``call_id``: of the tool call, if it is one;
    ``brief``: the last event leaves out what those before it said."""
    number = -1

    def event(type_: str, **fields: object) -> Json:
        nonlocal number
        number += 1
        return {"type": type_, "sequence_number": number, **fields}

    item = _output(answer, call_id)
    place: dict[str, Any] = {"item_id": item["id"], "output_index": 0}
    yield event("response.created", response=response)
    yield event("response.in_progress", response=response)
    begun = {**item, "status": "in_progress"}
    if answer.tool:
        begun["arguments"] = ""
        yield event("response.output_item.added", output_index=0, item=begun)
        for piece in _halves(answer.arguments):
            yield event("response.function_call_arguments.delta", **place, delta=piece)
        whole_call = {**place, "arguments": answer.arguments}
        yield event("response.function_call_arguments.done", **whole_call)
    else:
        begun["content"] = []
        yield event("response.output_item.added", output_index=0, item=begun)
        spot = {**place, "content_index": 0}
        part = item["content"][0]
        yield event("response.content_part.added", **spot, part={**part, "text": ""})
        for token in tokens(answer.say):
            yield event("response.output_text.delta", **spot, delta=token, logprobs=[])
        yield event("response.output_text.done", **spot, text=answer.say, logprobs=[])
        yield event("response.content_part.done", **spot, part=part)
    yield event("response.output_item.done", output_index=0, item=item)
    output = [] if brief else [item]
    whole = {**response, "status": "completed", "output": output, "usage": usage}
    yield event("response.completed", response=whole)


# --- both -------------------------------------------------------------------------------


def _answer_to(cloud: Cloud, messages: list[Json], tools: list[Json]) -> Answer:
    """The script's answer to the last words of the user."""
    heard = ""
    result: str | None = None
    for message in messages:
        if message.get("role") == "user":
            heard, result = text_of(message.get("content")), None
        elif message.get("role") == "tool":
            result = text_of(message.get("content"))
        elif message.get("type") == "function_call_output":
            result = text_of(message.get("output"))
    answer = choose(cloud.settings.script, heard, result)
    names = [_tool_name(tool) for tool in tools]
    if answer.tool and answer.tool not in names:
        return Answer(say=f"I would call {answer.tool}, but was not given it.")
    return answer


def _tool_name(tool: Json) -> object:
    function = tool.get("function")  # chat completions have it one level down
    return function.get("name") if isinstance(function, dict) else tool.get("name")


def text_of(content: object) -> str:
    """The text in a message's content: a string, or a list of parts."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        texts = (part.get("text") for part in content if isinstance(part, dict))
        return " ".join(text for text in texts if isinstance(text, str))
    return ""


async def _whole(cloud: Cloud, request: Request, body: Json, failure: Failure | None) -> None:
    if isinstance(failure, Stall):
        await request.stall()
    if isinstance(failure, Drop):
        request.abort()
    await request.pause(cloud.settings.think_ms / 1000)
    if isinstance(failure, Report):
        raise Wrong(failure.message, code=failure.code, status=500, type_="server_error")
    if isinstance(failure, Empty):
        await request.start(200, [("content-type", "application/json"), ("content-length", "0")])
        await request.end()
        return
    await request.json(200, body)


async def _stream(
    cloud: Cloud,
    request: Request,
    events: Iterator[bytes],
    failure: Failure | None,
    *,
    preamble: int,
) -> None:
    """``preamble``: how many of the events come before the first token, and with it."""
    if isinstance(failure, Stall) and not failure.headers:
        await request.stall()
    await request.start(200, [("content-type", "text/event-stream; charset=utf-8")])
    pieces = [] if isinstance(failure, Empty) else list(events)
    for index, piece in enumerate(pieces[: spare(len(pieces), failure)]):
        if index == 0:
            await request.pause(cloud.settings.think_ms / 1000)
        elif index > preamble:
            await request.pause(cloud.settings.token_ms / 1000)
        await request.send(piece)
    if isinstance(failure, Stall):
        await request.stall()
    if isinstance(failure, Drop):
        request.abort()
    if isinstance(failure, Report):
        error = {"type": "server_error", "code": failure.code, "message": failure.message}
        await request.send(_sse({"error": {**error, "param": None}}))
    await request.end()


def _usage(question: str, answer: Answer) -> Json:
    asked = max(1, len(question) // 4)
    said = max(1, len(answer.say or answer.arguments) // 4)
    return {
        "prompt_tokens": asked,
        "completion_tokens": said,
        "total_tokens": asked + said,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
    }


def _halves(text: str) -> list[str]:
    middle = (len(text) + 1) // 2
    return [half for half in (text[:middle], text[middle:]) if half]


def _sse(event: object) -> bytes:
    return f"data: {json.dumps(event)}\n\n".encode()
