"""Tables of which there may be many: tools and prices."""

from __future__ import annotations

import datetime
import json
import sys
import tomllib
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from teamscall.cli.app import app
from teamscall.config import Config, Loaded, Price, Response, Secret, Streaming, Tool, load_config
from teamscall.config.checks import check
from teamscall.config.source import key_lines
from teamscall.errors import ConfigError

TEXT = """
engine = "offline"
[[tools]]
name = "weather"
description = "Tells the weather."
url = "https://example.com/weather"
timeoutMs = 900

[[tools]]
name = "book_room"
description = "Books a room."
command = "book --room"
[tools.parameters]
required = ["room"]
[tools.parameters.properties.room]
type = "string"

[prices."gpt-6-luna"]
input = 0.5
cachedInput = 0.05
output = 2

[prices."tts-1"]
characters = 15.0
currency = "EUR"
"""


def load(tmp_path: Path, text: str) -> Loaded:
    file = tmp_path / "teamscall.toml"
    file.write_text(text)
    return load_config(file, env={}, cross_checks=False)


def problems_of(tmp_path: Path, text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    return [problem.replace("file teamscall.toml ", "") for problem in caught.value.problems]


def test_tools_and_prices_are_read_with_their_origins(tmp_path: Path) -> None:
    loaded = load(tmp_path, TEXT)
    weather, book = loaded.config.tools
    assert weather == Tool(
        name="weather",
        description="Tells the weather.",
        url="https://example.com/weather",
        timeout_ms=900,
    )
    assert weather.parameters == {"type": "object", "properties": {}}
    assert book.command == ("book", "--room")
    assert book.parameters == {
        "type": "object",
        "properties": {"room": {"type": "string"}},
        "required": ["room"],
    }
    assert loaded.config.prices == {
        "gpt-6-luna": Price(input=0.5, cached_input=0.05, output=2.0),
        "tts-1": Price(characters=15.0, currency="EUR"),
    }
    assert loaded.origins["tools[1]"] == "file teamscall.toml line 9"
    assert loaded.origins['prices."gpt-6-luna"'] == "file teamscall.toml line 18"


def test_nothing_is_configured_by_default() -> None:
    assert (Config().tools, Config().prices) == ((), {})


def test_parameters_may_be_json_text(tmp_path: Path) -> None:
    schema = '{"properties": {"room": {"type": "string"}}}'
    text = f"[[tools]]\nname = 'a'\ndescription = 'b'\nurl = 'http://x'\nparameters = '{schema}'"
    (tool,) = load(tmp_path, text).config.tools
    assert tool.parameters == {"type": "object", "properties": {"room": {"type": "string"}}}


def test_every_problem_names_its_key_and_line(tmp_path: Path) -> None:
    text = """
[[tools]]
name = "two words"
comand = "x"
timeout_ms = 5
url = "ftp://x"

[[tools]]
name = "end_call"
description = "x"
command = ["x"]
url = "https://example.com"

[[tools]]
name = "same"
description = "x"

[[tools]]
name = "same"
description = "x"
command = "x"

[prices]
broken = 5
[prices."m"]
inputs = 1.0
output = -1
currency = "dollars"
"""
    found = problems_of(tmp_path, text)
    assert found == [
        'tools[0].name: "two words" is not 1 to 64 letters, digits, _ and - (line 3)',
        "unknown key tools[0].comand (line 4); did you mean command?",
        "tools[0].timeout_ms: 5 is not an integer from 50 to 30000 ms (line 5)",
        'tools[0].url: "ftp://x" is not an http or https URL (line 6)',
        "tools[0].description: missing (line 2)",
        "tools[1].name: end_call is a tool that is there already; take another name (line 8)",
        "tools[1]: give it a command or a url, and not both (line 8)",
        "tools[2]: give it a command or a url, and not both (line 14)",
        "tools[3].name: tools[2] has the same name; each needs its own (line 18)",
        'prices: write each price as [prices."MODEL"] (line 24)',
        'unknown key prices."m".inputs (line 26); did you mean input?',
        'prices."m".output: -1 is not a number from 0 to 1000000 (line 27)',
        'prices."m".currency: "dollars" is not a code such as USD (line 28)',
    ]


@pytest.mark.parametrize(
    "parameters",
    [
        "5",
        "'{'",
        "'[]'",
        "{type = 'string'}",
        "{properties = {a = 1}}",
        "{required = ['a']}",
        "{required = 'a'}",
        "{properties = {a = {default = 2026-01-01}}}",
        "{properties = {a = {maximum = nan}}}",
        "'" + "[" * 100_000 + "'",
    ],
)
def test_parameters_must_be_an_objects_schema(tmp_path: Path, parameters: str) -> None:
    text = f"[[tools]]\nname='a'\ndescription='b'\ncommand='c'\nparameters = {parameters}"
    (problem,) = problems_of(tmp_path, text)
    assert problem.startswith("tools[0].parameters: ")
    assert problem.endswith("(line 5)")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("tools = 5", "tools: write each tool as [[tools]] (line 1)"),
        ("[tools]\nname = 'a'", "tools: write each tool as [[tools]] (line 1)"),
        ("[[tool]]\nname = 'a'", "unknown key tool (line 1); did you mean tools?"),
        ("prices = 5", 'prices: write each price as [prices."MODEL"] (line 1)'),
        ("[prices.gpt-6.1]\ninput = 1", 'unknown key prices."gpt-6".1 (line 1)'),
        ("[price.x]\ninput = 1", "unknown table price (line 1); did you mean prices?"),
    ],
)
def test_other_shapes_are_told_what_to_write(tmp_path: Path, text: str, problem: str) -> None:
    assert problems_of(tmp_path, text) == [problem]


