"""Where it is asked, and with what."""

from __future__ import annotations

import asyncio

import pytest

from teamscall.config import Secret
from teamscall.engines.openai.endpoint import Endpoint

KEY = "sk-very-secret"


def at(url: str) -> Endpoint:
    return Endpoint(url, Secret(KEY))


@pytest.mark.parametrize(
    ("base_url", "model", "url"),
    [
        (
            "https://api.openai.com/v1/",
            "gpt-realtime-2.1",
            "wss://api.openai.com/v1/realtime?model=gpt-realtime-2.1",
        ),
        ("http://127.0.0.1:80/v1", "m", "ws://127.0.0.1:80/v1/realtime?model=m"),
        (
            "https://r.openai.azure.com/openai/v1?api-version=preview",
            "d",
            "wss://r.openai.azure.com/openai/v1/realtime?api-version=preview&model=d",
        ),
        (
            "https://r.openai.azure.com/openai?api-version=2025-04-01-preview",
            "d",
            "wss://r.openai.azure.com/openai/realtime?api-version=2025-04-01-preview&deployment=d",
        ),
    ],
)
def test_addresses_of_sockets(base_url: str, model: str, url: str) -> None:
    assert at(base_url).realtime_url(model) == url


@pytest.mark.parametrize(
    ("base_url", "query"),
    [
        ("https://api.openai.com/v1", "intent=transcription"),
        ("https://r.openai.azure.com/openai/v1", "intent=transcription"),
        # Routers in front of other servers go by the address.
        ("http://127.0.0.1:80/v1", "intent=transcription&model=m"),
        ("http://127.0.0.1:80/v1?model=own", "model=own&intent=transcription"),
        (
            "https://r.openai.azure.com/openai?api-version=2025-04-01-preview",
            "api-version=2025-04-01-preview&intent=transcription&deployment=m",
        ),
    ],
)
def test_addresses_of_transcription_sockets(base_url: str, query: str) -> None:
    assert at(base_url).transcription_url("m").partition("?")[2] == query


def test_the_key_goes_in_the_header_of_the_route() -> None:
    assert at("https://api.openai.com/v1").headers() == {"Authorization": f"Bearer {KEY}"}
    assert at("https://r.openai.azure.com/openai/v1").headers() == {
        "Authorization": f"Bearer {KEY}"
    }
    old = at("https://r.openai.azure.com/openai?api-version=2025-04-01-preview")
    assert old.headers() == {"api-key": KEY}
    assert Endpoint("http://127.0.0.1:1/v1").headers() == {}
    assert KEY not in repr(old)


@pytest.mark.parametrize(
    ("base_url", "url"),
    [
        ("https://api.openai.com/v1", "https://api.openai.com/v1/"),
        ("https://r.openai.azure.com/openai/v1?api-version=preview", "/openai/v1/"),
        ("https://r.openai.azure.com/openai?api-version=2025-04-01", "/openai/"),
    ],
)
def test_http_clients(base_url: str, url: str) -> None:
    client = at(base_url).client(5.0)
    assert str(client.base_url).endswith(url)
    assert client.max_retries == 1
    if "?" in base_url:
        assert "api-version" in client.default_query
    asyncio.run(client.close())


def test_whose_documentation_holds() -> None:
    assert at("https://api.openai.com/v1").is_openai
    assert at("https://r.openai.azure.com/openai/v1").is_openai
    assert not at("https://api.openai.com.example.org/v1").is_openai
    assert not at("http://127.0.0.1:1/v1").is_openai


def test_refusals_name_the_setting() -> None:
    here = Endpoint("http://h/v1", Secret(KEY), "openai.hear_base_url", "openai.api_key")
    assert "openai.api_key" in here.refusal(401, "m", "tts.model")[1]
    assert "openai.api_key" in here.refusal(403, "m", "tts.model")[1]
    assert here.refusal(404, "m", "tts.model")[1] == "Look at tts.model and openai.hear_base_url."
    assert "openai.hear_base_url" in here.refusal(418, "m", "tts.model")[1]
