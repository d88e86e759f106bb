"""What a turn with a model came to, in words: speech or none, and what a refusal means.

Pure. Owns the thresholds and the way from a service's error to the key that mends it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from teamscall.doctor.checks import Fact, Finding, failed, ok, warning
from teamscall.engines.openai import messages
from teamscall.engines.openai.dialling import Lost, Refusal
from teamscall.engines.openai.endpoint import Endpoint
from teamscall.errors import TeamscallError
from teamscall.text import printable

_QUIETEST_DBFS = -50.0
_SHORTEST_S, _LONGEST_S = 0.4, 12.0
_QUOTA_CODES = frozenset({"insufficient_quota", "billing_not_active", "quota_exceeded"})
_NO_MODEL = frozenset({"model_not_found", "unsupported_model", "invalid_model"})
_BILLING = "https://platform.openai.com/settings/organization/billing"


class Trial(msgspec.Struct, frozen=True):
    """What came of one turn. ``no_quota``: nothing of the key's account is left to spend."""

    finding: Finding
    no_quota: bool = False


def judge_speech(pcm: bytes, rate: int, model: str, first_ms: int, setting: str) -> Finding:
    """Whether this is the sentence, by its length and loudness."""
    from teamscall.audio.level import rms_dbfs

    seconds, level = len(pcm) / 2 / rate, rms_dbfs(pcm)
    facts: dict[str, Fact] = {
        "model": name(model),
        "firstMs": first_ms,
        "seconds": round(seconds, 2),
        "dbfs": round(level, 1),
    }
    if not pcm:
        return failed(f"{name(model)} gave no audio.", f"Try another {setting}.", **facts)
    if level < _QUIETEST_DBFS:
        return failed(
            f"{name(model)} gave silence ({level:.0f} dBFS).", f"Try another {setting}.", **facts
        )
    if not _SHORTEST_S <= seconds <= _LONGEST_S:
        return warning(
            f"{name(model)} spoke for {seconds:.1f} s where about 1.5 s are usual.",
            "Look at tts.speed, and at tts.sample_rate where the server is your own.",
            **facts,
        )
    return ok(
        f"{name(model)} spoke {seconds:.1f} s; the first sound came after {first_ms} ms.", **facts
    )


def refused(error: Exception, at: Endpoint, model: str, setting: str) -> Trial:
    """What an engine's error means."""
    if isinstance(error, Refusal):
        return troubled(error.trouble, error.status, at, model, setting)
    if isinstance(error, Lost):
        if error.status == 429:
            return troubled(messages.Trouble(), 429, at, model, setting)
        return Trial(
            failed(
                f"A session with {name(model)} cannot be opened: {printable(error.reason, 120)}.",
                f"Plain requests reach {at.host} and this WebSocket does not: does a proxy or "
                f"firewall let WebSockets through, and does {at.setting} serve /realtime?",
                model=name(model),
            )
        )
    text = error.message if isinstance(error, TeamscallError) else type(error).__name__
    line = printable(text[:1].upper() + text[1:], 200)
    return Trial(failed(line, f"Look at {setting} and {at.setting}."))


def troubled(
    trouble: messages.Trouble, status: int, at: Endpoint, model: str, setting: str
) -> Trial:
    """What the service's own words mean."""
    code = trouble.name
    param = printable(trouble.param or "", 80)
    facts: dict[str, Fact] = {"model": name(model), "status": status, "code": code, "param": param}
    who = name(model)
    if code in _QUOTA_CODES:
        finding = failed(f"Nothing of the quota is left ({code}).", _pay(at), **facts)
        return Trial(finding, no_quota=True)
    if status == 429 or code.startswith("rate_limit"):
        return Trial(
            warning(
                f"{who}: too many requests at this moment (429).",
                "Try again in a minute; if it stays so, ask the vendor for a higher limit.",
                **facts,
            )
        )
    if status == 401 or code in ("invalid_api_key", "account_deactivated"):
        return Trial(failed(f"{who}: the key is refused.", f"Look at {at.key_setting}.", **facts))
    part = _part(param, setting)
    if code in _NO_MODEL and part:
        setting = part
    elif part and status in (0, 400, 422):
        return Trial(
            failed(
                f"{who} does not take what is configured ({code} at {param}).",
                f"Correct {part}, or leave it out for the default.",
                **facts,
            )
        )
    if status == 404 or code in _NO_MODEL:
        own = "" if at.is_openai else f"; a server of your own has to serve it ({at.setting})"
        return Trial(
            failed(
                f"The service knows no model {who} ({status or code}).",
                f"Leave {setting} empty for the best current one, or correct its name{own}.",
                **facts,
            )
        )
    if status == 403:
        return Trial(
            failed(
                f"This key may not use {who} (403).",
                f"Allow the model to the key's project, or set another {setting}.",
                **facts,
            )
        )
    if status >= 500 or code in ("server_error", "connection_lost", "internal_error"):
        return Trial(
            failed(
                f"{who}: the service failed ({status or code}).",
                "Wait and try again; for OpenAI see https://status.openai.com. A fallback "
                '(fallback = ["offline"]) carries calls meanwhile.',
                **facts,
            )
        )
    said = ", ".join(str(each) for each in (status or "", code, param) if each)
    return Trial(
        failed(
            f"{who} does not take what is configured ({said}).",
            f"Is {setting} a model for this? Leave it, and the other keys of its table, at their "
            "defaults.",
            **facts,
        )
    )


_PARAMS: tuple[tuple[str, Mapping[str, str]], ...] = (
    (r"voice", {"realtime": "realtime.voice", "live": "live.voice", "tts": "tts.voice"}),
    (r"speed", {"realtime": "realtime.speed", "tts": "tts.speed"}),
    (r"transcription\.model", {"realtime": "realtime.transcription_model"}),
    (r"language", {"": "streaming.language"}),
    (
        r"turn_detection",
        {"realtime": "realtime.turn_detection", "streaming": "streaming.turn_detection"},
    ),
    (r"noise_reduction", {"realtime": "realtime.noise_reduction"}),
    (r"reasoning", {"realtime": "realtime.reasoning"}),
    (r"tools", {"": "tools"}),
    (r"instructions", {"tts": "tts.instructions", "": "response_system_prompt"}),
    (r"(^|\.)model$", {}),
)


def _part(param: str, setting: str) -> str:
    """The key that the service's ``param`` comes from; blank: it cannot be told."""
    if not param:
        return ""
    table = setting.partition(".")[0]
    for pattern, keys in _PARAMS:
        if re.search(pattern, param):
            return keys.get(table) or keys.get("") or setting
    return ""


def _pay(at: Endpoint) -> str:
    if at.is_openai:
        return (
            f"Add credit or raise the limit at {_BILLING}; a key of another project may have some."
        )
    return "Add credit with that vendor."


def overlap(wanted: str, heard: str) -> float:
    """How many of the words of ``wanted`` are in ``heard``, from 0 to 1."""
    words = set(re.findall(r"[a-z']+", wanted.lower()))
    found = set(re.findall(r"[a-z']+", heard.lower()))
    return len(words & found) / len(words)


def name(model: str) -> str:
    """A model's name, for people."""
    return printable(model, 60)
