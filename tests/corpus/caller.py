"""Write a caller's WAV: ``caller.py OUT.wav v0.6 s1.2 h0.4``, seconds of voice, of silence and
of a hum.

The voice is what a voice activity detector takes for speech, and repeats every 100 ms: five
frames, so that a capture of it stays small.
"""

from __future__ import annotations

import sys
import wave

import numpy as np

RATE = 16_000
PERIOD_S = 0.1


def voice() -> bytes:
    """One period: harmonics under two formants, swelling and fading."""
    t = np.arange(round(RATE * PERIOD_S)) / RATE
    sound = np.zeros_like(t)
    for k in range(1, 30):
        f = 120 * k
        gain = np.exp(-(((f - 600) / 300) ** 2)) + 0.5 * np.exp(-(((f - 1800) / 400) ** 2))
        sound += (gain + 0.02) * np.sin(2 * np.pi * f * t + k * k)
    sound *= np.sin(np.pi * t / PERIOD_S) ** 2
    sound *= 0.1 / sound.std()
    return np.rint(np.clip(sound, -1, 1) * 32767).astype("<i2").tobytes()


def hum() -> bytes:
    """One period of a voice with closed lips: its lowest harmonics alone."""
    t = np.arange(round(RATE * PERIOD_S)) / RATE
    sound = np.zeros_like(t)
    for k in range(1, 4):
        sound += np.sin(2 * np.pi * 120 * k * t) / k**3
    sound *= 0.1 / sound.std()
    return np.rint(sound * 32767).astype("<i2").tobytes()


def sound(parts: list[str]) -> bytes:
    """``v0.6``: voice, ``s1.2``: silence, ``h0.3``: a hum."""
    out = bytearray()
    for part in parts:
        size = round(float(part[1:]) * RATE) * 2
        period = voice() if part[0] == "v" else hum() if part[0] == "h" else bytes(2)
        out += (period * (size // len(period) + 1))[:size]
    return bytes(out)


if __name__ == "__main__":
    path, *wanted = sys.argv[1:]
    with wave.open(path, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(sound(wanted))
