"""A chat mind uses tools, counts tokens, and asks again where that helps."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from engines_openai_rig import Cloud, cloud
from engines_rig import CALL, eventually, run
from test_engines_minds import Endpoint, answered, ask, delta

from teamscall.config import Tool
from teamscall.engines.base import CallBrief, EngineUsage
from teamscall.engines.minds.chat import MAX_ROUNDS, ChatMind
from teamscall.engines.minds.retrying import MAX_RETRY_AFTER_S, RETRY_S, retry_after_s
from teamscall.engines.minds.tool_calls import MAX_CALLS, ToolCall, ToolCallReader
from teamscall.engines.parts import Line, Question, Thought
from teamscall.engines.toolbox import Toolbox
from teamscall.engines.tools import ToolResult, Tools
from teamscall.errors import EngineError
from teamscall.testing import Answer, Drop, Refuse, Script, Settings

MODEL = "gpt-6-luna"
NOTE = Tool(
    name="note",
    description="Takes a note.",
    parameters={"type": "object", "properties": {"text": {"type": "string"}}},
    command=("true",),
)


class Notes(Toolbox):
    """A toolbox whose one tool is done here."""

    def __init__(self, output: str = "noted", *, end_call: bool = True) -> None:
        super().__init__([NOTE], end_call=end_call)
        self.output = output
        self.used: list[tuple[str, str]] = []
        self.wait: asyncio.Event | None = None

    async def use(self, call: CallBrief, name: str, arguments: str) -> ToolResult:
        self.used.append((name, arguments))
        if self.wait is not None:
            await self.wait.wait()
        if name == "note":
            return ToolResult(self.output)
        return await super().use(call, name, arguments)


# The stand-in says the words with the call, and again with its result.
SCRIPT = Script(
    answer=(
        Answer(to="note", say="Noted: {result}. ", tool="note", arguments='{"text": "x"}'),
        Answer(to="bye", say="Goodbye!", tool="end_call"),
        Answer(to="", say="You said: {heard}"),
    )
)


def with_cloud(
    check: Callable[[Cloud, ChatMind], object],
    *,
    tools: Tools | None = None,
    is_openai: bool = True,
    script: Script = SCRIPT,
) -> None:
    with cloud(Settings(script=script)) as there:

        async def whole() -> None:
            mind = ChatMind(
                base_url=there.fake.base_url,
                api_key=there.fake.api_key,
                model=MODEL,
                tools=tools,
                is_openai=is_openai,
            )
            try:
                await check(there, mind)  # type: ignore[misc]
            finally:
                await mind.close()

        run(whole)


def said(thoughts: list[Thought]) -> str:
    return "".join(thought.text for thought in thoughts)


# --- against the strict stand-in --------------------------------------------------------


def test_a_tool_is_used_and_its_result_is_spoken_of() -> None:
    notes = Notes()

    async def check(there: Cloud, mind: ChatMind) -> None:
        thoughts = await answered(mind, ask("Take a note."))
        assert said(thoughts) == "Noted: {result}. Noted: noted. "
        assert not any(thought.end_call for thought in thoughts)
        assert notes.used == [("note", '{"text": "x"}')]
        first, second = there.asked("/chat/completions")
        assert [tool["function"]["name"] for tool in first["tools"]] == ["end_call", "note"]
        assert [message["role"] for message in second["messages"]] == [
            *("system", "user", "assistant", "tool"),
        ]

    with_cloud(check, tools=notes)


def test_without_tools_none_are_sent() -> None:
    async def check(there: Cloud, mind: ChatMind) -> None:
        await answered(mind, ask("hello"))
        (body,) = there.asked("/chat/completions")
        assert set(body) == {"model", "messages", "stream"}

    with_cloud(check, is_openai=False)


def test_later_turns_remember_what_a_tool_did() -> None:
    async def check(there: Cloud, mind: ChatMind) -> None:
        await answered(mind, ask("Take a note.", 3))
        history = (
            *(Line("caller", "Hi."), Line("bot", "Hello.")),
            *(Line("caller", "Take a note."), Line("bot", "Noted:")),
        )
        question = Question(CALL, 4, "And now?", history=history, turns=(2, 2, 3, 3))
        assert said(await answered(mind, question)) == "You said: And now?"
        messages = there.asked("/chat/completions")[-1]["messages"]
        assert [(m["role"], m.get("content")) for m in messages[1:]] == [
            ("user", "Hi."),
            ("assistant", "Hello."),
            ("user", "Take a note."),
            ("assistant", None),
            ("tool", "noted"),
            ("assistant", "Noted:"),
            ("user", "And now?"),
        ]
        # A turn that was forgotten takes what its tools did with it.
        other = Question(CALL, 5, "Well?", history=history[:2], turns=(2, 2))
        await answered(mind, other)
        roles = [m["role"] for m in there.asked("/chat/completions")[-1]["messages"]]
        assert roles == ["system", "user", "assistant", "user"]

    with_cloud(check, tools=Notes())


def test_a_goodbye_that_comes_with_the_call_is_not_said_again() -> None:
    async def check(there: Cloud, mind: ChatMind) -> None:
        thoughts = await answered(mind, ask("OK, bye."))
        assert said(thoughts) == "Goodbye!"
        assert thoughts[-1] == Thought(end_call=True)
        assert len(there.asked("/chat/completions")) == 1

    with_cloud(check, tools=Toolbox())


def test_tokens_are_counted_where_the_service_counts_them() -> None:
    async def check(there: Cloud, mind: ChatMind) -> None:
        thoughts = await answered(mind, ask("Take a note.", 7))
        used = [thought.usage for thought in thoughts if thought.usage is not None]
        assert [(u.stage, u.model, u.turn) for u in used] == [("think", MODEL, 7)] * 2
        assert all(u.input_tokens > 10 and u.output_tokens > 0 for u in used)
        assert there.asked("/chat/completions")[0]["stream_options"] == {"include_usage": True}

    with_cloud(check, tools=Notes())


def test_no_tool_is_used_before_the_caller_has_finished() -> None:
    notes = Notes()

    async def check(there: Cloud, mind: ChatMind) -> None:
        confirmed = asyncio.Event()
        question = Question(CALL, 1, "Take a note.", confirmed=confirmed)
        async with asyncio.TaskGroup() as group:
            answering = group.create_task(answered(mind, question))
            await eventually(lambda: bool(there.asked("/chat/completions")))
            await asyncio.sleep(0.05)
            assert notes.used == []
            confirmed.set()
        assert len(notes.used) == 1
        assert said(answering.result()).endswith("Noted: noted. ")

    with_cloud(check, tools=notes)


def test_a_tool_that_was_interrupted_is_remembered_as_that() -> None:
    notes = Notes()

    async def check(there: Cloud, mind: ChatMind) -> None:
        notes.wait = asyncio.Event()
        answering = asyncio.get_running_loop().create_task(answered(mind, ask("Take a note.")))
        await eventually(lambda: bool(notes.used))
        answering.cancel()
        with pytest.raises(asyncio.CancelledError):
            await answering
        history = (Line("caller", "Take a note."),)
        await answered(mind, Question(CALL, 2, "Hello?", history=history, turns=(1,)))
        messages = there.asked("/chat/completions")[-1]["messages"]
        (result,) = [m["content"] for m in messages if m["role"] == "tool"]
        assert "interrupted" in result

    with_cloud(check, tools=notes)


@pytest.mark.parametrize(
    ("failure", "requests", "answers"),
    [
        (Refuse(status=500), 2, True),
        (Refuse(status=429, retry_after_s=0.01), 2, True),
        (Refuse(status=429, retry_after_s=MAX_RETRY_AFTER_S + 1), 1, False),
        (Refuse(status=429, code="insufficient_quota"), 1, False),
        (Refuse(status=401), 1, False),
        (Refuse(status=404), 1, False),
        (Drop(after=0.0), 2, True),
        (Drop(after=0.6), 1, False),
    ],
)
def test_it_asks_once_more_where_that_helps(
    failure: Refuse | Drop, requests: int, answers: bool
) -> None:
    async def check(there: Cloud, mind: ChatMind) -> None:
        there.fake.plan.fail("think", failure)
        question = ask("one two three four five")
        if answers:
            assert said(await answered(mind, question)) == f"You said: {question.text}"
        else:
            with pytest.raises(EngineError):
                await answered(mind, question)
        assert len(there.fake.visits("/chat/completions", "POST")) == requests

    with_cloud(check, tools=Notes())


# --- against servers that differ --------------------------------------------------------


def pieces(*calls: dict[str, Any], finish: str | None = None) -> str:
    choice = {"index": 0, "delta": {"tool_calls": list(calls)}, "finish_reason": finish}
    return json.dumps({"choices": [choice]})


def piece(arguments: object = None, **fields: object) -> dict[str, Any]:
    function: dict[str, object] = {"arguments": arguments}
    if "name" in fields:
        function["name"] = fields.pop("name")
    return {**fields, "function": function}


HANG_UP = pieces(piece("", id="a", name="end_call"))
END = [delta(None, "tool_calls"), "[DONE]"]
STREAMS = {
    "in pieces, later ones without id and name": [
        pieces(piece("", index=0, id="a", name="note", type="function")),
        *[pieces(piece(part, index=0)) for part in ('{"text"', ": ", '"x"}')],
    ],
    "empty names and ids in later pieces": [
        pieces(piece('{"text": ', index=0, id="a", name="note")),
        pieces(piece('"x"}', index=0, id="", name="")),
    ],
    "whole, without index and id": [pieces(piece('{"text": "x"}', name="note"))],
    "an object, not text": [pieces(piece({"text": "x"}, index=0, id="a", name="note"))],
    "the name again with every piece": [
        pieces(piece('{"text": ', index=0, id="a", name="note")),
        pieces(piece('"x"}', index=0, id="a", name="note")),
    ],
}


def with_endpoint(
    endpoint: Endpoint, check: Callable[[ChatMind], object], tools: Tools | None = None
) -> None:
    async def whole() -> None:
        async with endpoint.serving():
            mind = ChatMind(base_url=endpoint.url, api_key="sk-secret", model="m", tools=tools)
            try:
                await check(mind)  # type: ignore[misc]
            finally:
                await mind.close()

    run(whole)


@pytest.mark.parametrize("events", STREAMS.values(), ids=STREAMS)
def test_tool_calls_are_read_as_servers_write_them(events: list[str]) -> None:
    notes = Notes()
    endpoint = Endpoint((200, [*events, *END]), (200, [delta("Done."), "[DONE]"]))

    async def check(mind: ChatMind) -> None:
        assert said(await answered(mind, ask("x"))) == "Done."
        (name, arguments) = notes.used[0]
        assert (name, json.loads(arguments)) == ("note", {"text": "x"})
        assert len(notes.used) == 1
        messages: Any = endpoint.requests[1]["messages"]
        (call,) = messages[-2]["tool_calls"]
        assert messages[-1]["tool_call_id"] == call["id"] != ""

    with_endpoint(endpoint, check, notes)


@pytest.mark.parametrize(
    "events",
    [
        [
            pieces(
                piece("{}", index=0, id="a", name="note"),
                piece("{}", index=1, id="b", name="end_call"),
            )
        ],
        [
            pieces(piece("{}", index=0, id="a", name="note")),
            pieces(piece("{}", index=0, id="b", name="end_call")),
        ],
        [pieces(piece("{}", name="note")), pieces(piece("{}", name="end_call"))],
        [
            pieces(piece("", index=0, id="a", name="note")),
            pieces(piece("", index=1, id="b", name="end_call")),
            pieces(piece("{}", index=0)),
            pieces(piece("{}", index=1)),
        ],
    ],
)
def test_several_calls_are_told_apart(events: list[str]) -> None:
    notes = Notes()
    endpoint = Endpoint((200, [*events, *END]), (200, [delta("Bye."), "[DONE]"]))

    async def check(mind: ChatMind) -> None:
        thoughts = await answered(mind, ask("x"))
        assert [name for name, _ in notes.used] == ["note", "end_call"]
        assert thoughts[-1].end_call

    with_endpoint(endpoint, check, notes)


def test_a_farewell_is_asked_for_when_there_was_none() -> None:
    endpoint = Endpoint((200, [HANG_UP, *END]), (200, [delta("Bye."), "[DONE]"]))

    async def check(mind: ChatMind) -> None:
        thoughts = await answered(mind, ask("bye"))
        assert said(thoughts) == "Bye."
        assert thoughts[-1] == Thought(end_call=True)
        assert endpoint.requests[1]["tool_choice"] == "none"

    with_endpoint(endpoint, check, Toolbox())


@pytest.mark.parametrize("second", [(404, []), (200, ["[DONE]"])])
def test_the_call_ends_also_without_a_farewell(second: tuple[int, list[str]]) -> None:
    async def check(mind: ChatMind) -> None:
        thoughts = await answered(mind, ask("bye"))
        assert said(thoughts) == ""
        assert thoughts[-1] == Thought(end_call=True)

    with_endpoint(Endpoint((200, [HANG_UP, *END]), second), check, Toolbox())


def test_words_before_a_call_are_spoken_meanwhile_and_not_said_twice() -> None:
    endpoint = Endpoint((200, [delta("Goodbye, "), delta("Ada."), HANG_UP, *END]))

    async def check(mind: ChatMind) -> None:
        assert await answered(mind, ask("bye")) == [
            Thought("Goodbye, "),
            Thought("Ada."),
            Thought(busy=True),
            Thought(end_call=True),
        ]

    with_endpoint(endpoint, check, Toolbox())


def test_a_model_that_only_calls_tools_comes_to_an_end() -> None:
    endless = (200, [pieces(piece("{", id="a", name="note")), *END])
    endpoint = Endpoint(*[endless] * MAX_ROUNDS)
    notes = Notes()

    async def check(mind: ChatMind) -> None:
        assert said(await answered(mind, ask("x"))) == ""
        assert len(endpoint.requests) == MAX_ROUNDS
        assert len(notes.used) == MAX_ROUNDS - 1
        assert endpoint.requests[-1]["tool_choice"] == "none"
        # What is no JSON is not sent back: servers read it.
        messages: Any = endpoint.requests[-1]["messages"]
        assert messages[-2]["tool_calls"][0]["function"]["arguments"] == "{}"

    with_endpoint(endpoint, check, notes)


@pytest.mark.parametrize("refusals", [[400], [500, 500]])
def test_a_server_that_takes_no_tools_is_asked_without(
    refusals: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    fine = (200, [delta("Hello."), "[DONE]"])
    endpoint = Endpoint(*[(status, []) for status in refusals], fine, fine)

    async def check(mind: ChatMind) -> None:
        assert said(await answered(mind, ask("x"))) == "Hello."
        assert said(await answered(mind, ask("x", 2))) == "Hello."
        given = ["tools" in request for request in endpoint.requests]
        assert given == [True] * len(refusals) + [False, False]

    with caplog.at_level(logging.WARNING):
        with_endpoint(endpoint, check, Toolbox())
    assert caplog.text.count("takes no tools") == 1


def test_a_server_that_is_merely_broken_keeps_its_tools() -> None:
    fine = (200, [delta("Hello."), "[DONE]"])
    endpoint = Endpoint((400, []), (400, []), fine)

    async def check(mind: ChatMind) -> None:
        with pytest.raises(EngineError, match="answered 400"):
            await answered(mind, ask("x"))
        await answered(mind, ask("x", 2))
        assert "tools" in endpoint.requests[-1]

    with_endpoint(endpoint, check, Toolbox())


def test_a_server_that_counts_uncalled_for_is_believed() -> None:
    used = {
        "prompt_tokens": 100,
        "completion_tokens": 7,
        "prompt_tokens_details": {"cached_tokens": 64},
        "completion_tokens_details": None,
    }
    events = [delta("Hi."), json.dumps({"choices": None, "usage": used}), "[DONE]"]

    async def check(mind: ChatMind) -> None:
        assert await answered(mind, ask("x", 3)) == [
            Thought("Hi."),
            Thought(
                usage=EngineUsage(
                    "think", "m", 3, input_tokens=100, cached_tokens=64, output_tokens=7
                )
            ),
        ]

    with_endpoint(Endpoint((200, events)), check)


def test_a_model_gone_astray_is_bounded() -> None:
    reader = ToolCallReader()

    class Delta:
        def __init__(self, index: int) -> None:
            self.index = index
            self.id = f"id-{index}"
            self.function = type("Function", (), {"name": "note", "arguments": "x" * 50_000})()

    for index in [*range(MAX_CALLS * 3), 0, 0]:
        reader.add(Delta(index))
    calls = reader.calls()
    assert len(calls) == MAX_CALLS
    assert max(len(call.arguments) for call in calls) == 65_536
    assert isinstance(calls[0], ToolCall)


# --- how long to wait -------------------------------------------------------------------


def status_error(status: int, **headers: str) -> Exception:
    import httpx2
    import openai

    named = {name.replace("_", "-"): value for name, value in headers.items()}
    response = httpx2.Response(
        status, headers=named, request=httpx2.Request("POST", "http://localhost")
    )
    return openai.APIStatusError("x", response=response, body=None)


def test_retry_after_is_honoured_within_reason() -> None:
    assert retry_after_s(status_error(429, retry_after="2")) == 2.0
    assert retry_after_s(status_error(429, retry_after="20")) is None
    assert retry_after_s(status_error(429, retry_after="0.5", retry_after_ms="40")) == 0.04
    assert retry_after_s(status_error(503, retry_after="soon")) == RETRY_S
    assert retry_after_s(status_error(429, retry_after="inf")) is None
    past = datetime.now(UTC) - timedelta(minutes=1)
    assert retry_after_s(status_error(429, retry_after=format_datetime(past))) == 0.0
    assert retry_after_s(status_error(400)) is None
    assert retry_after_s(ValueError()) is None
