"""llama.cpp with a model so small that its answers are silly: how they come, not what they are."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing

import pytest
from engines_rig import CALL
from third_party_rig import Server
from third_party_tap import tapped

from teamscall.engines.clauses import ClauseCutter
from teamscall.engines.minds.chat import ChatMind
from teamscall.engines.openai.endpoint import Endpoint
from teamscall.engines.parts import Line, Question

pytestmark = pytest.mark.third_party

ASKED = "Tell me a long story about a lighthouse, a storm and a ship."


def question(text: str = ASKED, *history: Line) -> Question:
    return Question(CALL, 1, text, history=history)


def mind(base_url: str) -> ChatMind:
    return ChatMind(base_url=base_url, model="smollm2")


async def answer(base_url: str, asked: Question) -> list[str]:
    mine = mind(base_url)
    try:
        return [thought.text async for thought in mine.reply(asked) if thought.text]
    finally:
        await mine.close()


def test_it_streams_an_answer(llama: Server) -> None:
    pieces = asyncio.run(answer(f"{llama.url}/v1", question()))
    assert len(pieces) > 10  # as it is thought, not in one
    text = "".join(pieces)
    assert len(text.split()) > 10
    cutter = ClauseCutter()
    clauses = [clause for piece in pieces for clause in cutter.push(piece)] + list(cutter.flush())
    # Every word is in some clause, in order, once.
    assert "".join(clauses).split() == text.split()


def test_it_is_asked_with_the_history_and_without_tools(llama: Server) -> None:
    history = (Line("caller", "Hello."), Line("bot", "Hello, Ada."), Line("caller", "Wait."))

    async def ask() -> dict[str, object]:
        async with tapped(f"{llama.url}/v1") as tap:
            await answer(tap.base_url, question("What is my name?", *history))
            return tap.asked()[0].body  # type: ignore[no-any-return]

    body = asyncio.run(ask())
    assert set(body) == {"model", "messages", "stream"}
    messages = body["messages"]
    assert isinstance(messages, list)
    # Small models' templates want the roles to alternate.
    assert [m["role"] for m in messages] == ["system", "user", "assistant", "user"]
    assert messages[-1]["content"] == "Wait.\nWhat is my name?"


def test_it_stops_when_it_is_cancelled(llama: Server) -> None:
    """A server that thinks on for nobody has less for the next question."""

    async def first_words(base_url: str) -> float:
        began = time.monotonic()
        mine = mind(base_url)
        async with aclosing(mine.reply(question())) as thoughts:
            await anext(thoughts)
        await mine.close()
        return time.monotonic() - began

    async def ask() -> tuple[float, list[float]]:
        await first_words(f"{llama.url}/v1")  # from now on it knows the prompt
        began = time.monotonic()
        await answer(f"{llama.url}/v1", question())
        whole = time.monotonic() - began
        return whole, [await first_words(f"{llama.url}/v1") for _ in range(3)]

    whole, beginnings = asyncio.run(ask())
    # It answers one at a time: a beginning that had to wait for an end would be as long.
    assert min(beginnings[1:]) < whole / 4


def test_a_path_that_it_does_not_have(llama: Server) -> None:
    endpoint = Endpoint(f"{llama.url}/v2", setting="openai.think_base_url")

    async def ask() -> str:
        mine = ChatMind(
            base_url=endpoint.base_url,
            model="smollm2",
            explain=lambda status: endpoint.refusal(status, "smollm2", "response_model"),
        )
        try:
            async with aclosing(mine.reply(question())) as thoughts:
                with pytest.raises(Exception, match="404") as failure:
                    await anext(thoughts)
            return str(failure.value)
        finally:
            await mine.close()

    assert "openai.think_base_url" in asyncio.run(ask())
