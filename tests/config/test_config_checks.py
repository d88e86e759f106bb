"""What makes no sense together."""

from __future__ import annotations

import datetime
import sys
from pathlib import Path

import pytest

from teamscall.config import findings, load_config, openai_key, resolved_engine
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
        ({"bridge__previous_secret": "short"}, "bridge.previous_secret has 5 characters"),
        ({"bridge__previous_secret": "CHANGE_ME_" * 4}, "previous_secret is a placeholder"),
        ({"bridge__previous_secret": f"{SECRET}\nx"}, "previous_secret has a line break"),
        ({"streaming__openai_api_key": "sk-..."}, "openai_api_key is a placeholder"),
        ({"standin__enabled": True}, "standin.secret is missing"),
        ({"serve__enabled": False}, "nothing would listen"),
        ({"serve__bind": "0.0.0.0"}, "serve.bind 0.0.0.0 is not loopback and there is no TLS"),
        ({"serve__bind": "bridge.example.org"}, "is not loopback"),
        ({"serve__tls_cert": __file__}, "serve.tls_cert is given without serve.tls_key"),
        ({"serve__tls_key": __file__}, "serve.tls_key is given without serve.tls_cert"),
        ({"engine": "openai"}, "there is no key: set OPENAI_API_KEY or streaming.openai_api_key"),
        (
            {"engine": "openai", "openai__hear_base_url": "http://127.0.0.1:1/v1"},
            "there is no key",
        ),
        (
            {"openai__api_key": "sk-one", "streaming__openai_api_key": "sk-two"},
            "openai.api_key and streaming.openai_api_key are both given",
        ),
        ({"openai__base_url": "https://me:pw@mind.example.org/v1"}, "has credentials in it"),
        ({"serve__public_url": "wss://me:pw@b.example.org/x"}, "public_url has credentials"),
        ({"serve__public_url": "ftp://b.example.org/x"}, "is not a wss, https, ws or http URL"),
        ({"serve__public_url": "wss://b.example.org/x?y"}, "is not a wss, https, ws or http URL"),
        ({"standin__public_url": "wss://[::1/x"}, "standin.public_url is not a URL with a host"),
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
        ({"openai__base_url": "http://voice.example.org/v1"}, "and the key travel in clear"),
        ({"standin__enabled": True, "standin__secret": "short"}, "has only 5 characters"),
        ({"standin__previous_secret": "short"}, "standin.previous_secret has only 5 characters"),
        ({"bridge__previous_secret": SECRET}, "bridge.previous_secret is the same as bridge."),
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


PUBLIC = "wss://bridge.example.org"


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"serve__public_url": PUBLIC}, f"write {PUBLIC}/teams-call/stream"),
        ({"serve__public_url": f"{PUBLIC}/voice/"}, "ends with a slash"),
        ({"serve__public_url": "ws://bridge.example.org/x"}, "audio travels in clear"),
        ({"standin__public_url": PUBLIC}, f"write {PUBLIC}/msteams/calling"),
    ],
)
def test_a_doubtful_public_address_is_a_warning(overrides: dict[str, object], words: str) -> None:
    problems, (warning,) = judge(**overrides)
    assert problems == ()
    assert words in warning


@pytest.mark.parametrize(
    "url", [f"{PUBLIC}/teams-call/stream", "https://b.example.org/of/a/proxy", "ws://127.0.0.1/x"]
)
def test_a_public_address_may_be_of_any_spelling_and_path(url: str) -> None:
    assert judge(serve__public_url=url) == ((), ())


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


TODAY = datetime.date(2026, 11, 21)


def warned(today: datetime.date = TODAY, /, **overrides: object) -> tuple[str, ...]:
    flags = GOOD | {key.replace("__", "."): value for key, value in overrides.items()}
    return load_config(env={}, flags=flags, today=today).warnings


def test_openai_needs_a_key_of_its_own_service_only() -> None:
    assert judge(engine="openai", streaming__openai_api_key="sk-real-one") == ((), ())
    assert judge(engine="openai", openai__api_key="sk-real-one") == ((), ())
    assert judge(engine="openai", openai__base_url="http://127.0.0.1:1/v1") == ((), ())


def test_auto_is_openai_with_a_key_or_an_address() -> None:
    assert resolved_engine(load_config(env={}, flags=GOOD).config) == "offline"
    loaded = load_config(env={"OPENAI_API_KEY": "sk-x"}, flags=GOOD)
    assert resolved_engine(loaded.config) == "openai"
    assert loaded.warnings == ()
    loaded = load_config(env={"OPENAI_BASE_URL": "http://127.0.0.1:1/v1"}, flags=GOOD)
    assert resolved_engine(loaded.config) == "openai"
    assert loaded.origins["openai.base_url"] == "environment OPENAI_BASE_URL"


def test_either_name_of_the_key_does() -> None:
    flags = {**GOOD, "openai.api_key": "sk-mine"}
    loaded = load_config(env={"OPENAI_API_KEY": "sk-of-the-shell"}, flags=flags)
    assert openai_key(loaded.config).reveal() == "sk-mine"


def test_models_near_their_end_are_told() -> None:
    chosen = {"streaming__openai_api_key": "sk-x", "tts__model": "tts-1"}
    (warning,) = warned(**chosen)
    assert warning.startswith("tts.model: OpenAI switches tts-1 off on 2027-01-06, in 46 days")
    assert "use gpt-realtime-2.1-mini" in warning
    (warning,) = warned(datetime.date(2027, 1, 6), **chosen)
    assert warning.startswith("tts.model: OpenAI switched tts-1 off on 2027-01-06")
    assert warned(datetime.date(2026, 3, 1), **chosen) == ()
    assert warned(**chosen, openai__speak_base_url="https://voice.example.org/v1") == ()
    assert warned(tts__model="tts-1") == ()  # the offline engine has no use for it
    names = {"response_model": "openai/gpt-4o-mini", "streaming__stt_model": "gpt-4o-transcribe"}
    assert len(warned(streaming__openai_api_key="sk-x", **names)) == 1  # February is far
    assert len(warned(TODAY.replace(month=12), streaming__openai_api_key="sk-x", **names)) == 2


def test_what_is_loopback() -> None:
    for host in ("127.0.0.1", "127.9.9.9", "::1", "[::1]", "localhost", "LOCALHOST"):
        assert findings.is_loopback(host), host
    for host in ("", "0.0.0.0", "::", "10.0.0.1", "localhost.example.org", "127.0.0.1.example"):
        assert not findings.is_loopback(host), host


def test_a_secret_of_few_characters_is_a_warning() -> None:
    problems, (warning,) = judge(bridge__secret="abc" * 12)
    assert not problems
    assert warning.startswith("bridge.secret is easy to guess")


def test_a_key_is_no_finding() -> None:
    assert judge(streaming__openai_api_key="") == ((), ())
    assert judge(streaming__openai_api_key="sk-1234567890") == ((), ())