def test_the_tables_of_an_array_have_lines_of_their_own() -> None:
    lines = key_lines("[[a]]\nx = 1\n[a.b]\ny = 1\n[[a]]\nx = 2\n[[a.c]]\n[[a.c]]\n[d]\n")
    assert lines == {
        ("a", "0"): 1,
        ("a", "0", "x"): 2,
        ("a", "0", "b"): 3,
        ("a", "0", "b", "y"): 4,
        ("a", "1"): 5,
        ("a", "1", "x"): 6,
        ("a", "1", "c", "0"): 7,
        ("a", "1", "c", "1"): 8,
        ("d",): 9,
    }


KEY = Streaming(openai_api_key=Secret("sk-x"))


@pytest.mark.parametrize(
    ("config", "told"),
    [
        (Config(engine="echo"), "no effect with engine = echo"),
        (Config(engine="offline"), "no effect with the built-in responder"),
        (Config(streaming=KEY, response=Response(command=("x",))), "with response.command"),
        (Config(engine="offline", response=Response(base_url="http://localhost/v1")), ""),
        (Config(streaming=KEY), ""),
    ],
)
def test_tools_that_nobody_uses_are_told(config: Config, told: str) -> None:
    tool = Tool(name="a", description="b", command=(sys.executable,))
    config = msgspec.structs.replace(config, tools=(tool,))
    found = [f.text for f in check(config, {}, datetime.date(2026, 11, 1)) if "tools" in f.text]
    assert len(found) == bool(told)
    assert told in "".join(found)


def test_a_tool_that_cannot_be_run_and_one_in_clear_are_told() -> None:
    tools = (
        Tool(name="a", description="b", command=("/does/not/exist",)),
        Tool(name="c", description="d", url="http://example.com"),
    )
    config = Config(streaming=KEY, tools=tools)
    found = {f.text: f.fatal for f in check(config, {}, datetime.date(2026, 11, 1))}
    told = {text: fatal for text, fatal in found.items() if text.startswith("tools")}
    missing, in_clear = told
    assert missing.startswith("tools[0].command: '/does/not/exist' is not an executable")
    assert in_clear.startswith("tools[1].url is http to another machine")
    assert (told[missing], told[in_clear]) == (True, False)


def test_config_show_lists_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEAMSCALL_BRIDGE_SECRET", "kQ3vZr8pXw1tYb6nMd4sGh7jLf2cAe9u")
    file = tmp_path / "teamscall.toml"
    file.write_text(TEXT.replace("book --room", f"'{sys.executable}' --room"))

    def show(*options: str) -> str:
        result = CliRunner().invoke(app, ["config", "show", "--config", str(file), *options])
        assert result.exit_code == 0
        return result.output

    rows = {tuple(row.split()[:2]): row for row in show().splitlines()}
    assert "(file teamscall.toml line 9)" in rows["tools[1].command", f'["{sys.executable}",']
    assert "(file teamscall.toml line 18)" in rows['prices."gpt-6-luna".output', "2.0"]
    table = json.loads(show("--json"))["config"]
    assert table["tools[1].parameters"]["value"]["required"] == ["room"]
    written = tmp_path / "again.toml"
    written.write_text(show("--toml"))
    tomllib.loads(written.read_text())
    again = load_config(written, env={}, cross_checks=False).config
    config = load_config(file, env={}, cross_checks=False).config
    assert (again.tools, again.prices) == (config.tools, config.prices)
