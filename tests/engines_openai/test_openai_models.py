"""Which model is meant, and until when it lives."""

from __future__ import annotations

import datetime

import pytest

from teamscall.config.models import MODELS, NEAR, Role, lifetime_warning, resolve

TODAY = datetime.date(2026, 11, 21)


@pytest.mark.parametrize(
    ("role", "name"),
    [
        ("hear", "gpt-live-transcribe"),
        ("think", "gpt-6-luna"),
        ("speak", "gpt-realtime-2.1-mini"),
        ("realtime", "gpt-realtime-2.1"),
    ],
)
def test_no_default_dies_within_weeks(role: Role, name: str) -> None:
    assert resolve(role, "", TODAY).name == name
    assert resolve(role, "", datetime.date(2030, 1, 1)).name == name


def test_the_speech_endpoint_was_the_default_while_it_had_a_future() -> None:
    model = resolve("speak", "", datetime.date(2026, 3, 1))
    assert model.name == "gpt-4o-mini-tts"
    assert not model.over_realtime


def test_a_configured_name_stays() -> None:
    assert resolve("speak", "tts-1", TODAY).shutdown == datetime.date(2027, 1, 6)
    assert resolve("think", "openai/gpt-4o-mini", TODAY).name == "gpt-4o-mini"
    assert resolve("think", "llama-3", TODAY).name == "llama-3"
    assert resolve("hear", "whisper-large", TODAY).server_vad is False


def test_any_realtime_model_reads_aloud() -> None:
    assert resolve("speak", "gpt-realtime-2", TODAY).over_realtime
    dying = resolve("speak", "gpt-realtime-mini", TODAY)
    assert dying.over_realtime
    assert "in 60 days" in lifetime_warning("tts.model", dying, TODAY)
    assert not resolve("speak", "kokoro", TODAY).over_realtime


def test_every_successor_lives_on() -> None:
    known = {model.name: model for model in MODELS}
    for model in MODELS:
        assert (model.shutdown is None) == (not model.successor)
        if model.successor:
            assert known[model.successor].shutdown is None


def test_warnings_begin_in_time_and_never_end() -> None:
    model = resolve("hear", "whisper-1", TODAY)
    assert model.shutdown is not None
    day = datetime.timedelta(days=1)
    assert lifetime_warning("s", model, model.shutdown - NEAR - day) == ""
    assert "in 90 days" in lifetime_warning("s", model, model.shutdown - NEAR)
    assert "in 1 day;" in lifetime_warning("s", model, model.shutdown - day)
    assert "switched whisper-1 off" in lifetime_warning("s", model, model.shutdown)
    assert "switched whisper-1 off" in lifetime_warning("s", model, datetime.date(2040, 1, 1))
    assert lifetime_warning("s", resolve("hear", "", TODAY), TODAY) == ""
