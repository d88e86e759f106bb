"""The worker process that hears: Whisper through faster-whisper.

``python -m teamscall.engines.offline.worker_ear MODEL LANGUAGE BEAM THREADS``; an empty
MODEL is the packaged, verified one. Owns the recogniser's settings.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator

from teamscall.engines.offline import weights
from teamscall.engines.offline.child import Answer, serve
from teamscall.engines.offline.frames import Finished, Request, Transcribe

# Measured on silence, hum, clicks and white noise at -20 to -30 dBFS: "you", "." with
# no-speech 0.84-0.96 and log-probability -1.2 to -1.7. Speech, also single words: no-speech
# 0.01-0.21. Whisper's own pair of thresholds separates them.
NO_SPEECH = 0.6
LOG_PROBABILITY = -1.0


def load(model: str, language: str, beam: int, threads: int) -> tuple[Answer, str]:
    weights.require("faster_whisper")
    path = weights.ear_model(model)
    import numpy as np
    from faster_whisper import WhisperModel

    whisper = WhisperModel(
        str(path), device="cpu", compute_type="int8", cpu_threads=threads, local_files_only=True
    )

    def transcribe(pcm: bytes) -> str:
        samples = np.frombuffer(pcm, "<i2").astype(np.float32) / 32768.0
        segments, _ = whisper.transcribe(
            samples,
            language=language,
            beam_size=beam,
            # One pass: the usual retries at higher temperatures cost up to six times the
            # time on noise, and invent words.
            temperature=0.0,
            without_timestamps=True,
            condition_on_previous_text=False,
            no_speech_threshold=NO_SPEECH,
            log_prob_threshold=LOG_PROBABILITY,
        )
        text = " ".join(segment.text.strip() for segment in segments).strip()
        return text if any(c.isalnum() for c in text) else ""

    transcribe(bytes(32_000))  # warm: the first decode takes twice as long

    def answer(request: Request) -> Iterator[Finished]:
        if isinstance(request, Transcribe):
            began = time.monotonic()
            text = transcribe(request.pcm)
            yield Finished(request.id, text, int((time.monotonic() - began) * 1000))

    name = "Whisper tiny.en" if not model else path.name
    return answer, f"{name}, beam {beam}, {threads} threads"


if __name__ == "__main__":
    _model, _language, _beam, _threads = sys.argv[1:5]
    sys.exit(serve(lambda: load(_model, _language, int(_beam), int(_threads))))
