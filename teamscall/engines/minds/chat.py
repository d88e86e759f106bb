"""The chat mind: any OpenAI-compatible chat endpoint, with tools.

Owns the messages it is sent, what is read of its stream (``delta.content``,
``delta.tool_calls``, ``finish_reason``, and ``usage`` where it comes), and the rounds of
tools that an answer takes. Refuses to know which server it is and what a tool does.

Rule 1: nothing is asked twice once something of its answer came.
Rule 2: a tool is used only when the caller is known to have finished.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from teamscall.engines.base import EngineUsage
from teamscall.engines.minds.retrying import retry_after_s
from teamscall.engines.minds.tool_calls import Exchanges, ToolCall, ToolCallReader
from teamscall.engines.parts import Question, Thought
from teamscall.engines.requests import noted
from teamscall.engines.tools import NoTools, ToolResult, Tools
from teamscall.errors import EngineError

if TYPE_CHECKING:
    from openai import AsyncOpenAI
    from openai.types import CompletionUsage
    from openai.types.chat import ChatCompletionChunk, ChatCompletionMessageParam

log = logging.getLogger("teamscall.engines")

DEFAULT_PROMPT = (
    "You are talking with somebody on the phone: what you write is spoken, and heard once. "
    "Answer in one to three short sentences, in the caller's language, as one speaks: no "
    "markup, lists, links or emoji. The caller's words come from a speech recogniser and may "
    "be misheard; ask when they make no sense."
)
MAX_ROUNDS = 5  # requests for one answer; in the last one tools are not to be used
# Local servers often ask for none, but the SDK wants one.
NO_KEY = "none"
# With which servers answer that do not take tools, or not with this model.
_TAKES_NO_TOOLS = frozenset({400, 422, 500, 501})
_INTERRUPTED = ToolResult('{"error":"the caller interrupted; it may have been done or not"}')


@functools.cache
def load() -> None:
    """Import the SDK with all that a first request needs: half a second that no call waits for."""
    import openai

    # Its resources are imported when they are first looked up.
    _ = openai.AsyncOpenAI(api_key=NO_KEY).chat.completions


class ChatMind:
    """One call's conversation with a chat endpoint.

    Args:
        base_url: up to and with ``/v1``; "" is the SDK's own default.
        api_key: never logged, never in an error.
        model: asked for.
        system_prompt: "" takes ``DEFAULT_PROMPT``.
        timeout_s: for connecting and between bytes.
        client: shared with other calls, and not closed here; the above are then its own.
        setting: named when the endpoint cannot be reached.
        explain: what an HTTP status means here, and what to do about it.
        tools: what the model may use.
        is_openai: asked for what other servers may refuse (``stream_options``); other
            servers are asked without tools when they refuse them.
    """

    def __init__(
        self,
        *,
        base_url: str = "",
        api_key: str = "",
        model: str,
        system_prompt: str = "",
        timeout_s: float = 30.0,
        client: AsyncOpenAI | None = None,
        setting: str = "response.base_url",
        explain: Callable[[int], tuple[str, str]] | None = None,
        tools: Tools | None = None,
        is_openai: bool = False,
    ) -> None:
        self._base_url = base_url
        self._api_key = api_key
        self._model = model
        self._prompt = system_prompt or DEFAULT_PROMPT
        self._timeout_s = timeout_s
        self._own: AsyncOpenAI | None = None
        # Retrying is done here: the SDK's would wait for a minute when it is told to.
        self._client = client.with_options(max_retries=0) if client is not None else None
        self._setting = setting
        self._explain = explain
        self._tools = tools or NoTools()
        self._takes_tools = bool(self._tools.specs)
        self._is_openai = is_openai
        self._exchanges = Exchanges()

    async def reply(self, question: Question) -> AsyncGenerator[Thought]:
        if question.digit:
            return  # in the history of the next question; one key is seldom a whole one
        messages = self._messages(question)
        ends = False
        for number in range(1, MAX_ROUNDS + 1):
            heard = _Round()
            may_use = self._takes_tools and number < MAX_ROUNDS and not ends
            try:
                async with aclosing(self._ask(messages, heard, may_use)) as texts:
                    async for text in texts:
                        yield Thought(text)
            except EngineError:
                if not ends:
                    raise
                log.warning("A farewell failed; the call ends without it")
            if (usage := heard.usage) is not None:
                yield Thought(usage=_usage(usage, self._model, question.turn))
            calls = heard.tools.calls() if may_use else []
            if not calls:
                if number == 1 and not heard.anything:
                    raise EngineError("the chat endpoint answered nothing", stage="think")
                break
            yield Thought(busy=True)
            await question.until_confirmed()
            results = await self._use(question, heard.text, calls)
            messages += self._exchanges.add(question.turn, heard.text, calls, results)
            ends = any(result.end_call for result in results)
            if ends and heard.text.strip():
                break  # it said its goodbye with the call
            yield Thought(busy=True)
        if ends:
            yield Thought(end_call=True)

    async def close(self) -> None:
        own, self._own, self._client = self._own, None, None
        if own is not None:
            await own.close()

    # --- asking ----------------------------------------------------------------------------

    async def _ask(
        self, messages: Sequence[ChatCompletionMessageParam], heard: _Round, may_use: bool
    ) -> AsyncGenerator[str]:
        """One request, tried twice while nothing came of it; yields its words."""
        request = self._request(messages, may_use)
        tried = 0
        while True:
            tried += 1
            try:
                async with aclosing(self._stream(request, heard)) as texts:
                    async for text in texts:
                        yield text
                break
            except Exception as error:
                failure = self._failure(error)
                if failure is None:
                    raise  # a bug, not a failure of the endpoint
                wait_s = retry_after_s(error) if tried == 1 else None
                if wait_s is None and "tools" in request and self._refuses_tools(error, messages):
                    del request["tools"]
                    wait_s = 0.0
                if wait_s is None or heard.anything:
                    raise failure from None
            await asyncio.sleep(wait_s)
        if self._takes_tools and "tools" not in request:
            self._takes_tools = False
            log.warning(
                "The chat endpoint takes no tools: it is asked without",
                extra={"setting": self._setting},
            )

    def _request(
        self, messages: Sequence[ChatCompletionMessageParam], may_use: bool
    ) -> dict[str, Any]:
        request: dict[str, Any] = {"model": self._model, "messages": messages, "stream": True}
        if self._is_openai:
            request["stream_options"] = {"include_usage": True}
        if self._takes_tools:
            request["tools"] = [
                {
                    "type": "function",
                    "function": {
                        "name": spec.name,
                        "description": spec.description,
                        "parameters": spec.parameters,
                    },
                }
                for spec in self._tools.specs
            ]
            if not may_use:
                request["tool_choice"] = "none"
        return request

    async def _stream(self, request: dict[str, Any], heard: _Round) -> AsyncGenerator[str]:
        with noted("think") as asked:
            stream = await self._connected().chat.completions.create(**request)
            asked.answered(stream.response.headers)
            async with stream:
                async for chunk in stream:
                    asked.moved()
                    if text := heard.take(chunk):
                        yield text
                        asked.moved()  # however long it took to speak it

    def _refuses_tools(
        self, error: Exception, messages: Sequence[ChatCompletionMessageParam]
    ) -> bool:
        """Whether a server may have refused because of the tools: not when it took them in
        an earlier turn."""
        import openai

        return (
            not self._is_openai
            and isinstance(error, openai.APIStatusError)
            and error.status_code in _TAKES_NO_TOOLS
            and not any(message["role"] == "tool" for message in messages)
        )

    def _connected(self) -> AsyncOpenAI:
        if self._client is None:
            from openai import AsyncOpenAI

            self._client = self._own = AsyncOpenAI(
                api_key=self._api_key or NO_KEY,
                base_url=self._base_url or None,
                timeout=self._timeout_s,
                max_retries=0,
            )
        return self._client

    def _failure(self, error: Exception) -> EngineError | None:
        """What is told of an error of the SDK's; None of any other."""
        import httpx2
        import openai

        if isinstance(error, openai.APITimeoutError | httpx2.TimeoutException):
            return EngineError("the chat endpoint timed out", stage="think", retryable=True)
        if isinstance(error, openai.APIConnectionError):
            return EngineError(
                f"the chat endpoint cannot be reached. Look at {self._setting}.",
                stage="think",
                retryable=True,
            )
        if isinstance(error, openai.APIStatusError):
            # The body may quote the key or the caller: only the status is told.
            status = error.status_code
            message = f"the chat endpoint answered {status}"
            if self._explain is not None:
                message = "the chat endpoint: {}. {}".format(*self._explain(status))
            retryable = status in (408, 409, 429) or status >= 500
            return EngineError(message, stage="think", retryable=retryable)
        what = type(error).__name__
        if isinstance(error, httpx2.HTTPError):
            return EngineError(
                f"the chat endpoint broke off ({what})", stage="think", retryable=True
            )
        if isinstance(error, openai.OpenAIError | ValueError | AttributeError | TypeError):
            # Servers differ: half a JSON line or a field of another type ends the answer.
            return EngineError(f"the chat endpoint's stream cannot be read ({what})", stage="think")
        return None

    # --- tools -----------------------------------------------------------------------------

    async def _use(
        self, question: Question, said: str, calls: Sequence[ToolCall]
    ) -> list[ToolResult]:
        """Use them all at once; when cancelled, remember that they may have been used."""
        try:
            async with asyncio.TaskGroup() as group:
                uses = [
                    group.create_task(self._tools.use(question.call, call.name, call.arguments))
                    for call in calls
                ]
        except asyncio.CancelledError:
            self._exchanges.add(question.turn, said, calls, [_INTERRUPTED] * len(calls))
            raise
        return [use.result() for use in uses]

    # --- messages --------------------------------------------------------------------------

    def _messages(self, question: Question) -> list[ChatCompletionMessageParam]:
        """What was said, and what tools did before each answer. Neighbours of one role are
        joined: many chat templates insist that roles alternate."""
        messages: list[ChatCompletionMessageParam] = [{"role": "system", "content": self._prompt}]
        turns = question.turns or (-1,) * len(question.history)
        for line, turn in zip(question.history, turns, strict=True):
            self._add(messages, line.role == "caller", line.text)
            if line.role == "caller":
                messages += self._exchanges.of(turn)
        self._add(messages, True, question.text)
        return messages

    @staticmethod
    def _add(messages: list[ChatCompletionMessageParam], is_caller: bool, text: str) -> None:
        last = messages[-1]
        if last["role"] == ("user" if is_caller else "assistant") and "tool_calls" not in last:
            last["content"] = f"{last.get('content')}\n{text}"
        elif is_caller:
            messages.append({"role": "user", "content": text})
        else:
            messages.append({"role": "assistant", "content": text})


