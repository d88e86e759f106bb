"""Measure the offline engine in real time: ``python tests/engines/measure_offline.py``.

Speaks 15 sentences (flite, voice slt) into a session frame by frame, ends each utterance as
a call does, lets the built-in responder answer, and prints words heard, the times from the
end of the utterance to the transcript and to the first audio, and what the workers use.
Needs the offline extra and flite; takes two minutes.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from engines_rig import talking
from test_engines_offline import SENTENCES, errors, flite, words

from teamscall.audio.vad import Endpointer, SpeechStarted, SpeechStopped, VoiceActivity
from teamscall.engines.base import (
    AnswerAudio,
    BeginUtterance,
    CancelAnswer,
    CommitUtterance,
    Hear,
    Respond,
    Transcript,
)
from teamscall.engines.minds.builtin import BuiltinMind
from teamscall.engines.offline.engine import OfflineEngine

FRAME = 640
TAIL_S = 3.0


def spread(seconds: Sequence[float]) -> str:
    ordered = sorted(seconds)
    p95 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.95))]
    return f"p50 {statistics.median(ordered) * 1000:.0f} ms, p95 {p95 * 1000:.0f} ms"


def resident_mb(pid: int | None) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return 0.0


async def measure() -> None:
    engine = OfflineEngine(lambda call: BuiltinMind())
    began = time.monotonic()
    await engine.start()
    print(f"start {time.monotonic() - began:.1f} s; {engine.describe()}")
    to_text: list[float] = []
    to_audio: list[float] = []
    wrong = total = 0
    with tempfile.TemporaryDirectory() as folder:
        for turn, sentence in enumerate(SENTENCES, 1):
            pcm = bytes(32_000) + flite("slt", sentence, Path(folder))
            pcm += bytes(int(TAIL_S * 32_000))
            async with talking(engine) as talk:
                activity, endpointer = VoiceActivity(), Endpointer()
                origin = time.monotonic()
                committed = 0.0
                for index in range(0, len(pcm) - FRAME, FRAME):
                    frame = pcm[index : index + FRAME]
                    talk.submit(Hear(frame))
                    match endpointer.push(activity.is_speech(frame)):
                        case SpeechStarted():
                            talk.submit(BeginUtterance(turn))
                        case SpeechStopped():
                            committed = time.monotonic()
                            talk.submit(CommitUtterance(turn))
                            break
                        case None:
                            pass
                    await asyncio.sleep(max(0, origin + index / 32_000 - time.monotonic()))
                await talk.until(lambda talk=talk: any(e.final for e in talk.all(Transcript)))  # type: ignore[misc]
                to_text.append(time.monotonic() - committed)
                heard = talk.all(Transcript)[-1].text
                talk.submit(Respond(turn, heard))
                await talk.first(AnswerAudio)
                to_audio.append(time.monotonic() - committed)
                talk.submit(CancelAnswer(turn))
                wrong += errors(words(sentence), words(heard))
                total += len(words(sentence))
    print(f"words heard: {100 * (1 - wrong / total):.1f} % of {total}")
    print(f"end of utterance to final transcript: {spread(to_text)}")
    print(f"end of utterance to first audio: {spread(to_audio)}")
    silence = [audio - text for audio, text in zip(to_audio, to_text, strict=True)]
    print(f"final transcript to first audio: {spread(silence)}")
    for name, worker in (("ear", engine.ear), ("voice", engine.voice)):
        print(f"{name}: RSS {resident_mb(worker.pid):.0f} MB")
    await engine.stop()


if __name__ == "__main__":
    asyncio.run(measure())
