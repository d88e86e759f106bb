"""The JSON Schema: it takes what the loader takes, and refuses what the loader refuses."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import jsonschema  # type: ignore[import-untyped]
import pytest

from teamscall.config import iter_options
from teamscall.config.load import examine
from teamscall.config.options import camel_case, tables
from teamscall.config.schema import schema

GOOD = (
    "",
    'engine = "echo"\nmode = "auto"\nfallback = ["offline"]\n',
    '[serve]\nport = 0\npublic_url = "wss://b.example.org/x"\n',
    "[outbound]\nringTimeoutMs = 20000\n[bargeIn]\nminSpeechMs = 200\n",
    '[recording]\nrequire = true\n[authorization]\nhook_command = "may-call --fast"\n',
    '[recording]\nrequire = "auto"\n[authorization]\nhook_command = ["may-call"]\n',
    '[bridge]\nsecret = ""\nsecret_env = "X"\n[tts]\nspeed = 1\n[shutdown]\ndrain_seconds = 2.5\n',
    '[[tools]]\nname = "a"\ndescription = "b"\nurl = "https://x.example.org"\n'
    '[[tools]]\nname = "c"\ndescription = "d"\ncommand = "e"\nparameters = "{}"\ntimeoutMs = 90\n'
    '[[webhooks]]\ncommand = ["x"]\nevents = ["call.ended"]\n[prices."m"]\ncachedInput = 0.5\n',
)
WRONG = (
    "prot = 1",
    "[serve]\nprot = 1",
    "[serve]\nport = 65536",
    "[serve]\nport = -1",
    '[serve]\nport = "3335"',
    "[serve]\nport = 1.5",
    '[serve]\npath = "no-slash"',
    '[serve]\npublic_url = "ftp://x"',
    'engine = "strange"',
    'fallback = ["strange"]',
    'fallback = "offline"',
    "serve = 1",
    '[recording]\nrequire = "yes"',
    "[outbound]\nringTimeoutMs = 20000\nring_timeout_ms = 20000",
    "[barge_in]\n[bargeIn]",
    '[[tools]]\nname = "a b"\ndescription = "b"\nurl = "https://x.example.org"',
    '[[tools]]\nname = "a"\nurl = "https://x.example.org"',
    "[tools]\nx = 1",
    '[[webhooks]]\nurl = "https://x"\nevents = ["call.began"]',
    '[prices."m"]\ncurrency = "usd"',
    "[bridge]\nsecret = 5",
    "[tts]\nspeed = 99",
    f'[bridge]\nsecret = "{"s" * 32}"\nsecret_env = "X"',
    '[standin]\nsecret_file = "/f"\nsecretEnv = "X"',
    '[[webhooks]]\nurl = "https://x"\ncommand = ["y"]',
    "[[webhooks]]\nattempts = 2",
    '[[tools]]\nname = "a"\ndescription = "b"',
    '[[tools]]\nname = "a"\ndescription = "b"\ncommand = "c"\nparameters = "a text"',
    '[[tools]]\nname = "a"\ndescription = "b"\ncommand = "c"\nparameters = {type = "string"}',
)


def faults(text: str) -> list[str]:
    validator = jsonschema.Draft202012Validator(schema())
    return [error.message for error in validator.iter_errors(tomllib.loads(text))]


def told(text: str) -> tuple[str, ...]:
    seen = examine(Path("/x.toml"), env={"X": "s"}, contents=text.encode(), cross_checks=False)
    return tuple(map(str, seen.problems))


def test_it_is_a_schema_and_json() -> None:
    jsonschema.Draft202012Validator.check_schema(schema())
    assert json.loads(json.dumps(schema())) == schema()


@pytest.mark.parametrize("text", GOOD)
def test_what_the_loader_takes_it_takes(text: str) -> None:
    assert told(text) == ()
    assert faults(text) == []


@pytest.mark.parametrize("text", WRONG)
def test_what_the_loader_refuses_it_refuses(text: str) -> None:
    assert told(text)
    assert faults(text)


def test_every_key_is_in_it_with_its_meaning_default_and_both_spellings() -> None:
    for option in iter_options():
        table, _, leaf = option.path.rpartition(".")
        for spelt_table in {table, camel_case(table)}:
            inside = schema()["properties"]
            inside = inside[spelt_table]["properties"] if table else inside
            assert option.doc in inside[leaf]["description"]
            if option.unit:
                assert inside[leaf]["x-unit"] == option.unit
            if not option.secret:
                default = inside[leaf]["default"]
                assert default == (
                    list(option.default) if isinstance(option.default, tuple) else option.default
                )
            else:
                assert inside[leaf]["writeOnly"] is True
                assert "default" not in inside[leaf]
            if camel_case(leaf) != leaf:
                assert inside[camel_case(leaf)]["x-taplo"] == {"hidden": True}
    assert all(schema()["properties"][table]["description"] for table in tables())


def test_every_default_fits() -> None:
    for option in iter_options():
        if option.secret:
            continue
        inside = schema()["properties"]
        table, _, leaf = option.path.rpartition(".")
        one = (inside[table]["properties"] if table else inside)[leaf]
        jsonschema.Draft202012Validator(one).validate(one["default"])
