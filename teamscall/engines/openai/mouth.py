"""The voice by ``POST /audio/speech``: one request per clause, played from its first bytes.

Owns what is asked for and how the answer is told apart from something else: OpenAI gives
headerless 24 kHz PCM, other servers what they like. Refuses to know sessions and calls.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import msgspec

from teamscall.audio.wav import StreamingWavHeader, decode
from teamscall.config.models import Model
from teamscall.engines.openai.endpoint import Endpoint
from teamscall.engines.openai.messages import RATE
from teamscall.engines.parts import Speech
from teamscall.engines.requests import noted
from teamscall.errors import EngineError, InputError

if TYPE_CHECKING:
    from openai import AsyncOpenAI

MAX_INPUT_CHARS = 4096  # of the service; a clause has 240
# What some servers give whatever they are asked for. An MP3 without a tag begins like PCM
# might: there the content type tells.
_COMPRESSED = (b"ID3", b"OggS", b"fLaC")
_COMPRESSED_TYPES = ("audio/mp", "audio/ogg", "audio/opus", "audio/aac", "audio/flac")
# A caller waits: a service that asks for more patience has failed for now.
MAX_RETRY_AFTER_S = 3.0
_RATES = range(8_000, 48_001)


class Voice(msgspec.Struct, frozen=True):
    """How it shall sound (``tts.*``). ``sample_rate``: of raw PCM from a server that does
    not say, 0 to ask such a server for WAV."""

    model: Model
    voice: str = "coral"
    speed: float = 1.0
    instructions: str = ""
    sample_rate: int = 0


class SpeechMouth:
    """An :class:`teamscall.engines.parts.Mouth`; one serves all calls."""

    def __init__(self, client: AsyncOpenAI, endpoint: Endpoint, voice: Voice) -> None:
        # The SDK would wait two minutes when asked to; and the cascade tries again itself.
        self._client = client.with_options(max_retries=0)
        self._endpoint = endpoint
        self._voice = voice
        raw = endpoint.is_openai or voice.sample_rate > 0
        self._asked: dict[str, Any] = {
            "model": voice.model.name,
            "voice": voice.voice,
            "response_format": "pcm" if raw else "wav",
        }
        # Only what differs from the default: not every server knows every field.
        if voice.speed != 1.0:
            self._asked["speed"] = voice.speed
        if voice.instructions and voice.model.styled:
            self._asked["instructions"] = voice.instructions

    async def speak(self, text: str) -> AsyncGenerator[Speech]:
        try:
            async with aclosing(self._speak(text)) as speeches:
                async for speech in speeches:
                    yield speech
            return
        except _Busy as busy:
            if busy.wait_s > MAX_RETRY_AFTER_S:
                raise
            wait_s = busy.wait_s
        await asyncio.sleep(wait_s)
        async with aclosing(self._speak(text)) as speeches:
            async for speech in speeches:
                yield speech

    async def _speak(self, text: str) -> AsyncGenerator[Speech]:
        """One attempt. Raises _Busy when the service says when to come again."""
        import httpx2
        import openai

        begun = False
        try:
            with noted("speak") as request:
                async with self._client.audio.speech.with_streaming_response.create(
                    input=text[:MAX_INPUT_CHARS], **self._asked
                ) as response:
                    request.answered(response.headers)
                    async for speech in self._read(response.headers, response.iter_bytes()):
                        begun = True
                        request.moved()
                        yield speech
                        request.moved()  # however long the caller's ears took
                if not begun:
                    raise _error("the voice answered with no audio", retryable=True)
        except openai.APITimeoutError:
            raise _error("the voice timed out", retryable=True) from None
        except openai.APIConnectionError:
            raise _error(
                "the voice cannot be reached", f"Look at {self._endpoint.setting}.", retryable=True
            ) from None
        except openai.APIStatusError as error:
            # The body may quote the key or what is said: only the status is told.
            what, hint = self._endpoint.refusal(
                error.status_code, self._voice.model.name, "tts.model"
            )
            if (wait_s := _retry_after(error.response.headers)) and error.status_code in (429, 503):
                raise _Busy(f"the voice: {what}", wait_s) from None
            retryable = error.status_code in (408, 409, 429) or error.status_code >= 500
            raise _error(f"the voice: {what}", hint, retryable=retryable) from None
        except (httpx2.HTTPError, httpx2.StreamError) as error:
            raise _error(
                f"the voice broke off ({type(error).__name__})", retryable=not begun
            ) from None
        except openai.OpenAIError as error:
            raise _error(f"the voice failed ({type(error).__name__})") from None
        except InputError as error:
            raise _error(f"the voice's WAV cannot be read: {error.message}") from None

    async def _read(self, headers: Any, chunks: AsyncIterator[bytes]) -> AsyncGenerator[Speech]:
        kind = str(headers.get("content-type", "")).partition(";")[0].strip().lower()
        if kind.startswith(("application/json", "text/")):
            raise _error(f"the voice answered with {kind[:40]}, not with audio")
        header = StreamingWavHeader()
        rate = self._raw_rate(headers)
        held = b""
        first = True
        async for chunk in chunks:
            if first and chunk:
                first = False
                tagged = chunk.startswith(_COMPRESSED)
                if tagged or (kind.startswith(_COMPRESSED_TYPES) and not chunk.startswith(b"R")):
                    raise _error(
                        "the voice gives compressed audio where PCM was asked for",
                        f"Look at {self._endpoint.setting}.",
                    )
            held += header.feed(chunk)
            width = 2 if header.format is None else header.format.frame_bytes
            whole = len(held) // width * width
            if not whole:
                continue
            audio, held = held[:whole], held[whole:]
            if header.format is not None:
                yield Speech(decode(audio, header.format), header.format.rate)
            else:
                yield Speech(audio, rate)
        if tail := header.finish():
            yield Speech(tail, rate)

    def _raw_rate(self, headers: Any) -> int:
        """The rate of PCM without a header: documented, said, configured, or assumed."""
        if self._endpoint.is_openai:
            return RATE
        said = str(headers.get("x-sample-rate", ""))
        if said.isascii() and said.isdecimal() and len(said) < 7 and int(said) in _RATES:
            return int(said)
        return self._voice.sample_rate or RATE


class _Busy(EngineError):
    """Refused before the first byte; the service asks to come again after ``wait_s``."""

    def __init__(self, what: str, wait_s: float) -> None:
        super().__init__(f"{what}.", stage="speak")
        self.wait_s = wait_s


def _retry_after(headers: Any) -> float:
    """Seconds; 0 if it does not say, or gives a date, which is not worth reading here."""
    for name, per_s in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        try:
            wait_s = float(headers.get(name, "")) / per_s
        except ValueError:
            continue
        return wait_s if math.isfinite(wait_s) and wait_s > 0 else 0.0
    return 0.0


def _error(what: str, hint: str = "", *, retryable: bool = False) -> EngineError:
    return EngineError(f"{what}. {hint}".rstrip(". ") + ".", stage="speak", retryable=retryable)
