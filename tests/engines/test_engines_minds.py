"""The three minds: built in, a command, a chat endpoint."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import textwrap
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path

import pytest
from engines_rig import CALL, run

from teamscall.engines.minds.builtin import FAREWELL, UNCLEAR, BuiltinMind, spoken_time
from teamscall.engines.minds.chat import ChatMind
from teamscall.engines.minds.command import CommandMind
from teamscall.engines.parts import Line, Mind, Question, Thought
from teamscall.errors import EngineError

NOW = datetime(2026, 3, 2, 14, 5)


def ask(text: str, turn: int = 1, history: tuple[Line, ...] = ()) -> Question:
    return Question(CALL, turn, text, history=history)


async def answered(mind: Mind, question: Question) -> list[Thought]:
    return [thought async for thought in mind.reply(question)]


# --- built in -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("heard", "has"),
    [
        ("Hello!", ["Hello Ada!", "What can I do for you?"]),
        ("What time is it?", ["It is 5 minutes past 2 in the afternoon."]),
        ("What's the date today?", ["Today is Monday, March 2, 2026."]),
        ("Who are you?", ["built-in responder", "not a language model"]),
        ("Are you a robot?", ["built-in responder"]),
        ("Tell me what you can do.", ["I can repeat what you say"]),
        ("Thank you very much.", ["You are welcome."]),
        ("My laptop is broken", ["I heard you say: My laptop is broken."]),
        ("Good morning, my laptop is broken.", ["Hello Ada!", "I heard you say: Good morning"]),
        ("", [UNCLEAR]),
        ("...", [UNCLEAR]),
        # What the demo asks: both parts are answered.
        (
            "Hello, what can you do and what time is it?",
            ["Hello Ada!", "I can repeat what you say", "It is 5 minutes past 2"],
        ),
    ],
)
def test_the_builtin_mind_answers_what_it_knows(heard: str, has: list[str]) -> None:
    text, end_call = BuiltinMind(lambda: NOW).answer(heard, "Ada Lovelace")
    assert not end_call
    for part in has:
        assert part in text


@pytest.mark.parametrize("heard", ["Goodbye.", "OK, good bye!", "Thanks, bye bye.", "Hang up."])
def test_goodbye_ends_the_call(heard: str) -> None:
    assert BuiltinMind().answer(heard) == (FAREWELL, True)


def test_a_long_story_is_not_repeated_whole() -> None:
    text, _ = BuiltinMind().answer("word " * 500)
    assert len(text) < 300
    assert text.endswith("and so on.")


@pytest.mark.parametrize(
    ("hour", "minute", "spoken"),
    [
        (0, 0, "12 o'clock at night"),
        (9, 1, "1 minute past 9 in the morning"),
        (12, 30, "30 minutes past 12 in the afternoon"),
        (19, 2, "2 minutes past 7 in the evening"),
    ],
)
def test_the_time_is_told_as_one_says_it(hour: int, minute: int, spoken: str) -> None:
    assert spoken_time(datetime(2026, 1, 1, hour, minute)) == spoken


def test_keys_are_named() -> None:
    async def check() -> None:
        thoughts = await answered(BuiltinMind(), Question(CALL, 1, digit="#"))
        assert thoughts == [Thought("You pressed hash.")]

    run(check)


# --- a command ----------------------------------------------------------------------

AGENT = """
    import json, os, sys, time
    for line in sys.stdin:
        turn = json.loads(line)
        said = turn.get("text", turn.get("digit"))
        if said == "die": sys.exit(3)
        if said == "hang": time.sleep(600)
        if said == "long": print("x" * 100_000, flush=True)
        elif said == "endless":
            while True: print(json.dumps({"text": "x", "final": False}), flush=True)
        elif said == "plain": print("a plain line", flush=True)
        elif said == "wrong": print('{"text": 5}', flush=True)
        elif said == "noise": print("\\x1b[31m{", file=sys.stderr); print("{broken", flush=True)
        elif said == "loud":
            sys.stderr.write("e" * 1_000_000); print("still here", flush=True)
        elif said == "stale":
            print(json.dumps({"text": "old", "turn": turn["turn"] - 1}), flush=True)
            print(json.dumps({"text": "new", "turn": turn["turn"]}), flush=True)
        elif said == "bye": print(json.dumps({"text": "Bye.", "endCall": True}), flush=True)
        elif said == "pid": print(os.getpid(), flush=True)
        elif said == "env": print(" ".join(k for k in os.environ if "TEAMSCALL" in k) or "none",
                                  flush=True)
        else:
            print(json.dumps({"text": turn["type"] + " ", "final": False}), flush=True)
            print(json.dumps({"text": said + " " + str(len(turn["history"]))}), flush=True)
