"""How many words recognisers make of a minute without any, and what the guard lets through:
``python tests/engines/measure_noise.py``. Needs the offline extra.

Two recognisers: the offline ear, whose settings drop most by themselves, and the same
Whisper as compatible servers run it, without thresholds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
from engines_rig import eventually

from teamscall.audio.vad import VoiceActivity
from teamscall.engines.base import BeginUtterance, CommitUtterance, EngineEvent, Hear, Transcript
from teamscall.engines.guard import believable
from teamscall.engines.offline import weights
from teamscall.engines.offline.ear import OfflineEar, Talkers
from teamscall.engines.offline.engine import ear_worker
from teamscall.engines.offline.frames import Transcribe
from teamscall.engines.offline.worker import Worker
from teamscall.engines.voicing import FRAME_BYTES

Samples = np.ndarray[tuple[int, ...], np.dtype[np.float64]]

RATE = 16_000
SECONDS = 60
LENGTHS_S = (0.8, 1.5, 3.0, 5.0)  # of the utterances that it is cut into, in turn


def noises() -> Iterator[tuple[str, Samples]]:
    """Name and samples of full scale 1, without anybody in them."""
    rng = np.random.default_rng(7)
    n = RATE * SECONDS
    time = np.arange(n) / RATE
    yield "silence", np.zeros(n)
    for level in (-60, -45, -30, -20):
        yield f"white {level} dBFS", rng.standard_normal(n) * 10 ** (level / 20)
    spectrum = np.fft.rfft(rng.standard_normal(n))
    spectrum[1:] /= np.sqrt(np.arange(1, len(spectrum)))
    pink = np.fft.irfft(spectrum, n)
    pink /= pink.std()
    for level in (-45, -30, -20):
        yield f"pink {level} dBFS", pink * 10 ** (level / 20)
    hum = np.sum([np.sin(2 * np.pi * 50 * k * time) / k for k in (1, 2, 3, 5)], axis=0)
    yield "hum -26 dBFS", 0.05 * hum
    clicks = np.zeros(n)
    at = 0
    while (at := at + int(RATE * rng.uniform(0.08, 0.4))) < n - 800:
        burst = rng.standard_normal(800) * np.exp(-np.arange(800) / 90) * rng.uniform(0.05, 0.3)
        clicks[at : at + 800] += burst
    yield "keyboard", clicks + rng.standard_normal(n) * 10 ** (-62 / 20)
    breath = np.convolve(rng.standard_normal(n), np.hanning(12), "same")
    yield "breath", breath * 0.02 * np.clip(np.sin(2 * np.pi * time / 2.5), 0, 1) ** 2
    ring = np.sin(2 * np.pi * 440 * time) + np.sin(2 * np.pi * 480 * time)
    yield "ring tone", 0.08 * ring * (time % 6 < 2)


def cut(samples: Samples) -> list[bytes]:
    pcm = (np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes()
    pieces: list[bytes] = []
    at = 0
    while at < len(pcm):
        size = int(LENGTHS_S[len(pieces) % len(LENGTHS_S)] * RATE) * 2
        pieces.append(pcm[at : at + size])
        at += size
    return pieces


def voiced_ms(pieces: list[bytes]) -> list[int]:
    """How much of each piece our detection takes for voice."""
    activity = VoiceActivity()
    found: list[int] = []
    for piece in pieces:
        frames = [piece[i : i + FRAME_BYTES] for i in range(0, len(piece), FRAME_BYTES)]
        found.append(20 * sum(activity.is_speech(f) for f in frames if len(f) == FRAME_BYTES))
    return found


def has_final(events: list[EngineEvent], number: int) -> bool:
    return any(isinstance(e, Transcript) and e.final and e.utterance == number for e in events)


async def offline(worker: Worker, pieces: list[bytes]) -> list[str]:
    """What the offline ear tells the call."""
    events: list[EngineEvent] = []
    is_speech = VoiceActivity().is_speech
    ear = OfflineEar(worker, events.append, is_speech=is_speech, talkers=Talkers())
    async with asyncio.TaskGroup() as group:
        task = group.create_task(ear.run())
        for number, piece in enumerate(pieces, 1):
            ear.submit(BeginUtterance(number))
            for start in range(0, len(piece), FRAME_BYTES):
                ear.submit(Hear(piece[start : start + FRAME_BYTES]))
            ear.submit(CommitUtterance(number))
            await eventually(partial(has_final, events, number))
        task.cancel()
    return [e.text for e in events if isinstance(e, Transcript) and e.final]


def plain_whisper() -> Callable[[bytes], str]:
    from faster_whisper import WhisperModel

    model = WhisperModel(
        str(weights.ear_model("")), device="cpu", compute_type="int8", local_files_only=True
    )

    def transcribe(pcm: bytes) -> str:
        samples = np.frombuffer(pcm, "<i2").astype(np.float32) / 32768.0
        segments, _ = model.transcribe(
            samples,
            language="en",
            beam_size=1,
            temperature=0.0,
            no_speech_threshold=None,
            log_prob_threshold=None,
            condition_on_previous_text=False,
        )
        return " ".join(segment.text.strip() for segment in segments)

    return transcribe


def count(texts: list[str]) -> int:
    return sum(len(text.split()) for text in texts)


async def measure() -> None:
    transcribe = plain_whisper()
    worker = ear_worker()
    await worker.start()
    print(f"{'a minute of':14} {'offline, guarded':>17} {'Whisper':>8} {'guarded':>8}")
    try:
        for name, samples in noises():
            pieces = cut(samples)
            raw = [(await worker.submit(Transcribe(0, p)).finished()).text for p in pieces]
            kept = await offline(worker, pieces)
            plain = [transcribe(piece) for piece in pieces]
            found = zip(plain, voiced_ms(pieces), strict=True)
            guarded = [believable(text, max(100, ms)) for text, ms in found]
            print(
                f"{name:14} {count(raw):8} {count(kept):8} {count(plain):8} {count(guarded):8}"
                f"  {sorted(set(plain))[:6]} -> {sorted(set(filter(None, guarded)))}"
            )
    finally:
        await worker.stop()


if __name__ == "__main__":
    asyncio.run(measure())
