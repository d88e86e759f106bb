"""The ends of the scale of dBFS. Kept apart from what measures, which needs numpy: a command
that only shows levels is half as slow without it."""

from __future__ import annotations

FULL_SCALE = 32768.0

# What digital silence is said to be, since its logarithm is not a number that JSON or an
# average can carry. Below one least significant bit once in a 20 ms frame (-115).
SILENCE_DBFS = -120.0
