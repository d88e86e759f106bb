"""The tools of a bridge: hanging up, and what the operator's configuration adds.

Owns how a tool is checked, used and bounded. Refuses to know which model asks and what a
tool is for.

A tool is told one JSON object, on stdin or by POST::

    {"call": {"id": "…", "direction": "inbound", "callerName": "…"},
     "tool": "book_room", "arguments": {"room": "4.01"}}

and what it prints, or the body of its 2xx answer, is the result. Whatever goes wrong is a
result too, ``{"error": "…"}``: the model tells the caller, or tries something else.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from teamscall.asking import ask_command, ask_url, outside_environment, prepare_url
from teamscall.config import Tool
from teamscall.engines.base import CallBrief
from teamscall.engines.tools import ToolResult, ToolSpec
from teamscall.errors import AskError

log = logging.getLogger("teamscall.engines")

MAX_ARGUMENTS_BYTES = 65_536  # of JSON that a model wrote
MAX_OUTPUT_BYTES = 8_192  # about 2,000 tokens: a model reads it again at every turn
DONE = '{"ok":true}'  # for a tool that says nothing

END_CALL = ToolSpec(
    "end_call",
    "Hang up the phone. Use it when the caller says goodbye or wants to end the call, or when "
    "everything is settled. Say a short goodbye first; nothing can be said afterwards.",
    {"type": "object", "properties": {}},
)

_UNREADABLE = frozenset({"Cc", "Cs", "Co"})

_IS: Mapping[str, Callable[[object], bool]] = {
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: (
        not isinstance(value, bool)
        and (isinstance(value, int) or (isinstance(value, float) and value.is_integer()))
    ),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
    "null": lambda value: value is None,
}


class Toolbox:
    """The :class:`teamscall.engines.tools.Tools` of a bridge.

    Args:
        tools: as configured.
        end_call: whether models may hang up.
    """

    def __init__(self, tools: Sequence[Tool] = (), *, end_call: bool = True) -> None:
        self._tools = {tool.name: tool for tool in tools}
        self._ends_calls = end_call
        own = tuple(ToolSpec(tool.name, tool.description, tool.parameters) for tool in tools)
        self._specs = (END_CALL, *own) if end_call else own

    @property
    def specs(self) -> tuple[ToolSpec, ...]:
        return self._specs

    def prepare(self) -> None:
        """Import what a URL needs now, not during a call."""
        if any(tool.url for tool in self._tools.values()):
            prepare_url()

    async def use(self, call: CallBrief, name: str, arguments: str) -> ToolResult:
        if name == END_CALL.name and self._ends_calls:
            return ToolResult(DONE, end_call=True)
        tool = self._tools.get(name)
        if tool is None:
            # Its name is the model's own invention: not for the log.
            return _failed(f"there is no tool {name[:64]}")
        try:
            given = read_arguments(arguments, tool.parameters)
        except ValueError as error:
            log.warning("A tool was given wrong arguments", extra={"tool": name})
            return _failed(str(error))
        began = time.monotonic()
        said = problem = ""
        try:
            async with asyncio.timeout(tool.timeout_ms / 1000):
                output = await _ask(tool, _question(call, name, given))
        except TimeoutError:
            problem = f"no result within {tool.timeout_ms} ms"
        except AskError as error:
            problem, said = error.message, error.said
        about = {"tool": name, "ms": round((time.monotonic() - began) * 1000)}
        if problem:
            log.warning("A tool failed: %s", problem, extra=about)
            return _failed(f"{problem}: {said}" if said else problem)
        log.info("A tool was used", extra=about)
        return ToolResult(readable(output) or DONE)


async def _ask(tool: Tool, question: bytes) -> bytes:
    if tool.url:
        return await ask_url(tool.url, question)
    return await ask_command(tool.command, question, env=outside_environment())


def _question(call: CallBrief, name: str, arguments: Mapping[str, Any]) -> bytes:
    about = {"id": call.call_id, "direction": call.direction, "callerName": call.caller_name}
    return json.dumps({"call": about, "tool": name, "arguments": arguments}).encode()


def _failed(problem: str) -> ToolResult:
    return ToolResult(json.dumps({"error": problem}, ensure_ascii=False))


def read_arguments(text: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    """What a model wrote as arguments; "" counts as none.

    Checked are what models get wrong: required properties, simple types and enumerations
    of the outermost object. The rest is for the tool to judge.

    Raises:
        ValueError: they are wrong; the message is for the model.
    """
    if len(text) > MAX_ARGUMENTS_BYTES:
        raise ValueError("the arguments are too long")
    try:
        given = json.loads(text or "{}")
    except (ValueError, RecursionError):
        raise ValueError("the arguments are not JSON") from None
    if not isinstance(given, dict):
        raise ValueError("the arguments are not a JSON object")
    properties: Mapping[str, Any] = schema.get("properties", {})
    if missing := [name for name in schema.get("required", ()) if name not in given]:
        raise ValueError(f"missing: {', '.join(missing)}")
    for name, value in given.items():
        if name not in properties:
            if schema.get("additionalProperties") is False:
                raise ValueError(f"there is no argument {name[:64]}")
            continue
        wanted = properties[name].get("type")
        types = wanted if isinstance(wanted, list) else [wanted]
        known = [one for one in types if one in _IS]
        if known and not any(_IS[one](value) for one in known):
            raise ValueError(f"{name} must be of type {' or '.join(known)}")
        choices = properties[name].get("enum")
        if isinstance(choices, list) and value not in choices:
            raise ValueError(f"{name} must be one of {json.dumps(choices, ensure_ascii=False)}")
    return given


def readable(output: bytes) -> str:
    """A tool's output without control characters, and no longer than is good for a model."""
    cut = output[:MAX_OUTPUT_BYTES].decode("utf-8", "replace").rstrip("\ufffd")
    text = "".join(c for c in cut if c in "\n\t" or unicodedata.category(c) not in _UNREADABLE)
    return text.strip() + (" … (cut)" if len(output) > MAX_OUTPUT_BYTES else "")
