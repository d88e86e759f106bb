"""The way from file, environment and flags to the tree."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from teamscall.config import Config, Loaded, Option, default_paths, iter_options, load_config
from teamscall.config.options import camel_case
from teamscall.config.source import key_lines
from teamscall.errors import ConfigError
from teamscall.text import printable

SECRET = "kQ3vZr8pXw1tYb6nMd4sGh7jLf2cAe9u"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "teamscall.toml"
    path.touch(mode=0o600)
    return path


def load(
    file: Path | None,
    text: str = "",
    env: Mapping[str, str] | None = None,
    flags: Mapping[str, object] | None = None,
) -> Loaded:
    if file is not None:
        file.write_text(text)
    return load_config(file, env=env or {}, flags=flags, cross_checks=False)


def problems_of(
    file: Path | None,
    text: str = "",
    env: Mapping[str, str] | None = None,
    flags: Mapping[str, object] | None = None,
) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        load(file, text, env, flags)
    return caught.value.problems


# --- layers and origins -----------------------------------------------------------


def test_flags_beat_environment_beats_file_beats_default(file: Path) -> None:
    text = "[serve]\nport = 1\npath = '/a'\nbind = '::1'\n"
    env = {"TEAMSCALL_SERVE_PORT": "2", "TEAMSCALL_SERVE_PATH": "/b"}
    loaded = load(file, text, env, {"serve.port": 3, "serve.enabled": None})
    assert (loaded.config.serve.port, loaded.config.serve.path) == (3, "/b")
    assert loaded.config.serve.bind == "::1"
    assert loaded.config.serve.enabled is True
    assert loaded.origins["serve.port"] == "flag --port"
    assert loaded.origins["serve.path"] == "environment TEAMSCALL_SERVE_PATH"
    assert loaded.origins["serve.bind"] == "file teamscall.toml line 4"
    assert loaded.origins["serve.enabled"] == "default"
    assert loaded.path == file
    assert set(loaded.origins) == {option.path for option in iter_options()}


def test_a_flag_is_called_what_the_command_line_calls_it(file: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(
            file,
            env={},
            flags={"standin.port": 70_000},
            flag_names={"standin.port": "--standin-port"},
            cross_checks=False,
        )
    (problem,) = caught.value.problems
    assert problem == (
        "standin.port: 70000 is not an integer from 0 to 65535 (flag --standin-port)"
    )


def test_the_file_is_looked_for_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    named, users = tmp_path / "named.toml", default_paths()[0]
    assert load_config(env={}, cross_checks=False).path is None
    users.parent.mkdir(parents=True, exist_ok=True)
    users.write_text("max_concurrent_calls = 7")
    named.write_text("max_concurrent_calls = 8")
    assert load_config(env={}, cross_checks=False).config.max_concurrent_calls == 7
    by_env = load_config(env={"TEAMSCALL_CONFIG": str(named)}, cross_checks=False)
    assert (by_env.config.max_concurrent_calls, by_env.warnings) == (8, ())


def test_a_named_file_must_exist(tmp_path: Path) -> None:
    for path, env in ((tmp_path / "no.toml", {}), (None, {"TEAMSCALL_CONFIG": "no.toml"})):
        with pytest.raises(ConfigError) as caught:
            load_config(path, env=env)
        assert "no.toml: cannot be read" in caught.value.problems[0]


def test_no_file_at_all_is_the_defaults() -> None:
    assert load(None).config == Config()


# --- spellings --------------------------------------------------------------------


def test_the_plugins_camel_case_is_accepted_at_every_level(file: Path) -> None:
    text = """
