"""How the stand-in behaves: latencies, its key, and the script of what it hears and says.

Data only; :mod:`teamscall.testing.failures` holds what goes wrong on demand.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from teamscall.scripts import read_script

_Ms = Annotated[float, msgspec.Meta(ge=0, le=600_000)]


class Answer(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is said to a caller whose words contain ``to`` (any case; "" is anything).

    With a ``tool``, the answer is a call of it while the conversation does not end in a
    tool's result. ``{heard}`` in ``say`` is what the caller said, ``{result}`` the tool's.
    """

    to: str = ""
    say: str = ""
    tool: str = ""
    arguments: str = "{}"


class Script(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``hears``: the transcripts of speech, in order, then again. ``answer``: first match
    wins."""

    hears: tuple[str, ...] = ("Hello, can you hear me?",)
    answer: tuple[Answer, ...] = ()
    otherwise: str = "You said: {heard} I am only a stand-in, but I can hear you well."


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One stand-in.

    Attributes:
        api_key: the only key that is taken; "" takes any, but not none.
        hear_ms: from the end of an utterance (its commit) to the final transcript.
        think_ms: to the first token. token_ms: between tokens.
        speak_first_byte_ms: to the first byte of speech.
        speak_speed: speech comes this many times faster than it plays; 0 is at once.
        speech_rate: Hz of what the speech endpoint gives; other than 24000 as some do.
        rate_header: whether ``x-sample-rate`` says so.
        chunk_bytes: of the speech endpoint; odd ones split samples.
        delta_ms: of audio in one realtime delta.
        session_s: how long a realtime session may last.
        today: models whose shutdown date is not after it are gone.
        models: more model names, taken for every purpose.
        silence_transcript: what is "heard" where nobody spoke.
        reword: a read-aloud session adds words of its own, as real ones do at times.
        live_silence: a live session's output goes on as silence between its answers.
        word_ms, pause_ms: of the voice made of tones.
    """

    port: int = 0
    host: str = "127.0.0.1"
    api_key: str = "sk-stand-in"
    script: Script = Script()
    voice: Literal["tone", "offline"] = "tone"
    ear: Literal["script", "offline"] = "script"
    hear_ms: _Ms = 0
    think_ms: _Ms = 0
    token_ms: _Ms = 0
    speak_first_byte_ms: _Ms = 0
    speak_speed: Annotated[float, msgspec.Meta(ge=0, le=10_000)] = 0
    speech_rate: Annotated[int, msgspec.Meta(ge=8_000, le=48_000)] = 24_000
    rate_header: bool = False
    chunk_bytes: Annotated[int, msgspec.Meta(ge=1, le=10_000_000)] = 4_800
    delta_ms: Annotated[int, msgspec.Meta(ge=1, le=60_000)] = 100
    session_s: Annotated[float, msgspec.Meta(gt=0, le=86_400)] = 3_600
    today: date | None = None
    models: tuple[str, ...] = ()
    silence_transcript: str = ""
    reword: bool = False
    live_silence: bool = False
    word_ms: Annotated[int, msgspec.Meta(ge=20, le=10_000)] = 220
    pause_ms: Annotated[int, msgspec.Meta(ge=0, le=10_000)] = 60


def load_script(path: str | Path) -> Script:
    """Read a script from a TOML file. Raises as ``read_script``."""
    return read_script(path, Script)


def choose(script: Script, heard: str, result: str | None) -> Answer:
    """The answer to ``heard``; ``result`` is the tool's when the conversation ends in one.

    ``say`` comes back with its placeholders filled.
    """
    found = Answer(say=script.otherwise)
    for answer in script.answer:
        if answer.to.casefold() in heard.casefold():
            found = answer
            break
    if found.tool and result is None:
        return found
    said = found.say.replace("{heard}", heard).replace("{result}", result or "")
    return Answer(to=found.to, say=said)
