"""``POST /audio/speech``: streamed synthesis."""

from __future__ import annotations

import base64
import json
import struct

from teamscall.testing import shapes
from teamscall.testing.cloud import Cloud
from teamscall.testing.door import Request
from teamscall.testing.failures import Drop, Empty, Failure, Report, Stall, spare
from teamscall.testing.strict import Wrong
from teamscall.testing.visits import Json
from teamscall.testing.voice import RATE

TYPES = {"pcm": "audio/pcm", "wav": "audio/wav"}


async def speech(cloud: Cloud, request: Request, body: Json, failure: Failure | None) -> None:
    """Answer one request, as planned."""
    shapes.SPEECH(body, "")
    cloud.check_model(body["model"], "speech", "/v1/audio/speech")
    kind = body.get("response_format", "mp3")
    sse = body.get("stream_format") == "sse"
    if kind not in TYPES:
        raise Wrong(f"This stand-in speaks pcm and wav, not {kind}.", param="response_format")
    if sse and body["model"].startswith("tts-1"):
        raise Wrong(
            "stream_format 'sse' is not supported by this model.",
            code="unsupported_value",
            param="stream_format",
        )
    if not body["input"]:
        raise Wrong(
            "Invalid 'input': string too short. Expected a string with minimum length 1, but "
            "got an empty string instead.",
            code="string_below_min_length",
            param="input",
        )
    settings = cloud.settings
    started = cloud.clock.now()
    if isinstance(failure, Stall) and not failure.headers:
        await request.stall()
    pcm = b""
    if not isinstance(failure, Empty):
        pcm = await _render(cloud, body["input"], body.get("speed", 1.0))
    size = settings.chunk_bytes
    pieces = [pcm[at : at + size] for at in range(0, len(pcm), size)]
    if kind == "wav" and pieces:
        pieces[0] = wav_head(settings.speech_rate) + pieces[0]
    headers = [("content-type", "text/event-stream" if sse else TYPES[kind])]
    if settings.rate_header:
        headers.append(("x-sample-rate", str(settings.speech_rate)))
    # The status comes with the first byte, as from the real one; but not in a stall.
    if not (isinstance(failure, Stall) and failure.after == 0):
        await request.pause(settings.speak_first_byte_ms / 1000 - cloud.clock.now() + started)
    await request.start(200, headers)
    begun = cloud.clock.now()
    sent = 0
    for piece in pieces[: spare(len(pieces), failure)]:
        if settings.speak_speed:
            due = begun + sent / 2 / settings.speech_rate / settings.speak_speed
            await request.pause(due - cloud.clock.now())
        audio = base64.b64encode(piece).decode()
        event = {"type": "speech.audio.delta", "audio": audio}
        await request.send(_sse(event) if sse else piece)
        sent += len(piece)
    if isinstance(failure, Stall):
        await request.stall()
    if isinstance(failure, Drop):
        request.abort()
    if isinstance(failure, Report):
        if not sse:
            request.abort()  # a stream of audio has no other way to say it
        error = {"type": "server_error", "code": failure.code, "message": failure.message}
        await request.send(_sse({"type": "error", "error": error}))
    elif sse and pieces:
        usage = {"input_tokens": len(body["input"]) // 4, "output_tokens": sent // 2400}
        usage["total_tokens"] = sum(usage.values())
        await request.send(_sse({"type": "speech.audio.done", "usage": usage}))
    await request.end()


async def _render(cloud: Cloud, text: str, speed: float) -> bytes:
    from teamscall.audio.resample import resample_all

    return resample_all(await cloud.voice.speak(text, speed), RATE, cloud.settings.speech_rate)


def wav_head(rate: int) -> bytes:
    """The head of a streamed WAV: lengths are not known, and there is a LIST chunk."""
    unknown = 0xFFFFFFFF
    note = b"INFOISFT" + struct.pack("<I", 8) + b"standin\0"
    return (
        b"RIFF"
        + struct.pack("<I", unknown)
        + b"WAVEfmt "
        + struct.pack("<IHHIIHH", 16, 1, 1, rate, rate * 2, 2, 16)
        + b"LIST"
        + struct.pack("<I", len(note))
        + note
        + b"data"
        + struct.pack("<I", unknown)
    )


def _sse(event: object) -> bytes:
    return f"data: {json.dumps(event)}\n\n".encode()
