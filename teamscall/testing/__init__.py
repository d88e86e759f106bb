"""A strict stand-in for OpenAI's service, for tests and for CI without a key.

Speaks the Realtime API (GA shapes only), the Live API, speech, chat completions, responses
and the list of models on one real port, at OpenAI's addresses and at Azure's; refuses what
the service refuses; fails on demand. It knows no engine of teamscall but, where it is told
to, the offline voice and ear.
"""

from teamscall.testing.failures import (
    Drop,
    Empty,
    Failure,
    Plan,
    Refuse,
    Report,
    Stall,
    parse_failure,
)
from teamscall.testing.fake import FakeOpenAI
from teamscall.testing.settings import Answer, Script, Settings, load_script
from teamscall.testing.visits import Event, Visit
from teamscall.testing.voice import tone_speech

__all__ = [
    "Answer",
    "Drop",
    "Empty",
    "Event",
    "Failure",
    "FakeOpenAI",
    "Plan",
    "Refuse",
    "Report",
    "Script",
    "Settings",
    "Stall",
    "Visit",
    "load_script",
    "parse_failure",
    "tone_speech",
]