"""


@pytest.fixture
def agent(tmp_path: Path) -> list[str]:
    path = tmp_path / "agent.py"
    path.write_text(textwrap.dedent(AGENT))
    return [sys.executable, str(path)]


def with_agent(
    agent: list[str], check: Callable[[CommandMind], object], *, timeout_s: float = 20.0
) -> None:
    async def whole() -> None:
        mind = CommandMind(agent, timeout_s=timeout_s)
        try:
            await check(mind)  # type: ignore[misc]
        finally:
            await mind.close()
            await mind.close()

    run(whole)


def test_a_command_gets_turns_and_answers_with_text(agent: list[str]) -> None:
    async def check(mind: CommandMind) -> None:
        history = (Line("caller", "a"), Line("bot", "b"))
        assert await answered(mind, ask("hello", 1, history)) == [
            Thought("turn "),
            Thought("hello 2"),
        ]
        assert await answered(mind, Question(CALL, 2, digit="5")) == [
            Thought("digit "),
            Thought("5 0"),
        ]
        assert await answered(mind, ask("plain", 3)) == [Thought("a plain line")]
        assert await answered(mind, ask("noise", 4)) == [Thought("{broken")]
        assert await answered(mind, ask("bye", 5)) == [Thought("Bye.", end_call=True)]
        assert await answered(mind, ask("stale", 6)) == [Thought("new")]
        assert await answered(mind, ask("loud", 7)) == [Thought("still here")]
        assert mind.starts == 1

    with_agent(agent, check)


def test_a_command_does_not_see_the_bridges_secrets(
    agent: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEAMSCALL_BRIDGE_SECRET", "s3cret")

    async def check(mind: CommandMind) -> None:
        assert await answered(mind, ask("env")) == [Thought("none")]

    with_agent(agent, check)


@pytest.mark.parametrize(
    ("said", "problem"),
    [("die", "ended"), ("long", "beyond"), ("wrong", "wrong field"), ("endless", "come to an end")],
)
def test_a_command_that_misbehaves_fails_the_answer_and_is_replaced(
    agent: list[str], said: str, problem: str
) -> None:
    async def check(mind: CommandMind) -> None:
        with pytest.raises(EngineError, match=problem) as caught:
            await answered(mind, ask(said))
        assert caught.value.stage == "think"
        assert await answered(mind, ask("plain", 2)) == [Thought("a plain line")]

    with_agent(agent, check)


def test_a_command_that_hangs_is_killed_at_the_deadline(agent: list[str]) -> None:
    async def check(mind: CommandMind) -> None:
        with pytest.raises(EngineError, match="did not answer within"):
            await answered(mind, ask("hang"))

    with_agent(agent, check, timeout_s=0.3)


def test_a_command_that_died_between_turns_is_started_again(agent: list[str]) -> None:
    async def check(mind: CommandMind) -> None:
        (first,) = await answered(mind, ask("pid"))
        os.kill(int(first.text), 9)
        (second,) = await answered(mind, ask("pid", 2))
        assert first.text != second.text
        assert mind.starts == 2

    with_agent(agent, check)


def test_closing_kills_a_command_in_the_middle_of_an_answer(agent: list[str]) -> None:
    pids: list[int] = []

    async def check(mind: CommandMind) -> None:
        (thought,) = await answered(mind, ask("pid"))
        pids.append(int(thought.text))
        async with asyncio.TaskGroup() as group:
            task = group.create_task(answered(mind, ask("hang", 2)))
            await asyncio.sleep(0.05)
            task.cancel()

    with_agent(agent, check)
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)


def test_a_command_is_told_of_a_turn_once_the_caller_has_finished(agent: list[str]) -> None:
    async def check(mind: CommandMind) -> None:
        question = Question(CALL, 1, "plain", confirmed=asyncio.Event())
        async with asyncio.TaskGroup() as group:
            task = group.create_task(answered(mind, question))
            await asyncio.sleep(0.05)
            assert mind.starts == 0
            assert question.confirmed is not None
            question.confirmed.set()
        assert task.result() == [Thought("a plain line")]

    with_agent(agent, check)


def test_a_command_that_does_not_exist_says_so() -> None:
    async def check(mind: CommandMind) -> None:
        with pytest.raises(EngineError, match="cannot be started"):
            await answered(mind, ask("x"))

    with_agent(["/does/not/exist"], check)


# --- a chat endpoint ----------------------------------------------------------------


class Endpoint:
    """A chat endpoint that answers each request with the next canned response."""

    def __init__(self, *responses: tuple[int, list[str]]) -> None:
        self._responses = list(responses)
        self.requests: list[dict[str, object]] = []
        self.url = ""
        self._served = asyncio.Semaphore(0)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Endpoint]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        async with server:
            self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
            yield self
            for _ in self.requests:
                await self._served.acquire()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = int(head.lower().split("content-length:")[1].split("\r\n")[0])
        self.requests.append(json.loads(await reader.readexactly(length)))
        status, events = self._responses.pop(0)
        writer.write(
            f"HTTP/1.1 {status} X\r\nContent-Type: text/event-stream\r\n"
            "Connection: close\r\n\r\n".encode()
        )
        for event in events:
            if event == "hang":
                await writer.drain()
                await reader.read()  # until the client gives up
            else:
                writer.write(f"data: {event}\n\n".encode())
        writer.close()
        await writer.wait_closed()
        self._served.release()


def delta(content: str | None, finish: str | None = None) -> str:
    return json.dumps(
        {"choices": [{"index": 0, "delta": {"content": content}, "finish_reason": finish}]}
    )


def with_endpoint(
    endpoint: Endpoint, check: Callable[[ChatMind], object], *, timeout_s: float = 20.0
) -> None:
    async def whole() -> None:
        async with endpoint.serving():
            mind = ChatMind(
                base_url=endpoint.url, api_key="sk-secret", model="m", timeout_s=timeout_s
            )
            try:
                await check(mind)  # type: ignore[misc]
            finally:
                await mind.close()
                await mind.close()

    run(whole)


def test_a_chat_endpoint_streams_its_answer() -> None:
    endpoint = Endpoint(
        (200, [delta(""), delta("Hello "), delta("you."), '{"choices": []}', "[DONE]"])
    )

    async def check(mind: ChatMind) -> None:
        history = (Line("caller", "a"), Line("bot", "b"), Line("caller", "c"))
        assert await answered(mind, ask("d", 1, history)) == [Thought("Hello "), Thought("you.")]
        (request,) = endpoint.requests
        messages = request["messages"]
        assert isinstance(messages, list)
        assert [m["role"] for m in messages] == ["system", "user", "assistant", "user"]
        assert messages[-1]["content"] == "c\nd"
        assert "stream_options" not in request

    with_endpoint(endpoint, check)


def test_a_tool_call_alone_is_an_answer() -> None:
    async def check(mind: ChatMind) -> None:
        assert await answered(mind, ask("x")) == []

    with_endpoint(Endpoint((200, [delta(None, "tool_calls"), "[DONE]"])), check)


@pytest.mark.parametrize(
    ("responses", "problem"),
    [
        ([(200, ["[DONE]"])], "answered nothing"),
        ([(200, [])], "answered nothing"),
        ([(401, ['{"error": {"message": "bad key sk-secret"}}'])], "answered 401"),
        ([(500, []), (500, [])], "answered 500"),
        ([(200, ['{"choices": [{"del'])], "cannot be read"),
        ([(200, [delta("Hel"), '{"error": {"message": "sk-secret"}}'])], "cannot be read"),
    ],
)
def test_a_chat_endpoint_that_fails_says_so_without_its_words(
    responses: list[tuple[int, list[str]]], problem: str
) -> None:
    async def check(mind: ChatMind) -> None:
        with pytest.raises(EngineError, match=problem) as caught:
            await answered(mind, ask("x"))
        assert "sk-secret" not in str(caught.value)

    with_endpoint(Endpoint(*responses), check)


def test_a_chat_endpoint_that_stalls_times_out() -> None:
    async def check(mind: ChatMind) -> None:
        with pytest.raises(EngineError, match="timed out"):
            await answered(mind, ask("x"))

    with_endpoint(Endpoint((200, [delta("Hel"), "hang"])), check, timeout_s=0.2)


def test_nobody_there_is_an_error_with_a_hint() -> None:
    async def check() -> None:
        mind = ChatMind(base_url="http://127.0.0.1:9/v1", api_key="", model="m", timeout_s=2)
        with pytest.raises(EngineError, match="cannot be reached") as caught:
            await answered(mind, ask("x"))
        assert "Look at response.base_url" in caught.value.message
        await mind.close()

    run(check)


def test_keys_are_left_for_the_next_question() -> None:
    async def check() -> None:
        mind = ChatMind(base_url="http://127.0.0.1:9/v1", api_key="", model="m")
        assert await answered(mind, Question(CALL, 1, digit="5")) == []

    run(check)
