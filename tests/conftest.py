"""What holds for every test."""

from __future__ import annotations

from hypothesis import settings

# No test asserts an absolute time, and a property is no exception.
settings.register_profile("house", deadline=None)
settings.load_profile("house")
