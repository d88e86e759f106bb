"""One response of a realtime session: its text or audio, event by event, until it ends.

Owns the order of the response events and their pace. Refuses to know why it was asked
for; the session tells it to stop.
"""

from __future__ import annotations

import asyncio
import base64
import re
from typing import Literal

from teamscall.testing import formats
from teamscall.testing.cloud import Cloud, new_id
from teamscall.testing.conversation import Conversation
from teamscall.testing.door import Socket
from teamscall.testing.failures import Drop, Empty, Failure, Report, Stall, spare
from teamscall.testing.settings import Answer
from teamscall.testing.thinking import tokens
from teamscall.testing.visits import Json

StopReason = Literal["turn_detected", "client_cancelled"]

# What a client says when it uses a session as a voice.
_READ_ALOUD = re.compile(
    r"\b(?:read|say|speak|repeat)\b[^:]*\b(?:aloud|word for word|verbatim|exactly)\b[^:]*(:\s*)?",
    re.IGNORECASE,
)
MAX_WORDS = 4_096  # of one answer: the real ones have as many tokens
# Reworded as real sessions do now and then.
_REWORDING = "Sure! "


def read_aloud(instructions: str) -> str | None:
    """The text that these instructions want read out; None when they want something else.

    "" when they want something read that they do not hold: then it is in the input.
    """
    match = _READ_ALOUD.search(instructions)
    if match is None:
        return None
    text = instructions[match.end() :].strip() if match[1] else ""
    quoted = len(text) > 1 and (text[0], text[-1]) in (('"', '"'), ("“", "”"))
    return text[1:-1] if quoted else text


