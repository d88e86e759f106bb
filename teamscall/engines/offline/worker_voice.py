"""The worker process that speaks: a Piper voice.

``python -m teamscall.engines.offline.worker_voice VOICE THREADS SPEED``; an empty VOICE is
the packaged, verified one, a SPEED of 1 is the voice's own. The synthesis engine is
GPL-3.0-or-later: it is imported here, in its own process, and nowhere else.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator

from teamscall.engines.offline import weights
from teamscall.engines.offline.child import Answer, serve
from teamscall.engines.offline.frames import Finished, Request, Spoken, Synthesise

# Piper scales every sentence to full scale. -4.4 dBFS peaks leave room for the overshoot
# of resampling and sit near the level of the other people in a meeting.
VOLUME = 0.6


def plain(text: str) -> str:
    """Without what Piper takes for phonemes (``[[…]]``) and what ends a C string."""
    text = text.replace("[[", "[ [")
    return "".join(c if c.isprintable() else " " for c in text)


def load(voice: str, threads: int, speed: float) -> tuple[Answer, str]:
    weights.require("piper", "onnxruntime")
    path = weights.voice_model(voice)
    import onnxruntime
    from piper import PiperConfig, PiperVoice, SynthesisConfig

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Threads that spin between sentences would take the audio loop's cycles.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    with open(f"{path}.json", encoding="utf-8") as file:
        settings = PiperConfig.from_dict(json.load(file))
    piper = PiperVoice(
        session=onnxruntime.InferenceSession(
            str(path), sess_options=options, providers=["CPUExecutionProvider"]
        ),
        config=settings,
    )
    style = SynthesisConfig(volume=VOLUME, length_scale=settings.length_scale / speed)

    def answer(request: Request) -> Iterator[Spoken | Finished]:
        if isinstance(request, Synthesise):
            began = time.monotonic()
            for chunk in piper.synthesize(plain(request.text), style):
                yield Spoken(request.id, chunk.audio_int16_bytes, chunk.sample_rate)
            yield Finished(request.id, ms=int((time.monotonic() - began) * 1000))

    for _ in answer(Synthesise(0, "Hello, hello.")):  # warm: the first sentence is slow
        pass
    name = "Piper voice joe (en-US)" if not voice else path.name
    return answer, f"{name}, {threads} threads"


if __name__ == "__main__":
    _voice, _threads, _speed = sys.argv[1:4]
    sys.exit(serve(lambda: load(_voice, int(_threads), float(_speed))))
