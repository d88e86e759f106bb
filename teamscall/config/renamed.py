"""Keys that have another name here, and keys of other programs that have no use here.

Owns the two tables: the msteams-call plugin's, the StandIn plugins' for OpenClaw and for Hermes,
and the C# gateway's settings of old. ``check`` names the new key, an import takes the value along.
Names are in snake_case; camelCase is brought to it first.
"""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Mapping
from typing import cast

import msgspec


class Moved(msgspec.Struct, frozen=True):
    """Where a key went. ``times``: its number is multiplied by that (s to ms); ``words``: what
    its words are called here."""

    to: str
    times: int = 1
    words: Mapping[object, object] = {}


_POLICIES: Mapping[object, object] = {"pairing": "allowlist"}
# The gateway of old was written in C#, and so were its words.
_OLD_MODES: Mapping[object, object] = {
    "Disabled": "disabled",
    "Open": "open",
    "Allowlist": "allowlist",
    "AllowList": "allowlist",
    "TenantOnly": "tenant-only",
}

# By the path as it is spelt where it comes from. What holds for StandIn's plugins alone is in
# ``STANDIN``: "port" at the top of a file of ours is rather a slip.
MOVED: Mapping[str, Moved] = {
    "shared_secret": Moved("standin.secret"),
    "standin.shared_secret": Moved("standin.secret"),
    "bridge.shared_secret": Moved("bridge.secret"),
    "bind_address": Moved("standin.bind"),
    "calling_port": Moved("standin.port"),
    "serve.host": Moved("serve.bind"),
    "standin.host": Moved("standin.bind"),
    "serve.stream_path": Moved("serve.path"),
    "inbound_policy": Moved("authorization.mode", words=_POLICIES),
    "inbound_greeting": Moved("inbound.greeting"),
    "allowlist": Moved("authorization.allow_from"),
    "call_auth_mode": Moved("authorization.mode", words=_OLD_MODES),
    "allowed_users": Moved("authorization.allow_from"),
    "allowed_tenants": Moved("authorization.allowed_tenants"),
    "allow_pstn": Moved("authorization.allow_pstn"),
    "require_recording_status": Moved("recording.require"),
    "max_call_duration_s": Moved("max_duration_seconds"),
    "hmac_window_ms": Moved("standin.hmac_window_ms"),
    "max_connections_per_ip": Moved("standin.max_connections_per_address"),
    "pre_start_timeout_s": Moved("standin.start_timeout_ms", 1000),
    "heartbeat_s": Moved("serve.ping_interval_ms", 1000),
    "worker_base_url": Moved("standin.worker_base_url"),
    "allow_remote_worker": Moved("standin.allow_remote_worker"),
    "tenant_id": Moved("outbound.tenant"),
    "outbound.worker_base_url": Moved("standin.worker_base_url"),
    "outbound.tenant_id": Moved("outbound.tenant"),
    "outbound.answer_timeout_ms": Moved("outbound.ring_timeout_ms"),
    "realtime.instructions": Moved("response_system_prompt"),
    "realtime.turn_detection.type": Moved(
        "realtime.turn_detection",
        words={"none": "local", "server_vad": "server", "semantic_vad": "semantic"},
    ),
    "realtime.turn_detection.silence_duration_ms": Moved("streaming.silence_duration_ms"),
    "realtime.turn_detection.threshold": Moved("streaming.vad_threshold"),
    "realtime.providers.openai.api_key": Moved("openai.api_key"),
    "realtime.providers.openai.model": Moved("realtime.model"),
    "realtime.providers.openai.voice": Moved("realtime.voice"),
    "realtime.providers.openai.silence_duration_ms": Moved("streaming.silence_duration_ms"),
    "realtime.providers.openai.vad_threshold": Moved("streaming.vad_threshold"),
    "stt.providers.openai.api_key": Moved("openai.api_key"),
    "stt.providers.openai.model": Moved("streaming.stt_model"),
    "openai_api_key": Moved("openai.api_key"),
}

STANDIN: Mapping[str, Moved] = {
    "secret": Moved("standin.secret"),
    "enabled": Moved("standin.enabled"),
    "port": Moved("standin.port"),
    "host": Moved("standin.bind"),
    "path": Moved("standin.paths"),
    "allow_from": Moved("authorization.allow_from"),
    "max_connections": Moved("standin.max_connections"),
}

_CHAT = "it is of the chat messages; calls do without it"
_OWN_AGENT = "the agent that answers is this bridge's own (engine, response.*)"
_VISION = "no picture is looked at"

