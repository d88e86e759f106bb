"""What makes no sense together."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from teamscall.config import checks, load_config, resolved_engine
from teamscall.errors import ConfigError

SECRET = "kQ3vZr8pXw1tYb6nMd4sGh7jLf2cAe9u"
GOOD = {
    "bridge.secret": SECRET,
    "authorization.mode": "allowlist",
    "authorization.allow_from": ["a"],
}


def judge(**overrides: object) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(problems, warnings); ``serve__port=1`` sets serve.port on a sound configuration."""
    flags: dict[str, object] = dict(GOOD)
    for key, value in overrides.items():
        flags[key.replace("__", ".")] = value
    try:
        return (), load_config(env={}, flags=flags).warnings
    except ConfigError as error:
        return error.problems, ()


@pytest.fixture(autouse=True)
def _no_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "none"))


def standin(**overrides: object) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return judge(standin__enabled=True, standin__secret=SECRET, **overrides)


def test_a_sound_configuration_says_nothing() -> None:
    assert judge() == ((), ())
    assert standin() == ((), ())


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"bridge__secret": None}, "bridge.secret is missing"),
        ({"bridge__secret": "short"}, "bridge.secret has 5 characters, at least 32"),
        ({"bridge__secret": "your-shared-secret-min-32-chars"}, "bridge.secret is a placeholder"),
        ({"bridge__secret": "your-32-char-minimum-secret-here"}, "bridge.secret is a placeholder"),
        ({"bridge__secret": "CHANGE_ME_" * 4}, "bridge.secret is a placeholder"),
        ({"bridge__secret": f"<replace-me>{SECRET}"}, "bridge.secret is a placeholder"),
        ({"bridge__secret": f"{SECRET}\nx"}, "bridge.secret has a line break"),
        ({"streaming__openai_api_key": "sk-..."}, "openai_api_key is a placeholder"),
        ({"standin__enabled": True}, "standin.secret is missing"),
        ({"serve__enabled": False}, "nothing would listen"),
        ({"serve__bind": "0.0.0.0"}, "serve.bind 0.0.0.0 is not loopback and there is no TLS"),
        ({"serve__bind": "bridge.example.org"}, "is not loopback"),
        ({"serve__tls_cert": __file__}, "serve.tls_cert is given without serve.tls_key"),
        ({"serve__tls_key": __file__}, "serve.tls_key is given without serve.tls_cert"),
        ({"engine": "openai"}, "engine openai arrives with the next release; use offline"),
        ({"engine": "scripted"}, "scripted.path is empty"),
        ({"scripted__path": "no/such.script"}, "no/such.script does not exist"),
        ({"authorization__hook_command": ["no-such-program-"]}, "is not an executable"),
        ({"response__command": "no-such-program- x"}, "response.command: 'no-such-program-'"),
        (
            {
                "authorization__hook_command": [sys.executable],
                "authorization__hook_url": "https://x",
            },
            "are both given",
        ),
        (
            {"response__command": [sys.executable], "response__base_url": "https://x/v1"},
            "the mind is one of them",
        ),
        ({"bridge__control_url": "https://me:hunter2@x/"}, "bridge.control_url has credentials"),
        ({"authorization__hook_url": "http://[::1"}, "is not a URL with a host"),
    ],
)
def test_fatal_nonsense(overrides: dict[str, object], words: str) -> None:
    problems, _ = judge(**overrides)
    assert len(problems) == 1, problems
    assert words in problems[0]
    assert "hunter2" not in problems[0]
    assert SECRET not in problems[0]


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"standin__bind": "192.0.2.1"}, "standin.bind 192.0.2.1 is not loopback"),
        ({"standin__port": 3335, "standin__bind": "::1"}, "bind differ"),
        ({"standin__port": 3335, "serve__path": "/msteams/calling/x"}, "lies under standin.paths"),
        ({"standin__paths": ["calls"]}, "is not a path"),
        ({"standin__paths": ["/calls/"]}, "does not end with /"),
        ({"standin__paths": []}, "standin.paths is empty"),
        ({"standin__worker_base_url": "https://worker.example.org"}, "allow_remote_worker = true"),
    ],
)
def test_fatal_nonsense_of_standin(overrides: dict[str, object], words: str) -> None:
    problems, _ = standin(**overrides)
    assert len(problems) == 1, problems
    assert words in problems[0]


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"authorization__mode": "disabled"}, "every inbound call will be refused"),
        ({"authorization__allow_from": []}, "every call will be refused; add object ids"),
        ({"authorization__allow_from": ["  "]}, "every call will be refused"),
        (
            {"authorization__mode": "tenant-only", "authorization__allow_from": None},
            "allowed_tenants is empty",
        ),
        (
            {"authorization__mode": "open", "authorization__allow_from": None},
            "whoever can call the bot is answered",
        ),
        (
            {"authorization__mode": "tenant-only", "authorization__allowed_tenants": ["t"]},
            "allow_from has no effect",
        ),
        ({"serve__bind": "0.0.0.0", "serve__insecure": True}, "acknowledged by serve.insecure"),
        ({"bridge__control_url": "http://gateway.example.org"}, "the secret travels in clear"),
        ({"authorization__hook_url": "http://hook.example.org"}, "identities travel in clear"),
        ({"response__base_url": "http://mind.example.org"}, "what callers say travels in clear"),
        ({"streaming__openai_api_key": "sk-real-one"}, "is not used yet"),
        ({"standin__enabled": True, "standin__secret": "short"}, "has only 5 characters"),
        (
            {"standin__enabled": True, "standin__secret": SECRET, "recording__require": False},
            "recording.require is false",
        ),
    ],
)
def test_risks_are_warnings(overrides: dict[str, object], words: str) -> None:
    problems, warnings = judge(**overrides)
    assert problems == ()
    assert len(warnings) == 1, warnings
    assert words in warnings[0]
    assert SECRET not in warnings[0]