responseModel = "openai/gpt-4o-mini"
maxConcurrentCalls = 3
[outbound]
ringTimeoutMs = 20000
defaultMode = "notify"
[streaming]
silenceDurationMs = 700
vadThreshold = 1
[authorization]
allowFrom = ["user@example.com"]
allowPstn = true
[bargeIn]
minSpeechMs = 200
"""
    config = load(file, text).config
    assert config.response_model == "openai/gpt-4o-mini"
    assert config.max_concurrent_calls == 3
    assert (config.outbound.ring_timeout_ms, config.outbound.default_mode) == (20_000, "notify")
    assert (config.streaming.silence_duration_ms, config.streaming.vad_threshold) == (700, 1.0)
    assert config.authorization.allow_from == ("user@example.com",)
    assert config.authorization.allow_pstn is True
    assert config.barge_in.min_speech_ms == 200


@pytest.mark.parametrize("option", list(iter_options()), ids=lambda option: option.path)
def test_every_key_goes_by_both_spellings(option: Option, file: Path) -> None:
    if option.secret:
        literal = '"x"'
    elif isinstance(option.default, bool):
        literal = "true"
    elif isinstance(option.default, int | float):
        literal = str(option.default)
    elif isinstance(option.default, tuple):
        literal = f'["{option.choices[0] if option.choices else "/x"}"]'
    else:
        literal = f'"{option.default}"' if option.default or option.kind == "url" else '""'
    for spelling in {option.path, option.camel}:
        loaded = load(file, f"{spelling} = {literal}")
        assert loaded.origins[option.path] == "file teamscall.toml line 1"


def test_both_spellings_of_one_key_is_an_error(file: Path) -> None:
    text = "[outbound]\nringTimeoutMs = 20000\nring_timeout_ms = 30000\n"
    (problem,) = problems_of(file, text)
    assert problem == (
        "outbound.ring_timeout_ms: given twice, as ringTimeoutMs and as ring_timeout_ms "
        "(file teamscall.toml line 2, file teamscall.toml line 3)"
    )


def test_both_spellings_of_one_table_is_an_error(file: Path) -> None:
    (problem,) = problems_of(file, "[bargeIn]\nenabled = true\n[barge_in]\nenabled = true\n")
    assert problem.startswith("barge_in: given twice, as bargeIn and as barge_in")


def test_environment_names_are_unique_and_none_is_reserved() -> None:
    names = [option.env for option in iter_options()]
    assert len(set(names)) == len(names)
    assert "TEAMSCALL_CONFIG" not in names


def test_every_option_can_be_put_in_a_manual() -> None:
    for option in iter_options():
        assert option.doc.endswith("."), option.path
        assert "\n" not in option.doc
        assert option.allowed
        assert option.type_words
        words = option.path.rpartition(".")[2].split("_")
        for suffix, unit in (("ms", "ms"), ("seconds", "s"), ("bytes", "bytes"), ("days", "days")):
            assert (suffix in words) == (option.unit == unit), option.path


# --- unknown keys -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "[serve]\nprot = 1",
            "unknown key serve.prot (file teamscall.toml line 2); did you mean serve.port?",
        ),
        (
            "port = 1",
            "unknown key port (file teamscall.toml line 1); "
            "did you mean serve.port or standin.port?",
        ),
        (
            "[outbound]\nringTimeout = 1",
            "unknown key outbound.ringTimeout (file teamscall.toml line 2); "
            "did you mean outbound.ring_timeout_ms?",
        ),
        (
            "[inbound]\nallowFrom = []",
            "unknown key inbound.allowFrom (file teamscall.toml line 2); "
            "did you mean authorization.allow_from?",
        ),
        (
            "[server]\nport = 1",
            "unknown table server (file teamscall.toml line 1); did you mean serve?",
        ),
        ("zebra = 1", "unknown key zebra (file teamscall.toml line 1)"),
        ("serve = 3", "serve: a value where a table is expected (file teamscall.toml line 1)"),
        (
            "[serve.port]\nx = 1",
            "serve.port: a table where a value is expected (file teamscall.toml line 1)",
        ),
    ],
)
def test_unknown_keys_are_an_error_with_a_suggestion(file: Path, text: str, problem: str) -> None:
    assert problems_of(file, text) == (problem,)


def test_an_unknown_key_cannot_write_to_the_terminal(file: Path) -> None:
    (problem,) = problems_of(file, '"\\u001b[31mred" = 1')
    assert "\x1b" not in problem


def test_an_unknown_flag_path_is_an_error(file: Path) -> None:
    (problem,) = problems_of(file, flags={"serve.prot": "1"})
    assert problem == "unknown key serve.prot (flag --prot); did you mean serve.port?"


def test_an_unknown_variable_is_a_warning_because_kubernetes_sets_such(file: Path) -> None:
    loaded = load(file, env={"TEAMSCALL_SERVE_PROT": "1", "TEAMSCALL_PORT": "tcp://10.0.0.1"})
    assert loaded.warnings[0].startswith("environment TEAMSCALL_SERVE_PROT is no option; did you")
    assert loaded.config.serve.port == 3335


# --- wrong values -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("serve.port = 65536", "serve.port: 65536 is not an integer from 0 to 65535"),
        ("serve.port = '1'", 'serve.port: "1" is not an integer from 0 to 65535'),
        ("serve.port = true", "serve.port: true is not an integer from 0 to 65535"),
        ("tts.speed = nan", "tts.speed: nan is not a number from 0.25 to 4.0"),
        ("tts.speed = 4.1", "tts.speed: 4.1 is not a number from 0.25 to 4.0"),
        ("inbound.enabled = 1", "inbound.enabled: 1 is not true or false"),
        ("recording.require = 'yes'", 'recording.require: "yes" is not true, false or auto'),
        (
            "authorization.hook_timeout_ms = 2000",
            "authorization.hook_timeout_ms: 2000 is not an integer from 50 to 1900 ms",
        ),
        (
            "authorization.allow_from = 'a@b.c'",
            'authorization.allow_from: "a@b.c" is not a list of strings',
        ),
        ('response.command = "it\'s"', 'response.command: "it\'s" is not a list of strings, or'),
        (
            "serve.path = 'teams'",
            'serve.path: "teams" is not a path that begins with / and has no blank, ? or #',
        ),
        ('serve.path = "/x\\n"', 'serve.path: "/x " is not a path'),
        (
            "bridge.control_url = 'ftp://me:hunter2@x/'",
            'bridge.control_url: "ftp://********@x/" is not an http or https URL',
        ),
    ],
)
def test_wrong_values_say_key_value_range_and_origin(file: Path, text: str, problem: str) -> None:
    (found,) = problems_of(file, text)
    assert found.startswith(problem)
    assert "(file teamscall.toml line 1)" in found


def test_a_mistyped_choice_is_answered_with_the_nearest(file: Path) -> None:
    (problem,) = problems_of(file, "authorization.mode = 'allow-list'")
    assert problem.endswith("; did you mean allowlist?")


def test_a_wrong_secret_is_masked(file: Path) -> None:
    (problem,) = problems_of(file, "bridge.secret = 1234567890")
    assert problem == ("bridge.secret: ******** is not a string (file teamscall.toml line 1)")


def test_all_problems_come_at_once(file: Path) -> None:
    found = problems_of(
        file,
        "zebra = 1\n[serve]\nport = -1\n[tts]\nspeed = 9\n",
        {"TEAMSCALL_INBOUND_ENABLED": "maybe"},
        {"log.level": "loud"},
    )
    assert len(found) == 5


def test_a_shadowed_wrong_value_does_not_count(file: Path) -> None:
    assert load(file, "serve.port = -1", {"TEAMSCALL_SERVE_PORT": "5"}).config.serve.port == 5


# --- environment text -------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "value"), [("true", True), ("1", True), ("False", False), ("0", False)]
)
def test_booleans_in_the_environment(word: str, value: bool) -> None:
    assert load(None, env={"TEAMSCALL_INBOUND_ENABLED": word}).config.inbound.enabled is value
    assert load(None, env={"TEAMSCALL_RECORDING_REQUIRE": word}).config.recording.require is value


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("TEAMSCALL_INBOUND_ENABLED", "yes"),
        ("TEAMSCALL_SERVE_PORT", "0x10"),
        ("TEAMSCALL_SERVE_PORT", "1_000"),
        ("TEAMSCALL_SERVE_PORT", "１２"),
        ("TEAMSCALL_SERVE_PORT", "1e3"),
        ("TEAMSCALL_SERVE_PORT", "tcp://10.0.0.1:80"),
        ("TEAMSCALL_TTS_SPEED", "nan"),
        ("TEAMSCALL_TTS_SPEED", "1_0"),
        ("TEAMSCALL_AUTHORIZATION_ALLOW_FROM", "[oops"),
        ("TEAMSCALL_AUTHORIZATION_ALLOW_FROM", "[1]"),
    ],
)
def test_environment_text_is_read_strictly(variable: str, text: str) -> None:
    (problem,) = problems_of(None, env={variable: text})
    assert problem.endswith(f"(environment {variable})")


def test_lists_in_the_environment() -> None:
    variable = "TEAMSCALL_AUTHORIZATION_ALLOW_FROM"
    for text in ("a@x.org, b", '["a@x.org", "b"]', "['a@x.org', 'b',]"):
        assert load(None, env={variable: text}).config.authorization.allow_from == ("a@x.org", "b")


def test_a_command_may_be_a_line_or_a_list(file: Path) -> None:
    for text in (
        "response.command = 'ask \"two words\" x'",
        "response.command = ['ask', 'two words', 'x']",
    ):
        assert load(file, text).config.response.command == ("ask", "two words", "x")
    env = {"TEAMSCALL_RESPONSE_COMMAND": "ask 'two words' x"}
    assert load(None, env=env).config.response.command == ("ask", "two words", "x")


def test_an_empty_variable_is_not_set(file: Path) -> None:
    loaded = load(file, "serve.port = 5", {"TEAMSCALL_SERVE_PORT": ""})
    assert loaded.config.serve.port == 5


def test_response_model_and_response_dot_model_have_each_their_variable() -> None:
    env = {"TEAMSCALL_RESPONSE_MODEL": "a", "TEAMSCALL_RESPONSE__MODEL": "b"}
    config = load(None, env=env).config
    assert (config.response_model, config.response.model) == ("a", "b")


@settings(deadline=None)
@given(st.sampled_from(list(iter_options())), st.text(max_size=60))
def test_any_text_gives_a_value_or_a_printable_problem(option: Option, text: str) -> None:
    try:
        problems = load(None, env={option.env: text}).warnings
    except ConfigError as error:
        problems = error.problems
    for problem in problems:
        assert problem == printable(problem, 1000)
        assert option.path in problem


@pytest.mark.parametrize("name", ["~no-such-user/x", "a\0b", "\x1b[31m"])
def test_odd_file_names_are_a_problem_and_no_traceback(name: str) -> None:
    (problem,) = problems_of(None, flags={"bridge.secret_file": name})
    assert "cannot be read" in problem
    assert "\x1b" not in problem


# --- files ------------------------------------------------------------------------


def test_relative_paths_are_relative_to_where_they_are_written(
    file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    loaded = load(file, "serve.tls_cert = 'c.pem'", flags={"serve.tls_key": "k.pem"})
    assert loaded.config.serve.tls_cert == str(file.parent / "c.pem")
    assert loaded.config.serve.tls_key == str(elsewhere / "k.pem")


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("a = 1\nb = = 2\n", " line 2 column 5: "),
        ("[serve\n", " line 1 column 7: "),
        ("a = 'x", " line 1 column 7: "),
        ("a = 1\na = 2", " line 2 column 6: "),
    ],
)
def test_a_syntax_error_names_file_line_and_column(file: Path, text: str, where: str) -> None:
    (problem,) = problems_of(file, text)
    assert problem.startswith(f"{file}{where}")


def test_bytes_that_are_not_utf8_are_named_by_line(file: Path) -> None:
    file.write_bytes(b"a = 1\nb = '\xff'\n")
    with pytest.raises(ConfigError) as caught:
        load_config(file, env={})
    assert caught.value.problems == (f"{file} line 2: not UTF-8",)


def test_windows_editors_are_forgiven(file: Path) -> None:
    file.write_bytes("\ufeff[serve]\r\nport = 5\r\n".encode())
    loaded = load_config(file, env={}, cross_checks=False)
    assert loaded.config.serve.port == 5
    assert loaded.origins["serve.port"] == "file teamscall.toml line 2"


def test_a_huge_file_is_not_a_configuration(file: Path) -> None:
    (problem,) = problems_of(file, "#" * 1_100_000)
    assert problem.endswith("longer than 1048576 bytes")


def test_lines_are_found_through_strings_arrays_and_quoted_keys() -> None:
    text = '''a = """
