"""``teamscall fake-openai`` and the script's file."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from openai import OpenAI

from teamscall.errors import ConfigError, InputError
from teamscall.testing import Answer, Script, load_script

COMMAND = (sys.executable, "-m", "teamscall", "fake-openai", "--port", "0", "--json")
SCRIPT = """
hears = ["hello"]
otherwise = "From the file."
[[answer]]
to = "weather"
tool = "get_weather"
"""


@pytest.mark.skipif(os.name != "posix", reason="Ctrl-C is a signal here")
def test_it_listens_says_where_and_ends_on_ctrl_c(tmp_path: Path) -> None:
    script = tmp_path / "script.toml"
    script.write_text(SCRIPT)
    options = ("--script", str(script), "--think-ms", "0", "--fail", "models:refuse:status=401")
    with subprocess.Popen((*COMMAND, *options), stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            about = json.loads(process.stdout.readline())
            with OpenAI(api_key="sk-stand-in", base_url=about["baseUrl"]) as client:
                answer = client.responses.create(model="gpt-6-luna", input="What is it?")
                assert answer.output_text == "From the file."
            shown = json.loads(process.stdout.readline())
            assert (shown["method"], shown["path"]) == ("POST", "/v1/responses")
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 130
        finally:
            process.kill()


def test_a_wrong_failure_is_a_configuration_error() -> None:
    done = subprocess.run(
        (*COMMAND, "--fail", "speak:dance"), capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 3
    assert "speak:dance" in done.stderr


def test_a_script_is_read(tmp_path: Path) -> None:
    path = tmp_path / "script.toml"
    path.write_text(SCRIPT)
    weather = Answer(to="weather", tool="get_weather")
    expected = Script(hears=("hello",), otherwise="From the file.", answer=(weather,))
    assert load_script(path) == expected
    path.write_text("hear = 5")
    with pytest.raises(ConfigError, match="hear"):
        load_script(path)
    with pytest.raises(InputError):
        load_script(tmp_path / "none.toml")
