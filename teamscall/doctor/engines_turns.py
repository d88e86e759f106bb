"""One small turn with each configured model: it hears, it thinks, it speaks.

Owns the sentence, what counts as speech and as having heard it, and what a refusal means.
How a session is opened and a request is written is the engines' own code, so what works
here works in a call. All of it together spends less than a US cent.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from teamscall.doctor.checks import Fact, Site, failed, ok, warning
from teamscall.doctor.engines_places import (
    hearing,
    mind_endpoint,
    speaking,
    thinking,
    today,
    uses,
)
from teamscall.doctor.engines_words import Trial, judge_speech, name, overlap, refused, troubled
from teamscall.engines.base import CallBrief
from teamscall.engines.openai import configured, messages
from teamscall.engines.openai.dialling import Dialler, Lost
from teamscall.engines.openai.endpoint import Endpoint
from teamscall.engines.openai.engine import OtherMind
from teamscall.engines.parts import Mind, Question
from teamscall.errors import EngineError

if TYPE_CHECKING:
    import httpx2
    from websockets.asyncio.client import ClientConnection

# What assets/hello.wav says, and what is asked to be spoken.
SENTENCE = "Hello, can you hear me?"
# Somebody on the phone would not wait longer; --thorough lets a model load first.
TURN_S, THOROUGH_S = 7.0, 45.0
_CHUNK = 24_000  # bytes: half a second
_TAIL = bytes(72_000)  # 1.5 s of silence: where the service itself hears the end
_HALF = 0.5


class _Seen:
    """What the last answer over HTTP was."""

    def __init__(self) -> None:
        self.status = 0
        self.trouble = messages.Trouble()

    async def look(self, response: httpx2.Response) -> None:
        self.status = response.status_code
        if response.status_code >= 400:
            try:
                self.trouble = msgspec.json.decode(await response.aread(), type=_Body).error
            except (msgspec.DecodeError, UnicodeDecodeError):
                self.trouble = messages.Trouble()


class _Body(msgspec.Struct):
    error: messages.Trouble = msgspec.field(default_factory=messages.Trouble)


# --- the trials, each once in a run -----------------------------------------------------


async def trials(site: Site) -> dict[str, Trial]:
    """Every turn that this configuration has, side by side, by the id of its check."""
    return await site.shared.once("engine turns", lambda: _all(site))


async def _all(site: Site) -> dict[str, Trial]:
    found = uses(site.config)
    wanted: dict[str, Callable[[Site], Awaitable[Trial]]] = {}
    if found.streaming:
        wanted["TC-OPENAI-HEAR"] = _hear
        wanted["TC-OPENAI-SPEAK"] = _speak
        if not found.mind:
            wanted["TC-OPENAI-THINK"] = _think
    if found.mind == "response.base_url":
        wanted["TC-MIND"] = _own_mind
    if found.realtime:
        wanted["TC-OPENAI-REALTIME"] = _realtime
    if found.live:
        wanted["TC-OPENAI-LIVE"] = _live
    if wanted:
        from teamscall.engines.minds import chat

        await asyncio.to_thread(chat.load)  # what is imported only once is no model's delay
    outcomes = await asyncio.gather(*(_bounded(site, run) for run in wanted.values()))
    return dict(zip(wanted, outcomes, strict=True))


async def _bounded(site: Site, run: Callable[[Site], Awaitable[Trial]]) -> Trial:
    limit_s = THOROUGH_S if site.thorough else TURN_S
    try:
        async with asyncio.timeout(limit_s):
            return await run(site)
    except TimeoutError:
        slow = "" if site.thorough else " A model that is loaded first gets more with --thorough."
        return Trial(
            failed(
                f"There was no answer within {limit_s:g} s.",
                f"The service was reached and is too slow for a call, or stalls.{slow}",
            )
        )


async def _hear(site: Site) -> Trial:
    hears = hearing(site.config)
    engine = configured.streaming(site.config, today(), OtherMind(_nobody, ""))
    setting, began = "streaming.stt_model", time.monotonic()
    try:
        link = await engine.hear_dialler.open()
    except (Lost, EngineError) as error:
        return refused(error, hears.endpoint, hears.model.name, setting)
    try:
        opened_ms = _ms(began)
        text = await _transcribed(link, local=hears.detects == "local")
    finally:
        await link.close()
    if isinstance(text, messages.Trouble):
        return troubled(text, 0, hears.endpoint, hears.model.name, setting)
    facts: dict[str, Fact] = {
        "model": hears.model.name,
        "openMs": opened_ms,
        "tookMs": _ms(began),
        "overlap": round(overlap(SENTENCE, text), 2),
    }
    if not text.strip():
        return Trial(
            failed(
                f"{name(hears.model.name)} heard nothing in a spoken sentence.",
                f"Try another {setting}; look at streaming.language, too.",
                **facts,
            )
        )
    if overlap(SENTENCE, text) < _HALF:
        return Trial(
            warning(
                f"{name(hears.model.name)} heard other words than were spoken.",
                f"Look at streaming.language and {setting}: the sentence is English.",
                **facts,
            )
        )
    return Trial(ok(f"{name(hears.model.name)} heard a sentence in {_ms(began)} ms.", **facts))


async def _transcribed(link: ClientConnection, *, local: bool) -> str | messages.Trouble:
    """Say the sentence into a session; what it heard, or what is wrong."""
    pcm = await asyncio.to_thread(_spoken_pcm)
    whole = pcm if local else pcm + _TAIL
    for start in range(0, len(whole), _CHUNK):
        await link.send(messages.append(whole[start : start + _CHUNK]))
    if local:
        await link.send(messages.commit("doctor"))
    async for event in _events(link):
        match event.type:
            case "conversation.item.input_audio_transcription.completed":
                return event.transcript or ""
            case "conversation.item.input_audio_transcription.failed" | "error":
                return event.error or messages.Trouble()
    return messages.Trouble(code="connection_lost")


async def _think(site: Site) -> Trial:
    from teamscall.engines.minds.chat import ChatMind

    thinks, seen = thinking(site.config), _Seen()
    at = thinks.endpoint
    client = await asyncio.to_thread(at.client, TURN_S, seen.look)
    mind = ChatMind(
        model=thinks.model.name,
        system_prompt=thinks.system_prompt,
        client=client,
        setting=at.setting,
        tools=configured.toolbox(site.config, at),
        is_openai=at.is_openai,
    )
    try:
        return await _thought(mind, at, thinks.model.name, "response_model", seen)
    finally:
        await client.close()


async def _own_mind(site: Site) -> Trial:
    from teamscall.engines.minds.chat import ChatMind
    from teamscall.engines.toolbox import Toolbox

    config, seen = site.config, _Seen()
    model = config.response.model or config.response_model
    if not model:
        return Trial(
            failed(
                "response.base_url is set, and no model.",
                "Set response.model to a model that this endpoint serves.",
            )
        )
    at = mind_endpoint(config)
    client = await asyncio.to_thread(at.client, TURN_S, seen.look)
    tools = Toolbox(config.tools) if config.tools else None
    if tools is not None:
        tools.prepare()
    mind = ChatMind(
        model=model, system_prompt=config.response_system_prompt, client=client, tools=tools
    )
    try:
        return await _thought(mind, at, model, "response.model", seen)
    finally:
        await client.close()


async def _thought(mind: Mind, at: Endpoint, model: str, setting: str, seen: _Seen) -> Trial:
    began, first_ms, letters = time.monotonic(), 0, 0
    # Never confirmed: a tool that the model wants is not used.
    question = Question(
        CallBrief("doctor"), 1, "Please answer with the word yes.", confirmed=asyncio.Event()
    )
    try:
        async with aclosing(mind.reply(question)) as thoughts:
            async for thought in thoughts:
                first_ms = first_ms or _ms(began)
                letters += len(thought.text)
                if thought.busy or letters:
                    break
    except EngineError as error:
        if seen.status >= 400:
            return troubled(seen.trouble, seen.status, at, model, setting)
        return refused(error, at, model, setting)
    if not first_ms:
        return Trial(failed(f"{name(model)} answered nothing.", f"Try another {setting}."))
    return Trial(
        ok(
            f"{name(model)} began to answer after {first_ms} ms.",
            model=name(model),
            firstMs=first_ms,
        )
    )


async def _speak(site: Site) -> Trial:
    speaks = speaking(site.config)
    engine = configured.streaming(site.config, today(), OtherMind(_nobody, ""))
    model, at = speaks.voice.model.name, speaks.endpoint
    if (dialler := engine.read_dialler) is not None:
        return await _aloud(dialler, at, model, "tts.model", speaks.voice.instructions)
    from teamscall.engines.openai.mouth import SpeechMouth

    seen, first_ms = _Seen(), 0
    client = await asyncio.to_thread(at.client, TURN_S, seen.look)
    _ = client.audio.speech.with_streaming_response
    began = time.monotonic()
    pcm, rate = bytearray(), messages.RATE
    try:
        async with aclosing(SpeechMouth(client, at, speaks.voice).speak(SENTENCE)) as speeches:
            async for speech in speeches:
                first_ms = first_ms or _ms(began)
                pcm += speech.pcm
                rate = speech.rate
    except EngineError as error:
        if seen.status >= 400:
            return troubled(seen.trouble, seen.status, at, model, "tts.model")
        return refused(error, at, model, "tts.model")
    finally:
        await client.close()
    return Trial(judge_speech(bytes(pcm), rate, model, first_ms, "tts.model"))


async def _realtime(site: Site) -> Trial:
    from teamscall.config.models import resolve

    engine = configured.realtime(site.config, today())
    model = resolve("realtime", site.config.realtime.model, today()).name
    at = configured.endpoint(site.config)
    return await _aloud(engine.dialler, at, model, "realtime.model", "")


async def _live(site: Site) -> Trial:
    from teamscall.config.models import resolve

    engine = configured.live(site.config, today())
    model = resolve("live", site.config.live.model, today()).name
    at, began = configured.endpoint(site.config), time.monotonic()
    try:
        link = await engine.dialler.open()
    except (Lost, EngineError) as error:
        return refused(error, at, model, "live.model")
    await link.close()
    return Trial(ok(f"A live session with {name(model)} opened in {_ms(began)} ms.", model=model))


async def _aloud(dialler: Dialler, at: Endpoint, model: str, setting: str, style: str) -> Trial:
    """Open a session as it is configured, and have it read the sentence aloud."""
    began = time.monotonic()
    try:
        link = await dialler.open()
    except (Lost, EngineError) as error:
        return refused(error, at, model, setting)
    opened_ms, asked, first_ms, pcm = _ms(began), time.monotonic(), 0, bytearray()
    trouble: messages.Trouble | None = None
    try:
        await link.send(messages.read_aloud(SENTENCE, style, event_id="doctor"))
        async for event in _events(link):
            if event.type == "response.output_audio.delta":
                first_ms = first_ms or _ms(asked)
                pcm += _decoded(event.delta or "")
            elif event.type == "error":
                trouble = event.error or messages.Trouble()
            elif event.type == "response.done" and event.response is not None:
                details = event.response.status_details
                if event.response.status != "completed":
                    trouble = (details.error if details else None) or messages.Trouble()
            else:
                continue
            if event.type != "response.output_audio.delta":
                break
        else:
            trouble = messages.Trouble(code="connection_lost")
    finally:
        await link.close()
    if trouble is not None:
        return troubled(trouble, 0, at, model, setting)
    found = judge_speech(bytes(pcm), messages.RATE, model, first_ms, setting)
    return Trial(msgspec.structs.replace(found, facts={**found.facts, "openMs": opened_ms}))


async def _events(link: ClientConnection) -> AsyncGenerator[messages.ServerEvent]:
    from websockets.exceptions import ConnectionClosed

    try:
        async for text in link:
            if (event := messages.read(text)) is not None:
                yield event
    except ConnectionClosed:
        return


# --- parts ------------------------------------------------------------------------------


def spoken_path() -> Path:
    """The sentence as a WAV file of 24 kHz."""
    return Path(__file__).parent.parent / "assets" / "hello.wav"


def _spoken_pcm() -> bytes:
    from teamscall.audio.wav import StreamingWavHeader

    header = StreamingWavHeader()
    return header.feed(spoken_path().read_bytes()) + header.finish()


def _nobody(call: CallBrief) -> Mind:
    raise EngineError("a check has no mind of its own", stage="think")


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""


def _ms(since: float) -> int:
    return int((time.monotonic() - since) * 1000)
