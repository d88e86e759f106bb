"""The worker process that hears: Whisper through faster-whisper.

``python -m teamscall.engines.offline.worker_ear MODEL LANGUAGE BEAM THREADS``; an empty
MODEL is the packaged, verified one. Owns the recogniser's settings.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import Any, Protocol

from teamscall.engines.offline import weights
from teamscall.engines.offline.child import Answer, serve
from teamscall.engines.offline.frames import Finished, Request, Transcribe

# Measured on silence, hum, clicks and white noise at -20 to -30 dBFS: "you", "." with
# no-speech 0.84-0.96 and log-probability -1.2 to -1.7. Speech, also single words: no-speech
# 0.01-0.21. Whisper's own pair of thresholds separates them.
NO_SPEECH = 0.6
LOG_PROBABILITY = -1.0

# Whisper's window is 30 s, whatever is in it. Encoding only the utterance and 10 s of
# silence halves the time (0.22 s instead of 0.45 s) and hears as well: over 60 sentences in
# four voices 1.1 % of words wrong against 1.5 %, at 15 dB of noise 11.7 % against 13.8 %. With
# 5 s of silence or less it begins to repeat itself, so a result that looks like that is
# decoded again with the whole window. Not done with a model that was not measured.
RATE = 16_000
FRAMES_PER_S = 100
WHOLE_WINDOW = 30 * FRAMES_PER_S
SILENCE_FRAMES = 10 * FRAMES_PER_S
MAX_TOKENS_PER_S = 10  # twice as fast as people talk; what repeats itself is stopped there
MAX_CHARS_PER_S = 30
MAX_COMPRESSION = 1.8  # zlib's ratio; sentences have 0.9, repetitions 3 and more


class Segment(Protocol):
    """What faster-whisper tells of a decode."""

    text: str
    compression_ratio: float
    avg_logprob: float


def suspicious(segment: Segment, seconds: float) -> bool:
    """Whether a decode repeats itself or is unsure: too much text, too regular, unlikely."""
    return (
        segment.compression_ratio > MAX_COMPRESSION
        or segment.avg_logprob < LOG_PROBABILITY
        or len(segment.text) > MAX_CHARS_PER_S * max(1.0, seconds)
    )


def load(model: str, language: str, beam: int, threads: int) -> tuple[Answer, str]:
    weights.require("faster_whisper")
    path = weights.ear_model(model)
    import numpy as np
    from faster_whisper import WhisperModel

    class Windowed(WhisperModel):  # type: ignore[misc]
        """Encodes only the first ``window`` frames (10 ms each) of the 30 s."""

        window = WHOLE_WINDOW

        def encode(self, features: Any) -> Any:
            return super().encode(features[..., : self.window])

    whisper = Windowed(
        str(path), device="cpu", compute_type="int8", cpu_threads=threads, local_files_only=True
    )

    def decode(samples: Any, window: int) -> list[Any]:
        whisper.window = window
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
            max_new_tokens=min(224, 16 + MAX_TOKENS_PER_S * len(samples) // RATE),
        )
        return list(segments)

    def transcribe(pcm: bytes) -> str:
        samples = np.frombuffer(pcm, "<i2").astype(np.float32) / 32768.0
        seconds = len(samples) / RATE
        window = WHOLE_WINDOW
        if not model:
            window = min(WHOLE_WINDOW, int(seconds * FRAMES_PER_S) + SILENCE_FRAMES)
        segments = decode(samples, window)
        if window < WHOLE_WINDOW and any(suspicious(segment, seconds) for segment in segments):
            segments = decode(samples, WHOLE_WINDOW)
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