b = 1
"""
list = [
  "x = 1",
  "y",
]
"quoted" . 'key' = 2
[ t . u ]
  c.d = { e = 1 }   # = 9
'''
    lines = key_lines(text)
    assert lines == {
        ("a",): 1,
        ("list",): 4,
        ("quoted", "key"): 8,
        ("t", "u"): 9,
        ("t", "u", "c", "d"): 10,
    }


@settings(deadline=None)
@given(st.text(max_size=300))
def test_the_line_scan_takes_any_text(text: str) -> None:
    for parts, line in key_lines(text).items():
        assert parts
        assert 1 <= line <= text.count("\n") + 1


def test_camel_case() -> None:
    assert [camel_case(name) for name in ("port", "ring_timeout_ms")] == ["port", "ringTimeoutMs"]


# --- secrets ----------------------------------------------------------------------


def test_a_secret_from_a_file_loses_exactly_one_newline(file: Path) -> None:
    holder = file.with_name("secret")
    for stored, read in (
        (f"{SECRET}\n", SECRET),
        (f"{SECRET}\r\n", SECRET),
        (f"{SECRET}\n\n", f"{SECRET}\n"),
    ):
        holder.write_text(stored, newline="")
        holder.chmod(0o600)
        loaded = load(file, "bridge.secret_file = 'secret'")
        assert loaded.config.bridge.secret.reveal() == read
    assert loaded.origins["bridge.secret"] == (
        f"file {holder}, named by bridge.secret_file (file teamscall.toml line 1)"
    )
    assert len(loaded.warnings) == 1  # the second newline counts as part of it
    assert "begins or ends with a blank" in loaded.warnings[0]


def test_a_secret_from_a_named_variable(file: Path) -> None:
    loaded = load(file, "bridge.secret_env = 'MY_SECRET'", {"MY_SECRET": SECRET})
    assert loaded.config.bridge.secret.reveal() == SECRET
    (problem,) = problems_of(file, "bridge.secret_env = 'MY_SECRET'")
    assert problem == (
        "bridge.secret_env: names MY_SECRET, which is not set (file teamscall.toml line 1)"
    )


def test_a_secret_from_the_environment_or_a_file_that_it_names(tmp_path: Path) -> None:
    assert (
        load(None, env={"TEAMSCALL_BRIDGE_SECRET": SECRET}).config.bridge.secret.reveal() == SECRET
    )
    holder = tmp_path / "secret"
    holder.write_text(SECRET)
    holder.chmod(0o640)
    loaded = load(None, env={"TEAMSCALL_BRIDGE_SECRET_FILE": str(holder)})
    assert loaded.config.bridge.secret.reveal() == SECRET
    assert loaded.warnings == (
        f"bridge.secret_file: {holder} can be read by other users; chmod 600 {holder}",
    )


def test_two_sources_of_one_secret_are_an_error_that_shows_neither(file: Path) -> None:
    text = f"bridge.secret_file = 'x'\nbridge.secret = '{SECRET}'"
    (problem,) = problems_of(file, text)
    assert problem == (
        "bridge.secret: has two sources, bridge.secret (file teamscall.toml line 2) and "
        "bridge.secret_file (file teamscall.toml line 1); keep one"
    )


def test_a_secret_of_a_layer_above_replaces_every_source_below(file: Path) -> None:
    text = "[bridge]\nsecret_file = 'no-such-file'\n"
    loaded = load(file, text, {"TEAMSCALL_BRIDGE_SECRET": SECRET})
    assert loaded.config.bridge.secret.reveal() == SECRET
    assert loaded.config.bridge.secret_file == ""
    assert loaded.origins["bridge.secret"] == "environment TEAMSCALL_BRIDGE_SECRET"
    loaded = load(file, text, {"TEAMSCALL_BRIDGE_SECRET_ENV": "NOT_SET"}, {"bridge.secret": SECRET})
    assert loaded.config.bridge.secret.reveal() == SECRET


def test_secret_files_that_cannot_be_used(file: Path) -> None:
    holder = file.with_name("secret")
    for content, words in (
        (None, "cannot be read"),
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b"\xff", "not UTF-8"),
        (b"x" * 70_000, "longer than"),
    ):
        if content is not None:
            holder.write_bytes(content)
        (problem,) = problems_of(file, "bridge.secret_file = 'secret'")
        assert words in problem
        assert problem.endswith("(file teamscall.toml line 1)")


def test_the_key_may_come_from_where_the_plugin_took_it(file: Path) -> None:
    env = {"OPENAI_API_KEY": "sk-from-env"}
    loaded = load(None, env=env)
    assert loaded.config.streaming.openai_api_key.reveal() == "sk-from-env"
    assert loaded.origins["streaming.openai_api_key"] == "environment OPENAI_API_KEY"
    written = load(file, "streaming.openaiApiKey = 'sk-written'", env)
    assert written.config.streaming.openai_api_key.reveal() == "sk-written"


def test_blanks_and_quotes_around_a_secret_are_warned_of() -> None:
    for secret in (f" {SECRET}", f"{SECRET}\t", f'"{SECRET}"'):
        loaded = load(None, env={"TEAMSCALL_BRIDGE_SECRET": secret})
        assert loaded.config.bridge.secret.reveal() == secret
        assert SECRET not in loaded.warnings[0]
        assert loaded.warnings[0].startswith("bridge.secret begins or ends with a blank")


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX")
def test_a_readable_file_with_a_secret_is_warned_of(file: Path) -> None:
    file.chmod(0o644)
    (warning,) = load(file, f"bridge.secret = '{SECRET}'").warnings
    assert warning.startswith(f"{file} holds bridge.secret and can be read by other users")
    assert load(file, "serve.port = 1").warnings == ()
    file.chmod(0o600)
    assert load(file, f"bridge.secret = '{SECRET}'").warnings == ()
