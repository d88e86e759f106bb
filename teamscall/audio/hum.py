"""Does this begin like "mm" or like a word.

A hum is the nose's sound: all of it below some 600 Hz, from end to end. The room knows PCM
only; what to do about a listener who hums along is for the call to say.
"""

from __future__ import annotations

import numpy as np

from teamscall.wire.events import SAMPLE_RATE

# With the mouth shut, what is above the nose's first formant (250 to 300 Hz) is 16 to 40 dB
# below it; in an open vowel it is within 10 dB.
LOW_HZ = (80.0, 600.0)
HIGH_HZ = (600.0, 4000.0)
BELOW_DB = 12.0

# A hum stays as it is. By this much more above within the last windows, the mouth opens:
# "my", "no", "wait".
OPENING_DB = 3.0

# Two pitch periods of a deep voice, moved by half of it.
WINDOW = SAMPLE_RATE * 32 // 1000
HOP = WINDOW // 2
JUDGED = 3  # windows, the last ones: "hm" begins with breath

# Keeps silence from being a hum: what is above counts as at least so much (-100 dBFS).
FAINT = WINDOW**2 * 0.01


def is_hum(frames: bytes) -> bool:
    """Whether the begin of the caller's voice (60 to 100 ms of s16le 16 kHz) is a hum.

    Words that begin with m or n begin with the same sound, and some other voiced consonants
    are close: this is a reason to wait for more, never to ignore. Less than 32 ms, and
    silence, is no hum.
    """
    samples = np.frombuffer(frames, "<i2", count=len(frames) // 2).astype(np.float64)
    if len(samples) < WINDOW:
        return False
    windows = np.lib.stride_tricks.sliding_window_view(samples, WINDOW)[::HOP] * np.hanning(WINDOW)
    power = np.abs(np.fft.rfft(windows[-JUDGED:], axis=1)) ** 2
    hertz = np.fft.rfftfreq(WINDOW, 1 / SAMPLE_RATE)
    low = power[:, (hertz >= LOW_HZ[0]) & (hertz < LOW_HZ[1])].sum(axis=1)
    high = power[:, (hertz >= HIGH_HZ[0]) & (hertz < HIGH_HZ[1])].sum(axis=1)
    above_db = 10.0 * np.log10((high + FAINT) / (low + 1.0))
    closed = above_db[-2:].max() < -BELOW_DB
    return bool(closed and above_db[-1] - above_db[0] < OPENING_DB)
