"""All that a call over OpenAI needs, imported at once.

Takes a second of a processor: in a thread where calls go on, or they are held up. An
engine's own ``start`` imports the same where nobody has.
"""

from __future__ import annotations

import functools


@functools.cache
def load() -> None:
    """Import the SDK, its resources that are imported when they are first looked up, and
    the sessions of every mode. No network is asked."""
    import openai

    from teamscall.audio import vad
    from teamscall.engines.minds import chat
    from teamscall.engines.openai import (
        ear,
        live_session,
        mouth,
        realtime_session,
        server_ear,
    )

    _ = ear, live_session, mouth, realtime_session, server_ear, vad
    chat.load()
    _ = openai.AsyncOpenAI(api_key=chat.NO_KEY).audio.speech.with_streaming_response