def test_a_disabled_listener_needs_nothing() -> None:
    problems, warnings = standin(serve__enabled=False, bridge__secret=None, serve__bind="0.0.0.0")
    assert (problems, warnings) == ((), ())


def test_one_port_may_serve_both_dialects() -> None:
    assert standin(standin__port=3335) == ((), ())
    assert standin(standin__port=0, serve__port=0, standin__bind="::1") == ((), ())


def test_the_shared_certificate_covers_both_listeners() -> None:
    problems, warnings = standin(
        serve__bind="0.0.0.0",
        standin__bind="0.0.0.0",
        serve__tls_cert=__file__,
        serve__tls_key=__file__,
    )
    assert (problems, warnings) == ((), ())


def test_two_certificates_cannot_share_a_port() -> None:
    problems, _ = standin(standin__port=3335, standin__tls_cert=__file__, standin__tls_key=__file__)
    assert "different certificates" in problems[0]


def test_a_broken_value_is_told_once() -> None:
    assert len(judge(bridge__secret=5)[0]) == 1
    assert len(judge(bridge__secret=None, bridge__secret_file=5)[0]) == 1
    assert len(judge(bridge__secret=None, bridge__secret_env="NOT_SET_")[0]) == 1


def test_findings_name_their_origin() -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(env={"TEAMSCALL_BRIDGE_SECRET": "short"})
    assert caught.value.problems[0].endswith("(environment TEAMSCALL_BRIDGE_SECRET)")


def test_once_openai_is_there_it_needs_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "AVAILABLE_ENGINES", ("auto", "openai"))
    problems, _ = judge(engine="openai")
    assert "there is no key: set OPENAI_API_KEY" in problems[0]
    assert judge(engine="openai", streaming__openai_api_key="sk-real-one") == ((), ())


def test_auto_is_offline_even_with_a_key_in_the_environment() -> None:
    loaded = load_config(env={"OPENAI_API_KEY": "sk-x"}, flags=GOOD)
    assert resolved_engine(loaded.config) == "offline"
    assert loaded.warnings == ()


def test_what_is_loopback() -> None:
    for host in ("127.0.0.1", "127.9.9.9", "::1", "[::1]", "localhost", "LOCALHOST"):
        assert checks.is_loopback(host), host
    for host in ("", "0.0.0.0", "::", "10.0.0.1", "localhost.example.org", "127.0.0.1.example"):
        assert not checks.is_loopback(host), host


def test_a_secret_of_few_characters_is_a_warning() -> None:
    problems, (warning,) = judge(bridge__secret="abc" * 12)
    assert not problems
    assert warning.startswith("bridge.secret is easy to guess")


def test_an_empty_key_is_not_called_unused() -> None:
    assert judge(streaming__openai_api_key="") == ((), ())
    _, (warning,) = judge(streaming__openai_api_key="sk-1234567890")
    assert "is not used yet" in warning
