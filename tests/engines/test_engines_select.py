"""From configuration to engine."""

from __future__ import annotations

import asyncio
import datetime
import subprocess
import sys

import pytest

from teamscall.config import Config, OpenAI, Response, Secret, Streaming, Tts
from teamscall.engines.select import Choice, build_engine, describe_choice
from teamscall.errors import EngineError

PROBE = """
import sys
from teamscall.config import Config, Response
from teamscall.engines.select import build_engine
build_engine(Config(response=Response(base_url="http://127.0.0.1:9/v1", model="m")))
print("openai.resources.chat.completions" in sys.modules)
"""


def test_the_sdk_is_loaded_before_the_first_call() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROBE], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "True"


def test_auto_says_what_it_took_and_why() -> None:
    assert describe_choice(Config()).engine == "offline"
    key = Config(streaming=Streaming(openai_api_key=Secret("sk-x")))
    assert describe_choice(key) == Choice(
        "openai", "engine = auto: an OpenAI key is set; mode = auto: realtime.* is not set"
    )
    own = Config(openai=OpenAI(base_url="http://127.0.0.1:9/v1"))
    assert describe_choice(own) == Choice(
        "openai", "engine = auto: openai.base_url is set; mode = auto: realtime.* is not set"
    )
    assert describe_choice(Config(engine="echo")).reason == "engine = echo"


TODAY = datetime.date(2026, 11, 21)


def test_what_is_not_set_is_the_best_that_lives_on() -> None:
    config = Config(openai=OpenAI(api_key=Secret("sk-x")), tts=Tts(voice="fable"))
    line = build_engine(config, today=TODAY).describe()
    assert line == (
        "openai: hears with gpt-live-transcribe; thinks with gpt-6-luna; "
        "speaks with gpt-realtime-2.1-mini (coral)"
    )
    own = Config(openai=OpenAI(base_url="http://voice.example.org/v1"))
    assert "speaks with gpt-4o-mini-tts (coral)" in build_engine(own, today=TODAY).describe()
    other = Config(engine="openai", response=Response(command=("cat",)))
    assert "thinks with response.command" in build_engine(other, today=TODAY).describe()


def test_a_missing_key_is_told_at_start_up() -> None:
    with pytest.raises(EngineError, match="OPENAI_API_KEY"):
        asyncio.run(build_engine(Config(engine="openai"), today=TODAY).start())


STARTS = """
import asyncio, sys
from teamscall.config import Config, OpenAI, Secret
from teamscall.engines.select import build_engine, load_packages

config = Config(engine="openai", mode=sys.argv[1], openai=OpenAI(api_key=Secret("k" * 30)))
load_packages(config)
engine = build_engine(config)
before = set(sys.modules)

async def use():
    await engine.start()
    await engine.stop()

asyncio.run(use())
print(*sorted(set(sys.modules) - before))
"""


@pytest.mark.parametrize(
    "mode",
    ["streaming", *(pytest.param(m, marks=pytest.mark.long) for m in ("realtime", "live"))],
)
def test_an_engine_starts_beside_calls_without_importing_its_packages(mode: str) -> None:
    """They were imported in a thread: on the loop they held up every call for a second."""
    done = subprocess.run(
        [sys.executable, "-c", STARTS, mode], capture_output=True, text=True, check=True
    )
    late = {name.partition(".")[0] for name in done.stdout.split()}
    assert not late & {"openai", "pydantic", "httpx2", "websockets", "numpy", "teamscall"}
