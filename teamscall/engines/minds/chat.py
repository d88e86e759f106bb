"""The chat mind: any OpenAI-compatible chat endpoint.

Owns the messages it is sent and what is read of its stream: ``delta.content`` and
``finish_reason``, the two that every server gives. Refuses to know which server it is.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from typing import TYPE_CHECKING

from teamscall.engines.parts import Line, Question, Thought
from teamscall.errors import EngineError

if TYPE_CHECKING:
    from openai import AsyncOpenAI
    from openai.types.chat import ChatCompletionMessageParam

DEFAULT_PROMPT = (
    "You are on a phone call. Answer in one to three short spoken sentences, in the caller's "
    "language, without markup, lists or emoji."
)
# Local servers often ask for none, but the SDK wants one.
NO_KEY = "none"


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
    ) -> None:
        self._base_url = base_url
        self._api_key = api_key
        self._model = model
        self._prompt = system_prompt or DEFAULT_PROMPT
        self._timeout_s = timeout_s
        self._client = client
        self._shared = client is not None
        self._setting = setting
        self._explain = explain

    async def reply(self, question: Question) -> AsyncGenerator[Thought]:
        if question.digit:
            return  # in the history of the next question; one key is seldom a whole one
        import httpx2
        import openai

        spoke = False
        try:
            stream = await self._connected().chat.completions.create(
                model=self._model, messages=self._messages(question), stream=True
            )
            async with stream:
                async for chunk in stream:
                    for choice in chunk.choices[:1]:
                        if choice.delta is not None and choice.delta.content:
                            spoke = True
                            yield Thought(choice.delta.content)
                        # A tool call alone is an answer without words, not a failure.
                        spoke = spoke or choice.finish_reason in ("tool_calls", "function_call")
        except openai.APITimeoutError:
            raise EngineError(
                "the chat endpoint timed out", stage="think", retryable=True
            ) from None
        except openai.APIConnectionError:
            raise EngineError(
                "the chat endpoint cannot be reached",
                stage="think",
                retryable=True,
                hint=f"Look at {self._setting}.",
            ) from None
        except openai.APIStatusError as error:
            # The body may quote the key or the caller: only the status is told.
            message = f"the chat endpoint answered {error.status_code}"
            if self._explain is not None:
                message = "the chat endpoint: {}. {}".format(*self._explain(error.status_code))
            raise EngineError(
                message,
                stage="think",
                retryable=error.status_code in (408, 409, 429) or error.status_code >= 500,
            ) from None
        except httpx2.HTTPError as error:
            raise EngineError(
                f"the chat endpoint broke off ({type(error).__name__})",
                stage="think",
                retryable=not spoke,
            ) from None
        except (openai.OpenAIError, ValueError, AttributeError, TypeError) as error:
            # Servers differ: half a JSON line or a field of another type ends the answer.
            raise EngineError(
                f"the chat endpoint's stream cannot be read ({type(error).__name__})",
                stage="think",
            ) from None
        if not spoke:
            raise EngineError("the chat endpoint answered nothing", stage="think")

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None and not self._shared:
            await client.close()

    def _connected(self) -> AsyncOpenAI:
        if self._client is None:
            from openai import AsyncOpenAI

            self._client = AsyncOpenAI(
                api_key=self._api_key or NO_KEY,
                base_url=self._base_url or None,
                timeout=self._timeout_s,
                max_retries=1,  # somebody is waiting on the phone
            )
        return self._client

    def _messages(self, question: Question) -> list[ChatCompletionMessageParam]:
        messages: list[ChatCompletionMessageParam] = [{"role": "system", "content": self._prompt}]
        for line in merged([*question.history, Line("caller", question.text)]):
            if line.role == "caller":
                messages.append({"role": "user", "content": line.text})
            else:
                messages.append({"role": "assistant", "content": line.text})
        return messages


def merged(lines: list[Line]) -> list[Line]:
    """Join neighbours of one role: many chat templates insist that roles alternate."""
    result: list[Line] = []
    for line in lines:
        if result and result[-1].role == line.role:
            result[-1] = Line(line.role, f"{result[-1].text}\n{line.text}")
        else:
            result.append(line)
    return result
