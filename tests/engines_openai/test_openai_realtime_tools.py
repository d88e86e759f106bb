"""Realtime mode: the tools that a model uses."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from engines_openai_rig import cloud
from engines_rig import eventually, run, talking
from openai_realtime_rig import MODEL, QUICK, asked, engine, received

from teamscall.engines.base import AnswerDone, CallBrief, CancelAnswer, EngineFailed, Respond
from teamscall.engines.openai import realtime_answers
from teamscall.engines.tools import ToolResult, ToolSpec
from teamscall.testing import Answer, Drop, Script, Settings

SCRIPT = Script(
    hears=("what is the weather", "thank you"),
    answer=(
        Answer(to="weather", tool="get_weather", arguments='{"city":"Rome"}', say="{result}"),
        Answer(to="broken", tool="get_weather", arguments='{"city":', say="I could not."),
        Answer(to="bye", tool="hang_up", say="Goodbye."),
        Answer(to="thank", say="You are welcome."),
    ),
    otherwise="I see.",
)
SETTINGS = Settings(script=SCRIPT)


class Weather:
    """Two tools; ``slow`` ones wait until they are let go."""

    def __init__(self, *, slow: bool = False) -> None:
        self.used: list[tuple[str, str, str]] = []
        self.let_go = asyncio.Event()
        self.cancelled = 0
        if not slow:
            self.let_go.set()

    @property
    def specs(self) -> tuple[ToolSpec, ...]:
        schema: dict[str, Any] = {"type": "object", "properties": {"city": {"type": "string"}}}
        return (
            ToolSpec("get_weather", "The weather of a city.", schema),
            ToolSpec("hang_up", "End the call.", {"type": "object"}),
        )

    async def use(self, call: CallBrief, name: str, arguments: str) -> ToolResult:
        self.used.append((call.call_id, name, arguments))
        try:
            await self.let_go.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return ToolResult("It rains in Rome.", end_call=name == "hang_up")


def test_a_tool_is_used_and_its_result_spoken() -> None:
    async def check() -> None:
        tools = Weather()
        with cloud(SETTINGS) as there:
            async with talking(engine(there, tools=tools)) as talk:
                await asked(talk)
                assert (await talk.done(1)).status == "completed"
                assert talk.text(1) == "It rains in Rome."
                assert talk.pcm(1)
                assert tools.used == [("call-1", "get_weather", '{"city":"Rome"}')]
                assert not talk.all(EngineFailed)
            (output,) = received(there, "conversation.item.create")
            assert output["item"]["type"] == "function_call_output"
            assert output["item"]["output"] == "It rains in Rome."
            session = received(there, "session.update")[0]["session"]
            assert [tool["name"] for tool in session["tools"]] == ["get_weather", "hang_up"]

    run(check)


def test_arguments_that_are_no_json_go_to_the_tool_as_they_are() -> None:
    async def check() -> None:
        tools = Weather()
        with cloud(SETTINGS) as there:
            async with talking(engine(there, tools=tools)) as talk:
                talk.submit(Respond(1, "a broken thing"))
                assert (await talk.done(1)).status == "completed"
                assert tools.used == [("call-1", "get_weather", '{"city":')]
                assert talk.text(1) == "I could not."

    run(check)


def test_hanging_up_ends_the_call_once_the_goodbye_was_said() -> None:
    async def check() -> None:
        with cloud(SETTINGS) as there:
            async with talking(engine(there, tools=Weather())) as talk:
                talk.submit(Respond(1, "bye"))
                done = await talk.done(1)
                assert (done.status, done.end_call) == ("completed", True)
                assert talk.text(1) == "Goodbye."

    run(check)


def test_a_tool_is_stopped_with_its_turn() -> None:
    async def check() -> None:
        tools = Weather(slow=True)
        with cloud(SETTINGS) as there:
            async with talking(engine(there, tools=tools)) as talk:
                await asked(talk)
                await eventually(lambda: bool(tools.used))
                talk.submit(CancelAnswer(1))
                assert (await talk.done(1)).status == "cancelled"
                await eventually(lambda: tools.cancelled == 1)
                await asked(talk, 2, 2)
                assert (await talk.done(2)).status == "completed"
                assert talk.text(2) == "You are welcome."
            (output,) = received(there, "conversation.item.create")
            assert "stopped" in output["item"]["output"]

    run(check)


def test_a_tool_that_hangs_is_stopped_with_the_call() -> None:
    async def check() -> None:
        tools = Weather(slow=True)
        with cloud(SETTINGS) as there:
            async with talking(engine(there, tools=tools)) as talk:
                await asked(talk)
                await eventually(lambda: bool(tools.used))
            assert tools.cancelled == 1
            assert not talk.all(AnswerDone)

    run(check)


def test_a_tool_is_not_used_again_because_the_session_was_lost() -> None:
    async def check() -> None:
        tools = Weather(slow=True)
        with cloud(SETTINGS) as there:
            async with talking(engine(there, tools=tools, waits=QUICK)) as talk:
                talk.submit(Respond(1, "what is the weather"))
                await eventually(lambda: bool(tools.used))
                there.does(there.fake.drop_sockets(1006))
                await eventually(lambda: len(there.sockets(MODEL)) == 2)
                await eventually(lambda: bool(received(there, "conversation.item.create")))
                tools.let_go.set()
                assert (await talk.done(1)).status == "completed"
                assert talk.text(1) == "It rains in Rome."
                assert len(tools.used) == 1
            kinds = [body["item"]["type"] for body in received(there, "conversation.item.create")]
            assert kinds == ["message", "function_call", "function_call_output"]

    run(check)


def test_a_lost_second_answer_is_asked_for_with_the_tools_result() -> None:
    async def check() -> None:
        tools = Weather()
        with cloud(SETTINGS) as there:
            async with talking(engine(there, tools=tools, waits=QUICK)) as talk:
                tools.let_go.clear()
                talk.submit(Respond(1, "what is the weather"))
                await eventually(lambda: bool(tools.used))
                there.fake.plan.fail("session", Drop())
                tools.let_go.set()
                assert (await talk.done(1)).status == "completed"
                assert talk.text(1) == "It rains in Rome."
                assert len(tools.used) == 1
                assert len(there.sockets(MODEL)) == 2

    run(check)


def test_a_model_that_only_uses_tools_must_answer_in_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(realtime_answers, "MAX_TOOL_ROUNDS", 1)

    async def check() -> None:
        with cloud(SETTINGS) as there:
            async with talking(engine(there, tools=Weather())) as talk:
                await asked(talk)
                assert (await talk.done(1)).status == "completed"
            first, last = received(there, "response.create")
            assert "tool_choice" not in first["response"]
            assert last["response"]["tool_choice"] == "none"

    run(check)
