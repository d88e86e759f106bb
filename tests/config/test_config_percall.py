"""What one call may have of its own."""

from __future__ import annotations

from teamscall.config import Config, for_one_call


def test_both_spellings_nested_and_dotted_are_taken() -> None:
    given = {
        "bargeIn": {"minWords": 2},
        "barge_in.min_speech_ms": 200,
        "streaming": {"silence_duration_ms": 1200},
        "inbound": {"greeting": "Hello, Ada."},
        "max_duration_seconds": 60,
    }
    config, problems = for_one_call(Config(), given)
    assert problems == ()
    assert (config.barge_in.min_words, config.barge_in.min_speech_ms) == (2, 200)
    assert config.streaming.silence_duration_ms == 1200
    assert config.inbound.greeting == "Hello, Ada."
    assert config.max_duration_seconds == 60
    assert Config().barge_in.min_words == 0


def test_what_is_wrong_costs_itself_and_says_why() -> None:
    given = {
        "authorization": {"mode": "open"},
        "bargeIn": {"minWords": "many", "pauseMs": 60},
        "serve.port": 1,
        "filler.sound": "/etc/passwd",
        "idle.hangup_after_ms": -1,
        "x\x1b[2J": {"y": 1},
    }
    config, problems = for_one_call(Config(), given)
    assert config.barge_in.pause_ms == 60
    assert config.authorization.mode == "disabled"
    assert config.filler.sound == ""
    assert sorted(problems) == [
        "authorization.mode: not a key that one call may have its own of",
        "barge_in.min_words: not an integer from 0 to 20",
        "filler.sound: not a key that one call may have its own of",
        "idle.hangup_after_ms: not an integer from 0 to 3600000",
        "serve.port: not a key that one call may have its own of",
        "x [2J.y: not a key that one call may have its own of",
    ]
