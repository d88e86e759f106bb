"""``teams_voice_call``: its schemas, and what its arguments become."""

from __future__ import annotations

import contextlib
import json
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teamscall.control import tool
from teamscall.control.protocol import End, Initiate, Speak, StatusOf
from teamscall.errors import ControlError, DeadlinePassed, DialError, ExitCode

SEEDS = [
    ({"action": "initiate_call", "to": "user:aad-object-id", "message": "Hello!"},
     Initiate(to="user:aad-object-id", message="Hello!")),
    ({"action": "speak", "callId": "teams-xxx", "message": "How can I help?"},
     Speak(call_id="teams-xxx", message="How can I help?")),
    ({"action": "end_call", "callId": "teams-xxx"}, End(call_id="teams-xxx")),
    ({"action": "get_status", "callId": "teams-xxx"}, StatusOf(call_id="teams-xxx")),
]  # fmt: skip
WRONG: list[tuple[object, str]] = [
    ([], "not a JSON object"),
    (None, "not a JSON object"),
    ({}, "no action"),
    ({"action": 7}, "not a text"),
    ({"action": "hang_up"}, "no action 'hang_up'"),
    ({"action": "initiate_call"}, "needs to"),
    ({"action": "initiate_call", "to": "  "}, "needs to"),
    ({"action": "initiate_call", "to": 5}, "to is not a text"),
    ({"action": "initiate_call", "to": "user:a", "mode": "shout"}, "notify or conversation"),
    ({"action": "initiate_call", "to": "user:a", "mesage": "Hi"}, "takes no mesage"),
    ({"action": "initiate_call", "to": "user:a", "message": "x" * 4001}, "longer than 4000"),
    ({"action": "initiate_call", "to": "user:a", "message": "\ud800"}, "surrogate"),
    ({"action": "speak", "callId": "c"}, "needs message"),
    ({"action": "speak", "message": "Hi"}, "needs callId"),
    ({"action": "end_call", "callId": "c", "message": "Bye"}, "takes no message"),
]


def validator(schema: dict[str, Any]) -> Any:
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed")
    kind = jsonschema.Draft202012Validator
    kind.check_schema(schema)
    return kind(schema)


def parameters(format_: tool.Format) -> dict[str, Any]:
    """The part of a definition that describes the arguments."""
    whole = tool.schema(format_)
    if format_ == "openai":
        whole = whole["function"]
    if format_ == "json-schema":
        return whole
    found: dict[str, Any] = whole["input_schema" if format_ == "anthropic" else "parameters"]
    return found


@pytest.mark.parametrize(("arguments", "asked"), SEEDS)
def test_the_examples_of_the_tool_become_what_they_say(
    arguments: dict[str, str], asked: object
) -> None:
    assert tool.checked(arguments) == asked
    assert validator(parameters("json-schema")).is_valid(arguments)
    assert validator(parameters("anthropic")).is_valid(arguments)
    # In strict mode every field is there; null is as good as left out.
    full = dict.fromkeys(parameters("openai")["properties"]) | arguments
    assert validator(parameters("openai")).is_valid(full)
    assert tool.checked(full) == asked


def test_status_needs_no_call() -> None:
    assert tool.checked({"action": "get_status"}) == StatusOf()
    assert tool.checked({"action": "get_status", "callId": ""}) == StatusOf()


@pytest.mark.parametrize(("arguments", "says"), WRONG)
def test_wrong_arguments_are_refused_with_what_is_wrong(arguments: object, says: str) -> None:
    with pytest.raises(tool.ArgumentsError, match=says) as caught:
        tool.checked(arguments)
    assert tool.failure(caught.value)["error"]["name"] == "invalid-arguments"
    assert caught.value.exit_code is ExitCode.USAGE
    if "surrogate" not in says:  # no schema can say that
        assert not validator(parameters("json-schema")).is_valid(arguments)


