"""The transcripts of one session: deltas and the final text, in the service's events.

Owns their pace and what goes wrong with them. Refuses to know turns.
"""

from __future__ import annotations

import asyncio

from teamscall.testing import catalogue
from teamscall.testing.cloud import Cloud
from teamscall.testing.door import Socket
from teamscall.testing.failures import Drop, Empty, Failure, Report, Stall, spare
from teamscall.testing.strict import Wrong
from teamscall.testing.thinking import tokens
from teamscall.testing.visits import Json
from teamscall.testing.voice import BYTES_PER_MS, ScriptEar

MIN_VOICED_MS = 60  # less is a click: nobody spoke
WORD_MS = 300  # of voice per word, where words come while the caller still speaks

_PREFIX = "conversation.item.input_audio_transcription"

# Which fields which models take, as the SDK's documentation says.
_NEW = ("gpt-transcribe", "gpt-live-transcribe")
_TAKEN_BY = {"languages": _NEW, "keywords": _NEW, "delay": ("gpt-realtime-whisper",)}
_NOT_TAKEN_BY = {"language": _NEW, "prompt": ("gpt-realtime-whisper",)}


def check(cloud: Cloud, transcription: Json) -> None:
    """Raise Wrong when this model is not one, or does not take these fields."""
    where = "session.audio.input.transcription"
    if "language" in transcription and "languages" in transcription:
        raise Wrong(
            "'language' and 'languages' cannot both be given.",
            code="invalid_value",
            param=f"{where}.languages",
        )
    if "model" not in transcription:
        return
    model = transcription["model"]
    settings = cloud.settings
    if catalogue.find(model, "transcription", today=settings.today, more=settings.models):
        raise Wrong(
            f"The model `{model}` does not exist or you do not have access to it.",
            code="model_not_found",
            param=f"{where}.model",
        )
    for name in transcription:
        if (name in _TAKEN_BY and model not in _TAKEN_BY[name]) or (
            name in _NOT_TAKEN_BY and model in _NOT_TAKEN_BY[name]
        ):
            raise Wrong(
                f"Unsupported parameter: '{where}.{name}' is not supported with the `{model}` "
                "model.",
                code="unsupported_parameter",
                param=f"{where}.{name}",
            )


class Transcribing:
    """What one session hears."""

    def __init__(self, cloud: Cloud, socket: Socket) -> None:
        self._cloud = cloud
        self._socket = socket
        self._ear = cloud.open_ear()
        self._early = 0  # words of the coming transcript that were already sent

    async def understand(self, pcm: bytes, voiced_ms: int) -> str:
        """What was said in one turn's audio."""
        if voiced_ms < MIN_VOICED_MS:
            return self._cloud.settings.silence_transcript
        return await self._ear.transcribe(pcm)

    async def early(self, model: str, item_id: str, voiced_ms: int) -> None:
        """Send the words that a streaming model has by now, all but the last."""
        if not catalogue.traits(model).streams or not isinstance(self._ear, ScriptEar):
            return
        words = tokens(self._ear.coming)
        until = min(len(words) - 1, voiced_ms // WORD_MS)
        for word in words[self._early : until]:
            self._early += 1
            await self._delta(item_id, word)

    def forget(self) -> int:
        """A new turn begins; how many words of the last one were sent early."""
        early, self._early = self._early, 0
        return early

    async def tell(
        self, model: str, item: Json, text: str, pcm: bytes, early: int, failure: Failure | None
    ) -> None:
        """Send one turn's transcript, when it is time."""
        await asyncio.sleep(self._cloud.settings.hear_ms / 1000)
        place = {"item_id": item["id"], "content_index": 0}
        if isinstance(failure, Empty):
            text = ""
        words = tokens(text)[early:]
        for word in words[: spare(len(words), failure)]:
            await self._delta(item["id"], word)
        match failure:
            case Stall():
                return
            case Drop(code=code, reason=reason):
                await self._socket.close(code, reason)
                return
            case Report(code=code, message=message):
                error = {"type": "server_error", "code": code, "message": message, "param": None}
                await self._socket.send(f"{_PREFIX}.failed", **place, error=error)
                return
        item["content"][0]["transcript"] = text
        usage = _usage(model, text, pcm)
        await self._socket.send(f"{_PREFIX}.completed", **place, transcript=text, usage=usage)

    async def _delta(self, item_id: str, word: str) -> None:
        await self._socket.send(f"{_PREFIX}.delta", item_id=item_id, content_index=0, delta=word)


def _usage(model: str, text: str, pcm: bytes) -> Json:
    seconds = len(pcm) / BYTES_PER_MS / 1000
    if not catalogue.traits(model).tokens:
        return {"type": "duration", "seconds": round(seconds, 3)}
    heard, said = int(seconds * 10), max(1, len(text) // 4)
    return {
        "type": "tokens",
        "input_tokens": heard,
        "output_tokens": said,
        "total_tokens": heard + said,
        "input_token_details": {"audio_tokens": heard, "text_tokens": 0},
    }
