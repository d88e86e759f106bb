"""Tables of which an operator writes as many as wanted: ``[[tools]]``, ``[[webhooks]]`` and
``[prices."model"]``.

Owns their keys and the way from TOML to them. They come from the file only: there is no
environment variable and no flag for one of many.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import field

from teamscall.config.keys import SET, key, url
from teamscall.config.secret import Secret

TOOL_NAME = r"^[A-Za-z0-9_-]{1,64}\Z"  # what every vendor takes
_SECRET_KEYS = ("secret", "secret_file", "secret_env")
BUILT_IN_TOOLS = frozenset({"end_call"})
NO_PARAMETERS: dict[str, Any] = {"type": "object", "properties": {}}


class Tool(msgspec.Struct, frozen=True):
    """Something that a model may do in a call: a command that is run, or a URL."""

    name: Annotated[
        str,
        key(
            "What the model calls it.",
            pattern=TOOL_NAME,
            allowed="1 to 64 letters, digits, _ and -",
        ),
    ]
    description: Annotated[
        str, key("What it does, for the model.", pattern=SET, allowed="a text that is not empty")
    ]
    parameters: Annotated[
        dict[str, Any],
        key("Its arguments, as a JSON Schema: a table, or JSON text.", kind="schema"),
    ] = field(default_factory=lambda: dict(NO_PARAMETERS))
    command: Annotated[
        tuple[str, ...],
        key("Process that gets JSON on stdin and prints the result.", kind="command"),
    ] = ()
    url: Annotated[str, url("URL that gets JSON by POST and answers with the result.")] = ""
    timeout_ms: Annotated[
        int, key("A result must be there within.", unit="ms", ge=50, le=30_000)
    ] = 5000


EventName = Literal["call.started", "call.answered", "call.turn", "call.ended", "outbound.ended"]


class Webhook(msgspec.Struct, frozen=True):
    """Who is told about calls: a URL or a command."""

    url: Annotated[str, url("URL that gets JSON by POST, signed.")] = ""
    command: Annotated[
        tuple[str, ...], key("Process that gets JSON on stdin.", kind="command")
    ] = ()
    events: Annotated[tuple[EventName, ...], key("Which events; empty: all of them.")] = ()
    secret: Annotated[
        Secret, key("Signs what a url gets, as Standard Webhooks do (whsec_...).")
    ] = field(default_factory=Secret)
    secret_file: Annotated[str, key("File that holds secret.", kind="path")] = ""
    secret_env: Annotated[str, key("Environment variable that holds secret.")] = ""
    transcripts: Annotated[
        bool,
        key("With what was said in a turn, where journal.transcripts would keep it."),
    ] = False
    timeout_ms: Annotated[
        int, key("A delivery may take this long.", unit="ms", ge=100, le=60_000)
    ] = 10_000
    attempts: Annotated[
        int, key("Deliveries that are tried before an event is given up.", ge=1, le=20)
    ] = 6


class Price(msgspec.Struct, frozen=True):
    """What a model costs, by what the vendor counts."""

    input: Annotated[float, key("For a million input tokens.", ge=0, le=1_000_000)] = 0.0
    cached_input: Annotated[
        float, key("For a million cached input tokens; 0: as input.", ge=0, le=1_000_000)
    ] = 0.0
    output: Annotated[float, key("For a million output tokens.", ge=0, le=1_000_000)] = 0.0
    audio_input: Annotated[
        float, key("For a million input tokens of audio; 0: as input.", ge=0, le=1_000_000)
    ] = 0.0
    audio_output: Annotated[
        float, key("For a million output tokens of audio; 0: as output.", ge=0, le=1_000_000)
    ] = 0.0
    minute: Annotated[float, key("For a minute of audio.", ge=0, le=1_000_000)] = 0.0
    characters: Annotated[float, key("For a million characters spoken.", ge=0, le=1_000_000)] = 0.0
    currency: Annotated[
        str, key("In which currency.", pattern=r"^[A-Z]{3}\Z", allowed="a code such as USD")
    ] = "USD"


ENTRIES: Mapping[str, type[msgspec.Struct]] = {
    "tools": Tool,
    "prices": Price,
    "webhooks": Webhook,
}
HEADERS = {"tools": "[[tools]]", "prices": '[prices."MODEL"]', "webhooks": "[[webhooks]]"}


def parameters_schema(value: object) -> dict[str, Any]:
    """A tool's ``parameters`` as a dict.

    Raises:
        ValueError: it is no JSON Schema of an object.
    """
    try:
        if isinstance(value, str):
            value = json.loads(value)
        json.dumps(value, allow_nan=False)
    except (TypeError, RecursionError) as error:  # TOML has dates, JSON has none
        raise ValueError("not JSON") from error
    if not isinstance(value, dict):
        raise ValueError("not a table")
    schema = {"type": "object", "properties": {}, **value}
    properties, required = schema["properties"], schema.get("required", [])
    if schema["type"] != "object" or not isinstance(properties, dict):
        raise ValueError("not an object's schema")
    if not all(isinstance(one, dict) for one in properties.values()):
        raise ValueError("a property is not a table")
    if not isinstance(required, list) or not all(name in properties for name in required):
        raise ValueError("a required property is not there")
    return schema


def listed(
    tools: tuple[Tool, ...], prices: Mapping[str, Price], webhooks: tuple[Webhook, ...] = ()
) -> Iterator[tuple[str, object]]:
    """(path, value) of every key of every entry: ``tools[0].name``, ``prices."m".input``."""
    named: list[tuple[str, msgspec.Struct]] = [
        (f"tools[{number}]", tool) for number, tool in enumerate(tools)
    ]
    named += [(f"webhooks[{number}]", webhook) for number, webhook in enumerate(webhooks)]
    named += [(f'prices."{model}"', price) for model, price in prices.items()]
    for place, entry in named:
        for name in entry.__struct_fields__:
            yield f"{place}.{name}", getattr(entry, name)


def told_of_webhooks(webhooks: Mapping[str, Mapping[str, object]]) -> Iterator[tuple[str, str]]:
    """(place, problem) of what each key alone does not show; ``webhooks`` by place."""
    for place, webhook in webhooks.items():
        if bool(webhook.get("command")) == bool(webhook.get("url")):
            yield place, "give it a url or a command, and not both"
        elif webhook.get("command") and any(webhook.get(key) for key in _SECRET_KEYS):
            yield place, "a command gets no signature: leave its secret out"


def told_together(tools: Mapping[str, Mapping[str, object]]) -> Iterator[tuple[str, str]]:
    """(place, problem) of what each key alone does not show; ``tools`` by place."""
    seen: dict[object, str] = {}
    for place, tool in tools.items():
        name = tool.get("name")
        if name in BUILT_IN_TOOLS:
            yield f"{place}.name", f"{name} is a tool that is there already; take another name"
        elif name in seen:
            yield f"{place}.name", f"{seen[name]} has the same name; each needs its own"
        if name is not None:
            seen.setdefault(name, place)
        if bool(tool.get("command")) == bool(tool.get("url")):
            yield place, "give it a command or a url, and not both"
