"""Record the default texts again: ``python -m teamscall.engines.spoken [NAME ...]``.

Owns how a recording is cut and faded. Needs the offline extra; the voice is not
deterministic, so new files differ from the old ones.
"""

from __future__ import annotations

import asyncio
import sys

from teamscall.engines.offline.synthesise import RATE, synthesise
from teamscall.engines.spoken import FOLDER, TEXTS

AUDIBLE = 200  # of 32,767: -44 dBFS; what is quieter at the ends is cut off
FADE_S = 0.005  # at both ends of the voice, for it may begin in the middle of a swing
LEAD_IN_S, LEAD_OUT_S = 0.02, 0.1  # of silence, around it


def trimmed(pcm: bytes) -> bytes:
    """Voice between its first and last sound, faded in and out, with a little silence."""
    import numpy as np

    voice = np.frombuffer(pcm, "<i2").astype(np.float64)
    loud = np.flatnonzero(abs(voice) > AUDIBLE)
    fade = int(RATE * FADE_S)
    voice = voice[max(0, loud[0] - fade) : loud[-1] + 1 + fade]
    ramp = np.minimum(1.0, np.arange(len(voice)) / fade)
    voice *= ramp * ramp[::-1]
    around = (int(RATE * LEAD_IN_S), int(RATE * LEAD_OUT_S))
    return np.pad(np.rint(voice), around).astype("<i2").tobytes()


def main(names: list[str]) -> None:
    from teamscall.audio.wav import write_wav

    for name in names or list(TEXTS):
        pcm = trimmed(asyncio.run(synthesise(TEXTS[name])))
        write_wav(FOLDER / f"{name}.wav", pcm)
        print(f"{name}.wav  {len(pcm) / 2 / RATE:.2f} s  {TEXTS[name]}")


if __name__ == "__main__":
    main(sys.argv[1:])
