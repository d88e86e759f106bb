"""What an empty model stands for."""

from __future__ import annotations

import datetime

from teamscall.config import Config, OpenAI, Realtime, Secret, Streaming, resolved_models

TODAY = datetime.date(2026, 11, 21)
KEY = OpenAI(api_key=Secret("sk-x"))


def test_only_what_is_used_and_empty_is_told() -> None:
    assert resolved_models(Config(), TODAY) == {}
    assert resolved_models(Config(openai=KEY), TODAY) == {
        "streaming.stt_model": "gpt-live-transcribe",
        "tts.model": "gpt-realtime-2.1-mini",
        "response_model": "gpt-6-luna",
    }
    own = Config(openai=KEY, streaming=Streaming(stt_model="mine"), response_model="ours")
    assert resolved_models(own, TODAY) == {"tts.model": "gpt-realtime-2.1-mini"}


def test_each_mode_has_its_own() -> None:
    realtime = Config(openai=KEY, realtime=Realtime(voice="cedar"))
    assert resolved_models(realtime, TODAY) == {
        "realtime.model": "gpt-realtime-2.1",
        "realtime.transcription_model": "gpt-transcribe",
    }
    live = Config(openai=KEY, mode="live")
    assert resolved_models(live, TODAY) == {"live.model": "gpt-live-1"}
    elsewhere = Config(openai=OpenAI(base_url="http://127.0.0.1:9/v1"))
    assert resolved_models(elsewhere, TODAY)["tts.model"] == "gpt-4o-mini-tts"