class Response:
    """A response that is being given.

    Args:
        answer: what is said, or the tool that is called.
        modality: ``audio`` or ``text``.
        in_band: whether it becomes part of the conversation.
        wait_s: to its first token or byte.
        speed: of the voice.
        failure: what it suffers.
    """

    def __init__(
        self,
        cloud: Cloud,
        socket: Socket,
        answer: Answer,
        *,
        about: Json,
        modality: str,
        in_band: bool,
        wait_s: float,
        speed: float,
        failure: Failure | None,
    ) -> None:
        self._cloud = cloud
        self._socket = socket
        self._answer = answer
        self._about = about
        self._modality = modality
        self._wait_s = wait_s
        self._speed = speed
        self._failure = failure
        self._stop = asyncio.Event()
        self._reason: StopReason | None = None
        self._truncated = False
        self._said: list[str] = []
        self.id = new_id("resp")
        self.in_band = in_band
        self.previous_item_id: str | None = None
        self.item = self._new_item()
        self.audio_ms = 0.0  # how much was sent
        self._ended = False

    def stop(self, reason: StopReason) -> None:
        """Say nothing more."""
        if self._reason is None:
            self._reason = reason
            self._stop.set()

    @property
    def stopped(self) -> bool:
        return self._reason is not None

    @property
    def running(self) -> bool:
        """Whether it goes on: neither done nor told to stop."""
        return not self._ended and not self.stopped

    def truncate(self, end_ms: int) -> None:
        """Its audio was heard no further than this: the model knows no more of it."""
        self.audio_ms = end_ms
        self._truncated = True

    async def run(self, conversation: Conversation) -> None:
        """Give the response; returns when it is done, or has failed as planned."""
        try:
            await self._give(conversation)
        finally:
            self._ended = True

    async def _give(self, conversation: Conversation) -> None:
        await self._send("response.created", response=self._shown("in_progress"))
        limits = {"limit": 20_000, "remaining": 19_000, "reset_seconds": 0.5}
        rate_limits = [{"name": name, **limits} for name in ("requests", "tokens")]
        await self._send("rate_limits.updated", rate_limits=rate_limits)
        asked = self._cloud.clock.now()
        pcm = await self._synthesised()
        await self._pause(self._wait_s - self._cloud.clock.now() + asked)
        failure = self._failure
        if not self.stopped:
            if self.in_band:
                self.previous_item_id = conversation.add(self.item)
            if self._answer.tool:
                await self._call_tool()
            else:
                await self._say(pcm)
        if self.stopped:
            details = {"type": "cancelled", "reason": self._reason}
            await self._done("cancelled", details)
        elif isinstance(failure, Report):
            error = {"type": "server_error", "code": failure.code, "message": failure.message}
            await self._done("failed", {"type": "failed", "error": error})
        elif isinstance(failure, Drop):
            await self._socket.close(failure.code, failure.reason)
        elif isinstance(failure, Stall):
            await self._stop.wait()
            await self._done("cancelled", {"type": "cancelled", "reason": self._reason})
        else:
            await self._done("completed", None)

    # --- a tool -------------------------------------------------------------------------

    async def _call_tool(self) -> None:
        await self._item_added()
        place = {"response_id": self.id, "item_id": self.item["id"], "output_index": 0}
        place["call_id"] = self.item["call_id"]
        arguments = self._answer.arguments
        middle = (len(arguments) + 1) // 2
        pieces = [half for half in (arguments[:middle], arguments[middle:]) if half]
        count = spare(len(pieces), self._failure)
        for piece in pieces[:count]:
            await self._send("response.function_call_arguments.delta", **place, delta=piece)
        if count < len(pieces) or self._failure is not None:
            return
        self.item["arguments"] = arguments
        done = {"name": self._answer.tool, "arguments": arguments}
        await self._send("response.function_call_arguments.done", **place, **done)
        await self._item_done("completed")

    # --- words --------------------------------------------------------------------------

    @property
    def _text(self) -> str:
        empty = self._answer.tool or isinstance(self._failure, Empty)
        return "" if empty else "".join(tokens(self._answer.say)[:MAX_WORDS])

    async def _synthesised(self) -> bytes:
        """The speech, made while the first byte is waited for: it adds nothing to the wait."""
        text = self._text if self._modality == "audio" else ""
        return await self._cloud.voice.speak(text, self._speed) if text else b""

    async def _say(self, pcm: bytes) -> None:
        await self._item_added()
        place = {"response_id": self.id, "item_id": self.item["id"], "output_index": 0}
        place["content_index"] = 0
        audio = self._modality == "audio"
        part: Json = {"type": "audio", "transcript": ""} if audio else {"type": "text", "text": ""}
        await self._send("response.content_part.added", **place, part=part)
        text = self._text
        whole = await (self._speak(text, pcm, place) if audio else self._write(text, place))
        said = "".join(self._said)
        content = self.item["content"][0]
        if not self._truncated:
            content["transcript" if audio else "text"] = said
        if not whole:
            return
        if audio:
            await self._send("response.output_audio.done", **place)
            await self._send("response.output_audio_transcript.done", **place, transcript=said)
        else:
            await self._send("response.output_text.done", **place, text=said)
        part = {"type": "audio", "transcript": said} if audio else {"type": "text", "text": said}
        await self._send("response.content_part.done", **place, part=part)
        await self._item_done("incomplete" if self.stopped else "completed")

    async def _write(self, text: str, place: Json) -> bool:
        pieces = tokens(text)
        for piece in pieces[: spare(len(pieces), self._failure)]:
            if self.stopped:
                break
            self._said.append(piece)
            await self._send("response.output_text.delta", **place, delta=piece)
            await self._pause(self._cloud.settings.token_ms / 1000)
        return self.stopped or not _strikes(self._failure)

    async def _speak(self, text: str, pcm: bytes, place: Json) -> bool:
        """Send the words a little ahead of the audio that says them, in step."""
        settings = self._cloud.settings
        format_ = self._about["audio"]["output"]["format"]
        audio, per_ms = formats.outward(pcm, format_), formats.bytes_per_ms(format_)
        size = settings.delta_ms * per_ms
        chunks = [audio[at : at + size] for at in range(0, len(audio), size)]
        words = tokens(text)
        begun = self._cloud.clock.now()
        for index, chunk in enumerate(chunks[: spare(len(chunks), self._failure)]):
            if settings.speak_speed:
                due = begun + self.audio_ms / 1000 / settings.speak_speed
                await self._pause(due - self._cloud.clock.now())
            if self.stopped:
                break
            until = -(-len(words) * (index + 1) // len(chunks))
            for word in words[len(self._said) : until]:
                self._said.append(word)
                await self._send("response.output_audio_transcript.delta", **place, delta=word)
            self.audio_ms += len(chunk) / per_ms
            delta = base64.b64encode(chunk).decode()
            await self._send("response.output_audio.delta", **place, delta=delta)
        return self.stopped or not _strikes(self._failure)

    # --- the frame around it --------------------------------------------------------------

    def _new_item(self) -> Json:
        item: Json = {"id": new_id("item"), "object": "realtime.item", "status": "in_progress"}
        if self._answer.tool:
            item |= {"type": "function_call", "name": self._answer.tool, "arguments": ""}
            item["call_id"] = new_id("call")
            return item
        kind = "output_audio" if self._modality == "audio" else "output_text"
        words = "transcript" if self._modality == "audio" else "text"
        return {
            **item,
            "type": "message",
            "role": "assistant",
            "content": [{"type": kind, words: ""}],
        }

    def _empty_item(self) -> Json:
        return {**self.item, "content": []} if "content" in self.item else self.item

    async def _item_added(self) -> None:
        item = self._empty_item()
        await self._send(
            "response.output_item.added", response_id=self.id, output_index=0, item=item
        )
        if self.in_band:
            before = self.previous_item_id
            await self._send("conversation.item.added", item=item, previous_item_id=before)

    async def _item_done(self, status: str) -> None:
        self.item["status"] = status
        if self.in_band:
            before = self.previous_item_id
            await self._send("conversation.item.done", item=self.item, previous_item_id=before)
        await self._send(
            "response.output_item.done", response_id=self.id, output_index=0, item=self.item
        )

    async def _done(self, status: str, details: Json | None) -> None:
        if self.item["status"] == "in_progress":
            self.item["status"] = "incomplete"
        begun = bool(self._said) or self._answer.tool or status == "completed"
        response = self._shown(status, details)
        response["output"] = [self.item] if begun else []
        said = len("".join(self._said)) // 4
        response["usage"] = {
            "total_tokens": 20 + said + int(self.audio_ms / 50),
            "input_tokens": 20,
            "output_tokens": said + int(self.audio_ms / 50),
            "input_token_details": {
                "text_tokens": 10,
                "audio_tokens": 10,
                "cached_tokens": 0,
                "cached_tokens_details": {"text_tokens": 0, "audio_tokens": 0},
            },
            "output_token_details": {
                "text_tokens": said,
                "audio_tokens": int(self.audio_ms / 50),
            },
        }
        self._ended = True
        await self._send("response.done", response=response)

    def _shown(self, status: str, details: Json | None = None) -> Json:
        return {
            "object": "realtime.response",
            "id": self.id,
            "status": status,
            "status_details": details,
            "output": [],
            "usage": None,
            **self._about,
        }

    async def _send(self, type_: str, **fields: object) -> None:
        await self._socket.send(type_, **fields)

    async def _pause(self, seconds: float) -> None:
        if seconds <= 0 or self.stopped:
            await asyncio.sleep(0)  # the reader has its turn: a cancel may wait there
            return
        try:
            async with asyncio.timeout(seconds):
                await self._stop.wait()
        except TimeoutError:
            return


def _strikes(failure: Failure | None) -> bool:
    return isinstance(failure, Stall | Drop | Report)


def reworded(text: str, wanted: bool) -> str:
    """What a session really says when it is told to read ``text`` out."""
    return _REWORDING + text if wanted else text
