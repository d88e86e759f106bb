"""One text to one piece of 16 kHz audio, for commands that speak into a call.

Owns the short life of a voice worker. Refuses to know what the audio is for.
"""

from __future__ import annotations

from contextlib import aclosing

from teamscall.engines.offline import weights
from teamscall.engines.offline.engine import voice_worker
from teamscall.engines.offline.frames import Spoken, Synthesise
from teamscall.errors import EngineError

RATE = 16_000
MAX_CHARS = 2_000  # two minutes of speech


async def synthesise(text: str, voice_path: str = "") -> bytes:
    """Speak ``text`` with the offline voice.

    Returns:
        s16le mono PCM at 16 kHz.

    Raises:
        MissingPackageError: the extra is not installed.
        EngineError: it could not be spoken, or there is nothing to speak.
    """
    from teamscall.audio.resample import resample_all
    from teamscall.engines.clauses import cut, is_speakable

    weights.require("piper", "onnxruntime", *([] if voice_path else [weights.VOICE_PACKAGE]))
    clauses = [clause for clause in cut(text[:MAX_CHARS]) if is_speakable(clause)]
    if not clauses:
        raise EngineError("There is nothing to speak in this text.", stage="speak")
    worker = voice_worker(voice_path)
    await worker.start()
    pcm = bytearray()
    rate = RATE
    try:
        for clause in clauses:
            async with aclosing(worker.submit(Synthesise(0, clause)).replies()) as replies:
                async for reply in replies:
                    if isinstance(reply, Spoken):
                        pcm += reply.pcm
                        rate = reply.rate
    finally:
        await worker.stop()
    return resample_all(bytes(pcm), rate, RATE)