def test_a_misspelt_field_is_met_with_a_suggestion() -> None:
    with pytest.raises(tool.ArgumentsError) as caught:
        tool.checked({"action": "speak", "callid": "c", "message": "Hi"})
    assert caught.value.hint == "Did you mean callId?"


@pytest.mark.parametrize("format_", get_args(tool.Format))
def test_a_definition_has_the_name_and_the_description(format_: tool.Format) -> None:
    whole = tool.schema(format_)
    named = whole["function"] if format_ == "openai" else whole
    assert named["title" if format_ == "json-schema" else "name"] == "teams_voice_call"
    assert "Microsoft Teams" in named["description"]
    assert json.loads(json.dumps(whole)) == whole


@pytest.mark.parametrize("format_", ["openai", "openai-responses", "anthropic"])
def test_the_root_is_one_object_as_the_vendors_demand(format_: tool.Format) -> None:
    root = parameters(format_)
    assert root["type"] == "object"
    assert not {"oneOf", "anyOf", "allOf", "not", "enum", "$ref"} & set(root)
    assert root["additionalProperties"] is False
    assert "$ref" not in json.dumps(root)


@pytest.mark.parametrize("format_", ["openai", "openai-responses"])
def test_strict_mode_requires_every_field(format_: tool.Format) -> None:
    whole = tool.schema(format_)
    assert (whole["function"] if format_ == "openai" else whole)["strict"] is True
    root = parameters(format_)
    assert sorted(root["required"]) == sorted(root["properties"])
    allowed = {"type", "enum", "description"}
    assert all(set(field) <= allowed for field in root["properties"].values())


FIELDS = ("action", "to", "message", "callId", "mode", "tenant", "other")
VALUES = st.sampled_from(
    ("initiate_call", "speak", "end_call", "get_status", "notify", "user:a", "c", "", " ", None, 7)
)


@given(st.dictionaries(st.sampled_from(FIELDS), VALUES))
def test_what_the_full_schema_accepts_is_accepted_and_nothing_else_breaks(
    arguments: dict[str, object],
) -> None:
    valid = validator(parameters("json-schema")).is_valid(arguments)
    try:
        tool.checked(arguments)
    except tool.ArgumentsError:
        assert not valid or arguments.get("mode") in ("", " ")


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(FIELDS), inner),
)


@given(ANYTHING)
def test_nothing_but_the_one_error_comes_of_any_arguments(arguments: object) -> None:
    with contextlib.suppress(tool.ArgumentsError):
        assert isinstance(tool.checked(arguments), Initiate | Speak | End | StatusOf)


@pytest.mark.parametrize("text", ["", "{", "\x00", '{"action":', "[" * 5000, b"\xff\xfe", "NaN"])
def test_what_is_not_json_is_said_so(text: str | bytes) -> None:
    with pytest.raises(tool.ArgumentsError, match="not JSON"):
        tool.parsed(text)


def test_a_refusal_tells_the_gates_that_refused() -> None:
    gates = [
        {"gate": "enabled", "passed": True, "detail": "ok"},
        {"gate": "allowed", "passed": False, "detail": "user:a is not in outbound.allow_to."},
    ]
    refused = ControlError(
        -32004, "refused", "Refused.", hint="Ask.", exit_code=ExitCode.REFUSED,
        data={"gate": "allowed", "gates": gates},
    )  # fmt: skip
    told = tool.failure(refused)
    assert told["ok"] is False
    assert told["error"]["name"] == "refused"
    assert told["error"]["gates"] == [
        {"gate": "allowed", "detail": "user:a is not in outbound.allow_to."}
    ]


@pytest.mark.parametrize(
    ("error", "name"),
    [(DialError("No bridge runs."), "no-bridge"), (DeadlinePassed("x", "Too late."), "timeout")],
)
def test_what_kept_the_bridge_from_being_asked_has_a_name(error: Any, name: str) -> None:
    assert tool.failure(error)["error"]["name"] == name
