"""What of the engines this configuration uses, and where it is.

Owns the reading of the configuration, as ``engines.select`` builds from it. Opens nothing.
"""

from __future__ import annotations

import datetime
from urllib.parse import urlsplit

import msgspec

from teamscall.config import Config, openai_key, resolved_engine, resolved_mode
from teamscall.engines.openai import configured
from teamscall.engines.openai.endpoint import Endpoint
from teamscall.engines.openai.engine import Hearing, Speaking, Thinking

OPENAI_HOST = "api.openai.com"


class Uses(msgspec.Struct, frozen=True):
    """Which engines a call may meet, fallbacks included. ``mind``: one of the operator's own."""

    streaming: bool = False
    realtime: bool = False
    live: bool = False
    offline: bool = False
    scripted: bool = False
    mind: str = ""  # "response.command", "response.base_url" or ""

    @property
    def openai(self) -> bool:
        return self.streaming or self.realtime or self.live


class Place(msgspec.Struct, frozen=True):
    """A service that is asked. ``sockets``: sessions are opened there; ``requests``: and
    plain HTTP is spoken with it, for more than the list of models."""

    at: Endpoint
    sockets: bool = False
    requests: bool = False

    @property
    def http_url(self) -> str:
        parts = urlsplit(self.at.base_url)
        path = f"{parts.path.rstrip('/')}/models"
        return parts._replace(path=path).geturl()

    @property
    def socket_url(self) -> str:
        return self.at.realtime_url("")


def today() -> datetime.date:
    """By which a model is current."""
    return datetime.date.today()


def uses(config: Config) -> Uses:
    """What a call may meet."""
    engine = resolved_engine(config)
    mode = resolved_mode(config)[0]
    openai = engine == "openai"
    fallback = config.fallback if openai else ()
    streaming = (openai and mode == "streaming") or "streaming" in fallback
    offline = engine == "offline" or "offline" in fallback
    mind = ""
    if streaming or offline:
        response = config.response
        mind = "response.command" if response.command else ""
        mind = mind or ("response.base_url" if response.base_url else "")
    return Uses(
        streaming=streaming,
        realtime=openai and mode == "realtime",
        live=openai and mode == "live",
        offline=offline,
        scripted=engine == "scripted",
        mind=mind,
    )


def places(config: Config) -> list[Place]:
    """Every service of OpenAI's kind, once."""
    found = uses(config)
    wanted: list[Place] = []
    if found.realtime or found.live:
        wanted.append(Place(configured.endpoint(config), sockets=True))
    if found.streaming:
        wanted.append(Place(hearing(config).endpoint, sockets=True))
        speaks = speaking(config)
        aloud = speaks.voice.model.over_realtime
        wanted.append(Place(speaks.endpoint, sockets=aloud, requests=not aloud))
        if not found.mind:
            wanted.append(Place(thinking(config).endpoint, requests=True))
    if found.mind == "response.base_url":
        wanted.append(Place(mind_endpoint(config), requests=True))
    merged: dict[tuple[str, str], Place] = {}
    for each in wanted:
        key = (each.at.base_url, each.at.key.reveal())
        before = merged.get(key, each)
        merged[key] = Place(
            each.at, each.sockets or before.sockets, each.requests or before.requests
        )
    return list(merged.values())


def hearing(config: Config) -> Hearing:
    return configured.hearing(config, today())


def thinking(config: Config) -> Thinking:
    return configured.thinking(config, today())


def speaking(config: Config) -> Speaking:
    return configured.speaking(config, today())


def mind_endpoint(config: Config) -> Endpoint:
    """The chat endpoint of the operator's own mind."""
    response = config.response
    return Endpoint(response.base_url, response.api_key, "response.base_url", "response.api_key")


def key_setting(config: Config) -> str:
    """Where OpenAI's key is written, or would be."""
    return "openai.api_key" if config.openai.api_key else "streaming.openai_api_key"


def wants_openai(config: Config) -> bool:
    """Something is configured that only OpenAI's engine does."""
    models = (config.streaming.stt_model, config.tts.model)
    return config.mode != "auto" or config.realtime != type(config.realtime)() or any(models)


def has_key(config: Config) -> bool:
    return bool(openai_key(config))
