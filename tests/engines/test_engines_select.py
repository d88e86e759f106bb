"""From configuration to engine."""

from __future__ import annotations

import subprocess
import sys

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