class _Round:
    """What came of one request so far."""

    def __init__(self) -> None:
        self.text = ""
        self.tools = ToolCallReader()
        self.usage: CompletionUsage | None = None
        self.anything = False  # words or a tool call: also one alone is an answer

    def take(self, chunk: ChatCompletionChunk) -> str:
        """Take a chunk; return the words in it."""
        self.usage = getattr(chunk, "usage", None) or self.usage
        text = ""
        for choice in (chunk.choices or ())[:1]:
            delta = choice.delta
            text = (delta.content if delta is not None else None) or ""
            for piece in (getattr(delta, "tool_calls", None) if delta is not None else None) or ():
                self.tools.add(piece)
                self.anything = True
            self.anything = self.anything or bool(text)
            if choice.finish_reason in ("tool_calls", "function_call"):
                self.anything = True
        self.text += text
        return text


def _usage(used: CompletionUsage, model: str, turn: int) -> EngineUsage:
    given = getattr(used, "prompt_tokens_details", None)
    made = getattr(used, "completion_tokens_details", None)
    return EngineUsage(
        "think",
        model,
        turn,
        input_tokens=_count(used, "prompt_tokens"),
        cached_tokens=_count(given, "cached_tokens"),
        output_tokens=_count(used, "completion_tokens"),
        audio_input_tokens=_count(given, "audio_tokens"),
        audio_output_tokens=_count(made, "audio_tokens"),
    )


def _count(part: object, name: str) -> int:
    value = getattr(part, name, None)
    return value if isinstance(value, int) and value > 0 else 0