# Why a key is not needed, by its path or the beginning of it.
NOT_NEEDED: Mapping[str, str] = {
    "managed_bot": _CHAT,
    "managed_chat": _CHAT,
    "messages_secret": _CHAT,
    "messages_port": _CHAT,
    "messages_path": _CHAT,
    "messages_bind_address": _CHAT,
    "gateway_reply_url": _CHAT,
    "transcribe_voice_messages": _CHAT,
    "share_point_site_id": _CHAT,
    "group_call": "the bot answers whoever speaks to it in a call",
    "wake_phrases": "the bot answers whoever speaks to it in a call",
    "max_vision_per_minute": _VISION,
    "watch_browser_tasks": _VISION,
    "show_file_root": _VISION,
    "meeting_recap": "no minutes are written; `teamscall calls show` has a call's record",
    "bilingual": "the models hear and speak the caller's language by themselves",
    "session_scope": "a call remembers itself and nothing before it",
    "agent_id": _OWN_AGENT,
    "allowlist_allow_names": "a name can be forged: callers are known by id or address",
    "stale_call_reaper_seconds": "standin.idle_timeout_ms ends a call that says nothing",
    "stt.provider": _OWN_AGENT,
    "realtime.provider": _OWN_AGENT,
    "realtime.providers": "only OpenAI's is known; see openai.base_url for a server of one's own",
    "stt.providers": "only OpenAI's is known; see openai.hear_base_url for a server of one's own",
    "realtime.tool_policy": "tools are listed as [[tools]], and no other is there",
    "realtime.tools": "tools are listed as [[tools]], and no other is there",
    "realtime.consult_policy": _OWN_AGENT,
    "realtime.consult_thinking_level": _OWN_AGENT,
    "realtime.consult_fast_mode": _OWN_AGENT,
    "realtime.fast_context": _OWN_AGENT,
    "realtime.suppress_input_during_playback": "barge_in.echo_immunity does it, and is on",
    "realtime.echo_suppression_window_ms": "barge_in.echo_immunity does it, and is on",
    "realtime.echo_barge_in_rms": "barge_in.echo_immunity does it, and is on",
    "realtime.turn_detection": "the bridge listens itself; see streaming.silence_duration_ms",
    "realtime.max_session_duration_ms": "a session is renewed in time by itself",
    "streaming.sentence_min_chars": "sentences are cut where they end",
    "streaming.sentence_max_chars": "sentences are cut where they end",
    "streaming.max_parallel_tts": "speech is asked for as it is needed",
    "streaming.jitter_buffer_frames": "playout is paced by the clock; there is no such buffer",
    "streaming.think_level": "the model decides",
    "streaming.end_of_turn_cue": "no sound marks the end of a turn",
    "streaming.tts_mode": "mode chooses between streaming and realtime",
    "streaming.realtime_model": "tts.model names the model that speaks",
}


def snake_case(name: str) -> str:
    """``ringTimeoutMs`` -> ``ring_timeout_ms``; ``maxParallelTTS`` -> ``max_parallel_tts``."""
    name = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name.replace("-", "_"))
    return re.sub(r"([A-Z]+)([A-Z][a-z])", r"\1_\2", name).lower()


def snake_path(path: str) -> str:
    return ".".join(snake_case(part) for part in path.split("."))


def not_needed(path: str) -> str:
    """Why this key, in snake_case, has no use here; "" where that is not known."""
    parts = path.split(".")
    for length in range(len(parts), 0, -1):
        if reason := NOT_NEEDED.get(".".join(parts[:length])):
            return reason
    return ""


def renamed(path: str, value: object = None) -> str:
    """What became of an unknown key, and the command that does it; "" where nobody knows."""
    plain = snake_path(path)
    if moved := MOVED.get(plain):
        return f"it is {moved.to} here: teamscall config set {moved.to} {_argument(moved, value)}"
    reason = not_needed(plain)
    return f"take it out: {reason}" if reason else ""


def _argument(moved: Moved, value: object) -> str:
    if moved.to.endswith(("secret", "key")):
        return "-"  # from stdin: a command line is seen by others
    if isinstance(value, str | int | float | bool) and len(str(value)) <= 60:
        text = str(brought(moved, value))
        return shlex.quote(text.lower() if isinstance(value, bool) else text)
    return "VALUE"


def brought(moved: Moved, value: object) -> object:
    """The value as it is written under its new name."""
    if isinstance(value, str | int) and value in moved.words:
        return moved.words[value]
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if moved.times != 1 and number and math.isfinite(cast(float, value)):
        scaled = cast(float, value) * moved.times
        whole = math.isfinite(scaled) and scaled == int(scaled)
        return int(scaled) if whole else scaled
    return value
